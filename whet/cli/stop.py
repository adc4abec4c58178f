"""Ctrl-C at the command line: the first one asks, the second one ends."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["interruptible"]


@contextmanager
def interruptible(how: str, notice: Callable[[str], None]) -> Iterator[threading.Event]:
    """Yield an event that the first Ctrl-C sets, after a `notice` of `how` the work ends; the second ends it at once."""
    asked = threading.Event()

    def handle(signum: int, frame: object) -> None:
        if asked.is_set():
            signal.signal(signum, signal.SIG_IGN)
            os.write(2, b"\nwhet: stopped at once\n")
            raise KeyboardInterrupt
        asked.set()
        notice(f"whet: {how}; Ctrl-C again stops at once")

    before = [(s, signal.signal(s, handle)) for s in (signal.SIGINT, signal.SIGTERM)]
    try:
        yield asked
    finally:
        for s, handler in before:
            signal.signal(s, handler)
