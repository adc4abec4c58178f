"""Messages between two processes of one user over a SEQPACKET socket: short ones in it, long ones in a file that has no name.

Such a socket takes a message whole or not at all, and none that is longer than its buffer (about 200 kB on Linux). What is longer goes into
memory, and its descriptor into the message.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Sequence

__all__ = ["receive", "send"]

_SHORT = 1 << 16  # bytes that go through the socket; each system's buffer holds several of these
_LONGEST = 1 << 31  # bytes of a message: no configuration is as long, so what says so is broken
_HEAD = struct.Struct("<cQ")  # "s": it follows here, or "l": it is in the first file; its length


def send(to: socket.socket, data: bytes, files: Sequence[int] = ()) -> None:
    """Send a message of any length, with descriptors of files; raise OSError when nobody is there, or there is no room for it.

    >>> a, b = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    >>> with a, b:
    ...     send(a, b"x" * 1_000_000)
    ...     len(receive(b, 0)[0])
    1000000
    """
    if len(data) > _LONGEST:
        raise OSError(f"a message of {len(data)} bytes; at most {_LONGEST} can be sent")
    if len(data) <= _SHORT:
        socket.send_fds(to, [_HEAD.pack(b"s", len(data)), data], list(files))
        return
    with open(os.memfd_create("whet"), "wb") as memory:
        memory.write(data)
        memory.flush()
        socket.send_fds(to, [_HEAD.pack(b"l", len(data))], [memory.fileno(), *files])


def receive(at: socket.socket, files: int) -> tuple[bytes, list[int]]:
    """Return the next message, b"" when the other side is gone, and the descriptors that came with it, `files` at most.

    Raises OSError for a message that is not as `send` makes them.
    """
    data, found, flags, _ = socket.recv_fds(at, _HEAD.size + _SHORT, files + 1)
    if not data:
        return b"", found
    kind, size = _HEAD.unpack_from(data) if len(data) >= _HEAD.size else (b"", 0)
    if kind == b"l" and found and size <= _LONGEST:
        with open(found.pop(0), "rb") as memory:
            memory.seek(0)  # the place in a file goes along with it
            data = memory.read(size + 1)
    else:
        data = data[_HEAD.size :]
    if kind not in (b"s", b"l") or len(data) != size or flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC):
        for file in found:
            os.close(file)
        raise OSError(f"a message of {len(data)} bytes that says it has {size}: it came to harm")
    return data, found
