"""The file that a server comes back from."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from pathlib import Path

from whet.distributed.server import Server
from whet.errors import CheckpointError
from whet.journal.checkpoint import load, outline, save
from whet.train.checkpoint import pack, unpack

__all__ = ["Keeper", "sweep", "workers_in"]


class Keeper:
    """Writes a server's state to `path`, after each epoch and every `often` seconds at most. The file is whole or as it was before.

    epoch: how many servers there were before; turn: whether it is this one's turn still: one that was given up writes nothing.
    """

    def __init__(
        self, server: Server, path: Path, often: float, *, epoch: int = 0, turn: Callable[[], bool] = lambda: True
    ) -> None:
        self.server, self.path, self.often, self._turn = server, path, often, turn
        # until it is whole. Its name is this server's alone: one that hung while it wrote may wake and write on, when another is at it
        self.part = path.with_name(f".{path.name}.{epoch}-{secrets.token_hex(4)}.part")
        self._last, self._epoch = time.monotonic(), self._stands

    def begin(self, *, resume: bool) -> None:
        """Have the server go on from the file, when there is one: its workers are gone. Else write it; one of another training is lost.

        What servers before it had begun to write is removed: theirs would not become the file any more.

        Raises CheckpointError when the file is broken, or of another training.
        """
        sweep(self.path)
        if resume and self.path.exists():
            state = unpack(load(self.path))
            try:
                self.server.load(state)
            except CheckpointError as e:
                raise CheckpointError(f"{self.path}: {e}") from e
            self._epoch = self._stands
            self.server.alone()
        else:
            self.write()

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
        """Write the state as it is now, when it is this server's turn."""
        if not self._turn():
            return
        state = pack(self.server.state(workers=False))
        if self._turn():  # still: that may have taken long
            save(self.path, state, part=self.part)


def sweep(path: Path) -> None:
    """Remove what servers that are gone, or were given up, had begun to write of the checkpoint at `path`."""
    for part in path.parent.glob(f".{path.name}.*part"):
        part.unlink(missing_ok=True)


def workers_in(path: Path) -> int:
    """Return how many workers a checkpoint knows by number, those that are gone included; it reads no vector.

    Raises CheckpointError when the file is missing, or none of a server's.
    """
    state = outline(path)
    try:
        return 1 + max((int(worker) for worker, _ in state["last"]), default=-1)
    except (LookupError, TypeError, ValueError) as e:
        raise CheckpointError(f"{path}: is no checkpoint of a server. Leave resume out to begin anew.") from e
