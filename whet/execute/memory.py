"""How much memory a process holds, how much it held at most, and a limit on what it may still take.

Read from /proc, so on Linux; elsewhere the peak is that of the process's whole life, and limits are refused.
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

__all__ = ["Held", "Meter", "held", "limited"]


class Held(NamedTuple):
    """What a process holds, in bytes.

    own: resident memory that is its own or shared memory, not the pages of files it maps; peak: the most that was ever
    resident, files included, since the mark was last reset; data: the private writable address space, which a limit
    counts.
    """

    own: int
    peak: int
    data: int


def held(pid: int | None = None) -> Held | None:
    """Return what process `pid` (by default this one) holds, or None when nobody can tell: it ended, or has no /proc.

    >>> now = held()
    >>> now is None or 0 < now.own < now.data
    True
    """
    try:
        text = Path(f"/proc/{pid or 'self'}/status").read_bytes()
    except OSError:
        return None
    found: dict[bytes, int] = {}
    for line in text.splitlines():
        name, _, rest = line.partition(b":")
        if name in (b"RssAnon", b"RssShmem", b"VmHWM", b"VmData"):
            found[name] = 1024 * int(rest.split()[0])
    if len(found) < 4:
        return None  # a zombie holds nothing
    return Held(found[b"RssAnon"] + found[b"RssShmem"], found[b"VmHWM"], found[b"VmData"])


class Meter:
    """What a piece of work in this process has cost since the meter was made: seconds, and its peak of memory.

    >>> sorted(Meter().read())
    ['memory', 'seconds']
    """

    def __init__(self) -> None:
        self._began = time.monotonic()
        try:
            Path("/proc/self/clear_refs").write_text("5")  # the high-water mark begins anew (see proc(5))
        except OSError:
            pass  # no Linux, or not allowed: the peak is that of the process's whole life

    def read(self) -> dict[str, float]:
        """Return "seconds" so far and "memory": the peak of resident bytes."""
        now = held()
        if now is not None:
            peak = now.peak
        else:
            most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            peak = most if sys.platform == "darwin" else 1024 * most
        return {"seconds": round(time.monotonic() - self._began, 3), "memory": peak}


@contextmanager
def limited(amount: int | None) -> Iterator[None]:
    """Let this process take at most `amount` bytes more than it holds now (None: no limit); then as before.

    An allocation beyond it fails, as MemoryError in Python and NumPy and as RuntimeError in torch. Shared memory is not
    counted: whoever owns the process watches its resident size.

    >>> with limited(64_000_000):
    ...     try:
    ...         x = bytearray(640_000_000)
    ...     except MemoryError:
    ...         print("too much")
    too much
    """
    now = held() if amount is not None else None
    if amount is None or now is None:
        yield
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    most = now.data + amount
    for limit in (soft, hard):
        most = most if limit == resource.RLIM_INFINITY else min(most, limit)
    resource.setrlimit(resource.RLIMIT_DATA, (most, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))
