"""Where studies are kept: a URL, how durable, and the folder beside it for their files."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from whet.errors import StoreError, StudyError
from whet.journal.event import Journal
from whet.journal.memory import MemoryJournal

if TYPE_CHECKING:
    from whet.journal.database import Database

__all__ = ["Store", "check_name"]


def check_name(name: str) -> str:
    """Return `name` when it can be a study's (and a folder's); raise StudyError when not.

    >>> check_name("digits-2")
    'digits-2'
    """
    if not re.fullmatch(r"[\w][\w.+@-]{0,99}", name):
        raise StudyError(f"study name {name!r}: use letters, digits, . _ - + @, at most 100, not beginning with a dot.")
    return name


@dataclass(frozen=True)
class Store:
    """Where studies are kept.

    url: "sqlite:///runs/whet.db" (or just the path), or None for memory; durability: "process" survives the death of
    any process at any time, "power" also a power cut, at the cost of waiting for the disk at every report.

    >>> Store(None).journal("s").durable
    False
    """

    url: str | None = None
    durability: str = "process"

    def __post_init__(self) -> None:
        if self.durability not in ("process", "power"):
            raise StoreError(f'durability {self.durability!r}: allowed "process" and "power".')
        url = self.url
        if url is None:
            return
        if "://" not in url:
            url = f"sqlite:///{url}"
        if not url.startswith("sqlite:///"):
            raise StoreError(f"store {self.url!r}: not supported. Use sqlite:///FILE, e.g. sqlite:///runs/whet.db.")
        if not url.removeprefix("sqlite:///") or ":memory:" in url:
            raise StoreError(f"store {self.url!r}: names no file. Use e.g. sqlite:///runs/whet.db, or None for memory.")
        object.__setattr__(self, "url", url)

    @classmethod
    def of(cls, given: Store | str | Path | None) -> Store:
        """Return `given` as a Store."""
        return given if isinstance(given, Store) else cls(None if given is None else str(given))

    @property
    def path(self) -> Path | None:
        """The database's file, when it is one."""
        return Path(self.url.removeprefix("sqlite:///")) if self.url else None

    def files(self, name: str) -> Path | None:
        """Return the folder for the files of study `name`, or None in memory."""
        return self.path.parent / name if self.path else None

    def database(self, *, create: bool = False) -> Database:
        """Return the opened database; raise StoreError when there is none (or it is not ours)."""
        from whet.journal.database import Database  # SQLAlchemy only when there is a database

        if self.url is None:
            raise StoreError("store: memory has no database. Give e.g. sqlite:///runs/whet.db.")
        return Database(self.url, durability=self.durability, create=create)

    def journal(self, name: str, *, create: bool = True) -> Journal:
        """Return the journal of study `name`, a new empty one when there is none and `create`.

        Raises StudyError when there is none and `create` is False.
        """
        check_name(name)
        if self.url is None:
            return MemoryJournal(name)
        from whet.journal.sql import SqlJournal

        database = self.database(create=create)
        if not create and name not in (names := [n for n, _ in database.studies()]):
            from whet.errors import nearest

            known = ", ".join(names) or "none yet"
            raise StudyError(f"study '{name}': not in {self.path}.{nearest(name, names)} Studies: {known}.")
        return SqlJournal(database, name)
