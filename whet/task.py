"""What is learned: a `Task` brings the data and the model together with all that training needs.

A user subclasses `Task` and fills in `data` and `model`; every other method has a default that reads the configuration.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from whet.data.split import Data
from whet.errors import TaskError
from whet.metric import default_metrics
from whet.train import loss as losses
from whet.train import optim, rate
from whet.tune.space import Choice, Domain, Ordered, Params, Space
from whet.tune.trial import Bound, Goal, parse_goals

__all__ = ["Augment", "Task"]

# Changes a training batch: (inputs, targets, generator) -> (inputs, targets)
Augment = Callable[[tuple[Tensor, ...], Tensor, torch.Generator], tuple[tuple[Tensor, ...], Tensor]]

# The names, or last parts of dotted names, of what `plain` switches off.
REGULARISERS = frozenset((
    "augment", "augmentation", "cutmix", "cutout", "drop_path", "dropout", "erase", "input_dropout", "jitter", "l1", "l2",
    "label_smoothing", "mixup", "noise", "stochastic_depth", "weight_decay",
))  # fmt: skip
OFF = ("none", "off", "no", None, False, 0, 0.0)


class Task:
    """What is learned; subclass it and fill in `data` and `model`.

    space: the configurations to search; goal: "max accuracy", "min loss", a list with more goals and bounds such as
    ["max accuracy", "min parameters", "loss <= 0.5"], or "" to go by the kind of data; steps: epochs of a whole training; seed:
    of the splits; name: what the study and its folder are called; metrics: names of `whet.metric`, "parameters", how many the
    model has, or "latency", the milliseconds of one example, () to go by the kind of data;
    stop: when to end a training early, such as "patience 5" (see `whet.stop.parse`), "" for never; causal: the outputs of
    each step of a sequence must not depend on later steps of the inputs, for `whet check`, which sees by itself when the
    targets are the inputs shifted by one.

    Every method is handed the configuration, and none may keep anything of it: the same params give the same thing.

    >>> from whet.data.split import Split
    >>> from whet.tune.space import Float
    >>> class Lines(Task):
    ...     space = Space(lr=Float(1e-4, 1e-1, log=True))
    ...     def data(self, params):
    ...         x = torch.linspace(-1, 1, 60)[:, None]
    ...         return Data(Split(x[::2], 3 * x[::2, 0]), Split(x[1::2], 3 * x[1::2, 0]), kind="regression")
    ...     def model(self, params):
    ...         return nn.Linear(1, 1)
    >>> task = Lines()
    >>> task.name, [str(g) for g in task.goals(task.data({}))], type(task.optimizer({}, nn.Linear(1, 1))).__name__
    ('lines', ['min rmse'], 'Adam')
    """

    space: Space = Space()
    goal: str | Sequence[str] = ""
    steps: int = 27
    seed: int = 0
    name: str = ""
    metrics: tuple[str, ...] = ()
    stop: str = ""
    causal: bool = False

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if not cls.__dict__.get("name"):
            cls.name = cls.__name__.lower()

    def data(self, params: Params) -> Data:
        """Return the data. Its splits depend on `self.seed`, never on `params`; its preparation may depend on both."""
        raise TaskError(
            f"{type(self).__name__}: data(params) is missing. Return a whet.Data with a train and valid split."
        )

    def model(self, params: Params) -> nn.Module:
        """Return a new model, with its initial weights drawn from PyTorch's global generator (the run has seeded it)."""
        raise TaskError(f"{type(self).__name__}: model(params) is missing. Return a torch.nn.Module.")

    def loss(self, params: Params) -> Callable[[Tensor, Tensor], Tensor]:
        """Return the loss: outputs (n, ...), targets (n, ...) -> scalar mean. Default: `whet.train.loss.loss`.

        That is the cross-entropy for class numbers and the squared error for real targets, unless "loss" says otherwise.
        """
        return losses.loss(params)

    def optimizer(self, params: Params, model: nn.Module) -> torch.optim.Optimizer:
        """Return the optimizer over the model's parameters. Default: `whet.train.optim.optimizer`, Adam at 3e-4."""
        return optim.optimizer(params, model)

    def rate(self, params: Params) -> Callable[[float], float] | None:
        """Return the factor on the learning rate by epochs done, or None. Default: `whet.train.rate.rate`, constant."""
        return rate.rate(params, self.steps)

    def augment(self, params: Params) -> Augment | None:
        """Return what changes a training batch, or None (the default).

        It is called as `augment(inputs, targets, generator)` with inputs always a tuple, returns both, and must draw all
        its random numbers from `generator`. Validation batches never pass through it.
        """
        return None

    def batch(self, params: Params) -> int:
        """Return the number of examples of a training batch. Default: the value of "batch", else 32."""
        return int(params.get("batch", 32))  # type: ignore[arg-type]

    def goals(self, data: Data) -> tuple[Goal | Bound, ...]:
        """Return the goals, parsed; by the kind of data when `goal` is "": max accuracy, or min rmse.

        Raises StudyError when a goal cannot be read.
        """
        return parse_goals(self.goal or ("max accuracy" if data.kind == "classification" else "min rmse"))

    def measured(self, data: Data) -> tuple[str, ...]:
        """Return the names of the metrics to report beside the goal's; by the kind of data when `metrics` is ()."""
        return tuple(self.metrics) or default_metrics(data.kind)

    def plain(self, params: Params) -> dict[str, Any]:
        """Return `params` with augmentation and regularisers off, for looking at the skeleton.

        Off are dropout, weight_decay, label_smoothing, mixup, cutmix, augment, l1, l2, noise and the like, also as the last
        part of a dotted name ("net.dropout"). A number becomes 0, even where its domain starts above; True becomes
        False. A named option becomes its domain's "none", "off", None, False or 0, and what its branch held is dropped;
        where the domain has none of these it stays, since the task would not know another name. Constants stay: they are
        the task's own. So the result may be outside the space in numbers only.

        >>> from whet.tune.space import Float, Int
        >>> class T(Task):
        ...     space = Space(dropout=Float(0.1, 0.5), augment=Choice(["flip", "none"]), width=Int(1, 9))
        >>> T().plain({"dropout": 0.3, "augment": "flip", "width": 4})
        {'dropout': 0.0, 'augment': 'none', 'width': 4}
        """
        domains = {d.name: d.domain for d in self.space.dims}
        fixed = set(self.space.names) - set(domains)  # the constants
        found = dict(params)
        for name, value in params.items():
            if name.rpartition(".")[2] in REGULARISERS and name not in fixed and name in found:
                found[name] = off(value, domains.get(name))
                if found[name] != value and isinstance(domains.get(name), Choice):
                    found = {k: v for k, v in found.items() if not k.startswith(name + ".")}
        return found


def off(value: Any, domain: Domain | None) -> Any:
    """Return the value that switches a regulariser off, as close to its domain as one exists."""
    options = domain.options if isinstance(domain, Choice) else domain.values if isinstance(domain, Ordered) else None
    if options is not None:
        for option in OFF:
            if any(option == o and type(option) is type(o) for o in options):
                return option
    if isinstance(value, bool):
        return False
    if isinstance(value, (int, float)):
        return type(value)(0)
    return "none" if domain is None and isinstance(value, str) else value
