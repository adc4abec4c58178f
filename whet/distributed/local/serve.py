"""The server's process: hears workers one message at a time, so that nothing has to be locked."""

from __future__ import annotations

import os
import selectors
import socket
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from whet.distributed.local.frames import Frame, FrameError, Kind, listen, peer, receive, send
from whet.distributed.local.layout import socket_path
from whet.distributed.local.region import Region
from whet.distributed.server import Given, Server
from whet.distributed.update import Update

__all__ = ["Desk"]

_LOOK = 0.1  # seconds between looks at what is overdue


@dataclass(eq=False)
class Client:
    """A connection: a worker in one of its lives, or the owner."""

    connection: socket.socket
    worker: int | None = None
    life: int = 0
    spoke: bool = False
    asks: bool = False  # it waits for a GIVEN
    resting: bool = False
    since: float = 0.0  # when it was given what it is at
    updates: int = 0
    began: float = 0.0


class Desk:
    """Answers the workers of a `Server` at a socket, with vectors in shared memory.

    epoch: how many servers there were before, so that what was sent to one of those is known; deadline: seconds after which a worker that
    does not answer counts as gone; told: called with what the owner should know; after: called after each update that was merged.
    """

    def __init__(
        self, server: Server, region: Region, folder: Path, *, workers: int, epoch: int, deadline: float,
        told: Callable[[Mapping[str, Any]], None], after: Callable[[], None] = lambda: None,
    ) -> None:  # fmt: skip
        self.server, self.region, self.workers, self.epoch = server, region, workers, epoch
        self.deadline, self.told, self.after = deadline, told, after
        self.halting = False
        self.events: Counter[str] = Counter()
        self._listener = listen(socket_path(folder))
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ, None)
        self._clients: dict[int, Client] = {}  # worker -> its present life
        self._lives = int(epoch) << 16  # numbers of lives never come twice, over all servers
        self._step = int(server.epochs)
        self._seen = self._step  # the last snapshot that the owner has read
        self._looked = self._started = time.monotonic()

    def serve(self, stopping: Callable[[], bool] = lambda: False) -> None:
        """Answer until every epoch is merged and its last snapshot seen, or the owner says HALT or `stopping`."""
        try:
            while not self.halting and not stopping() and not (self.finished and self._seen >= self._step):
                for key, _ in self._selector.select(_LOOK):
                    if key.data is None:
                        self._accept()
                    else:
                        self._hear(key.data)
                self._expire()
        finally:
            for client in self._clients.values():
                self._say(client, Frame(Kind.DONE))
            for key in list(self._selector.get_map().values()):
                key.fileobj.close()  # type: ignore[union-attr]
            self._selector.close()

    @property
    def finished(self) -> bool:
        """Whether every batch of every epoch was merged."""
        return self.server.merged >= self.server.sampler.limit

    # -- connections

    def _accept(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except OSError:  # no file is left for it, or it has gone already
            self._make_room()
            return
        connection.setblocking(False)
        if peer(connection) != os.getuid():
            self.events["foreign"] += 1
            connection.close()
            return
        self._selector.register(connection, selectors.EVENT_READ, Client(connection))

    def _make_room(self) -> None:
        """Close connections that never said a word: with all files of the process in use nobody else would be heard."""
        self.events["crowded"] += 1
        for key in list(self._selector.get_map().values()):
            if key.data is not None and not key.data.spoke:
                self._gone(key.data)

    def _hear(self, client: Client) -> None:
        try:
            frame = receive(client.connection)
        except (FrameError, OSError):
            self.events["nonsense"] += 1
            frame = None
        if frame is None:
            self._gone(client)
            return
        client.spoke = True
        match frame.kind:
            case Kind.HELLO:
                self._hello(client, frame)
            case Kind.PULL if client.worker is not None:
                client.asks = True
                self._give(client)
            case Kind.PUSH if client.worker is not None:
                self._push(client, frame)
            case Kind.WATCH:
                self._say(client, Frame(Kind.STATUS, status=self.status()))
            case Kind.SEEN:
                self._seen = max(self._seen, frame.a)
                self._give_all()
            case Kind.HALT:
                self.halting = True
            case _:
                self._gone(client)

    def _say(self, client: Client, frame: Frame) -> None:
        try:
            send(client.connection, frame)
        except OSError:
            pass  # its end will be read

    def _gone(self, client: Client) -> None:
        """Forget a connection, and the worker that it was."""
        try:
            self._selector.unregister(client.connection)
        except (KeyError, ValueError):
            return
        client.connection.close()
        worker = client.worker
        if worker is not None and self._clients.get(worker) is client:
            del self._clients[worker]
            self.events["left"] += 1
            if self.server.leave(worker):
                self._merged()
            self._give_all()

    def _expire(self) -> None:
        """Count those as gone that had their time."""
        now = time.monotonic()
        if now - self._looked < _LOOK:
            return
        self._looked = now
        for client in list(self._clients.values()):
            if not client.asks and not client.resting and now - client.since > self.deadline:
                self.events["late"] += 1
                self._gone(client)

    # -- workers

    def _hello(self, client: Client, frame: Frame) -> None:
        worker = frame.a
        if not 0 <= worker < self.workers:
            self._gone(client)
            return
        before = self._clients.get(worker)
        if before is not None and before is not client:
            self._gone(before)
        self._lives += 1
        client.worker, client.life = worker, self._lives
        client.since = client.began = time.monotonic()
        self._clients[worker] = client
        self.events["joined"] += 1
        step = self.server.join(worker, own=bool(frame.b))
        self._say(client, Frame(Kind.WELCOME, client.life, step, self.epoch))

    def _push(self, client: Client, frame: Frame) -> None:
        worker = client.worker
        assert worker is not None
        if frame.life != client.life:
            self.events["stale"] += 1
            self._say(client, Frame(Kind.STALE))
            return
        tickets = self.server.at(worker)
        vector = self.region[f"{worker}/{'gradient' if self.server.local.sends == 'gradient' else 'weights'}"]
        update = Update(
            worker, frame.a, vector, self.server.local.sends, max(1, frame.b), min(frame.c, self.server.held.version),
            tickets, frame.real, self.region[f"{worker}/buffers"].clone(),
        )  # fmt: skip
        client.updates += 1
        client.asks = True
        if self.server.push(update):
            self._merged()
            self._give_all()
        else:
            self._give(client)
            if self.server.rule.admit is not None:
                self._give_all()

    def _merged(self) -> None:
        """After the weights changed: note what was acknowledged, and show the owner each whole epoch."""
        counts = self.region["counts"]
        counts[0], counts[1] = self.server.held.version, self.server.merged
        while self._step + 1 <= self.server.epochs:
            self._step += 1
            self.server.settle_buffers()
            self.region["snapshot"].copy_(self.server.held.weights)
            self.server.flat.read_buffers(self.region["snapshot/buffers"])
            size = self.server.flat.size
            for i, (_, model) in enumerate(self.server.models):
                self.region["snapshot/models"][i * size : (i + 1) * size].copy_(model)
            self.told({
                "epoch": self._step, "loss": self.server.mean_loss(), "seconds": time.monotonic() - self._started,
                "models": [w for w, _ in self.server.models], **self.status(),
            })  # fmt: skip
        self.after()

    def _give_all(self) -> None:
        for worker in sorted(self._clients):
            client = self._clients.get(worker)
            if client is not None and client.asks:
                self._give(client)

    def _give(self, client: Client) -> None:
        """Answer a worker that asks, when it may go on and there is something for it."""
        worker = client.worker
        assert worker is not None
        if self._seen < self._step or self.finished:  # the owner has to read the snapshot first
            return
        if client.resting:
            if not self.server.sampler.waiting(worker):
                return
            client.resting = False
            self.server.join(worker, own=True)
        if not self.server.admits(worker):
            return
        given = self.server.pull(worker, self.region[f"{worker}/weights"])
        if given is None:
            client.resting = True
            if self.server.rest(worker):
                self._merged()
                self._give_all()
            return
        client.asks, client.since = False, time.monotonic()
        self._write_models(worker, given)
        self._say(client, Frame(Kind.GIVEN, client.life, given.version, len(given.models), tickets=given.tickets))

    def _write_models(self, worker: int, given: Given) -> None:
        size = self.server.flat.size
        for i, (other, model) in enumerate(given.models):
            self.region[f"{worker}/peers"][i * size : (i + 1) * size].copy_(model)
            self.region[f"{worker}/who"][i] = other

    # -- what is known

    def status(self) -> dict[str, Any]:
        """Return how the training stands, as JSON values."""
        now = time.monotonic()
        slowest = self.server.held.slowest
        return {
            "version": self.server.held.version, "merged": self.server.merged, "epochs": self.server.epochs,
            "drawn_again": self.server.sampler.drawn_again, "refused": dict(self.server.refused), "events": dict(self.events),
            "staleness": {str(k): v for k, v in sorted(self.server.staleness.items())[:200]},
            "workers": {
                str(w): {
                    "updates": c.updates, "rate": c.updates / max(now - c.began, 1e-9), "waits": c.asks,
                    "ahead": self.server.held.clocks.get(w, slowest) - slowest,
                }
                for w, c in sorted(self._clients.items())
            },
        }  # fmt: skip
