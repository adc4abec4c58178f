"""The file that a server comes back from."""

from __future__ import annotations

import time
from pathlib import Path

from whet.distributed.server import Server
from whet.errors import CheckpointError
from whet.journal.checkpoint import load, save
from whet.train.checkpoint import pack, unpack

__all__ = ["Keeper"]


class Keeper:
    """Writes a server's state to `path`, after each epoch and every `often` seconds at most. The file is whole or as it was before."""

    def __init__(self, server: Server, path: Path, often: float) -> None:
        self.server, self.path, self.often = server, path, often
        self.part = path.with_name(f".{path.name}.part")  # until it is whole
        self._last, self._epoch = time.monotonic(), self._stands

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
            whole, self._epoch = self.server.whole, self._stands
            self.server.alone()
        else:
            whole = 0
            self.write()
        return whole

    def after(self) -> None:
        """Write when it is time to; called after each update."""
        now, epoch = time.monotonic(), self._stands
        if epoch != self._epoch or now - self._last > self.often:
            self._epoch = epoch
            self.write()
            self._last = time.monotonic()

    @property
    def _stands(self) -> tuple[int, int]:
        """Epochs merged and epochs done: the last is the one before it is the other, where the rule ends with a compression."""
        return int(self.server.epochs), self.server.whole

    def write(self) -> None:
        """Write the state as it is now."""
        save(self.path, pack(self.server.state(workers=False)), part=self.part)
