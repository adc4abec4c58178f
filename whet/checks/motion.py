"""How the predictions on a fixed batch move from step to step: too far back and forth, or hardly at all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn

from whet.checks.sandbox import untouched
from whet.checks.subject import call, tensors

__all__ = ["Motion", "gait", "movement"]


_SHOWN, _WIDE = 12, 1000  # examples, numbers of each, that are kept to be drawn


def movement(before: Tensor, between: Tensor, after: Tensor) -> dict[str, float]:
    """Return how predictions (n, ...) move over two steps in a row.

    move: the first step's root mean square change over the predictions' own spread about their mean over the examples;
    turn: the cosine of the two steps' changes; -1 is there and back. About an optimum of curvature h, noisy steps of
    rate r have an expected turn of -r h / 2: -0.5 means that a step jumps to the far side, -1 that it diverges.

    >>> a, b = torch.tensor([[0.0], [2.0]]), torch.tensor([[1.0], [2.0]])
    >>> {k: round(v, 3) for k, v in movement(a, b, a).items()}
    {'move': 1.414, 'turn': -1.0}
    """
    f, g, h = (t.detach().double().reshape(len(t), -1) for t in (before, between, after))
    first, second = g - f, h - g
    spread = (g - g.mean(0)).square().mean().sqrt()
    sizes = first.norm() * second.norm()
    return {"move": float(first.square().mean().sqrt() / spread.clamp(min=1e-12)),
            "turn": float((first * second).sum() / sizes) if float(sizes) > 0 else 0.0}  # fmt: skip


def gait(motion: Mapping[str, float]) -> Literal["alike", "jitter", "still", "steady"]:
    """Return how predictions go by their movement: back and forth (turn < -0.5, over 1 % of their spread), hardly, or steadily.

    Alike: a step moves them by over 100 times their spread, so every example gets about the same.

    >>> gait({"move": 0.1, "turn": -0.9}), gait({"move": 1e-6, "turn": 1.0}), gait({"move": 0.1, "turn": 0.2})
    ('jitter', 'still', 'steady')
    """
    if motion["move"] > 100:
        return "alike"
    if motion["turn"] < -0.5 and motion["move"] > 0.01:
        return "jitter"
    return "still" if motion["move"] < 1e-5 else "steady"


class Motion:
    """Predictions on a fixed batch at the moments it is asked for, in eval mode, leaving no trace.

    The model is called without gradient, its modules' training flags and PyTorch's random state put back.

    >>> model = nn.Sequential(nn.Linear(2, 1), nn.Dropout(0.5))
    >>> motion = Motion(model, (torch.ones(3, 2),))
    >>> for _ in range(3):
    ...     motion.ask()
    ...     _ = model[0].bias.data.add_(1)
    >>> round(motion.read()["turn"], 3), model.training
    (1.0, True)
    """

    def __init__(self, model: nn.Module, inputs: Any) -> None:
        self.model, self.inputs = model, inputs
        self._seen: list[Tensor] = []
        self.shown: Tensor | None = None  # the last predictions on a few examples, where they are few numbers

    def ask(self) -> None:
        """Predict once and remember."""
        with untouched(self.model), torch.no_grad():
            for module in self.model.modules():
                module.training = False
            found = tensors(call(self.model, self.inputs))
            first = next((t for t in found if t.is_floating_point() and t.ndim and len(t) > 1), None)
            if first is None:
                raise TypeError("the model returns no tensor of floating point numbers with a row per example")
            self._seen.append(first.clone())

    def read(self) -> dict[str, float]:
        """Return the movement over the last three predictions, and forget them; empty when there are not three."""
        seen, self._seen = self._seen[-3:], []
        last = seen[-1][:_SHOWN] if seen else None
        self.shown = last if last is not None and last[0].numel() <= _WIDE else None
        if len(seen) < 3 or len({t.shape for t in seen}) > 1:
            return {}
        return movement(*seen)
