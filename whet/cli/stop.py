"""Ctrl-C at the command line: the first one asks, the second one ends."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["interruptible"]


@contextmanager
def interruptible(how: str) -> Iterator[threading.Event]:
    """Yield an event that the first Ctrl-C sets, saying `how` the work ends; the second one ends the process at once."""
    asked = threading.Event()

    def handle(signum: int, frame: object) -> None:
        if asked.is_set():
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            os.write(2, b"\nwhet: stopped at once\n")
            raise KeyboardInterrupt
        asked.set()
        # not print(): a handler may interrupt another print
        os.write(2, f"\nwhet: {how}; Ctrl-C again stops at once\n".encode())

    before = [(s, signal.signal(s, handle)) for s in (signal.SIGINT, signal.SIGTERM)]
    try:
        yield asked
    finally:
        for s, handler in before:
            signal.signal(s, handler)
        sys.stderr.flush()
