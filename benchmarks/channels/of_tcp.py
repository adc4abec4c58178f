"""Plain TCP on the loopback interface, into vectors that are there: what an engine without shared memory can reach."""

from __future__ import annotations

import selectors
import socket
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from channels.case import apply, case_of, exchanges
from whet.execute.child import Link

_BUFFER = 4 << 20  # bytes of the kernel's buffers


def serve(payload: Mapping[str, Any], link: Link) -> dict[str, Any]:
    """Answer each gradient with the weights after it, until every worker has hung up."""
    case = case_of(payload)
    weights, gradient = case.weights(), case.gradient()
    with socket.create_server(("127.0.0.1", 0)) as listener, selectors.DefaultSelector() as selector:
        link.emit({"at": listener.getsockname()[1]})
        for _ in range(case.workers):
            selector.register(tuned(listener.accept()[0]), selectors.EVENT_READ)
        while selector.get_map():
            for key, _ in selector.select():
                connection: socket.socket = key.fileobj  # type: ignore[assignment]
                if fill(connection, gradient):
                    apply(weights, gradient)
                    connection.sendall(view(weights))
                else:
                    selector.unregister(connection)
                    connection.close()
    return {}


def work(payload: Mapping[str, Any], link: Link) -> dict[str, Any]:
    """Send gradients, take weights."""
    case = case_of(payload)
    weights, gradient = case.weights(), case.gradient()
    with tuned(socket.create_connection(("127.0.0.1", payload["at"]))) as connection:

        def exchange() -> None:
            connection.sendall(view(gradient))
            fill(connection, weights)

        return exchanges(case, link, exchange)


def tuned(connection: socket.socket) -> socket.socket:
    """Return the connection, set not to wait and with large buffers."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for side in (socket.SO_SNDBUF, socket.SO_RCVBUF):
        connection.setsockopt(socket.SOL_SOCKET, side, _BUFFER)
    return connection


def view(vector: Tensor) -> memoryview:
    """Return a vector's bytes, not copied."""
    return memoryview(vector.numpy()).cast("B")


def fill(connection: socket.socket, vector: Tensor) -> bool:
    """Receive a whole vector; return whether there was one."""
    room = view(vector)
    while room:
        n = connection.recv_into(room, flags=socket.MSG_WAITALL)
        if not n:
            return False
        room = room[n:]
    return True
