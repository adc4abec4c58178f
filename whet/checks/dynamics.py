"""What a model says of a few fixed examples while it learns, step by step: does it settle, or flip back and forth?"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from whet.checks.motion import movement
from whet.checks.subject import Answer
from whet.checks.traced import rounded

__all__ = ["Dynamics"]


class Dynamics:
    """Predictions on a fixed batch over the steps of a training, and how they move from one step to the next.

    targets: of the fixed examples; kind: what outputs and targets are to each other. What is recorded of an example is
    the probability that softmax gives its class, or the number that is predicted, and only where there is one of them an
    example. Movement (see `whet.checks.motion.movement`) is taken over three steps in a row, over all examples.

    >>> dynamics = Dynamics(torch.tensor([0, 1]), Answer("classes", 1, 2))
    >>> for step in range(3):
    ...     dynamics.note(step, torch.tensor([[2.0 * step, 0.0], [0.0, 1.0 * step]]))
    >>> found = dynamics.json()
    >>> found["steps"], found["values"][2], round(found["turn"], 2)
    ([0, 1, 2], [0.982, 0.881], 1.0)
    """

    most = 12  # examples that are recorded; all of them count in the movement

    def __init__(self, targets: Tensor, kind: Answer) -> None:
        self.targets, self.kind = targets, kind
        self._single = targets.numel() == len(targets)
        self._steps: list[int] = []
        self._values: list[list[float | None]] = []
        self._last: list[tuple[int, Tensor]] = []
        self._moves: list[dict[str, float]] = []

    @classmethod
    def wanted(cls, step: int, looks: tuple[int, ...]) -> bool:
        """Whether to predict after this step: after each at first and before each look, else after every fifth.

        >>> [step for step in range(60) if Dynamics.wanted(step, (50,))][20:]
        [20, 25, 30, 35, 40, 41, 42, 43, 44, 45, 46, 47, 48, 49, 50, 55]
        """
        return step < 20 or step % 5 == 0 or any(0 <= look - step < 10 for look in looks)

    def note(self, step: int, outputs: Tensor) -> None:
        """Add the outputs after a step, shape (n, ...)."""
        outputs = outputs.detach()
        self._last = [*self._last[-2:], (step, outputs)]
        steps = [s for s, _ in self._last]
        if steps == list(range(step - 2, step + 1)):
            self._moves.append(movement(*(o for _, o in self._last)))
        if not self._single:
            return
        shown = outputs[: self.most]
        if self.kind.kind == "classes":
            known = self.targets[: self.most].reshape(-1, 1).clamp(0, self.kind.count - 1).long()
            shown = shown.softmax(self.kind.axis).gather(self.kind.axis, known.to(shown.device))
        self._steps.append(step)
        self._values.append(rounded(shown.reshape(-1).tolist(), 3))

    def json(self) -> dict[str, Any]:
        """Return what was recorded: steps, values (steps x examples), targets, and the movement at the end.

        move and turn: medians over the last eight times that three steps in a row were seen; empty without any.
        """
        last = [m for m in self._moves[-8:] if all(map(math.isfinite, m.values()))]
        if not last:
            return {}
        found: dict[str, Any] = {k: float(torch.tensor([m[k] for m in last]).median()) for k in ("move", "turn")}
        return {**found, "n": len(self.targets), "threshold": -0.5, **self.told()}

    def told(self) -> dict[str, Any]:
        """Return steps, values and targets of the first examples; empty where an example has several targets."""
        if not self._steps:
            return {}
        targets = self.targets[: self.most].reshape(-1).tolist()
        return {"steps": self._steps, "values": self._values, "kind": self.kind.kind,
                "targets": targets if self.kind.kind == "classes" else rounded(targets)}  # fmt: skip
