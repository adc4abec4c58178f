"""A task's name from its source: it becomes the name of a folder and of a study."""

from __future__ import annotations

import re
from pathlib import Path

__all__ = ["task_name"]

ENDINGS = (".csv", ".tsv", ".txt", ".data", ".parquet", ".pq", ".py")


def task_name(source: str | Path) -> str:
    """Return a name fit for a folder: the file's or folder's own, without its ending, odd characters as '-'.

    >>> task_name("data/adult train.csv"), task_name("digits"), task_name("a/b.csv.gz")
    ('adult-train', 'digits', 'b')
    """
    name = (
        Path(source).resolve().name
        if str(source) in ("", ".", "..") or str(source).endswith("/..")
        else Path(source).name
    )
    name = name.removesuffix(".gz")
    for end in ENDINGS:
        if name.lower().endswith(end):
            name = name[: -len(end)]
            break
    return re.sub(r"[^\w.-]+", "-", name).strip("-.")[:80] or "task"
