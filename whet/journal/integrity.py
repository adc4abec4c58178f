"""Whether a database is sound below the level of events: its pages, its rows, and rows that belong to nothing."""

from __future__ import annotations

import sqlite3
from urllib.parse import quote

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from whet.errors import StoreError
from whet.journal import tables
from whet.journal.database import Database
from whet.journal.event import Journal
from whet.journal.store import Store

__all__ = ["last_unreadable", "neighbours", "unsound"]

_MOST = 5  # complaints of the database that are passed on


def unsound(database: Database) -> list[str]:
    """Return what is wrong with the database itself, each in a few words; nothing when it is sound.

    SQLite checks its own pages and indexes (`PRAGMA integrity_check`, which reads the whole file); of any database the
    rows are counted that belong to a study which is not there.

    >>> from whet.journal.store import Store
    >>> unsound(Store("s.db").database(create=True))
    []
    """
    found: list[str] = []
    try:
        with database.connect() as c:
            if c.dialect.name == "sqlite":
                rows = c.exec_driver_sql(f"PRAGMA integrity_check({_MOST})").scalars().all()
                found += [str(r) for r in rows if r != "ok"]
            ids = sa.select(tables.studies.c.id)
            for table in (tables.events, tables.leases):
                query = sa.select(sa.func.count()).select_from(table).where(table.c.study.not_in(ids))
                if n := c.execute(query).scalar_one():
                    found.append(f"{n:,} rows of {table.name} belong to no study")
    except (SQLAlchemyError, StoreError) as e:
        found.append(str(database.backend.explain(e)) if isinstance(e, SQLAlchemyError) else str(e))
    return found


def last_unreadable(journal: Journal) -> tuple[int, str]:
    """Return (seq, why) of the last event that cannot be decoded; (0, "") when all can be."""
    why = _failure(journal, 0)
    if why is None:
        return 0, ""
    low, high = 0, 1  # reading after `low` fails; find the first place after which it does not
    while (text := _failure(journal, high)) is not None:
        low, high, why = high, high * 2, text
    while high - low > 1:
        middle = (low + high) // 2
        if (text := _failure(journal, middle)) is None:
            high = middle
        else:
            low, why = middle, text
    return high, why


def _failure(journal: Journal, after: int) -> str | None:
    try:
        journal.read(after)
    except (ValueError, TypeError, RecursionError, StoreError) as e:
        return str(e) or type(e).__name__
    return None


def neighbours(store: Store) -> dict[str, str]:
    """Return study -> database for the other SQLite databases in the folder of the store's files: they may share folders.

    "*" stands for the studies of one that cannot be read now.

    >>> neighbours(Store("alone/s.db"))
    {}
    """
    place = store.files("study")
    found: dict[str, str] = {}
    if place is None or not place.parent.is_dir():
        return found
    for path in sorted(place.parent.iterdir()):
        own = store.path is not None and store.path.exists() and path.exists() and path.samefile(store.path)
        if own or not path.is_file() or path.name.startswith(".") or path.name.endswith(("-wal", "-shm", "-journal")):
            continue
        try:
            # through SQLite alone: were a file of a database that this process has open opened and closed here, all its
            # locks on that file would be gone, and another process might take it for its own
            c = sqlite3.connect(f"file:{quote(str(path.absolute()))}?mode=ro", uri=True)
            try:
                found |= {name: str(path) for (name,) in c.execute("SELECT name FROM studies")}
            finally:
                c.close()
        except sqlite3.Error as e:
            if not any(sign in str(e) for sign in ("not a database", "no such table", "no such column")):
                found["*"] = str(path)
    return found
