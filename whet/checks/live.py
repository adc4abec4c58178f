"""Watch a training while it runs: the same findings as before it, a small share of its time, and an end to hopeless ones."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from whet.checks.floor import prior as prior_of
from whet.checks.glance import Watch
from whet.checks.pulse import Pulse
from whet.checks.record import facts as measured
from whet.checks.record import predictions, trend
from whet.checks.source import place
from whet.checks.subject import Subject, mapped
from whet.checks.trend import Blocks
from whet.checks.verdicts import verdicts
from whet.errors import DivergedError, UsageError
from whet.finding import Finding, Health, NotRun, Severity
from whet.train.callback import Callback
from whet.tune.trial import Point

if TYPE_CHECKING:
    from whet.train.run import Run

__all__ = ["Live"]

_HOPELESS = ("diverges", "flat")  # WARNs that end a run; every FAIL does
_PATIENCE = 200  # losses without a step of the optimizer


class Live(Callback):
    """Look at a training every so often: loss, gradients, weights, updates, dead units, predictions on a fixed batch.

    In a `Run`, as a callback: `Run(task, params, callbacks=[Live()])`. In a loop of one's own, two lines:

        live = Live(model, optimizer)
        for x, y in batches:
            ...                       # zero_grad, forward, backward, optimizer.step(), as ever
            live.step(loss)           # the loss, a tensor or a number

    every: losses between two looks, at least; share: of the time, at most, that looks may take (they get rarer instead;
    None: no limit, then the same training gives the same findings); grace: seconds of looks that are free of that, so that
    a short training is seen at all; stop: end a hopeless run: a `Run` ends with a point
    whose value is NaN, as after a loss that is not finite; in a loop of one's own `step` raises DivergedError. allow: codes
    not to report; batch: the inputs to predict on (None: the first ones the model is trained on; in a Run, 64
    validation examples); prior: the loss of the best constant outputs (None: the loss at the beginning is what must be
    beaten; in a Run it is computed).

    health: what was found so far, with the loss and the predictions on the fixed batch over the steps among its facts, which
    `whet.report.check_report("my run", live.health)` draws; hopeless: the finding that makes going on pointless, or None: a FAIL, a loss that
    diverges, one that does not fall; seconds: time spent here. Something that is not finite is reported at once, all
    else after three looks in a row (see `whet.checks.verdicts`). Nothing is changed: the same training with and
    without gives the same weights, bit for bit. A look hooks into one step of the optimizer and the forward pass
    before it; between looks `step` appends a number. What the model is compiled into cannot be looked into.

    >>> torch.manual_seed(0).initial_seed()
    0
    >>> model, x = nn.Linear(4, 1), torch.randn(64, 4)
    >>> optimizer = torch.optim.SGD(model.parameters(), 3.0)
    >>> live = Live(model, optimizer, every=1)
    >>> for _ in range(500):
    ...     optimizer.zero_grad()
    ...     loss = (model(x) - 1).square().mean()
    ...     loss.backward()
    ...     _ = optimizer.step()
    ...     live.step(loss)
    ...     if live.hopeless: break
    >>> live.hopeless.severity.value, live.hopeless.code
    ('FAIL', 'TREND')
    """

    def __init__(
        self,
        model: nn.Module | None = None,
        optimizer: torch.optim.Optimizer | None = None,
        *,
        every: int = 10,
        share: float | None = 0.015,
        grace: float = 0.0,
        stop: bool = False,
        allow: Iterable[str] = (),
        batch: Any = None,
        prior: float | None = None,
    ) -> None:
        if (model is None) != (optimizer is None):
            raise UsageError(
                "Live: give it both, Live(model, optimizer), or neither and put it among a Run's callbacks."
            )
        if every < 1 or (share is not None and not 0 < share <= 1):
            raise UsageError(f"Live: every must be >= 1 and share in (0, 1] or None, got {every!r} and {share!r}.")
        self.every, self.share, self.stop, self.allow = (
            every,
            share,
            stop,
            frozenset((allow,) if isinstance(allow, str) else allow),
        )
        self._own, self._grace = 0.0, grace
        self.hopeless: Finding | None = None
        self._inputs, self._prior, self._known = batch, prior, prior is not None
        self._targets: Tensor | None = None  # of the fixed batch
        self._losses = Blocks()
        self._looks: list[Pulse] = []
        self._findings: dict[str, Finding] = {}
        self._streaks: dict[str, int] = {}
        self._pending: list[Tensor] = []  # losses on a device, not waited for
        self._window: list[float] = []
        self._current: Tensor | None = None
        self._began = math.nan
        self._watch: Watch = None  # type: ignore[assignment]  # until the run starts
        self._next, self._state, self._armed = (
            1,
            0,
            0,
        )  # state: 0 idle, 1 waits for a step, 2 for the one after it, 3 judges
        if model is not None and optimizer is not None:
            self._attach(model, optimizer)

    def _attach(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        """Get ready to look at this model."""
        if not isinstance(model, nn.Module):
            raise UsageError(
                f"Live: model must be a torch.nn.Module, got {type(model).__name__}. Give Live(model, optimizer)."
            )
        if not hasattr(optimizer, "register_step_post_hook") or isinstance(optimizer, type):
            raise UsageError(f"Live: optimizer must be a torch.optim.Optimizer, got {type(optimizer).__name__}.")
        self._watch = Watch(model, optimizer, self._inputs)
        self._where = place(self._watch.inner)
        self._began = time.perf_counter()

    # In a loop of one's own -----------------------------------------------------------------------------------------

    def step(self, run: Run | Tensor | float) -> None:
        """Take note of a step: `live.step(loss)` after `optimizer.step()`; of a vector the mean. Raises DivergedError with stop=True."""
        loss: Any = self._current if hasattr(run, "task") else run
        if self._watch is None:
            raise UsageError(
                "Live: there is no model to look at. Give Live(model, optimizer), or put it among a Run's callbacks."
            )
        if isinstance(loss, Tensor):
            loss = loss.detach() if loss.numel() == 1 else loss.detach().mean()
            if loss.is_cuda:
                self._pending.append(loss)
                loss = None
            else:
                loss = loss.item()
        if loss is not None:
            if not isinstance(loss, (int, float, np.generic)):
                raise UsageError(
                    f"Live: step wants the loss, a tensor or a number, got {type(loss).__name__}. Give live.step(loss)."
                )
            self._note(float(loss))
        elif len(self._pending) >= 64:
            self._drain()
        if self._losses.n + len(self._pending) >= self._next:
            self._turn()
        if self.stop and self.hopeless is not None and not hasattr(run, "task"):
            raise DivergedError(str(self.hopeless))

    def _note(self, loss: float) -> None:
        """Add a loss; report one that is not finite."""
        if math.isfinite(loss):
            self._losses.add(loss)
            self._window.append(loss)
        elif "loss" not in self._findings:
            n = self._losses.n
            self._report("loss", Finding(
                "TREND", Severity.FAIL, self._where, {"loss": str(loss), "step": n + 1, "n": n + 1, "threshold": "finite"},
                f"the loss is {loss} at step {n + 1}",
                "lower the learning rate; look for log(0), division by 0 or overflow; torch.nn.utils.clip_grad_norm_",
            ))  # fmt: skip

    def _drain(self) -> None:
        """Wait for the losses on the device."""
        for loss in torch.stack([p.reshape(()).double() for p in self._pending]).tolist() if self._pending else ():
            self._note(loss)
        self._pending.clear()

    def _turn(self) -> None:
        """Begin a look, or end one."""
        began, watch, n = time.perf_counter(), self._watch, self._losses.n + len(self._pending)
        if watch.broken is not None:
            what, name = watch.broken
            self._report("broken", Finding(
                "GRAD", Severity.FAIL, self._where, {"layer": name, "step": n, "n": n, "threshold": "finite"},
                f"the {what} of {name} is not finite at step {n}",
                "lower the learning rate; look for sqrt, log, norm or division at 0; torch.autograd.detect_anomaly()",
            ))  # fmt: skip
        if watch.state == "idle":
            watch.arm()
            self._armed = n
        elif watch.state == "done":
            watch.disarm()
            self._drain()
            self._judge()
            self._own += time.perf_counter() - began
            self._schedule()
            return
        elif n - self._armed == _PATIENCE and watch.state == "armed":
            self._report("no step", Finding(
                "PC", Severity.WARN, self._where, {"n": _PATIENCE, "threshold": _PATIENCE},
                f"{_PATIENCE} losses and no step of the optimizer", "call optimizer.step() after loss.backward()",
            ))  # fmt: skip
        self._own += time.perf_counter() - began

    def _schedule(self) -> None:
        """Put the next look as far away as keeps the share of time; twice as far at most as the rate so far says."""
        n, wait = self._losses.n, self.every
        if self.share is not None and self._looks:
            spent, per_loss = (
                max(0.0, self.seconds - self._grace),
                (time.perf_counter() - self._began - self.seconds) / max(1, n),
            )
            each = self.seconds / len(self._looks) if self.seconds > self._grace else 0.0
            due = (spent + each) / max(self.share * per_loss, 1e-9)  # losses by which another look is paid for
            wait = max(wait, math.ceil(due - n))
        self._next = n + wait

    def _judge(self) -> None:
        """Make a look of what was measured, and findings of the looks so far."""
        loss = sum(self._window) / len(self._window) if self._window else math.nan
        self._window = []
        self._looks.append(self._watch.read(self._losses.n, loss))
        if len(self._looks) > 128:
            del self._looks[1]  # the first one says how it began
        if math.isnan(loss):
            return
        held = dict(verdicts(self._looks, self._losses, self._where, self._prior))
        self._streaks = {kind: self._streaks.get(kind, 0) + 1 for kind in held}
        for kind, finding in held.items():
            if self._streaks[kind] >= 3 or kind == "all dead":
                self._report(kind, finding)

    def _report(self, kind: str, finding: Finding) -> None:
        """Keep a finding, the latest of its kind."""
        if finding.code in self.allow:
            return
        self._findings[kind] = finding
        if self.hopeless is None and (finding.severity is Severity.FAIL or kind in _HOPELESS):
            self.hopeless = finding

    @property
    def seconds(self) -> float:
        """Time spent here."""
        return self._own + (self._watch.seconds if self._watch is not None else 0.0)

    @property
    def health(self) -> Health:
        """What was found so far, what was measured last, and what could not be looked at."""
        skipped = dict(self._watch.skipped) if self._watch is not None else {}
        facts: dict[str, dict[str, Any]] = {}
        if not self._looks:
            for code in ("ACT", "GRAD", "PC", "JITTER"):
                skipped.setdefault(code, f"no look yet after {self._losses.n} steps")
        else:
            facts = measured(self._looks[-1], len(self._looks))
            if "JITTER" in facts:
                facts["JITTER"]["dynamics"] = predictions(self._looks, self._targets, self._watch.examples)
        if self._losses.n:
            facts["TREND"] = trend(self._losses, len(self._looks), self.seconds)
        return Health(tuple(self._findings.values()), tuple(NotRun(k, v) for k, v in skipped.items()), facts)

    # In a Run -------------------------------------------------------------------------------------------------------

    def start(self, run: Run) -> None:
        """Take the run's model and optimizer, 64 validation examples, and the loss of the best constant outputs."""
        if self._inputs is None:
            inputs, self._targets = run.data.valid.batch(torch.arange(min(64, len(run.data.valid))))
            self._inputs = tuple(t.to(run.device) for t in inputs)
        self._attach(run.model, run.optimizer)
        self._where = place(run.model, type(run.task).model)
        if not self._known:
            with suppress(Exception):  # a loss or targets of another kind: then the beginning must do
                inputs, targets = run.data.train.batch(torch.arange(min(512, len(run.data.train))))
                inputs, targets = mapped(lambda t: t.to(run.device), (tuple(inputs), targets))
                self._prior = prior_of(Subject(run.model, run.loss, inputs, targets))

    def loss(self, run: Run, loss: Tensor) -> None:
        """Remember the loss of this step."""
        self._current = loss.detach()

    def point(self, run: Run, point: Point) -> Point | None:
        """End a hopeless run when that is wanted."""
        return replace(point, value=math.nan) if self.stop and self.hopeless is not None else None

    def end(self, run: Run) -> None:
        """Take every hook away."""
        self._watch.disarm()

    def state(self) -> Any:
        """Return the losses so far."""
        return self._losses.state()

    def load(self, state: Any) -> None:
        """Take back what `state` returned."""
        self._losses.load(state)
