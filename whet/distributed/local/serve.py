"""The server's process: hears workers one message at a time, so that nothing has to be locked."""

from __future__ import annotations

import os
import selectors
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from whet.distributed.client import Client
from whet.distributed.desk import Desk
from whet.distributed.local.frames import Frame, FrameError, Kind, listen, peer, receive, send
from whet.distributed.local.layout import socket_path
from whet.distributed.local.region import Region
from whet.distributed.server import Server
from whet.distributed.update import Given

__all__ = ["Listener"]

_LOOK = 0.1  # seconds between looks at what is overdue
_SLEPT = 2.0  # seconds without a look, after which this process was stopped or busy: what waits is heard before anybody is called late


@dataclass(eq=False)
class Line:
    """A connection: of a worker in one of its lives, or of the owner."""

    connection: socket.socket
    client: Client | None = None
    spoke: bool = False
    process: int = 0


class Listener:
    """Answers the workers of a `Server` at a socket, with vectors in shared memory.

    workers, epoch, deadline, shown, spent: as `Desk` has them; told: called with what the owner should know: a whole epoch's status, or a worker
    that is late, and its process; after: called after each update that was merged.
    """

    def __init__(
        self, server: Server, region: Region, folder: Path, *, workers: int, epoch: int, deadline: float,
        told: Callable[[Mapping[str, Any]], None], after: Callable[[], None] = lambda: None, shown: int | None = None,
        spent: float = 0.0,
    ) -> None:  # fmt: skip
        self.server, self.region, self.told, self.after = server, region, told, after
        self.desk = Desk(
            server, self, workers=workers, epoch=epoch, deadline=deadline, together=1 if epoch and not server.closing else workers,
            shown=shown, spent=spent,
        )  # fmt: skip
        self.halting = False
        self._listener = listen(socket_path(folder))
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ, None)
        self._lines: dict[int, Line] = {}  # life -> its connection
        self._looked = time.monotonic()

    def serve(self, stopping: Callable[[], bool] = lambda: False) -> None:
        """Answer until every epoch is merged and its last snapshot seen, or the owner says HALT or `stopping`."""
        try:
            self.desk.show()
            while not self.halting and not stopping() and not self.desk.over:
                for key, _ in self._selector.select(_LOOK):
                    if key.data is None:
                        self._accept()
                    else:
                        self._hear(key.data)
                if time.monotonic() - self._looked >= _LOOK:
                    self._looked, before = time.monotonic(), self._looked
                    if self._looked - before < _SLEPT:
                        self._expire()
        finally:
            for line in self._lines.values():
                self._say(line, Frame(Kind.DONE))
            for key in list(self._selector.get_map().values()):
                key.fileobj.close()  # type: ignore[union-attr]
            self._selector.close()

    def _expire(self) -> None:
        processes = {life: line.process for life, line in self._lines.items()}
        for client in self.desk.expire():
            self.told({"late": client.worker, "process": processes[client.life]})

    # -- connections

    def _accept(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except OSError:  # no file is left for it, or it has gone already
            self._make_room()
            return
        connection.setblocking(False)
        if peer(connection) != os.getuid():
            self.desk.events["foreign"] += 1
            connection.close()
            return
        self._selector.register(connection, selectors.EVENT_READ, Line(connection))

    def _make_room(self) -> None:
        """Close connections that never said a word: with all files of the process in use nobody else would be heard."""
        self.desk.events["crowded"] += 1
        for key in list(self._selector.get_map().values()):
            if key.data is not None and not key.data.spoke:
                self._gone(key.data)

    def _hear(self, line: Line) -> None:
        try:
            frame = receive(line.connection)
        except (FrameError, OSError):
            self.desk.events["nonsense"] += 1
            frame = None
        if frame is None:
            self._gone(line)
            return
        line.spoke = True
        match frame.kind:
            case Kind.HELLO:
                self._hello(line, frame)
            case Kind.PULL | Kind.ALIVE | Kind.PUSH if line.client is not None and frame.life != line.client.life:
                self.desk.events["stale"] += 1
                self._say(line, Frame(Kind.STALE))
            case Kind.PULL if line.client is not None:
                self.desk.ask(line.client)
            case Kind.ALIVE if line.client is not None:
                self.desk.alive(line.client)
            case Kind.PUSH if line.client is not None:
                self._push(line.client, frame)
            case Kind.WATCH:
                self._say(line, Frame(Kind.STATUS, status=self.desk.status()))
            case Kind.SEEN:
                self.desk.seen(frame.a)
            case Kind.HALT:
                self.halting = True
            case _:
                self._gone(line)

    def _say(self, line: Line, frame: Frame) -> None:
        try:
            send(line.connection, frame)
        except OSError:
            pass  # its end will be read

    def _gone(self, line: Line) -> None:
        """Forget a connection, and the worker that it was."""
        try:
            self._selector.unregister(line.connection)
        except (KeyError, ValueError):
            return
        line.connection.close()
        if line.client is not None:
            self._lines.pop(line.client.life, None)
            self.desk.leave(line.client)

    # -- workers

    def _hello(self, line: Line, frame: Frame) -> None:
        found = None if line.client is not None else self.desk.hello(frame.a, own=bool(frame.b))
        if found is None:
            self._gone(line)
            return
        line.client, line.process, self._lines[found.life] = found, frame.c, line
        self._say(line, Frame(Kind.WELCOME, found.life, found.step, self.desk.epoch))

    def _push(self, client: Client, frame: Frame) -> None:
        worker = client.worker
        vector = self.region[f"{worker}/{'gradient' if self.server.local.sends == 'gradient' else 'weights'}"]
        self.desk.push(
            client, frame.a, vector, self.region[f"{worker}/buffers"].clone(), examples=frame.b, pulled=frame.c, loss=frame.real
        )  # fmt: skip

    # -- what the desk needs

    def into(self, worker: int) -> Tensor:
        """Return the worker's part of the shared memory."""
        return self.region[f"{worker}/weights"]

    def give(self, client: Client, given: Given) -> None:
        """Send the worker what it was given; its weights lie in shared memory."""
        for i, (other, model) in enumerate(given.models):
            size = len(model)
            self.region[f"{client.worker}/peers"][i * size : (i + 1) * size].copy_(model)
            self.region[f"{client.worker}/who"][i] = other
        if given.buffers is not None:
            self.region[f"{client.worker}/buffers"].copy_(given.buffers)
            self._say(self._lines[client.life], Frame(Kind.STATISTICS, client.life))
        self._say(
            self._lines[client.life],
            Frame(
                Kind.CLOSE if given.closing else Kind.GIVEN, client.life, given.version, len(given.models), given.handed or 0,
                tickets=given.tickets,
            ),
        )  # fmt: skip

    def drop(self, client: Client) -> None:
        """Close the worker's connection."""
        line = self._lines.pop(client.life, None)
        if line is not None:
            self._gone(line)

    def merged(self) -> None:
        """Note what was acknowledged where it outlives this process."""
        counts = self.region["counts"]
        counts[0], counts[1] = self.server.held.version, self.server.merged
        self.after()

    def whole(self, epoch: int) -> None:
        """Put the weights where the owner reads them, and tell it."""
        self.snapshot()
        self.told(self.desk.epoch_status())

    def snapshot(self) -> None:
        """Put the weights where the owner reads them."""
        server = self.server
        self.region["snapshot"].copy_(server.held.weights)
        server.flat.read_buffers(self.region["snapshot/buffers"])
        for i, (_, model) in enumerate(server.models):
            size = len(model)
            self.region["snapshot/models"][i * size : (i + 1) * size].copy_(model)
