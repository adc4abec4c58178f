"""The owner's way to its server."""

from __future__ import annotations

import socket
import time
from pathlib import Path
from typing import Any

from whet.distributed.local.frames import Frame, FrameError, Kind, connect, receive, send

__all__ = ["Contact"]


class Contact:
    """A connection to whichever server there is at `path`; one that is gone is nothing to speak to, and its end is known otherwise.

    seconds: that sending may take; asked: since when a status is due (`time.monotonic`), None when none is.
    """

    def __init__(self, path: Path, *, seconds: float) -> None:
        self.path, self.seconds = path, seconds
        self.asked: float | None = None
        self._socket: socket.socket | None = None

    def reach(self) -> None:
        """Connect to the server that listens now, if it has not gone again."""
        self.close()
        try:
            self._socket = connect(self.path, seconds=self.seconds)
        except OSError:
            pass

    def say(self, frame: Frame) -> None:
        """Send a message."""
        if self._socket is not None:
            try:
                send(self._socket, frame)
            except OSError:
                pass

    def ask(self) -> None:
        """Ask for a status, unless one is due."""
        if self.asked is None and self._socket is not None:
            self.asked = time.monotonic()
            self.say(Frame(Kind.WATCH))

    def hear(self, seconds: float = 0.0) -> dict[str, Any] | None:
        """Return the last status that was sent, waiting at most `seconds` for one; None when there is none."""
        found = None
        if self._socket is None:
            return None
        try:
            self._socket.settimeout(seconds)
            while frame := receive(self._socket):
                if frame.kind is Kind.STATUS:
                    found, self.asked = dict(frame.status), None
                self._socket.settimeout(0.0)
        except (OSError, FrameError):
            pass
        finally:
            self._socket.settimeout(self.seconds)
        return found

    def close(self) -> None:
        """Speak to nobody."""
        if self._socket is not None:
            self._socket.close()
        self._socket, self.asked = None, None
