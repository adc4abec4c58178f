"""The other end of a `ForkServer`: `python -m whet.execute.fork NUMBER`, with NUMBER the descriptor of its owner's socket.

It runs what it is told to prepare, then forks a worker whenever it is asked to, as long as it has no thread but its own: what a thread
holds at a fork is held for ever in the child. It tells how its children ended, and lets them go when their owner has heard it, so that no
number of a process is used again before that. It ends when its owner does.
"""

from __future__ import annotations

import gc
import json
import os
import selectors
import signal
import socket
import sys
from collections.abc import Mapping
from typing import Any

from whet.execute.parcel import receive
from whet.execute.reference import resolve

__all__ = ["main"]

_NAMED = 20  # threads, at most, when they are why it does not fork
_FILES = 4  # that come with a request: standard input, output and error, and where a fault is written


def main() -> None:
    """Prepare, then serve until the owner is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the owner decides what Ctrl-C means
    owner = socket.socket(fileno=int(sys.argv[1]))
    os.set_inheritable(owner.fileno(), False)
    task = _receive(owner)[0]
    if task is None:
        return
    try:
        resolve(task["call"])(task["payload"])
    except Exception:
        pass  # its children will try, and say it in their way
    gc.collect()
    gc.freeze()  # pages that hold only what was there before stay shared
    _tell(owner, {"ready": True})
    _Nursery(owner).serve()


class _Nursery:
    """The children, and what is told of them."""

    def __init__(self, owner: socket.socket) -> None:
        self.owner = owner
        self.handles: dict[int, int] = {}  # pid -> its descriptor
        self.selector = selectors.DefaultSelector()
        self.selector.register(owner, selectors.EVENT_READ, 0)

    def serve(self) -> None:
        """Answer until the owner is gone."""
        while True:
            for key, _ in self.selector.select():
                if key.data:
                    self._ended(key.data)
                    continue
                message, files = _receive(self.owner)
                if message is None:
                    return
                if "reap" in message:
                    os.waitpid(message["reap"], 0)
                else:
                    self._fork(message["env"], files)

    def _fork(self, env: Mapping[str, str], files: list[int]) -> None:
        threads = [_name(t) for t in os.listdir("/proc/self/task") if int(t) != os.getpid()]
        if threads:
            _tell(self.owner, {"refused": f"threads: {', '.join(threads[:_NAMED])}"})
        else:
            pid = os.fork()
            if pid == 0:
                try:
                    self._become(env, files)
                finally:
                    os._exit(1)
            _group(pid)
            self.handles[pid] = os.pidfd_open(pid)
            self.selector.register(self.handles[pid], selectors.EVENT_READ, pid)
            _tell(self.owner, {"pid": pid})
        for file in files:
            os.close(file)

    def _become(self, env: Mapping[str, str], files: list[int]) -> None:
        """Be a worker, as a new Python that runs `whet.execute.child` is."""
        from whet.execute.child import main as serve

        _group(0)
        self.selector.close()
        for file in (self.owner.detach(), *self.handles.values()):
            os.close(file)
        for number, file in enumerate(files[:3]):
            os.dup2(file, number)
            os.close(file)
        os.environ.update(env)
        os.environ["WHET_FAULTS"] = str(files[3])
        serve()

    def _ended(self, pid: int) -> None:
        self.selector.unregister(self.handles[pid])
        os.close(self.handles.pop(pid))
        found = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        assert found is not None
        code = found.si_status if found.si_code == os.CLD_EXITED else -found.si_status
        _tell(self.owner, {"exit": pid, "code": code})


def _name(thread: str) -> str:
    try:
        with open(f"/proc/self/task/{thread}/comm") as file:
            return file.read().strip()
    except OSError:
        return thread  # it has just ended, but may have been at something


def _group(pid: int) -> None:
    """Make the child the head of a group of its own; both sides do, so that it holds for both at once."""
    try:
        os.setpgid(pid, pid)
    except OSError:
        pass  # the other side was first, and it is at work already


def _receive(owner: socket.socket) -> tuple[dict[str, Any] | None, list[int]]:
    data, files = receive(owner, _FILES)
    return (json.loads(data), files) if data else (None, files)


def _tell(owner: socket.socket, message: Mapping[str, Any]) -> None:
    try:
        owner.send(json.dumps(message).encode())
    except OSError:
        os._exit(0)  # nobody is there


if __name__ == "__main__":
    main()
