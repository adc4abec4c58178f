"""What may be put into a training loop: a callback's methods, called at the places their names say.

start(run)
for each epoch:
    for each batch:
        inputs, targets = batch(run, inputs, targets)      # may change what is trained on
        loss = loss(run, loss)                             # may change what is minimised
        loss.backward()
        grad(run)                                          # gradients are there: clip, add noise, look
        optimizer.step()
        step(run)                                          # weights have changed: average, project, look
    point = point(run, point)                              # evaluated: add metrics
end(run)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from torch import Tensor

from whet.tune.trial import Point

if TYPE_CHECKING:
    from whet.train.run import Run

__all__ = ["Callback", "hooks"]

NAMES = ("start", "batch", "loss", "grad", "step", "point", "end")


class Callback:
    """The only way to change the inside of a step; fill in what is needed. The order of the list is the only order.

    A method that is not filled in costs nothing: the run does not call it. A callback that remembers something across
    epochs returns it from `state` and takes it back in `load`, so that a resumed run equals an uninterrupted one.

    >>> class Clip(Callback):
    ...     def grad(self, run):
    ...         torch.nn.utils.clip_grad_norm_(run.model.parameters(), 1.0)
    >>> import torch
    >>> {name: len(methods) for name, methods in hooks([Clip()]).items() if methods}
    {'grad': 1}
    """

    def start(self, run: Run) -> None:
        """Look at the run before its first step, or its first one after it was resumed."""

    def batch(self, run: Run, inputs: tuple[Tensor, ...], targets: Tensor) -> tuple[tuple[Tensor, ...], Tensor] | None:
        """Return other (inputs, targets) for this step, or None to keep them; they are augmented already."""

    def loss(self, run: Run, loss: Tensor) -> Tensor | None:
        """Return another scalar to minimise in this step, or None to keep it."""

    def grad(self, run: Run) -> None:
        """Look at or change the gradients in place, before the optimizer uses them."""

    def step(self, run: Run) -> None:
        """Look at or change the weights, after the optimizer has changed them."""

    def point(self, run: Run, point: Point) -> Point | None:
        """Return another point for this epoch, or None to keep it; `run.outputs` are the validation outputs."""

    def end(self, run: Run) -> None:
        """Clean up: the run has taken its last step, or its owner has stopped iterating it."""

    def state(self) -> Any:
        """Return what the callback must remember across a resume, as `whet.train.checkpoint.pack` takes it, or None."""
        return None

    def load(self, state: Any) -> None:
        """Take back what `state` returned."""


def hooks(callbacks: Sequence[Callback]) -> Mapping[str, tuple[Callable[..., Any], ...]]:
    """Return, by name, the methods that were filled in, in the order of the callbacks."""
    return {
        name: tuple(getattr(c, name) for c in callbacks if getattr(type(c), name) is not getattr(Callback, name))
        for name in NAMES
    }
