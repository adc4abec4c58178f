"""Where a command keeps its studies: what --runs, --store, --quota and --durability mean together."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from whet.journal.store import Store

__all__ = ["place", "told", "where"]


def place(runs: Path, url: str | None, *, quota: str | None = None, durability: str = "process") -> Store:
    """Return the store that --store names, else the database in --runs; files lie in --runs on a server.

    Raises UsageError or StoreError for what cannot be a store.
    """
    from whet.errors import UsageError
    from whet.journal.store import Store

    if runs.exists() and not runs.is_dir():
        raise UsageError(f"--runs {runs}: is a file. Give a folder.")
    folder = str(runs) if url is not None and url.startswith("postgres") else None
    return Store(str(runs / "whet.db") if url is None else url, durability, quota, folder)


def where(runs: Path, url: str | None) -> str:
    """Return the words that name the same place in another command, "" for the usual one.

    >>> where(Path("runs"), None), where(Path("my runs"), "sqlite:///a.db")
    ('', " --runs 'my runs' --store sqlite:///a.db")
    """
    words = "" if str(runs) == "runs" else f" --runs {shlex.quote(str(runs))}"
    return words + (f" --store {told(url)}" if url else "")


def told(url: str) -> str:
    """Return a database's URL as a word of a command; one with a password is not repeated on the screen.

    >>> told("sqlite:///a.db"), told("postgresql://me:secret@db/lab")
    ('sqlite:///a.db', '"$WHET_STORE"')
    """
    user = url.partition("://")[2].rpartition("@")[0]
    return '"$WHET_STORE"' if ":" in user else shlex.quote(url)
