"""Load data from what a person types: a table file, a folder of pictures or texts, or of IDX files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from whet.data.idx import idx_folder, is_idx_folder
from whet.data.image import image_folder
from whet.data.split import Data
from whet.data.table import table
from whet.data.textfolder import is_text_folder, text_folder
from whet.errors import DataError

__all__ = ["load"]


def load(
    path: str | Path, target: str | Sequence[str] | None = None, *, kind: str | None = None, seed: int = 0,
    time: str | None = None,
) -> Data:  # fmt: skip
    """Return the data at `path`, divided by `seed` where it has no splits of its own.

    A file is a table and needs `target`, `time` is as for `table`; a folder holds IDX files, or one sub-folder of pictures or
    .txt files a class, and takes neither `target` nor `kind`. Raises DataError for all that cannot be used, see `table`,
    `image_folder`, `text_folder` and `idx_folder`.

    >>> import tempfile, pathlib
    >>> p = pathlib.Path(tempfile.mkdtemp(), "t.csv")
    >>> _ = p.write_text("x,y\\n" + "".join(f"{i},{i % 2}\\n" for i in range(40)))
    >>> load(p, "y").classes
    ('0', '1')
    """
    path = Path(path)
    if not path.is_dir():
        return table(path, target, kind=kind, seed=seed, time=time)
    if target:
        raise DataError(
            f"{path}: a folder of pictures or texts has no target column, got {target!r}. Leave --target out."
        )
    if time is not None:
        raise DataError(
            f"{path}: a folder of pictures or texts has no column of times, got {time!r}. Leave --time out."
        )
    if kind not in (None, "classification"):
        raise DataError(f"{path}: a folder of pictures or texts is for classification, got {kind!r}. Leave --kind out.")
    if is_text_folder(path):
        return text_folder(path, seed=seed)
    return idx_folder(path, seed=seed) if is_idx_folder(path) else image_folder(path, seed=seed)
