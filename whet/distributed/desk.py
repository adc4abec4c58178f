"""Where workers come to a server: who is at work, who waits, who is gone. It knows no channel, and any channel uses it."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from torch import Tensor

from whet.distributed.client import Channel, Client
from whet.distributed.server import Server
from whet.distributed.update import Update

__all__ = ["SIGNS", "Desk"]

SIGNS = 10  # of life that a worker gives within a deadline, at most
_TOGETHER = 60.0  # seconds that the first worker waits for the others, at most
_ANOTHER = (
    120.0  # seconds, or the deadline when that is more, in which one has to come when nobody that is there may train
)


class Desk:
    """Serves the workers of a `Server`, one call at a time.

    workers: how many there may be; epoch: how many servers there were before, so that what is sent to one of those is known; deadline:
    seconds after which a worker that was given something and gives no sign counts as gone; together: how many begin together, so that the
    first does not go ahead while the others are being started (unless these take a minute, or the deadline); shown: the last whole epoch that
    the owner has read (None: that of the server's checkpoint); spent: seconds of training before this desk, 0 when it has
    not begun: it begins when the first worker is given its first step; clock: in seconds.
    """

    def __init__(
        self, server: Server, channel: Channel, *, workers: int, epoch: int, deadline: float, together: int = 1,
        shown: int | None = None, spent: float = 0.0, clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self.server, self.channel, self.workers, self.epoch, self.deadline = server, channel, workers, epoch, deadline
        self.clients: dict[int, Client] = {}  # worker -> its present life
        self.events: Counter[str] = Counter()
        self._clock = clock
        self._lives = int(epoch) << 16  # numbers of lives never come twice, over all servers
        self._step = server.seen = server.seen if shown is None else shown
        self._together = together
        self._until = float("inf")  # when they begin, however many there are
        self._first: float | None = clock() - spent if spent else None  # when training began
        self._barren: float | None = None  # since when nobody that is there may train
        self._held: dict[int, tuple[Client, Update]] = {}  # worker -> what it pushed while the owner reads the weights

    @property
    def finished(self) -> bool:
        """Whether every batch of every epoch was merged, and what the rule ends with is done."""
        return self.server.done

    @property
    def over(self) -> bool:
        """Whether all is merged and its owner has seen it."""
        return self.finished and self.server.seen >= self.server.whole

    @property
    def shown(self) -> int:
        """The last whole epoch that the owner was shown."""
        return self._step

    @property
    def _reading(self) -> bool:
        """Whether the owner was shown weights and has not read them yet: they stay as they are."""
        return self.server.seen < self._step

    # -- workers

    def hello(self, worker: int, *, own: bool) -> Client | None:
        """Take in a worker, own: that has weights to go on from; return its life, or None when it is none of ours."""
        if not 0 <= worker < self.workers:
            return None
        if worker in self.clients:
            self.leave(self.clients[worker])
        self._lives += 1
        now = self._clock()
        client = self.clients[worker] = Client(worker, self._lives, now, own)
        self.events["joined"] += 1
        client.step = self.server.join(worker, own=own)
        self._until = min(self._until, now + min(_TOGETHER, self.deadline))
        if len(self.clients) >= self._together:
            self._begin()
        return client

    def _begin(self) -> None:
        if self._together:
            self._together = 0
            self.give_all()

    def ask(self, client: Client) -> None:
        """Give the worker something as soon as it may go on; it must not be at something, else nothing is done."""
        if not client.asks and not self.server.ledger.busy(client.worker):
            client.asks = True
            self._give(client)

    def push(
        self, client: Client, step: int, vector: Tensor, buffers: Tensor, *, examples: int, pulled: int, loss: float
    ) -> None:
        """Merge what a worker sends, and give it something as soon as it may go on. vector: stays as it is until its next.

        What is `expected` of it is merged, nothing else: not what it sends twice, nor what it was not asked for.
        """
        if not self.expected(client, step):
            self.events["again"] += 1
            return
        worker, sends = client.worker, self.server.local.sends
        update = Update(
            worker, step, vector, sends, max(1, examples), min(pulled, self.server.held.version), self.server.ledger.at(worker), loss,
            buffers,
        )  # fmt: skip
        if self._reading:
            self._held[worker] = client, update
        else:
            self._merge(client, update)

    def _merge(self, client: Client, update: Update) -> None:
        client.updates += 1
        client.step += 1
        client.asks = True
        self._changed(lambda: self.server.push(update))
        self._need()
        self.give_all()

    def _need(self) -> None:
        """Raise TaskError when all that are there are refused for good, and no other can come, or none has come for long."""
        there = set(self.clients)
        if self.finished or not there or not there <= self.server.ledger.banned:
            self._barren = None
            return
        now = self._clock()
        self._barren = now if self._barren is None else self._barren
        if len(there) == self.workers or now - self._barren > max(_ANOTHER, self.deadline):
            self.server.need(there)

    def alive(self, client: Client) -> None:
        """Note that a worker got further with what it is at."""
        client.since = self._clock()

    def expected(self, client: Client, step: int) -> bool:
        """Return whether this is the update that the worker is at."""
        return step == client.step and self.server.ledger.busy(client.worker)

    def leave(self, client: Client) -> None:
        """Count a worker as gone, in this life."""
        if self.clients.get(client.worker) is not client:
            return
        del self.clients[client.worker]
        self._held.pop(client.worker, None)
        self.channel.drop(client)
        self.events["left"] += 1
        self._changed(lambda: self.server.leave(client.worker))
        self.give_all()

    def expire(self) -> list[Client]:
        """Count those as gone that had their time; return them. Raises TaskError when nobody is left to train."""
        now = self._clock()
        if now > self._until:
            self._begin()
        late = [
            c for c in self.clients.values()
            if not c.asks and not c.resting and c.worker not in self._held and now - c.since > self.deadline
        ]  # fmt: skip
        for client in late:
            self.events["late"] += 1
            self.leave(client)
        self._need()
        return late

    def seen(self, epoch: int) -> None:
        """Go on: the owner has read the weights of this whole epoch."""
        self.server.seen = max(self.server.seen, min(epoch, self._step))
        self.show()
        held, self._held = self._held, {}
        for worker, (client, update) in held.items():
            if self._reading:
                self._held[worker] = client, update
            elif self.clients.get(worker) is client:
                self._merge(client, update)
        self.give_all()

    def end(self) -> None:
        """Count as read what the owner was told: it hears of that before it hears that all is over."""
        self.server.seen = self._step

    def give_all(self) -> None:
        """Give something to each that waits and may go on."""
        for worker in sorted(self.clients):
            client = self.clients.get(worker)
            if client is not None and client.asks:
                self._give(client)

    def _give(self, client: Client) -> None:
        if self._together or self._reading or self.finished or client.worker in self._held:
            return
        worker = client.worker
        if client.resting:
            if not self.server.waiting(worker):
                return
            client.resting = False
            self.server.join(worker, own=None)
        if not self.server.admits(worker):
            return
        given = self.server.pull(worker, self.channel.into(worker))
        if given is None:
            client.resting = True
            if self._changed(lambda: self.server.rest(worker)):
                self.give_all()
            return
        now = self._clock()
        client.asks, client.since = False, now
        if client.began is None:
            client.began = now
        if self._first is None:
            self._first = now
        self.channel.give(client, given)
        client.own = True

    def _changed(self, action: Callable[[], bool]) -> bool:
        """Do something with the server, and note what it merged by that; return whether it changed the weights."""
        before = self.server.merged, self.server.closing
        changed = action()
        if changed or before != (self.server.merged, self.server.closing):  # what a rule refuses counts as seen
            if self._step + 1 <= self.server.whole:  # its mean loss and statistics go into the checkpoint of this epoch
                self.server.mean_loss()
                self.server.settle_buffers()
            self.channel.merged()
            self.show()
        return changed

    def show(self) -> None:
        """Show the owner the next whole epoch that it was not shown, once it has read the one before."""
        if self._step + 1 <= self.server.whole and not self._reading:
            self._step += 1
            self.server.settle_buffers()
            self.channel.whole(self._step)

    # -- what is known

    def epoch_status(self) -> dict[str, Any]:
        """Return `status` with what is known of the epoch that was merged last: its loss, and whose models there are."""
        return {
            "epoch": self._step, "loss": self.server.mean_loss(),
            "models": [w for w, _ in self.server.models], **self.status(),
        }  # fmt: skip

    def status(self) -> dict[str, Any]:
        """Return how the training stands, as JSON values."""
        now, server = self._clock(), self.server
        slowest = server.held.slowest
        return {
            "seconds": 0.0 if self._first is None else now - self._first,
            "version": server.held.version, "merged": server.merged, "epochs": server.epochs,
            "drawn_again": server.sampler.drawn_again, "lent": server.sampler.lent,
            "passes": [round(p, 2) for p in server.sampler.passes], "refused": dict(server.refused), "events": dict(self.events),
            "staleness": {str(k): v for k, v in sorted(server.staleness.items())[:200]},
            "workers": {
                str(w): {
                    "updates": c.updates, "waits": c.asks,
                    "rate": 0.0 if c.began is None else c.updates / max(now - c.began, 1e-9),
                    "ahead": server.held.clocks.get(w, slowest) - slowest,
                }
                for w, c in sorted(self.clients.items())
            },
        }  # fmt: skip
