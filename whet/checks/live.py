"""Watch a training while it runs: the same findings as before it, a small share of its time, and an end to hopeless ones."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from whet.checks.alarms import Alarms
from whet.checks.given import watched
from whet.checks.glance import Watch
from whet.checks.pace import Pace
from whet.checks.pulse import Pulse
from whet.checks.record import told
from whet.checks.source import place
from whet.checks.tally import Tally
from whet.checks.urgent import broken, not_finite, stuck
from whet.checks.verdicts import verdicts
from whet.checks.yardstick import constant, fixed
from whet.errors import DivergedError, UsageError
from whet.finding import Finding, Health, NotRun
from whet.train.callback import Callback
from whet.tune.trial import Point

if TYPE_CHECKING:
    from whet.train.run import Run

__all__ = ["Live"]

_PATIENCE = 200  # losses without a step of the optimizer
_KEPT = 1000  # losses that are kept one by one


class Live(Callback):
    """Look at a training every so often: loss, gradients, weights, updates, dead units, predictions on a fixed batch.

    In a `Run`, as a callback: `Run(task, params, callbacks=[Live()])`. In a loop of one's own, two lines:

        live = Live(model, optimizer)
        for x, y in batches:
            ...                       # zero_grad, forward, backward, optimizer.step(), as ever
            live.step(loss)           # the loss, a tensor or a number

    every: losses between two looks, at least; share: of the time, at most, that looks may take, the first of them too: a
    training of a few hundred short steps may end before one is paid for (None: no limit, then the same training gives the
    same findings); grace: seconds of looks that are free; stop: end a hopeless run: a `Run` ends with a point whose value
    is NaN, as after a loss that is not finite; in a loop of one's own `step` raises DivergedError. allow: codes not to
    report, ("TREND",) for a loss that need not fall: that of an adversary (both players of a GAN), of a policy or a
    bootstrapped value; one that is not finite is reported all the same. batch: the inputs to predict on (None: the first
    ones the model is trained on; in a Run, 64 validation examples); prior: the loss of the best constant outputs (None: the
    loss at the beginning is what must be beaten; in a Run it is computed).

    health: what was found so far, with the loss and the predictions on the fixed batch over the steps among its facts, which
    `whet.report.check_report("my run", live.health)` draws; hopeless: the finding that makes going on pointless, or None: a
    FAIL; a loss that stays at the known `prior` or rises above it, or, without a prior, to ten times its beginning;
    seconds: time spent here. Something that is not finite is reported at once, all else after three looks in a row (see
    `whet.checks.verdicts`). Nothing is changed: the same training with and without gives the same weights, bit for bit.

    A look hooks into one step of the optimizer and the forward pass before it; between looks `step` appends a number. `close`,
    or `with Live(model, optimizer) as live:`, takes away the hooks of a look that has begun when the loop ends. With several
    optimizers make one for each. Give it the compiled model where one is trained; compiled code is not looked into.

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
        share: float | None = 0.01,
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
        self.stop = stop
        self._pace, self._alarms = Pace(every, share, grace), Alarms(allow)
        self._inputs, self._prior, self._known = batch, prior, prior is not None
        self._targets: Tensor | None = None  # of the fixed batch
        self._tally = Tally()
        self._looks: list[Pulse] = []
        self._n, self._due = 0, 1  # losses seen here; the one at which there is more to do than to keep it
        self._armed, self._clock = 0, 0.0  # the loss and the time at which the look began
        self._current: Tensor | None = None
        self._running = False  # whether it is one of a Run's callbacks
        self._watch: Watch = None  # type: ignore[assignment]  # until the run starts
        if model is not None and optimizer is not None:
            self._attach(model, optimizer)

    def _attach(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        """Get ready to look at this model."""
        watched(model, optimizer)
        self._watch = Watch(model, optimizer, self._inputs)
        self._where = place(self._watch.inner)
        self._plan()

    # In a loop of one's own -----------------------------------------------------------------------------------------

    def step(self, run: Run | Tensor | float) -> None:
        """Take note of a step: `live.step(loss)` after `optimizer.step()`; of a vector the mean. Raises DivergedError with stop=True."""
        loss: Any = self._current if self._running else run
        if isinstance(loss, Tensor):
            if loss.is_cuda:
                self._tally.wait(loss)
                loss = None
            else:
                loss = loss.item() if loss.numel() == 1 else loss.detach().mean().item()
        self._n += 1
        if self._n < self._due and type(loss) is float and loss - loss == 0.0:
            self._tally.values.append(loss)
        else:
            self._slow(loss)

    def _slow(self, loss: Any) -> None:
        """Do what is not done at every step."""
        if self._watch is None:
            raise UsageError(
                "Live: there is no model to look at. Give Live(model, optimizer), or put it among a Run's callbacks."
            )
        if loss is not None:
            if not isinstance(loss, (int, float, np.generic)):
                raise UsageError(
                    f"Live: step wants the loss, a tensor or a number, got {type(loss).__name__}. Give live.step(loss)."
                )
            self._tally.add(float(loss))
        elif self._tally.full:
            self._tally.flush()
        if self._tally.bad is not None:
            self._blame()
        if self._n >= self._due:
            self._turn()
        if self.stop and self.hopeless is not None and not self._running:
            self._due = 0  # and again at each step that is taken all the same
            raise DivergedError(str(self.hopeless))

    def _blame(self) -> None:
        """Report the first loss that was not finite."""
        if self._tally.bad is not None and "loss" not in self._alarms:
            self._alarms.report("loss", not_finite(*self._tally.bad, self._where))

    def _excuse(self) -> None:
        """Take back that there was no step when there was one: gradients were added up for longer than there was patience."""
        if "no step" in self._alarms and self._watch is not None and self._watch.begun():
            self._alarms.withdraw("no step")

    def _turn(self) -> None:
        """Begin a look, or end one."""
        began, watch, pace, n = time.perf_counter(), self._watch, self._pace, self._n
        if watch.broken is not None:
            self._alarms.report("broken", broken(*watch.broken, len(self._tally), self._where))
        self._excuse()
        if watch.state == "idle":
            if len(self._tally.values) >= _KEPT:
                self._tally.flush()
            if n == _PATIENCE and not watch.begun():
                self._alarms.report("no step", stuck(_PATIENCE, self._where))
            elif pace.ready(n, began):
                watch.arm()
                self._armed, self._clock = n, began
        elif watch.state == "done" or (n - self._armed >= _PATIENCE and watch.state == "armed"):
            if watch.state == "done":
                self._judge()
            else:
                self._alarms.report("no step", stuck(_PATIENCE, self._where))
            watch.disarm()
            now = time.perf_counter()
            pace.end(n, watch.seconds + now - began, now - self._clock, n - self._armed)
            watch.seconds, began = 0.0, now
        self._plan()
        if watch.state == "idle":
            pace.spent += time.perf_counter() - began
        else:
            watch.seconds += time.perf_counter() - began

    def _plan(self) -> None:
        """Set the loss at which there is more to do next."""
        n = self._n
        self._due = min(self._pace.next, n + _KEPT) if self._watch.state == "idle" else n + 1
        if not self._watch.begun() and n < _PATIENCE:
            self._due = min(self._due, _PATIENCE)

    def _judge(self) -> None:
        """Make a look of what was measured, and findings of the looks so far."""
        loss, losses = self._tally.mean(), self._tally.blocks
        self._blame()
        self._looks.append(self._watch.read(losses.n, loss))
        if len(self._looks) > 128:
            del self._looks[1]  # the first one says how it began
        if not math.isnan(loss):
            self._alarms.judge(dict(verdicts(self._looks, losses, self._where, self._prior)))

    def close(self) -> None:
        """Take every hook away, and give up a look that has begun; `step` may go on with the next one.

        Those hooks do nothing in a copy or pickle of the model, nor while it is traced, exported or compiled, and go with
        the last reference to this.
        """
        if self._watch is not None:
            self._watch.close()
            self._plan()

    def __enter__(self) -> Live:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def hopeless(self) -> Finding | None:
        """The finding that makes going on pointless."""
        return self._alarms.hopeless

    @property
    def seconds(self) -> float:
        """Time spent here."""
        return self._pace.spent + (self._watch.seconds if self._watch is not None else 0.0)

    @property
    def health(self) -> Health:
        """What was found so far, what was measured last, and what could not be looked at."""
        self._tally.flush()
        self._blame()
        self._excuse()
        losses = self._tally.blocks
        skipped = dict(self._watch.skipped) if self._watch is not None else {}
        if not self._looks:
            for code in ("ACT", "GRAD", "PC", "JITTER"):
                skipped.setdefault(code, f"no look yet after {losses.n} steps")
        examples = self._watch.examples if self._watch is not None else 0
        facts = told(self._looks, losses, self.seconds, targets=self._targets, examples=examples)
        return Health(self._alarms.findings, tuple(NotRun(k, v) for k, v in skipped.items()), facts)

    # In a Run -------------------------------------------------------------------------------------------------------

    def start(self, run: Run) -> None:
        """Take the run's model and optimizer, 64 validation examples, and the loss of the best constant outputs."""
        if self._inputs is None:
            self._inputs, self._targets = fixed(run)
        self._running = True
        self._attach(run.model, run.optimizer)
        self._where = place(run.model, type(run.task).model)
        if not self._known:
            self._prior = constant(run)

    def loss(self, run: Run, loss: Tensor) -> None:
        """Remember the loss of this step."""
        self._current = loss.detach()

    def point(self, run: Run, point: Point) -> Point | None:
        """End a hopeless run when that is wanted."""
        return replace(point, value=math.nan) if self.stop and self.hopeless is not None else None

    def end(self, run: Run) -> None:
        """Take every hook away."""
        self.close()

    def state(self) -> Any:
        """Return the losses and the findings so far."""
        self._tally.flush()
        self._blame()
        return {"losses": self._tally.blocks.state(), "alarms": self._alarms.state()}

    def load(self, state: Any) -> None:
        """Take back what `state` returned."""
        if isinstance(state, list):  # of before findings were kept
            state = {"losses": state, "alarms": Alarms(()).state()}
        self._tally.blocks.load(state["losses"])
        self._alarms.load(state["alarms"])
