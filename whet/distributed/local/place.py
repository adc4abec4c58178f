"""Where the processes of a training meet, and where its checkpoint is."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import weakref
from pathlib import Path

from whet.errors import UsageError

__all__ = ["Place"]

_SHARED = Path("/dev/shm")


class Place:
    """A folder in memory that processes share, and one for the checkpoint: `folder`, or a temporary one on the disk when that is None.

    meet: the first; temporary: those that go with the training. They are removed by `clear`, or when this is forgotten; when this
    process is killed, by a process that meets there. Raises UsageError when another training has `folder`.

    >>> place = Place(None)
    >>> place.checkpoint.parent.is_dir(), place.clear(), place.checkpoint.parent.exists(), place.meet.exists()
    (True, None, False, False)
    """

    def __init__(self, folder: Path | None) -> None:
        held = None if folder is None else _hold(folder)
        self.meet = Path(tempfile.mkdtemp(prefix="whet-", dir=_SHARED if _SHARED.is_dir() else None))
        own = Path(tempfile.mkdtemp(prefix="whet-")) if folder is None else folder
        self.checkpoint = own / "server.safetensors"
        self.temporary = [self.meet, *([own] if folder is None else [])]
        self._clear = weakref.finalize(self, _remove, self.temporary, self.checkpoint, held)

    def clear(self) -> None:
        """Remove what is temporary, and let another training have the folder."""
        self._clear()


def _hold(folder: Path) -> int:
    """Return a descriptor that holds the folder: as long as it is open, no other training has it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        held = os.open(folder, os.O_RDONLY)
    except OSError as e:
        raise UsageError(f"{folder}: cannot be used for checkpoints ({e.strerror or e}). Give another folder.") from e
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(held)
        raise UsageError(
            f"{folder}: another training is using it. Wait for it to end, or give another folder."
        ) from None
    except OSError:
        pass  # a file system without locks
    return held


def _remove(folders: list[Path], checkpoint: Path, held: int | None) -> None:
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)
    if held is not None:
        checkpoint.with_name(f".{checkpoint.name}.part").unlink(
            missing_ok=True
        )  # of a server that was killed while it wrote
        os.close(held)
