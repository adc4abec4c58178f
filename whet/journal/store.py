"""Where studies are kept: a database's URL, how durable it is, and the folder for the studies' files."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from whet.errors import StoreError, StudyError, UsageError, nearest
from whet.journal.event import Journal
from whet.journal.memory import MemoryJournal
from whet.units import parse_bytes

if TYPE_CHECKING:
    from whet.journal.database import Database

__all__ = ["Store", "check_name"]

_RESTART = 60.0  # seconds that a server which restarts is waited for when a study is opened
_RESTARTING = ("terminating connection", "is shutting down", "is starting up", "closed the connection unexpectedly")
_POSTGRES = ("postgres", "postgresql", "postgresql+psycopg")
_EXAMPLES = "Use sqlite:///FILE, e.g. sqlite:///runs/whet.db, or postgresql://USER@HOST/NAME."


def check_name(name: str) -> str:
    """Return `name` when it can be a study's (and a folder's); raise StudyError when not.

    >>> check_name("digits-2")
    'digits-2'
    """
    if not re.fullmatch(r"[\w][\w.+@-]{0,99}", name):
        raise StudyError(f"study name {name!r}: use letters, digits, . _ - + @, at most 100, not beginning with a dot.")
    return name


@dataclass(frozen=True, repr=False)
class Store:
    """Where studies are kept.

    url: "sqlite:///runs/whet.db" (or just the path), "postgresql://user:password@host:port/name", or None for memory;
    durability: "process" survives the death of any process at any time, "power" also a power cut, at the cost of
    waiting for the disk at every report; quota: the most bytes the checkpoints of a study may take, a number or e.g.
    "10GB" (None: no limit); folder: where the studies' files lie (None: beside the SQLite file, "runs" for PostgreSQL).

    Raises StoreError for what cannot be one of these. A password is never shown.

    >>> Store(None).journal("s").durable
    False
    >>> Store("postgresql://me:secret@db/lab", quota="2GB")
    Store('postgresql://me@db/lab', durability='process', quota=2000000000, folder=None)
    """

    url: str | None = None
    durability: str = "process"
    quota: int | str | None = None
    folder: Path | str | None = None

    def __post_init__(self) -> None:
        if self.durability not in ("process", "power"):
            raise StoreError(
                f'durability {self.durability!r}: allowed "process" and "power".{nearest(self.durability, ("process", "power"))}'
            )
        if self.quota is not None:
            try:
                object.__setattr__(self, "quota", parse_bytes(self.quota, "quota"))
            except UsageError as e:
                raise StoreError(str(e)) from None
        if self.folder is not None:
            if not isinstance(self.folder, (str, Path)) or not str(self.folder):
                raise StoreError(f"folder {self.folder!r}: not a path. Use e.g. folder='runs'.")
            object.__setattr__(self, "folder", Path(self.folder))
            if self.folder.exists() and not self.folder.is_dir():  # type: ignore[union-attr]
                raise StoreError(f"folder {str(self.folder)!r}: is a file. Give a folder, new or existing.")
        if self.url is not None:
            object.__setattr__(self, "url", _url(self.url))

    def __repr__(self) -> str:
        return f"Store({self.where!r}, durability={self.durability!r}, quota={self.quota!r}, folder={self.folder!r})"

    @classmethod
    def of(cls, given: Store | str | Path | None) -> Store:
        """Return `given` as a Store."""
        return given if isinstance(given, Store) else cls(None if given is None else str(given))

    @property
    def path(self) -> Path | None:
        """The database's file, when it is one."""
        return Path(self.url.removeprefix("sqlite:///")) if self.url and self.url.startswith("sqlite:") else None

    @property
    def where(self) -> str | None:
        """The URL for people: without password and options; None in memory."""
        return None if self.url is None else _hidden(self.url)

    def files(self, name: str) -> Path | None:
        """Return the folder for the files of study `name`, or None in memory without a `folder`.

        >>> str(Store("lab/whet.db").files("digits")), str(Store("postgresql://db/lab").files("digits"))
        ('lab/digits', 'runs/digits')
        """
        if self.folder is not None:
            return Path(self.folder) / name
        if self.url is None:
            return None
        return (self.path.parent if self.path else Path("runs")) / name

    def database(self, *, create: bool = False) -> Database:
        """Return the opened database; raise StoreError when there is none (or it is not ours)."""
        from whet.journal.database import Database  # SQLAlchemy only when there is a database

        if self.url is None:
            raise StoreError("store: memory has no database. Give e.g. sqlite:///runs/whet.db.")
        return Database(self.url, durability=self.durability, create=create)

    def names(self) -> list[str]:
        """Return the names of the studies, oldest first; none where there is no database yet.

        Raises StoreError when there is something else, or the server cannot be reached.
        """
        if self.url is None or (self.path is not None and not self.path.exists()):
            return []
        from whet.journal.database import NoStudies

        try:
            return [name for name, _ in self.database().studies()]
        except NoStudies:
            return []

    def journal(self, name: str, *, create: bool = True) -> Journal:
        """Return the journal of study `name`, a new empty one when there is none and `create`.

        Raises StudyError when there is none and `create` is False.
        """
        check_name(name)
        if self.url is None:
            return MemoryJournal(name)
        from whet.journal.backend import Patience

        waits = Patience(0.05, 1.0, limit=_RESTART)
        while True:
            try:
                return self._opened(name, create)
            except StoreError as e:
                if not _passing(e) or not waits.more():
                    raise

    def _opened(self, name: str, create: bool) -> Journal:
        from whet.journal.sql import SqlJournal

        database = self.database(create=create)
        if not create and name not in (names := [n for n, _ in database.studies()]):
            known = ", ".join(names) or "none yet"
            raise StudyError(f"study '{name}': not in {database.where}.{nearest(name, names)} Studies: {known}.")
        return SqlJournal(database, name)


