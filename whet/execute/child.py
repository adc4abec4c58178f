"""The other end of a worker process: `python -m whet.execute.child`.

It reads JSON lines from standard input and answers with JSON lines on a descriptor of its own, so that whatever the
work prints cannot be mistaken for a message. End of file means that the owner is gone: the work is asked to stop. What
kills the interpreter is written, with the lines of Python it came from, to a file that the owner holds open.
"""

from __future__ import annotations

import faulthandler
import importlib
import json
import os
import queue
import signal
import sys
import threading
import time
import traceback
from collections.abc import Mapping
from typing import Any, TextIO

from whet.errors import WhetError
from whet.execute.memory import held
from whet.execute.reference import resolve

__all__ = ["Link", "main"]

_GRACE = 30.0  # seconds that work may go on after its owner is gone
_OFTEN = 1.0  # seconds between two signs of life, at most


class Link:
    """What running work has of its owner: a way to send messages, and whether it should stop.

    >>> import io
    >>> out = io.StringIO()
    >>> Link(out).emit({"step": 1}); out.getvalue()
    '{"event": {"step": 1}}\\n'
    """

    def __init__(self, out: TextIO, *, stall: float | None = None) -> None:
        self._every = None if stall is None else min(_OFTEN, stall / 10)
        self._sign = float("inf")  # when the last sign of life was given; none outside a piece of work
        self._out = out
        self._lock = threading.Lock()
        self._stop = threading.Event()

    @property
    def stopping(self) -> bool:
        """Whether the owner asked to stop, or is gone."""
        return self._stop.is_set()

    def stop(self) -> None:
        """Ask the work to stop at its next convenient moment."""
        self._stop.set()

    def go(self) -> None:
        """Forget an earlier request to stop."""
        self._stop.clear()

    def wait(self, seconds: float) -> bool:
        """Sleep until a request to stop, at most `seconds`; return whether one came."""
        return self._stop.wait(seconds)

    def begin(self) -> None:
        """Tell the owner that a piece of work begins: from here on it is watched."""
        self._sign = time.monotonic()
        now = held()
        self.send({"pulse": {"begin": now.own if now else 0}})

    def further(self) -> None:
        """Tell the owner that the piece of work got further; cheap enough to be said at every step."""
        if self._every is not None and time.monotonic() - self._sign >= self._every:
            self._sign = time.monotonic()
            self.send({"pulse": {}})

    def end(self) -> None:
        """Tell the owner that the piece of work ended."""
        self._sign = float("inf")
        self.send({"pulse": {"end": True}})

    def emit(self, event: Mapping[str, Any]) -> None:
        """Send a message to the owner."""
        self.send({"event": dict(event)})

    def send(self, message: Mapping[str, Any]) -> None:
        """Send a line; an owner that is gone is a request to stop."""
        try:
            with self._lock:
                self._out.write(json.dumps(message) + "\n")
                self._out.flush()
        except (BrokenPipeError, ValueError):
            self.stop()


def main() -> None:
    """Serve calls until standard input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the owner decides what Ctrl-C means
    _record_faults()
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what the work prints goes to the log
    link = Link(out, stall=float(os.environ.pop("WHET_SIGN", 0)) or None)
    calls: queue.Queue[dict[str, Any] | None] = queue.Queue()
    threading.Thread(target=_listen, args=(link, calls), daemon=True).start()
    link.send({"ready": os.getpid()})
    while (call := calls.get()) is not None:
        if "import" in call:
            _warm(call["import"], link)
            continue
        try:
            result = resolve(call["call"])(call["payload"], link)
            link.send({"result": result})
        except Exception as e:
            text = str(e) if isinstance(e, WhetError) else f"{type(e).__name__}: {e}"
            link.send({"error": text, "known": isinstance(e, WhetError), "traceback": traceback.format_exc()[-8000:]})
    os._exit(0)  # no waiting for threads of the work


def _record_faults() -> None:
    """Have the interpreter write where it was to the file it was handed, when a signal kills it."""
    number = os.environ.pop("WHET_FAULTS", "")
    if not number:
        return
    os.set_inheritable(int(number), False)
    faulthandler.enable(int(number))
    for name in ("SIGTRAP", "SIGSYS"):  # which `enable` leaves out
        if hasattr(signal, name):
            faulthandler.register(getattr(signal, name), file=int(number), chain=True)


def _warm(names: list[str], link: Link) -> None:
    for name in names:
        try:
            importlib.import_module(name)
        except ImportError:
            pass  # whoever needs it will say so
    link.send({"warm": names})


def _listen(link: Link, calls: queue.Queue[dict[str, Any] | None]) -> None:
    for line in sys.stdin:
        message = json.loads(line)
        if message.get("stop"):
            link.stop()
        else:
            link.go()
            calls.put(message)
    link.stop()
    calls.put(None)
    time.sleep(_GRACE)
    os._exit(1)  # the work did not come to an end


if __name__ == "__main__":
    main()
