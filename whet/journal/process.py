"""Which process this is, and whether another one on this machine still lives.

A process id alone is not enough: ids are used again. Host, boot and start time (in clock ticks since boot, so that no
change of the wall clock matters) make it unique where the system tells them.
"""

from __future__ import annotations

import functools
import os
import platform
from pathlib import Path
from typing import Protocol
from weakref import WeakSet

__all__ = ["anew_in_child", "dead", "process_id", "who"]


class _Forkable(Protocol):
    def anew(self) -> None:
        """Let go of what only the process had that was forked."""
        ...


_forkable: WeakSet[_Forkable] = WeakSet()


def anew_in_child(thing: _Forkable) -> None:
    """Call `thing.anew()` in every process that is forked from this one, as long as somebody holds `thing`.

    >>> class Counter:
    ...     def anew(self):
    ...         print("a new process")
    >>> counter = Counter()
    >>> anew_in_child(counter)
    """
    _forkable.add(thing)


def _forked() -> None:
    for thing in list(_forkable):
        thing.anew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)


def _start(pid: int) -> str:
    try:
        # the name in field 2 may hold blanks and brackets: count from its end
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return "" if fields[0] in "ZX" else fields[19]  # a zombie is only waiting to be counted
    except (OSError, IndexError):
        return ""


@functools.cache
def _boot() -> str:
    try:
        # containers may share a host name; each counts its processes in a namespace of its own
        space = os.readlink("/proc/self/ns/pid").strip("pid:[]")
        return f"{Path('/proc/sys/kernel/random/boot_id').read_text().strip()[:8]}-{space}"
    except OSError:
        return ""


def who(pid: int | None = None) -> str:
    """Return the name of this process (or of `pid` on this machine): host/boot/pid/start.

    >>> who() == who(), who().split("/")[2] == str(os.getpid())
    (True, True)
    """
    pid = os.getpid() if pid is None else pid
    return f"{platform.node() or 'host'}/{_boot()}/{pid}/{_start(pid)}"


def dead(name: str) -> bool:
    """Return whether the process `name` is known to be gone: False when it lives or nobody here can tell.

    >>> host, boot, _, start = who().split("/")
    >>> dead(who()), dead(f"{host}/{boot}/999999999/{start}")
    (False, True)
    """
    host, boot, pid, start = ([*name.split("#")[0].split("/"), "", "", ""])[:4]
    if not pid.isdigit() or host != (platform.node() or "host") or not boot or boot != _boot() or not start:
        return False
    return _start(int(pid)) != start


def process_id(name: str) -> int | None:
    """Return the process id in a name that `who` gave on this machine, None when it is from another one.

    >>> process_id(who()) == os.getpid()
    True
    """
    host, boot, pid, _ = ([*name.split("#")[0].split("/"), "", "", ""])[:4]
    return int(pid) if pid.isdigit() and host == (platform.node() or "host") and boot == _boot() else None
