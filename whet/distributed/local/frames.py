"""What workers and server say to each other: small messages of known size, each checked when it is read.

A socket of type SOCK_SEQPACKET keeps their boundaries, so there is no stream to get out of step; one that is longer than
`LARGEST` is cut by the kernel and then refused. Nothing in them is ever unpickled or evaluated.
"""

from __future__ import annotations

import json
import os
import socket
import struct
from collections.abc import Mapping
from enum import IntEnum
from pathlib import Path
from typing import Any, NamedTuple

from whet.distributed.update import Ticket
from whet.errors import WhetError

__all__ = ["Frame", "Kind", "FrameError", "connect", "listen", "receive", "send"]

LARGEST = 60_000  # bytes of a message; 20 a ticket, so a stretch of local steps may have 2,900
_HEAD = struct.Struct("<BIqqqd")  # kind, life, three whole numbers, one real
_TICKET = struct.Struct("<Iqq")


class Kind(IntEnum):
    """What a message is. A worker says HELLO, PULL, ALIVE, PUSH (which asks for more at once), BYE; the owner WATCH, SEEN, HALT."""

    HELLO = 1  # a: worker, b: whether it has weights to go on from, c: its process
    WELCOME = 2  # life; a: the worker's next step, b: the server's epoch
    PULL = 3
    GIVEN = 4  # a: version, b: models given, c: tickets handed out before; tickets
    PUSH = 5  # life; a: step, b: examples, c: pulled, real: loss
    DONE = 6  # nothing is left to do
    STALE = 7  # the life or epoch is over: say HELLO again
    BYE = 8
    WATCH = 9  # asks for a status
    STATUS = 10  # text: JSON
    SEEN = 11  # a: the epoch whose snapshot was read
    HALT = 12  # save and end
    ALIVE = 13  # life: it got further with what it is at
    STATISTICS = 14  # what comes before GIVEN for one that is new: the model's buffers lie in its part of the memory
    CLOSE = 15  # as GIVEN, for the compression that ends the training; its one ticket names a shard


class FrameError(WhetError):
    """A message that cannot be one."""


class Frame(NamedTuple):
    """A message: what it is, the life of the worker it is of, numbers, tickets or a text."""

    kind: Kind
    life: int = 0
    a: int = 0
    b: int = 0
    c: int = 0
    real: float = 0.0
    tickets: tuple[Ticket, ...] = ()
    status: Mapping[str, Any] = {}

    def pack(self) -> bytes:
        """Return the message as bytes.

        >>> f = Frame(Kind.GIVEN, 3, 17, tickets=(Ticket(0, 2, 5),))
        >>> unpack(f.pack()) == f
        True
        """
        head = _HEAD.pack(self.kind, self.life, self.a, self.b, self.c, self.real)
        if self.kind is Kind.STATUS:
            return head + json.dumps(self.status).encode()
        return head + b"".join(_TICKET.pack(*t) for t in self.tickets)


def unpack(data: bytes) -> Frame:
    """Return the message that `data` is; raise FrameError when it is none."""
    if not _HEAD.size <= len(data) <= LARGEST:
        raise FrameError(f"message: {len(data)} bytes; allowed are {_HEAD.size} to {LARGEST}.")
    number, life, a, b, c, real = _HEAD.unpack_from(data)
    try:
        kind = Kind(number)
    except ValueError:
        raise FrameError(f"message: kind {number} is unknown.") from None
    rest = data[_HEAD.size :]
    if kind is Kind.STATUS:
        try:
            status = json.loads(rest)
        except (ValueError, RecursionError):  # the latter: brackets in brackets, some thousands deep
            status = None
        if not isinstance(status, dict):
            raise FrameError("message: its status is not a JSON object.")
        return Frame(kind, life, a, b, c, real, status=status)
    if len(rest) % _TICKET.size or (rest and kind not in (Kind.GIVEN, Kind.CLOSE)):
        raise FrameError(f"message: {kind.name} with {len(rest)} bytes too many.")
    return Frame(kind, life, a, b, c, real, tuple(Ticket(*t) for t in _TICKET.iter_unpack(rest)))


def listen(path: Path) -> socket.socket:
    """Return a socket that takes connections at `path`, in a folder that only its owner can enter."""
    path.unlink(missing_ok=True)
    made = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    made.bind(str(path))
    made.listen(1024)
    return made


def connect(path: Path, *, seconds: float) -> socket.socket:
    """Return a connection to the server at `path`; OSError when there is none, or it takes longer than `seconds`."""
    made = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    made.settimeout(seconds)
    try:
        made.connect(str(path))
    except BaseException:
        made.close()
        raise
    return made


def peer(connection: socket.socket) -> int:
    """Return the user id of the other end, or our own where the system does not tell (its folder is ours alone anyway)."""
    if not hasattr(socket, "SO_PEERCRED"):
        return os.getuid()
    return struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[1]


def send(connection: socket.socket, frame: Frame) -> None:
    """Send a message; OSError when the other end is gone."""
    connection.send(frame.pack())


def receive(connection: socket.socket) -> Frame | None:
    """Return the next message, or None when the other end has gone.

    Raises FrameError for what is no message, TimeoutError when none comes within the connection's time.
    """
    try:
        data = connection.recv(LARGEST + 1)
    except ConnectionError:
        return None
    return unpack(data) if data else None


def most_tickets() -> int:
    """Return how many tickets fit into a message.

    >>> most_tickets() > 2000
    True
    """
    return (LARGEST - _HEAD.size) // _TICKET.size
