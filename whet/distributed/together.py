"""A trial trained by several workers: the rule, their number and the rule's options are hyperparameters like any other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from whet.data.split import Data
from whet.distributed.named import parse_rule
from whet.distributed.simulate import Simulation
from whet.errors import TaskError
from whet.task import Task
from whet.tune.space import Params
from whet.tune.trial import Goal, Point

__all__ = ["Together", "rule_in"]


def rule_in(params: Params) -> str:
    """Return the rule that a configuration names, as text, or "" when it is for one worker: it has no "rule" and "workers".

    Options come from the branch of the rule, "rule.alpha"; one whose name Python keeps may end in "_". Raises TaskError for options
    of a rule that has some already, or is several.

    >>> rule_in({"rule": "dc-asgd", "rule.lambda_": 1.5, "workers": 4}), rule_in({"lr": 0.1})
    ('dc-asgd(lambda=1.5)', '')
    """
    if "rule" not in params or "workers" not in params:
        return ""
    text = str(params["rule"])
    options = {k.removeprefix("rule.").rstrip("_"): v for k, v in params.items() if k.startswith("rule.")}
    if options and ("(" in text or "+" in text):
        raise TaskError(
            f"rule: {text!r} cannot take {', '.join(options)} from its branch: it is not one bare name. Use e.g. "
            '{"dc-asgd": Space(lambda_=Float(0.1, 4, log=True))}.'
        )
    return text + (f"({', '.join(f'{k}={v!r}' for k, v in options.items())})" if options else "")


class Together:
    """Train a configuration on as many simulated workers as it says; iterate it as a `whet.train.run.Run`.

    Its "rule" and "workers" say how, "rule.NAME" options of the rule, "shuffle" (global) who sees what. Points have the metric
    "seconds", the virtual time since the start in steps of one worker, so that a goal can bound it: ["max accuracy", "seconds <= 400"]. A
    state holds, beside a run's, the weights of every worker. resume: what `state` returned.

    Raises TaskError or UsageError when the configuration names no such rule or number of workers.

    >>> import torch
    >>> from whet.data.split import Split
    >>> class Lines(Task):
    ...     def data(self, params):
    ...         x = torch.linspace(-1, 1, 64)[:, None]
    ...         return Data(Split(x[::2], 3 * x[::2, 0]), Split(x[1::2], 3 * x[1::2, 0]), kind="regression")
    ...     def model(self, params):
    ...         return torch.nn.Linear(1, 1)
    >>> params = {"lr": 0.1, "batch": 4, "rule": "bounded", "rule.s": 2, "workers": 4}
    >>> points = list(Together(Lines(), params, steps=5, seed=0))
    >>> points[-1].step, points[-1].value < points[0].value, 8 < points[-1].metrics["seconds"] < 20
    (5, True, True)
    """

    def __init__(
        self, task: Task, params: Params, *, steps: int, seed: int = 0, resume: Mapping[str, Any] | None = None
    ) -> None:
        workers = self.workers_in(params)
        rule, shuffle = parse_rule(rule_in(params)), str(params.get("shuffle", "global"))
        self.simulation = Simulation(
            task, params, rule=rule, workers=workers, steps=steps, seed=seed, shuffle=shuffle
        )  # fmt: skip
        self._run = self.simulation.run
        self.goal: Goal = self._run.goal
        if resume is not None:
            self._run.restore(resume)
            self.simulation.load(resume["simulation"])

    @staticmethod
    def workers_in(params: Params) -> int:
        """Return how many workers a configuration names; raise TaskError when that is no number of them."""
        workers = params.get("workers")
        if not isinstance(workers, int) or isinstance(workers, bool) or workers < 1:
            raise TaskError(f"workers: must be a whole number >= 1, got {workers!r}. Use e.g. Int(2, 16, log=True).")
        return workers

    @property
    def over(self) -> bool:
        """Whether a value that is not finite has ended it."""
        return self._run.over

    @property
    def data(self) -> Data:
        """The data, without the test split."""
        return self._run.data

    @property
    def outputs(self) -> np.ndarray | None:
        """Validation outputs (n, ...) of the last evaluation."""
        return self._run.outputs

    @outputs.setter
    def outputs(self, values: np.ndarray | None) -> None:
        self._run.outputs = values

    def __iter__(self) -> Iterator[Point]:
        """Train on; yield a point after each epoch's worth of batches, with no cost: an epoch costs what an epoch costs here."""
        for point in self.simulation:
            yield replace(point, cost=0.0, metrics={**point.metrics, "seconds": float(point.cost)})

    def evaluate(self) -> dict[str, float]:
        """Return every metric on the validation split."""
        return self._run.evaluate()

    def state(self) -> dict[str, Any]:
        """Return a run's state, with that of the workers."""
        return {**self._run.state(), "simulation": self.simulation.state()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Put back the model of an earlier point; the training is over then."""
        self._run.restore(state)
