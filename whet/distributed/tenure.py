"""Who may use a training's folder: one owner at a time, and one process that writes the checkpoint, also when its owner is gone."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable
from pathlib import Path

from whet.errors import UsageError

__all__ = ["GONE", "Owner", "Writer"]

GONE = 40.0  # seconds in which what a killed owner started has ended: it is given 30 (`whet.execute.child`)
_LOOK = 0.05  # seconds between two tries


class Owner:
    """A folder that this process has for a training until it lets go, or ends, however it does; the folder is made.

    Raises UsageError when another training has it, or it cannot be made.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as place:
    ...     folder = Path(place, "runs", "mine")
    ...     owner = Owner(folder); folder.is_dir(), owner.let_go(), folder.parent.exists()
    (True, None, False)
    """

    def __init__(self, folder: Path) -> None:
        self._made = [p for p in (folder, *folder.parents) if not p.exists()]
        try:
            folder.mkdir(parents=True, exist_ok=True)
            held = os.open(folder, os.O_RDONLY)
        except OSError as e:
            raise UsageError(
                f"{folder}: cannot be used for checkpoints ({e.strerror or e}). Give another folder."
            ) from e
        if not _locked(held):
            os.close(held)
            raise UsageError(f"{folder}: another training is using it. Wait for it to end, or give another folder.")
        self._held: int | None = held

    def let_go(self) -> None:
        """Let another training have the folder; where nothing was written, leave nothing."""
        if self._held is None:
            return
        os.close(self._held)
        self._held = None
        for folder in self._made:
            try:
                folder.rmdir()
            except OSError:  # something is in it
                return


class Writer:
    """The right to write the checkpoint at `path`: one process has it, until it drops it or ends, however it does.

    An owner that is killed leaves processes that write once more before they end. Who comes after it waits for that. name: of the training, by
    which another process of the same is known. The lock is on a file beside the checkpoint, that goes with it.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     one, two = (Writer(Path(folder, "c"), name) for name in ("a", "b"))
    ...     one.take(), two.take(), two.ours, one.drop(), two.take(), two.drop()
    (True, False, False, None, True, None)
    """

    def __init__(self, path: Path, name: str = "") -> None:
        self.path, self.name = path.with_name(f".{path.name}.lock"), name
        self._held: int | None = None

    def take(self) -> bool:
        """Return whether this process has the right from now on."""
        while self._held is None:
            held = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)
            if not _locked(held):
                os.close(held)
                return False
            try:
                same = os.path.samestat(os.fstat(held), os.stat(self.path))
            except FileNotFoundError:
                same = False
            if not same:  # who had it removed the file, and another may stand there
                os.close(held)
                continue
            os.ftruncate(held, 0)
            os.write(held, self.name.encode())
            self._held = held
        return True

    @property
    def ours(self) -> bool:
        """Whether who has the right is of the same training."""
        try:
            return self.path.read_text() == self.name
        except OSError:
            return False

    def wait(self, stop: Callable[[], bool], *, seconds: float = GONE) -> bool:
        """Wait until this process has the right; return False when it is to `stop` first.

        Raises UsageError when another has it for longer than `seconds`.
        """
        until = time.monotonic() + seconds
        while not stop():
            if self.take():
                return True
            if time.monotonic() > until:
                raise UsageError(self.refused)
            time.sleep(_LOOK)
        return False

    @property
    def refused(self) -> str:
        """Why there is no going on without the right."""
        return (
            f"{self.path.parent}: another training is writing there, or processes of one whose owner is gone have not ended. Wait for "
            "them to end, or give another folder."
        )

    def drop(self) -> None:
        """Give the right back, if this process has it."""
        if self._held is not None:
            self.path.unlink(missing_ok=True)
            os.close(self._held)
            self._held = None


def _locked(held: int) -> bool:
    """Lock what this descriptor is of; return False when another has. A file system without locks has room for all."""
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        pass
    return True
