"""The gradient of what a training ends with by the real numbers of its configuration."""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from whet.errors import TaskError, UsageError
from whet.task import Task
from whet.train.hypergradient.implicit import implicit
from whet.train.hypergradient.lifted import Lifted, real_names
from whet.train.hypergradient.outer import outer
from whet.train.hypergradient.unrolled import Recorder, size_of, unrolled
from whet.train.run import Run
from whet.tune.space import Params
from whet.units import show_bytes

__all__ = ["METHODS", "Hypergradient", "Tape", "hypergradient"]

METHODS = ("unrolled", "implicit")
_SOLVED = 6.0  # epochs that an implicit gradient costs, whatever the training's length
_MEMORY = 2**30  # bytes of states that a training keeps


@dataclass(frozen=True)
class Hypergradient:
    """What was found. gradient: d value / d hyperparameter, by name, of those that have one; of: what was measured, "loss" in place of a metric that has no
    gradient; value: it, on the validation split; epochs: how far back it goes; cost: what it took, in epochs of training.
    """

    gradient: Mapping[str, float]
    of: str
    value: float
    epochs: int
    cost: float

    def metrics(self, goal: str) -> dict[str, float]:
        """Return what a trial reports, so that a searcher can go by it: "gradient.NAME", or "gradient(loss).NAME" and the loss where `goal` has no gradient.

        >>> Hypergradient({"lr": -2.0}, "loss", 0.5, 3, 15.0).metrics("accuracy")
        {'loss': 0.5, 'gradient(loss).lr': -2.0}
        """
        if self.of == goal:
            return {f"gradient.{n}": g for n, g in self.gradient.items()}
        return {self.of: self.value, **{f"gradient({self.of}).{n}": g for n, g in self.gradient.items()}}


class Tape:
    """The states of a training after each of its epochs, from which its gradient goes back; the last ones, as many as fit into `memory` bytes.

    >>> tape = Tape()
    >>> tape.take({"step": 0, "model": {"w": torch.zeros(3)}})
    >>> len(tape.states), tape.whole
    (1, True)
    """

    def __init__(self, memory: int = _MEMORY) -> None:
        self.memory = memory
        self.states: deque[Mapping[str, Any]] = deque()
        self.full = False  # whether some had to go
        self._bytes = 0

    def take(self, state: Mapping[str, Any]) -> None:
        """Add the state after the next epoch, or after an earlier one that was gone back to; the first go when there are too many."""
        self.drop(state["step"] - 1)
        self.states.append(state)
        self._bytes += size_of(state)
        while len(self.states) > 2 and self._bytes > self.memory:
            self._bytes -= size_of(self.states.popleft())
            self.full = True

    def drop(self, step: int) -> None:
        """Forget what came after epoch `step`."""
        while self.states and self.states[-1]["step"] > step:
            self._bytes -= size_of(self.states.pop())

    @property
    def whole(self) -> bool:
        """Whether it holds the training from its beginning."""
        return bool(self.states) and self.states[0]["step"] == 0


def hypergradient(
    task: Task,
    params: Params,
    *,
    steps: int,
    seed: int = 0,
    device: str | torch.device = "auto",
    method: str = "unrolled",
    tape: Tape | None = None,
) -> Hypergradient:
    """Return the gradient of what a training of `steps` epochs ends with by the real numbers (`Float`) of its configuration.

    method: "unrolled", backwards through every step (Maclaurin, Duvenaud and Adams 2015, with states kept instead of computed back), exact, for all that the loss, the optimizer and the
    augmentation of the task are made of: learning rates, weight decay, momentum, weights of a loss, label smoothing, strengths; or "implicit", where
    it has converged (see `whet.train.hypergradient.implicit`). tape: of the training when it took place already, else it is trained anew. When the states of all epochs do not fit into the tape's memory the
    gradient goes back through the last ones (Shaban et al. 2019), and a RuntimeWarning says so.

    A hyperparameter has no gradient where the task makes a number of it (`float(...)`), as where it goes into the model: dropout, widths. The metrics loss, mse, rmse and
    mae have gradients; for another goal that of the loss is found.

    Raises UsageError for an unknown method, TaskError for an optimizer whose steps cannot be differentiated or a configuration that trains on several workers.

    >>> from torch import nn
    >>> from whet.data.split import Data, Split
    >>> from whet.tune.space import Float, Space
    >>> class Lines(Task):
    ...     space = Space(lr=Float(1e-3, 1.0, log=True))
    ...     def data(self, params):
    ...         x = torch.linspace(-1, 1, 64)[:, None]
    ...         return Data(Split(x[::2], 3 * x[::2, 0]), Split(x[1::2], 3 * x[1::2, 0]), kind="regression")
    ...     def model(self, params):
    ...         return nn.Linear(1, 1)
    >>> found = hypergradient(Lines(), {"optimizer": "sgd", "lr": 0.02, "batch": 4}, steps=2)
    >>> found.of, found.gradient["lr"] < 0  # a larger rate would have come further
    ('rmse', True)
    """
    if method not in METHODS:
        raise UsageError(f"hypergradient: no method {method!r}. Allowed: {', '.join(METHODS)}.")
    if "rule" in params and "workers" in params:
        raise TaskError(
            "hypergradient: a training on several workers has no gradient. Take rule and workers out of the space, or use another searcher."
        )
    recorder = Recorder()
    run = Run(task, params, steps=steps, seed=seed, device=device, callbacks=[recorder])
    lifted = Lifted(task, params, real_names(task, params), run.model)
    states, trained = _states(run, tape, steps)
    run.restore({**states[-1], "callbacks": [None]})
    end = outer(run.model, run.valid, lifted, run.goal.name)
    if method == "implicit":
        return Hypergradient(implicit(run, lifted, end), end.of, end.value, 0, _SOLVED + trained)
    epochs = len(states) - 1
    if states[0]["step"] > 0:
        warnings.warn(
            f"hypergradient: it goes back through the last {epochs} of {states[-1]['step']} epochs: the states of all do not fit into "
            f"{show_bytes(tape.memory if tape else _MEMORY)}. A gradient by all of them needs a smaller model or fewer epochs.",
            RuntimeWarning,
            stacklevel=2,
        )
    gradient, cost = unrolled(run, states, lifted, end, memory=_MEMORY if tape is None else tape.memory)
    return Hypergradient(gradient, end.of, end.value, epochs, cost + trained)


def _states(run: Run, tape: Tape | None, steps: int) -> tuple[Sequence[Mapping[str, Any]], int]:
    """Return the states after each epoch, and how many were trained for them: none, when the tape holds the training."""
    if tape is not None and len(tape.states) > 1 and tape.states[-1]["step"] == steps and (tape.whole or tape.full):
        return list(tape.states), 0
    new = Tape(_MEMORY if tape is None else tape.memory)
    new.take(run.state())
    for _ in run:
        new.take(run.state())
    return list(new.states), steps
