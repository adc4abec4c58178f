"""Files for others to read: whole or not there."""

from __future__ import annotations

import errno
import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from whet.errors import UsageError

if TYPE_CHECKING:
    import pandas as pd

    from whet.tune.study import Study

__all__ = ["FORMATS", "export"]

FORMATS = ("csv", "json", "parquet")


def export(study: Study, path: Path, *, format: str, curves: bool = False, force: bool = False) -> int:
    """Write a study to `path`: the trials as a table, or all of it as JSON; return how many rows or trials there are.

    curves: the long table of every report instead; force: replace a file that is there. Raises UsageError when one is
    there, or the path cannot be written; then nothing has changed.
    """
    from whet.tune.account import accounts, version
    from whet.tune.exchange.document import document
    from whet.tune.frame import curve_frame, frame

    if curves and format == "json":
        raise UsageError("--curves: JSON has the curves anyway. Leave it out.")
    if path.is_dir():
        raise UsageError(f"{path}: is a folder. Give a file.")
    if path.exists() and not force:
        raise UsageError(f"{path}: exists. Give another file, or --force to replace it.")
    if format == "json":
        from whet.journal.event import _plain

        data = document(study)
        text = json.dumps(_plain(data), indent=1, ensure_ascii=False, allow_nan=False) + "\n"
        _place(path, lambda to: _write_text(to, text))
        return len(data["trials"])
    if curves:
        table = curve_frame(study.trials)
    else:
        events = study.journal.read()
        table = frame(study.trials, accounts(events))
        table.insert(1, "study", study.name)
        table["seed"], table["version"] = study.seed, version(events)
    _place(path, lambda to: _write_table(to, table, format))
    return len(table)


def _write_text(to: str, text: str) -> None:
    with open(to, "w", encoding="utf-8") as f:
        f.write(text)


def _write_table(to: str, table: pd.DataFrame, format: str) -> None:
    if format == "csv":
        table.to_csv(to, index=False)
        return
    # a column of mixed types (text in one trial, a number in another) is text in Parquet, which has one type a column
    for name in table.columns:
        kinds = {type(v) for v in table[name].dropna().tolist()}
        if len(kinds) > 1 and not kinds <= {int, float}:
            table[name] = table[name].map(str, na_action="ignore")
    table.to_parquet(to, index=False)


def _place(path: Path, write: Callable[[str], Any]) -> None:
    """Let `write` make a file beside `path`, then put it in place."""
    temporary = ""
    try:
        handle, temporary = tempfile.mkstemp(prefix=".part-", dir=path.parent)
        os.close(handle)
        write(temporary)
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(temporary, 0o666 & ~mask)  # as any new file, not for one's own eyes only
        os.replace(temporary, path)
    except OSError as e:
        if temporary:
            Path(temporary).unlink(missing_ok=True)
        full = e.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        how = "Make room" if full else "Make its folder" if not path.parent.exists() else "Check its folder"
        raise UsageError(
            f"{path}: cannot be written ({e.strerror or e}). Nothing was changed. {how}, or give another file."
        ) from e
    except BaseException:
        if temporary:
            Path(temporary).unlink(missing_ok=True)
        raise
