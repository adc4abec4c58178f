"""The file that a server comes back from."""

from __future__ import annotations

import time
from pathlib import Path

from whet.distributed.server import Server
from whet.errors import CheckpointError
from whet.journal.checkpoint import load, outline, save
from whet.train.checkpoint import pack, unpack

__all__ = ["Keeper", "workers_in"]


class Keeper:
    """Writes a server's state to `path`, after each epoch and every `often` seconds at most. The file is whole or as it was before."""

    def __init__(self, server: Server, path: Path, often: float) -> None:
        self.server, self.path, self.often = server, path, often
        self.part = path.with_name(f".{path.name}.part")  # until it is whole
        self._last, self._epoch = time.monotonic(), int(server.epochs)

    def begin(self, *, resume: bool) -> int:
        """Have the server go on from the file, when there is one: its workers are gone. Else write it; one of another training is lost.

        Return the whole epochs that were merged when it was written: what waited for its worker's peers is merged by that they are gone.
        Raises CheckpointError when the file is broken, or of another training.
        """
        if resume and self.path.exists():
            state = unpack(load(self.path))
            try:
                self.server.load(state)
            except CheckpointError as e:
                raise CheckpointError(f"{self.path}: {e}") from e
            whole = self._epoch = int(self.server.epochs)
            self.server.alone()
        else:
            whole = 0
            self.write()
        return whole

    def after(self) -> None:
        """Write when it is time to; called after each update."""
        now, epoch = time.monotonic(), int(self.server.epochs)
        if epoch > self._epoch or now - self._last > self.often:
            self._epoch = epoch
            self.write()
            self._last = time.monotonic()

    def write(self) -> None:
        """Write the state as it is now."""
        save(self.path, pack(self.server.state(workers=False)), part=self.part)


def workers_in(path: Path) -> int:
    """Return how many workers a checkpoint knows by number, those that are gone included; it reads no vector.

    Raises CheckpointError when the file is missing, or none of a server's.
    """
    state = outline(path)
    try:
        return 1 + max((int(worker) for worker, _ in state["last"]), default=-1)
    except (LookupError, TypeError, ValueError) as e:
        raise CheckpointError(f"{path}: is no checkpoint of a server. Leave resume out to begin anew.") from e
