"""One worker process: started, spoken to, looked at, ended."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from whet.execute.memory import held
from whet.journal.process import who

if TYPE_CHECKING:
    from whet.execute.forkserver import ForkServer

__all__ = ["FAULTS", "Process", "died_of", "environment"]

_THREADS = (
    "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "BLIS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS", "NUMEXPR_NUM_THREADS",
)  # fmt: skip

# A signal that a program brings upon itself: the same work would do it again.
FAULTS = frozenset(
    int(getattr(signal, name))
    for name in ("SIGSEGV", "SIGBUS", "SIGFPE", "SIGILL", "SIGABRT", "SIGTRAP", "SIGSYS")
    if hasattr(signal, name)
)

_TAIL = 8000  # bytes of what a fault left behind


def died_of(code: int | None) -> str:
    """Return how a process ended, from its exit code as `subprocess` gives it.

    >>> died_of(-11), died_of(3)
    ('SIGSEGV', 'exit code 3')
    """
    if code is None or code >= 0:
        return f"exit code {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"


def environment(threads: int) -> dict[str, str]:
    """Return the environment of a Python that this process starts, for work on so many threads."""
    found = {**os.environ, **_shared(threads), "PYTHONUNBUFFERED": "1", "WHET_WORKER": who()}
    # threads that spin while they wait make others wait: with more threads than cores all get many times slower
    found.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # what this process can import, the worker can: also an uninstalled package, or a script's folder
    found["PYTHONPATH"] = os.pathsep.join(
        dict.fromkeys([*(p or os.getcwd() for p in sys.path if not p.endswith(".zip"))])
    )
    return found


def _shared(threads: int) -> dict[str, str]:
    return dict.fromkeys(_THREADS, str(threads))


class Process:
    """A Python that runs `whet.execute.child`, and what its owner knows of it.

    forks: what it is forked from, where that can be, instead of begun anew; left: whether its owner no longer listens to it.
    """

    def __init__(
        self,
        *,
        threads: int,
        log: Path | None,
        devices: Sequence[str] | None,
        stall: float | None,
        forks: ForkServer | None = None,
    ) -> None:
        self.left = False
        self._lock = threading.Lock()
        self._told = False  # its end
        self._why = ""
        self._began: float | None = None  # the piece of work it is in
        self._sign = 0.0  # when it last gave a sign of getting further
        self._base = self._peak = 0
        self._faults = tempfile.TemporaryFile()  # noqa: SIM115
        own = {"WHET_FAULTS": str(self._faults.fileno()), "WHET_SIGN": str(stall or 0)}
        if devices is not None:
            own["CUDA_VISIBLE_DEVICES"] = ",".join(devices)
        out = open(log, "ab") if log else None  # noqa: SIM115
        forked = None
        if forks is not None:
            forked = forks.fork(own | _shared(threads), out=out.fileno() if out else 2, faults=self._faults.fileno())
        # a group of its own: what the work starts is ended with it
        self._process = forked or subprocess.Popen(
            [sys.executable, "-m", "whet.execute.child"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=out or None, env=environment(threads) | own, text=True,
            encoding="utf-8", bufsize=1, process_group=0, pass_fds=(self._faults.fileno(),),
        )  # fmt: skip
        if out:
            out.close()
        self.pid = self._process.pid
        self.name = who(self.pid)

    def lines(self) -> Iterator[str]:
        """Yield what it says, until it ends."""
        assert self._process.stdout is not None
        with self._process.stdout as out:
            yield from out

    def send(self, message: Mapping[str, Any]) -> None:
        """Send it a line, unless it is gone: its end says so."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(message) + "\n")
            self._process.stdin.flush()
        except (BrokenPipeError, ValueError, OSError):
            pass

    # -- what it is doing

    def pulse(self, data: Mapping[str, Any]) -> None:
        """Take in what it says of the piece of work it is in."""
        with self._lock:
            self._sign = time.monotonic()
            if "begin" in data:
                self._began, self._base = self._sign, int(data["begin"])
                self._peak = self._base
            elif "end" in data:
                self._began = None

    @property
    def active(self) -> bool:
        """Whether it is in the middle of a piece of work."""
        return self._began is not None

    @property
    def alive(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    def over(self, memory: int | None) -> bool:
        """Look at what it holds; return whether its piece of work has taken more than `memory` bytes."""
        with self._lock:
            if self._began is None:
                return False
            now = held(self.pid)
            if now is None:
                return False
            self._peak = max(self._peak, now.peak)
            return memory is not None and now.own - self._base > memory

    def silent(self) -> float:
        """Return for how many seconds its piece of work has given no sign of getting further."""
        with self._lock:
            return 0.0 if self._began is None else time.monotonic() - self._sign

    # -- its end

    def wait(self, seconds: float | None = None) -> bool:
        """Wait until it ends; return whether it did within `seconds`."""
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def end(self) -> dict[str, Any] | None:
        """Return how it ended, the first time this is asked, and let go of it; it must have ended."""
        with self._lock:
            if self._told:
                return None
            self._told = True
            self.hang_up()
            found: dict[str, Any] = {"code": self._process.returncode, "name": self.name, "why": self._why}
            if self._began is not None:
                found |= {"seconds": round(time.monotonic() - self._began, 3), "memory": self._peak}
            with self._faults as faults:
                faults.seek(max(0, faults.seek(0, os.SEEK_END) - _TAIL))
                found["trace"] = faults.read().decode(errors="replace")
            self._began = None
            return found

    def kill(self, why: str = "") -> None:
        """End it and what it started at once; `why` is told with its end."""
        with self._lock:
            if self._process.poll() is None:
                self._why = self._why or why
                try:
                    os.killpg(self.pid, signal.SIGKILL)
                except OSError:
                    self._process.kill()

    def hang_up(self) -> None:
        """Close the pipe to it, which asks it to end."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.close()
        except OSError:
            pass  # a pipe that broke

    def leave(self) -> None:
        """Stop listening to it and ask it to end."""
        self.left = True
        self.hang_up()
