"""Workers that start at once: forked from a process that has imported and made what all of them need.

A fresh Python that imports torch and makes a task takes seconds of a core, and so does the next one. A fork of one that is ready takes
milliseconds, and what was made before is shared until somebody writes to it.
"""

from __future__ import annotations

import json
import os
import queue
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TextIO

from whet.execute.parcel import send
from whet.execute.process import environment

__all__ = ["ForkServer", "Forked"]

_ANSWER = 30.0  # seconds for a fork; it takes milliseconds
# pyarrow's allocator has a thread that tidies up in the background; without it the process has one thread
_ALONE = {"JE_ARROW_MALLOC_CONF": "background_thread:false"}
_END = 5.0  # seconds for a process to end that has nothing more to do


class ForkServer:
    """A process that runs `call(payload)` once, then forks workers for a `Pool`.

    call: a function by name, whose results stay in memory of its modules; it must start no thread that lasts, or no worker is forked and
    the pool starts fresh Pythons instead, as it does on systems other than Linux. log: as in `Pool`.

    >>> with ForkServer("whet.execute.processes:prepared", {}) as server:
    ...     server.ready(60.0)
    True
    """

    def __init__(self, call: str, payload: Mapping[str, Any], *, log: Path | None = None) -> None:
        self._lock = threading.Lock()
        self._prepared = threading.Event()
        self._answers: queue.Queue[dict[str, Any]] = queue.Queue()
        self._book = threading.Lock()  # of what is known of children, which two threads write
        self._children: dict[int, Forked] = {}
        self._early: dict[int, int] = {}  # pid -> code, of those that ended before they were known
        self.gone = not sys.platform.startswith("linux")
        self.why = "" if not self.gone else f"{sys.platform} is not safe to fork"
        if self.gone:
            self._prepared.set()
            return
        self._owner, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        out = open(log, "ab") if log else None  # noqa: SIM115
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "whet.execute.fork", str(theirs.fileno())], stdin=subprocess.DEVNULL,
                stdout=2 if out is None else out, stderr=out, env=environment(threads=1) | _ALONE,
                process_group=0, pass_fds=(theirs.fileno(),),
            )  # fmt: skip
        if out:
            out.close()
        try:
            self._send({"call": call, "payload": dict(payload)})
        except OSError as e:  # it is gone, or what it is to prepare found no room
            self.why = f"what to prepare could not be sent: {e}"
            self._process.kill()
        self._reader = threading.Thread(target=self._read, daemon=True, name="whet-forks")
        self._reader.start()

    def ready(self, seconds: float) -> bool:
        """Wait until it is prepared, or is known never to be; return whether that was within `seconds`."""
        return self._prepared.wait(seconds)

    def fork(self, env: Mapping[str, str], *, out: int, faults: int) -> Forked | None:
        """Return a new worker, or None when it must not be forked; `why` says why.

        env: what its environment has beside that of the server; out: the descriptor of its standard error; faults: of the file where a fault
        is written.
        """
        self._prepared.wait()
        with self._lock:
            if self.gone:
                return None
            inside, to_child = os.pipe()
            from_child, outside = os.pipe()
            try:
                self._send({"env": dict(env)}, [inside, outside, out, faults])
                answer = self._answers.get(timeout=_ANSWER)
            except (OSError, queue.Empty):
                answer = {"refused": "the process that forks does not answer"}
            finally:
                os.close(inside)
                os.close(outside)
            if "refused" in answer:
                self.gone, self.why = True, answer["refused"]
                os.close(to_child)
                os.close(from_child)
                return None
            child = Forked(answer["pid"], to_child, from_child)
            with self._book:
                if child.pid in self._early:
                    child.ended(self._early.pop(child.pid))
                else:
                    self._children[child.pid] = child
            return child

    def _send(self, message: Mapping[str, Any], files: list[int] | None = None) -> None:
        send(self._owner, json.dumps(message).encode(), files or [])

    def _read(self) -> None:
        while True:
            try:
                data = self._owner.recv(1 << 16)
            except OSError:
                data = b""
            if not data:
                break
            message = json.loads(data)
            if "exit" in message:
                with self._book:
                    child = self._children.pop(message["exit"], None)
                    if child is not None:
                        child.ended(message["code"])
                    else:
                        self._early[message["exit"]] = message["code"]
                try:
                    self._send({"reap": message["exit"]})
                except OSError:
                    break
            elif "ready" in message:
                self._prepared.set()
            else:
                self._answers.put(message)
        self.gone, self.why = True, self.why or "the process that forks has ended"
        self._answers.put({"refused": self.why})
        self._prepared.set()
        with self._book:
            for child in self._children.values():
                child.orphaned()

    def close(self) -> None:
        """End the process that forks; its workers live on, and end when their owner ends them."""
        if not hasattr(self, "_process"):
            return
        if not self._prepared.is_set():
            self._process.kill()  # it has nothing to end yet
        self._owner.shutdown(socket.SHUT_RDWR)
        try:
            self._process.wait(_END)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join(_END)
        self._owner.close()

    def __enter__(self) -> ForkServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Forked:
    """A forked worker, with what `Process` needs of a `subprocess.Popen`.

    returncode: as `subprocess` gives it; -9 when the process that forked it ended first, and so nobody knows.
    """

    def __init__(self, pid: int, to_child: int, from_child: int) -> None:
        self.pid = pid
        self.stdin: TextIO = os.fdopen(to_child, "w", encoding="utf-8", buffering=1)
        self.stdout: TextIO = os.fdopen(from_child, encoding="utf-8")
        self.returncode: int | None = None
        self._done = threading.Event()
        try:
            self._handle: int | None = os.pidfd_open(pid)
        except OSError:  # it has ended, and that will be told
            self._handle = None

    def ended(self, code: int) -> None:
        """Take in how it ended; it can be found by its number until then."""
        self.returncode = code
        self._done.set()
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None

    def orphaned(self) -> None:
        """Look oneself when it ends."""

        def look() -> None:
            if self._handle is not None:
                select.select([self._handle], [], [])
            self.ended(-signal.SIGKILL)

        threading.Thread(target=look, daemon=True).start()

    def poll(self) -> int | None:
        """Return its code, or None while it lives."""
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Return its code when it has ended; raise subprocess.TimeoutExpired after `timeout` seconds."""
        if not self._done.wait(timeout):
            raise subprocess.TimeoutExpired("whet.execute.child", timeout or 0.0)
        assert self.returncode is not None
        return self.returncode

    def kill(self) -> None:
        """End it at once."""
        if self._handle is not None:
            signal.pidfd_send_signal(self._handle, signal.SIGKILL)
