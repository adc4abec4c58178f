"""One training, iterated by its owner: `for point in Run(task, params, steps=27, seed=0): ...`."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from whet.data.split import Data
from whet.errors import CheckpointError, FitError, TaskError, WhetError
from whet.metric import METRICS, Metric, metric
from whet.seed import key
from whet.task import Task
from whet.train.batches import batches, sizes
from whet.train.callback import Callback, hooks
from whet.train.fit import fit_loss, fit_metrics, fit_model, fit_optimizer
from whet.train.latency import OF_MODEL, of_model
from whet.train.loss import Loss
from whet.train.predict import forward, moved
from whet.train.settings import match_layout, same, settings
from whet.train.stream import stream
from whet.tune.plan import Plan
from whet.tune.space import Params
from whet.tune.trial import Goal, Point

__all__ = ["Run"]

_LOOK = 128  # steps between looks at the loss; each is a synchronisation on a GPU


class Run:
    """One training of a task's model under a configuration: iterate it to get a `Point` after each epoch.

    steps: epochs in all, those before a resume included (None: the task's); seed: of the initial weights, the order of
    the examples, augmentation and dropout, each from a stream of its own; device: "auto" is cuda when there is one;
    callbacks: see `whet.train.callback`; resume: what `state` returned.

    A point's value is the goal's metric on the whole validation split; its metrics are the task's others and "train_loss",
    the mean over the epoch's batches of what was minimised. Where the task's metrics or goals name them also "parameters", how many the model has, and "latency",
    the milliseconds of one example (`whet.train.latency`), measured once. "loss" is the task's loss on the whole validation split,
    without label smoothing. A loss or value that is not finite ends the run with a point whose value is NaN.

    Every random stream is keyed by (seed, purpose, epoch), so a run that is paused and resumed takes the same steps as one
    that is not, bit for bit on a CPU, and the global generators of its owner are left as they were. Pausing, stopping and
    budgets are the owner's `break`; iterating again goes on. A setting of the optimizer that `params` gives another value
    than the resumed state was made with (a learning rate that changes while training goes on) takes the new value.

    plan: the configuration of each step, in place of `params`; it changes between epochs as by a resume, to the bit.

    Raises TaskError when the task's parts do not fit together, CheckpointError when `resume` does not fit the model.

    >>> from whet.data.split import Split
    >>> class Lines(Task):
    ...     def data(self, params):
    ...         x = torch.linspace(-1, 1, 64)[:, None]
    ...         return Data(Split(x[::2], 3 * x[::2, 0]), Split(x[1::2], 3 * x[1::2, 0]), kind="regression")
    ...     def model(self, params):
    ...         return nn.Linear(1, 1)
    >>> points = list(Run(Lines(), {"lr": 0.1, "batch": 4}, steps=5, seed=0))
    >>> points[-1].step, points[-1].value < 0.5 < points[0].value
    (5, True)
    """

    def __init__(
        self,
        task: Task,
        params: Params,
        *,
        steps: int | None = None,
        seed: int = 0,
        device: str | torch.device = "auto",
        callbacks: Sequence[Callback] = (),
        resume: Mapping[str, Any] | None = None,
        plan: Plan | None = None,
    ) -> None:
        self.task, self.seed, self.plan = task, int(seed), plan
        self.steps = task.steps if steps is None else steps
        self.step = 0
        self.over = False  # whether a value that is not finite has ended it
        self.callbacks = tuple(callbacks)
        self.device = torch.device(("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device)
        self.outputs: np.ndarray | None = None  # (n_valid, ...) float32, of the last evaluation
        self._hooks = hooks(self.callbacks)
        self._build(params if plan is None else plan.at(1 if resume is None else int(resume["step"]) + 1))
        if resume is not None:
            self._resume(resume)

    def _build(self, params: Params) -> None:
        """Make every part under a configuration, as at the very beginning."""
        self.params = dict(params)
        task, name = self.task, type(self.task).__name__
        with stream(self.seed, "init", device=self.device):
            data = task.data(self.params)
            if not isinstance(data, Data):
                raise TaskError(f"{name}.data: must return a whet.Data, got {type(data).__name__!r}.")
            self.data = data.visible
        self.goal, self.metrics = measures(task, self.data)
        self._asked = (*task.measured(self.data), *(g.name for g in task.goals(self.data)[1:]))
        self._latency: float | None = None
        self.batch = task.batch(self.params)
        if not isinstance(self.batch, int) or self.batch < 1:
            raise TaskError(f"{name}.batch: must return a whole number >= 1, got {self.batch!r}. Use e.g. 32.")
        self.train, self.valid = (moved(s, self.device) for s in (self.data.train, self.data.valid))
        with stream(self.seed, "init", device=self.device):  # again: the weights must not depend on what data() drew
            self.model: nn.Module = fit_model(task.model(self.params), name).to(self.device)
            self.loss = task.loss(self.params)
            on_device = Data(self.train, self.valid, kind=data.kind, classes=data.classes)
            tried = fit_loss(self.model, self.loss, on_device, name)
            fit_metrics(tried, self.metrics, on_device, name)
            self.optimizer = fit_optimizer(task.optimizer(self.params, self.model), name)
            self.rate = task.rate(self.params)
            self.augment = task.augment(self.params)
        self._built = settings(self.optimizer)
        self.alone = not any(isinstance(m, _BatchNorm) for m in self.model.modules())
        self._sizes = sizes(len(self.train), self.batch, alone=self.alone)

    def change(self, params: Params) -> None:
        """Go on under another configuration: every part is made anew under it and takes over weights, memory and step.

        Raises CheckpointError when the weights do not fit, TaskError when callbacks may hold what is replaced.
        """
        if self.callbacks:
            named = type(self.callbacks[0]).__name__
            raise TaskError(f"change: the callback {named} may hold the model that is replaced. Leave callbacks out.")
        state = self.state()
        self._build(params)
        self._resume(state)

    def __iter__(self) -> Iterator[Point]:
        """Train on; yield a point after each epoch until `steps` are done."""
        if self._hooks["start"]:
            with stream(self.seed, "start", self.step, device=self.device):
                for hook in self._hooks["start"]:
                    hook(self)
        try:
            while self.step < self.steps and not self.over:
                if self.plan is not None and (params := dict(self.plan.at(self.step + 1))) != self.params:
                    self.change(params)
                yield self._epoch()
        finally:
            for hook in self._hooks["end"]:
                hook(self)

    def evaluate(self) -> dict[str, float]:
        """Return every metric on the whole validation split, and set `outputs`, without taking a step."""
        with stream(self.seed, "valid", self.step, device=self.device):
            return self._measure()

    def _measure(self) -> dict[str, float]:
        outputs, truth = forward(self.model, self.valid), self.data.valid.targets.numpy()
        self.outputs = outputs.float().cpu().numpy()
        found: dict[str, float] = {}
        for name, measure in self.metrics.items():
            if name == "loss":
                plain = self.loss.plain() if isinstance(self.loss, Loss) else self.loss
                with torch.inference_mode():
                    found[name] = float(plain(outputs, self.valid.targets))
            else:
                found[name] = float(measure.compute(self.outputs, truth))
        model = of_model(self._asked, self.model, self.valid, self._latency)
        self._latency = model.get("latency")
        found |= model
        return found

    def state(self) -> dict[str, Any]:
        """Return all that another run needs to go on from here, copied, as `whet.train.checkpoint.pack` takes it."""
        return {
            "step": self.step,
            "seed": self.seed,
            "over": self.over,
            "model": copy.deepcopy(dict(self.model.state_dict())),
            "optimizer": copy.deepcopy(self.optimizer.state_dict()),
            "settings": copy.deepcopy(self._built),
            "callbacks": [copy.deepcopy(c.state()) for c in self.callbacks],
            **({} if self._latency is None else {"latency": self._latency}),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go back to an earlier `state` of this run: its weights, optimizer and step; `outputs` is None until evaluated.

        Raises CheckpointError when the state does not fit.
        """
        self._resume(state)
        self.outputs = None

    def _epoch(self) -> Point:
        with stream(self.seed, "train", self.step, device=self.device):
            train_loss = self._steps()
            self.step += 1
            if math.isfinite(train_loss):
                found = {**self._measure(), "train_loss": train_loss}
                point = Point(self.step, found.pop(self.goal.name), metrics=found)
            else:
                point = Point(self.step, math.nan, metrics={"train_loss": train_loss})
            for hook in self._hooks["point"]:
                point = hook(self, point) or point
        self.over = not math.isfinite(point.value)
        return Point(point.step, math.nan, point.cost, point.metrics) if self.over else point

    def _steps(self) -> float:
        """Take the steps of one epoch; return the mean loss over its examples."""
        model, loss_of, optimizer, rate, augment = self.model, self.loss, self.optimizer, self.rate, self.augment
        on_batch, on_loss, on_grad, on_step = (self._hooks[n] for n in ("batch", "loss", "grad", "step"))
        groups = [
            (group, built["lr"]) for group, built in zip(optimizer.param_groups, self._built, strict=True) if rate
        ]
        chance = generator(self.device, self.seed, "augment", self.step) if augment else None
        order = torch.randperm(len(self.train), generator=generator("cpu", self.seed, "order", self.step))
        losses: list[Tensor] = []
        model.train()
        for i, (inputs, targets) in enumerate(batches(self.train, order.to(self.device), self._sizes)):
            if augment is not None:
                inputs, targets = augment(inputs, targets, chance)  # type: ignore[arg-type]
            for hook in on_batch:
                inputs, targets = hook(self, inputs, targets) or (inputs, targets)
            if rate is not None:
                factor = rate(self.step + i / len(self._sizes))
                for group, lr in groups:
                    group["lr"] = lr * factor
            optimizer.zero_grad()
            loss = loss_of(model(*inputs), targets)
            for hook in on_loss:
                changed = hook(self, loss)
                loss = loss if changed is None else changed
            loss.backward()
            for hook in on_grad:
                hook(self)
            optimizer.step()
            for hook in on_step:
                hook(self)
            losses.append(loss.detach())
            if i % _LOOK == _LOOK - 1 and not math.isfinite(losses[-1].item()):
                return math.nan
        weights = torch.tensor(self._sizes, dtype=torch.float64)
        return float(torch.stack(losses).double().cpu() @ weights / weights.sum())

    def _resume(self, state: Mapping[str, Any]) -> None:
        try:
            self.model.load_state_dict(state["model"])
            # A copy: PyTorch would go on writing into the caller's tensors.
            self.optimizer.load_state_dict(copy.deepcopy(dict(state["optimizer"])))
            groups = zip(self.optimizer.param_groups, self._built, state["settings"], strict=True)
            for group, built, before in groups:
                group.update({k: v for k, v in built.items() if k not in before or not same(before[k], v)})
            for callback, remembered in zip(self.callbacks, state["callbacks"], strict=True):
                callback.load(copy.deepcopy(remembered))
            self.step, self.over = int(state["step"]), bool(state["over"])
            self._latency = state.get("latency", self._latency)
        except (RuntimeError, KeyError, ValueError, TypeError) as e:
            if isinstance(e, WhetError):
                raise
            raise CheckpointError(
                f"resume: the state does not fit {type(self.model).__name__} under {self.params}: "
                f"{type(e).__name__}: {e}. Resume with the structure it was saved from."
            ) from e
        match_layout(self.optimizer)


def measures(task: Task, data: Data) -> tuple[Goal, dict[str, Metric]]:
    """Return the goal whose metric is reported, and all metrics to compute, by name."""
    goals = task.goals(data)
    goal = goals[0]
    assert isinstance(goal, Goal)
    others = [g.name for g in goals[1:] if g.name in METRICS]  # what a callback adds may be a goal too
    names = dict.fromkeys((goal.name, *task.measured(data), *others))
    found = {}
    for name in names:
        if name == "train_loss" or name in OF_MODEL:
            continue
        try:
            found[name] = metric(name)
        except WhetError as e:
            raise FitError(f"{type(task).__name__}: {e}") from None
        if found[name].kind not in (None, data.kind):
            what = "goal" if name in (goal.name, *others) else "metrics"
            raise FitError(f"{type(task).__name__}.{what}: {name} is for {found[name].kind}, the data are {data.kind}.")
    return goal, found


def generator(device: str | torch.device, *parts: int | str) -> torch.Generator:
    """Return a generator of its own, seeded by `parts`."""
    return torch.Generator(device).manual_seed(key(*parts))