def _passing(e: StoreError) -> bool:
    """Return whether a database could not be opened because its server is just restarting.

    A worker was started by a process that had it open, so to a worker a server that refuses is one that restarts.
    """
    text = str(e).lower()
    signs = _RESTARTING + (("connection refused",) if os.environ.get("WHET_WORKER") else ())
    return any(sign in text for sign in signs)


def _hidden(url: str) -> str:
    """Return `url` without what may be secret: the password, and everything after a question mark."""
    return re.sub(r"^([^:/]+://[^:/@]*):.*@", r"\1@", url).partition("?")[0] if "://" in url else url


def _url(url: str) -> str:
    """Return `url` in full; raise StoreError when it names no database that can be used."""
    if "://" not in url:
        url = f"sqlite:///{url}"
    if url.partition("://")[0] in _POSTGRES:
        return _postgres(url)
    if not url.startswith("sqlite:///"):
        raise StoreError(f"store {_hidden(url)!r}: not supported. {_EXAMPLES}")
    if not url.removeprefix("sqlite:///") or ":memory:" in url:
        raise StoreError(f"store {url!r}: names no file. Use e.g. sqlite:///runs/whet.db, or None for memory.")
    return url


def _postgres(url: str) -> str:
    wrong = StoreError(
        f"store {_hidden(url)!r}: cannot be read as a URL. Write postgresql://USER:PASSWORD@HOST:PORT/NAME; of the signs "
        "@ : / ? # % in a password write the code, e.g. %40 for @."
    )
    try:
        parts = urlsplit(url)
        port, password = parts.port, parts.password or ""
    except ValueError:
        raise wrong from None  # its text may hold a part of the password
    if port == 0 or "@" in password or ":" in password or "/" in parts.path.strip("/") or parts.fragment:
        raise wrong
    if not parts.path.strip("/"):
        raise StoreError(f"store {_hidden(url)!r}: names no database. Add its name: postgresql://USER@HOST/NAME.")
    return "postgresql" + url[url.index("://") :]
