"""The folder where the processes of a training meet: in memory where that has room, else on disk."""

from __future__ import annotations

import shutil
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

from whet.distributed.local.layout import region_path
from whet.distributed.local.region import Area, Region
from whet.errors import StoreError

__all__ = ["meet"]

_MEMORY = Path("/dev/shm")  # a file system in memory, which containers often make small: 64 MB by Docker


def meet(areas: Mapping[str, Area], places: Sequence[Path] | None = None) -> tuple[Path, Region]:
    """Make a folder that its owner alone can enter, with shared memory in it, in the first of `places` that has room.

    places: unless given, memory and then the temporary folder ($TMPDIR); a RuntimeWarning says when the first was too small, since
    what is shared through a disk's file is written to that disk too. Raises StoreError, naming the size, when none has room.

    >>> folder, region = meet({"a": Area(3)}); region["a"].tolist(), region_path(folder).exists()
    ([0.0, 0.0, 0.0], True)
    >>> shutil.rmtree(folder)
    """
    if places is None:
        places = list(dict.fromkeys(p for p in (_MEMORY, Path(tempfile.gettempdir())) if p.is_dir()))
    full: StoreError | None = None
    for place in places:
        folder = Path(tempfile.mkdtemp(prefix="whet-", dir=place))
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
                stacklevel=3,
            )
        return folder, region
    assert full is not None
    raise full
