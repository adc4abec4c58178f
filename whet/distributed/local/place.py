"""Where the processes of a training meet, in memory where that has room, and where its checkpoint is."""

from __future__ import annotations

import shutil
import tempfile
import warnings
import weakref
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from whet.distributed.keeper import sweep
from whet.distributed.local.layout import region_path
from whet.distributed.local.region import Area, Region
from whet.distributed.tenure import Owner, Writer
from whet.errors import StoreError
from whet.execute.remains import Remains

__all__ = ["CHECKPOINT", "Place", "meet"]

CHECKPOINT = "server.safetensors"  # its name

_MEMORY = Path("/dev/shm")  # a file system in memory, which containers often make small: 64 MB by Docker


class Place:
    """A folder that processes share, with memory in it, and one for the checkpoint `name`: `folder`, or a temporary one when that is None.

    meet, region: the first, and its memory of `areas`; temporary: those that go with the training. They are removed by `clear`, when this is
    forgotten, or when this process has ended, however it did; what processes that outlive it still write is theirs to remove. Raises
    UsageError when another training has `folder` or it cannot be made, and as `meet` does.

    >>> place = Place(None, {"a": Area(3)})
    >>> place.checkpoint.parent.is_dir(), place.clear(), place.checkpoint.parent.exists(), place.meet.exists()
    (True, None, False, False)
    """

    def __init__(self, folder: Path | None, areas: Mapping[str, Area], *, name: str = CHECKPOINT) -> None:
        owner = None if folder is None else Owner(folder)
        own = Path(tempfile.mkdtemp(prefix="whet-")) if folder is None else folder
        remains = [Remains(own)] if folder is None else []
        self.checkpoint = own / name
        self._clear = weakref.finalize(self, _remove, remains, self.checkpoint, owner=owner)
        try:
            self.meet, self.region = meet(areas, made=lambda new: remains.append(Remains(new)))
        except BaseException:
            self._clear()
            raise
        self.temporary = [self.meet, *([own] if folder is None else [])]

    def clear(self) -> None:
        """Remove what is temporary, and let another training have the folder."""
        self._clear()


def meet(
    areas: Mapping[str, Area], places: Sequence[Path] | None = None, *, made: Callable[[Path], object] = Path
) -> tuple[Path, Region]:
    """Make a folder that its owner alone can enter, with shared memory in it, in the first of `places` that has room.

    places: unless given, memory and then the temporary folder ($TMPDIR); a RuntimeWarning says when the first was too small, since
    what is shared through a disk's file is written to that disk too; made: called with the folder before it takes memory. Raises StoreError,
    naming the size, when none has room.

    >>> folder, region = meet({"a": Area(3)}); region["a"].tolist(), region_path(folder).exists()
    ([0.0, 0.0, 0.0], True)
    >>> shutil.rmtree(folder)
    """
    if places is None:
        places = list(dict.fromkeys(p for p in (_MEMORY, Path(tempfile.gettempdir())) if p.is_dir()))
    full: StoreError | None = None
    for place in places:
        folder = Path(tempfile.mkdtemp(prefix="whet-", dir=place))
        made(folder)
        try:
            region = Region.make(region_path(folder), areas)
        except StoreError as e:
            shutil.rmtree(folder, ignore_errors=True)
            full = full or e
            continue
        if full is not None:
            warnings.warn(
                f"{full} Until then it is in {place}, which is slower when that is a disk.",
                RuntimeWarning,
                stacklevel=4,
            )
        return folder, region
    assert full is not None
    raise full


def _remove(remains: list[Remains], checkpoint: Path, *, owner: Owner | None) -> None:
    for folder in remains:
        folder.clear()
    if owner is not None:
        sweep(checkpoint)  # a server that was killed while it wrote may have left a part
        writer = Writer(checkpoint)
        if writer.take():  # none is left that has it, and with it the file goes
            writer.drop()
        owner.let_go()
