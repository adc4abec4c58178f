"""What a watched training has to tell: what was measured last, its loss, and its predictions on a fixed batch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from torch import Tensor

from whet.checks.dynamics import Dynamics
from whet.checks.motion import gait
from whet.checks.pulse import Pulse
from whet.checks.subject import answer
from whet.checks.traced import rounded
from whet.checks.trend import Blocks

__all__ = ["facts", "predictions", "told", "trend"]

_LOOKS = 60  # that are told one by one


def told(
    looks: Sequence[Pulse], losses: Blocks, seconds: float, *, targets: Tensor | None = None, examples: int = 0
) -> dict[str, dict[str, Any]]:
    """Return all there is to tell, by code; seconds: that the looks took; targets: of the examples predicted on.

    >>> told([], Blocks(), 0.0)
    {}
    """
    found = facts(looks[-1], len(looks)) if looks else {}
    if "JITTER" in found:
        found["JITTER"]["dynamics"] = predictions(looks, targets, examples)
    if losses.n:
        found["TREND"] = trend(losses, len(looks), seconds)
    return found


def facts(last: Pulse, looks: int) -> dict[str, dict[str, Any]]:
    """Return what a look measured, by code.

    >>> facts(Pulse(10, 2.3, {"w": 3.0}), 1)["GRAD"]["text"]
    'gradient norm 3'
    """
    ratios = sorted(last.updates.values())
    dead = max((float(s.dead.double().mean()) for s in last.sites if not s.flat), default=0.0)
    found: dict[str, dict[str, Any]] = {
        "GRAD": {"text": f"gradient norm {last.grad:.2g}", "norm": last.grad, "n": len(last.grads)}
    }
    if ratios:
        found["PC"] = {"text": f"updates {ratios[len(ratios) // 2]:.1g} of the weights",
                       "update_to_weight": ratios[len(ratios) // 2], "n": len(ratios)}  # fmt: skip
    if last.sites:
        found["ACT"] = {"text": f"at most {dead:.0%} of a layer dead", "dead_share": dead, "n": last.sites[0].samples}
    if last.motion:
        text = f"a step moves predictions by {last.motion['move']:.1g} of their spread"
        text = "all examples get the same prediction" if gait(last.motion) == "alike" else text
        found["JITTER"] = {"text": text, **last.motion, "n": looks}
    return found


def trend(losses: Blocks, looks: int, seconds: float) -> dict[str, Any]:
    """Return how the loss went: its beginning, where it is, and means of equally long blocks of steps.

    >>> blocks = Blocks()
    >>> for v in (2.0, 1.0): blocks.add(v)
    >>> trend(blocks, 0, 0.0)["curve"]
    {'steps': [1, 2], 'losses': [2.0, 1.0]}
    """
    start, level = losses.first[0], losses.means[-1] if losses.means else math.nan
    curve = {"steps": [(i + 1) * losses.size for i in range(len(losses.means))], "losses": rounded(losses.means)}
    return {"text": f"loss {start:.3g} to {level:.3g} in {losses.n} steps", "start": start, "loss": level, "n": losses.n,
            "looks": looks, "seconds": seconds, "curve": curve}  # fmt: skip


def predictions(looks: Sequence[Pulse], targets: Tensor | None, examples: int) -> dict[str, Any]:
    """Return the predictions on the first examples of the fixed batch at each look, as `Dynamics.json` does; empty without any.

    Without targets, or with some of another kind, it is the output that is the largest at the end.

    >>> import torch
    >>> looks = [Pulse(k, 1.0, motion={"move": 0.1, "turn": 0.0}, outputs=torch.tensor([[0.0, k], [k, 0.0]])) for k in (1, 2)]
    >>> predictions(looks, None, 2)["values"]
    [[1.0, 1.0], [2.0, 2.0]]
    """
    seen = [p for p in looks if p.outputs is not None and p.motion]
    seen = [p for p in seen if p.outputs.shape == seen[-1].outputs.shape]  # type: ignore[union-attr]
    if not seen:
        return {}
    at = (
        sorted({round(i * (len(seen) - 1) / max(1, _LOOKS - 1)) for i in range(_LOOKS)})
        if len(seen) > _LOOKS
        else range(len(seen))
    )
    outputs = [seen[i].outputs.double().cpu() for i in at]  # type: ignore[union-attr]
    steps = [seen[i].step for i in at]
    n = len(outputs[-1])
    found: dict[str, Any] = {**seen[-1].motion, "n": examples, "threshold": -0.5, "steps": steps}
    kind = None if targets is None else answer(outputs[-1], targets[:n].cpu())
    if targets is not None and kind is not None and targets[:n].numel() == n:
        dynamics = Dynamics(targets[:n].cpu(), kind)
        for step, shown in zip(steps, outputs, strict=True):
            dynamics.note(step, shown)
        return {**found, **dynamics.told()}
    top = outputs[-1].reshape(n, -1).argmax(1)
    values = [rounded(o.reshape(n, -1).gather(1, top[:, None]).reshape(-1).tolist(), 3) for o in outputs]
    return {**found, "values": values, "kind": "outputs", "targets": top.tolist()}
