"""The simulator: real gradients on a virtual clock, from one worker to thousands, the same numbers every time."""

from __future__ import annotations

import copy
import heapq
import math
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch

from whet.distributed.delays import Delays, Network
from whet.distributed.failures import Failure, in_order
from whet.distributed.fit import check_run
from whet.distributed.flat import Flat
from whet.distributed.made import need_format, need_same
from whet.distributed.plain import lived, plain
from whet.distributed.rule import Rule
from whet.distributed.sampler import Sampler
from whet.distributed.seat import Seat, Stage
from whet.distributed.server import Server
from whet.distributed.shares import crew
from whet.distributed.shuffle import Shuffle
from whet.distributed.update import Given, Ticket, Update
from whet.distributed.worker import Parts
from whet.errors import UsageError
from whet.task import Task
from whet.train.run import Run
from whet.tune.space import Params
from whet.tune.trial import Point

__all__ = ["Failure", "Simulation"]


class Simulation:
    """Train a task on simulated workers; iterate it to get a `Point` after each epoch's worth of merged batches.

    workers: how many, or a share for each, as `Shuffle` has them; rule: a `Rule`; delays, network: how long things take; failures: who dies when, those of one worker one after the other; shuffle: "global", "local" or "once";
    shards: for the latter two (None: equal parts at random). Everything else is as in `whet.train.run.Run`, and with one
    worker and the rule `asynchronous()` the weights are that run's, bit for bit, unless the model or the augmentation draw random
    numbers.

    A point's cost is its virtual seconds; its metrics have "updates" beside the task's. Workers hold real weights and compute real
    gradients at the weights they pulled; only time is made up. Events at one time happen in the order they were planned. Iterating ends early
    when all workers have died (`died`), and raises TaskError when the rule refuses each that is left for good. What no channel can train is
    refused as they refuse it (`whet.distributed.fit`).

    >>> import torch
    >>> from whet.data.split import Data, Split
    >>> from whet.distributed.rules.gradient import asynchronous
    >>> class Lines(Task):
    ...     def data(self, params):
    ...         x = torch.linspace(-1, 1, 64)[:, None]
    ...         return Data(Split(x[::2], 3 * x[::2, 0]), Split(x[1::2], 3 * x[1::2, 0]), kind="regression")
    ...     def model(self, params):
    ...         return torch.nn.Linear(1, 1)
    >>> s = Simulation(Lines(), {"lr": 0.1, "batch": 4}, rule=asynchronous(), workers=4, steps=5)
    >>> points = list(s)
    >>> points[-1].step, points[-1].value < points[0].value, max(s.server.staleness) <= 6
    (5, True, True)
    """

    def __init__(
        self, task: Task, params: Params, *, rule: Rule, workers: int | Sequence[int], steps: int | None = None, seed: int = 0,
        delays: Delays | None = None, network: Network | None = None, failures: Sequence[Failure] = (),
        shuffle: str | Shuffle = "global",
    ) -> None:  # fmt: skip
        self.run = Run(task, params, steps=steps, seed=seed, device="cpu")
        self.delays, self.network, self.seed = delays or Delays(), network or Network(), seed
        workers, shares = crew(workers)
        self.shuffle = (
            shuffle if isinstance(shuffle, Shuffle)
            else Shuffle(
                len(self.run.data.train), self.run.batch, workers, shuffle, seed, self.run.alone, shares=shares  # type: ignore[arg-type]
            )
        )  # fmt: skip
        batches = self.run.steps * self.shuffle.per_epoch
        if workers > batches:
            raise UsageError(
                f"workers: {workers} for {batches} batches ({self.run.steps} epochs of {self.shuffle.per_epoch}); "
                "some would never have one. Give fewer workers, smaller batches or more epochs."
            )
        failures = in_order(failures, workers)
        check_run(self.run, rule)
        self.parts = Parts.of(self.run)
        self.server = Server(
            Flat(self.run.model), rule, Sampler(self.shuffle, self.run.steps), optimizer=self.run.optimizer,
            rate=self.run.rate,
        )  # fmt: skip
        self._failures = " ".join(map(str, failures)) or None
        self.clock = 0.0
        self.stage = Stage(self.parts, self.server.local)
        self.workers: dict[int, Seat] = {}
        self._given: dict[int, Given] = {}
        self._updates: dict[int, Update] = {}  # on their way
        self._waiting: list[int] = []  # not admitted, in the order they asked
        self._resting: list[int] = []  # nothing was left for them
        self._events: list[tuple[float, int, str, int, int]] = []
        self._lives: dict[int, int] = {}  # worker -> how many times it joined
        self._planned = 0
        self._slowest = 0  # clock, when those that wait were last asked
        self._free = 0.0  # when the server has merged what it has
        self._size = self.server.flat.size * self.server.flat.weights.element_size()
        for w in range(workers):
            self._plan(0.0, "join", w)
        for failure in failures:
            self._plan(failure.at, "die", failure.worker)
            if failure.back < math.inf:
                self._plan(failure.back, "join", failure.worker)

    def __iter__(self) -> Iterator[Point]:
        """Go on until every epoch's batches are merged; yield a point after each epoch's worth of them."""
        return (point for point in self.beats() if point is not None)

    def beats(self) -> Iterator[Point | None]:
        """As iterating it, with a None after every event: for an owner who shows how far it is, or stops in mid-epoch."""
        yield from self._points()  # of epochs that were merged at once, when its owner went away after the first of them
        while self.run.step < self.run.steps and not self.run.over and self._events:
            self._next()
            yield from self._points()
            yield None
        if self.run.step < self.run.steps and not self.run.over:
            self.server.need(self.workers)

    @property
    def died(self) -> bool:
        """Whether it has ended before its last epoch because all workers had died."""
        return self.run.step < self.run.steps and not (self.run.over or self._events or self.workers)

    def _points(self) -> Iterator[Point]:
        while self.run.step + 1 <= self.server.whole and not self.run.over:
            yield self._point()

    def _point(self) -> Point:
        self.server.settle_buffers()
        self.run.step += 1
        loss = self.server.mean_loss()
        found = self.run.evaluate()
        value = found.pop(self.run.goal.name)
        if not math.isfinite(loss) or not math.isfinite(value):
            self.run.over, value = True, math.nan
        metrics = {**found, "train_loss": loss, "updates": float(self.server.held.version)}
        return Point(self.run.step, value, cost=self.clock, metrics=metrics)

    # -- events

    def _plan(self, at: float, what: str, worker: int) -> None:
        heapq.heappush(self._events, (at, self._planned, what, worker, self._lives.get(worker, 0)))
        self._planned += 1

    def _next(self) -> None:
        self.clock, _, what, worker, life = heapq.heappop(self._events)
        if what == "join":
            self._join(worker)
        elif what == "die":
            self._die(worker)
        elif life == self._lives.get(worker):  # else it died meanwhile
            if what == "computed":
                self._computed(worker)
            elif what == "arrived":
                self._arrived(worker)
            else:
                self._ask(worker)

    def _join(self, worker: int) -> None:
        self._lives[worker] = self._lives.get(worker, 0) + 1
        step = self.server.join(worker)
        self.workers[worker] = self._seat(worker, step)
        self._plan(self.clock, "ask", worker)  # when all that join now are there

    def _seat(self, worker: int, step: int = 0) -> Seat:
        return Seat(worker, self.parts, self.shuffle, local=self.server.local, stage=self.stage, step=step)

    def _die(self, worker: int) -> None:
        if self.workers.pop(worker, None) is None:
            return
        self._lives[worker] += 1
        self._given.pop(worker, None)
        for queue in (self._waiting, self._resting):
            if worker in queue:
                queue.remove(worker)
        self.server.leave(worker)
        self._wake()
        self._rouse()

    def _rouse(self) -> None:
        """Ask again for those that rest, where there is something for them: a lost worker's tickets, or the end."""
        for worker in [w for w in self._resting if self.server.waiting(w)]:
            self._resting.remove(worker)
            self.server.join(worker, own=None)
            self._ask(worker)

    def _ask(self, worker: int) -> None:
        if not self.server.admits(worker):
            self._waiting.append(worker)
            return
        given = self.server.pull(worker, self.workers[worker].weights)
        if given is None:
            self._resting.append(worker)
            if self.server.rest(worker):
                self._wake()
            return
        self._given[worker] = given
        seconds = self.delays.seconds
        batches = 0 if given.closing else len(given.tickets)  # what a compression takes is known when it is done
        times = (seconds(self.seed, worker, self._steps(worker) + i) for i in range(batches))
        models = sum(m.numel() * m.element_size() for _, m in given.models)
        self._plan(self.clock + self.network.seconds(models or self._size) + sum(times), "computed", worker)

    def _steps(self, worker: int) -> int:
        return self.workers[worker].worker.step * self.server.local.every * self.shuffle.share(worker)

    def _computed(self, worker: int) -> None:
        """The gradient is there: computed now, at the weights that were pulled then."""
        own = self.workers[worker]
        update = own.work(self._given.pop(worker))
        self._updates[worker] = update
        extra = own.worker.cost * self.delays.factor(worker)
        arrives = max(self.clock + extra + self.network.seconds(self._size), self._free) + self.network.service
        self._free = arrives if self.network.service else self._free
        self._plan(arrives, "arrived", worker)

    def _arrived(self, worker: int) -> None:
        self.server.push(self._updates.pop(worker))
        self._ask(worker)
        if self.server.held.slowest != self._slowest:  # else `admit` says of them what it said before
            self._wake()
        if self._resting:
            self._rouse()

    def _wake(self) -> None:
        """Ask again for those that wait."""
        self._slowest = self.server.held.slowest
        waiting, self._waiting = self._waiting, []
        for worker in waiting:
            self._ask(worker)

    # -- checkpoints

    @property
    def made(self) -> dict[str, Any]:
        """What another simulation must have in common with this one to go on from its state, its server's among it."""
        shuffle = self.shuffle
        assert shuffle.shards is not None
        dealt = torch.cat([torch.tensor([len(s) for s in shuffle.shards]), *shuffle.shards]).numpy()
        return {
            "params": dict(self.run.params), **self.server.made, "workers": shuffle.workers, "epochs": self.run.steps,
            "delays": str(self.delays), "network": str(self.network), "failures": self._failures,
            "shards": f"{zlib.crc32(dealt.tobytes()):08x}",
        }  # fmt: skip

    def state(self) -> dict[str, Any]:
        """Return all that another simulation of the same arguments needs to go on from here, bit for bit."""
        return copy.deepcopy({  # what rules and updates hold would go on changing
            "made": self.made, "server": self.server.state(),
            "workers": [[w, worker.state()] for w, worker in self.workers.items()],
            "given": [
                [w, g.version, [list(t) for t in g.tickets], [list(m) for m in g.models], g.handed, g.buffers, g.closing]
                for w, g in self._given.items()
            ],
            "updates": [[w, plain(u)] for w, u in self._updates.items()],
            "waiting": list(self._waiting), "resting": list(self._resting), "events": [list(e) for e in self._events],
            "lives": [list(pair) for pair in self._lives.items()],
            "numbers": [self.clock, self._planned, self._free, self.run.step, self.run.over],
        })  # fmt: skip

    def load(self, state: Mapping[str, Any]) -> None:
        """Take back what `state` returned; raise CheckpointError when it is of another simulation."""
        made, own = dict(state.get("made", {})), self.made
        need_format(made)
        need_same(made.pop("params", {}), own.pop("params"))
        need_same(made, own)
        self.server.load(state["server"])
        self.workers = {}
        for w, own in state["workers"]:
            self.workers[w] = self._seat(w)
            self.workers[w].load(own)
        self._given = {
            w: Given(
                version,
                tuple(Ticket(*t) for t in tickets),
                tuple((k, m.clone()) for k, m in models),
                handed,
                buffers=buffers,
                closing=closing,
            )
            for w, version, tickets, models, handed, buffers, closing in state["given"]
        }
        self._updates = {w: lived(u) for w, u in state["updates"]}
        self._waiting, self._resting = list(state["waiting"]), list(state["resting"])
        self._events = [(float(at), int(i), str(what), int(w), int(life)) for at, i, what, w, life in state["events"]]
        self._lives = dict(state["lives"])
        self.clock, self._planned, self._free, self.run.step, self.run.over = state["numbers"]
