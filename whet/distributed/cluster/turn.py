"""What outlives a server that is an actor: what it acknowledged, and which server's turn it is."""

from __future__ import annotations

from pathlib import Path

from whet.distributed.local.region import Area, Region

__all__ = ["Turn"]

_NAME = "server.counts"


class Turn:
    """A few numbers in shared memory in `folder`, for the server `epoch`: as many there were before it.

    A server that was given up and wakes up again knows by them that it is over. anew: nothing of what was before counts.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     one = Turn(Path(folder), 0, anew=True)
    ...     one.acknowledge(7)
    ...     two = Turn(Path(folder), 1, anew=False)
    ...     one.over, two.over, two.lost(4)
    (True, False, 3)
    """

    def __init__(self, folder: Path, epoch: int, *, anew: bool) -> None:
        path, areas = folder / _NAME, {"counts": Area(4, "int64")}  # version, epoch of the server, nothing, nothing
        self._counts = (Region(path, areas) if path.exists() else Region.make(path, areas))["counts"]
        if anew:
            self._counts.zero_()
        self._counts[1] = self.epoch = epoch

    @property
    def over(self) -> bool:
        """Whether another server has its turn."""
        return int(self._counts[1]) != self.epoch

    def acknowledge(self, version: int) -> None:
        """Note how many updates were merged, before anybody hears of it."""
        self._counts[0] = version

    def lost(self, version: int) -> int:
        """Return how many updates the servers before acknowledged beyond `version`, where this one begins; they are counted once."""
        lost = max(0, int(self._counts[0]) - version)
        self.acknowledge(version)
        return lost
