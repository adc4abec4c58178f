"""A whet database: how it is opened, created and brought up to date, and the studies in it."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from whet.errors import StoreError, StudyError
from whet.journal.backend import Backend
from whet.journal.event import FORMAT
from whet.journal.migrate import migrate
from whet.journal.process import dead
from whet.journal.sqlite import SqliteFile
from whet.journal.tables import Statements, events, leases, meta, schema, sessions, studies

__all__ = ["Database", "NoStudies"]

_format = sa.select(meta.c.value).where(meta.c.key == "format")


class NoStudies(StoreError):
    """The database is there, but whet has never written to it."""


class Database:
    """A whet database: opens or creates it, migrates an older one, and refuses anything else.

    Raises StoreError when it is no whet database, comes from a newer version, or cannot be reached or written.
    """

    def __init__(self, url: str, *, durability: str = "process", create: bool = True) -> None:
        self.url = url
        self.path: Path | None = None
        if url.startswith("sqlite:"):
            self.path = Path(sa.make_url(url).database or "")
            self.backend: Backend = SqliteFile(url, durability=durability, create=create)
        else:
            from whet.journal.postgres import PostgresServer

            self.backend = PostgresServer(url, durability=durability)
        self.where = self.backend.where
        self._errors: tuple[type[Exception], ...] = (SQLAlchemyError, OSError, *self.backend.errors)
        self.statements = Statements(self.backend.engine.dialect)
        with self.shielded():
            self.backend.place(_fill)
        with self.connect() as c, self.shielded():
            self._prepare(c, create)

    def connect(self) -> sa.Connection:
        """Return a new connection, in autocommit."""
        with self.shielded():
            return self.backend.connect()

    def _prepare(self, c: sa.Connection, create: bool) -> None:
        tables = set(sa.inspect(c).get_table_names())
        if meta.name not in tables:
            if found := sorted(tables & set(schema.tables) if self.backend.shares else tables):
                raise StoreError(
                    f"{self.where}: not a whet database (it has tables {', '.join(found[:3])}). {self._another}"
                )
            if not create:
                raise NoStudies(f"{self.where}: no studies yet. Run `whet run` or `whet tune` with this store first.")
            with self.backend.exclusive(c):
                if meta.name not in sa.inspect(c).get_table_names():  # another process may have been quicker
                    _fill(c)
        if self._version(c) < FORMAT:
            with self.backend.exclusive(c):
                if (version := self._version(c)) < FORMAT:
                    migrate(c, version)

    @property
    def _another(self) -> str:
        return "Give another database." if self.backend.shares else "Give another file, or --runs DIR."

    def _version(self, c: sa.Connection) -> int:
        found = c.execute(_format).scalar()
        if found is None or not str(found).isdigit() or int(found) < 1:
            raise StoreError(f"{self.where}: not a whet database (its format is {found!r}). {self._another}")
        if int(found) > FORMAT:
            raise StoreError(
                f"{self.where}: written by a newer whet (format {found}, this one reads up to {FORMAT}). "
                f"Upgrade with `pip install --upgrade whet`, or give another {'database' if self.backend.shares else 'file, or --runs DIR'}."
            )
        return int(found)

    @contextmanager
    def shielded(self) -> Iterator[None]:
        """Turn a failure of the database or the disk into a StoreError that says what to do."""
        try:
            yield
        except StoreError:
            raise
        except self._errors as e:
            raise self.backend.explain(e) from e

    def studies(self) -> list[tuple[str, float]]:
        """Return (name, creation time) of every study, oldest first."""
        with self.connect() as c, self.shielded():
            rows = c.execute(sa.select(studies.c.name, studies.c.at).order_by(studies.c.at, studies.c.name)).all()
        return [(n, t) for n, t in rows]

    def delete(self, name: str) -> None:
        """Delete the study `name` with all its events; nothing happens when there is none."""
        with self._changing(name) as (c, study):
            for table in (events, leases, sessions):
                c.execute(table.delete().where(table.c.study == study))
            c.execute(studies.delete().where(studies.c.id == study))

    def rename(self, old: str, new: str) -> None:
        """Call the study `old` `new`; its files stay where they are.

        Raises StudyError when there is no `old`, `new` exists, or a process that may be alive works on the study.
        """
        from whet.journal.store import check_name

        check_name(new)
        with self._changing(old) as (c, study):
            if study is None:
                raise StudyError(f"study '{old}': not in {self.where}.")
            if c.execute(sa.select(studies.c.id).where(studies.c.name == new)).first() is not None:
                raise StudyError(f"study '{new}': exists already in {self.where}. Choose another name.")
            for (worker,) in c.execute(sa.select(leases.c.worker).where(leases.c.study == study)):
                if not dead(worker):
                    host, _, pid = [*worker.split("/"), "", ""][:3]
                    raise StudyError(
                        f"study '{old}': process {pid or worker} on {host} works on it. Stop it (or, when it is long "
                        "gone, run the study once more to its end), then rename."
                    )
            c.execute(studies.update().where(studies.c.id == study).values(name=new))

    @contextmanager
    def _changing(self, name: str) -> Iterator[tuple[sa.Connection, int | None]]:
        """Hold the study `name`, so that nobody writes to it."""
        with self.connect() as c, self.shielded(), self.backend.exclusive(c):
            yield c, c.execute(sa.select(studies.c.id).where(studies.c.name == name).with_for_update()).scalar()

    def study(self, name: str) -> tuple[int, str]:
        """Return (number, uid) of the study `name`, creating it when there is none."""
        find = sa.select(studies.c.id, studies.c.uid).where(studies.c.name == name)
        with self.connect() as c, self.shielded():
            found = c.execute(find).first()
            if found is None:
                with self.backend.exclusive(c):  # another process may have created it in the meantime
                    if c.execute(find).first() is None:
                        # a random number: that of a deleted study, which a worker may still have open, is not given again
                        made = uuid.uuid4()
                        row = {"id": made.int % 2**31, "name": name, "at": time.time(), "uid": made.hex}
                        c.execute(studies.insert().values(**row))
                    found = c.execute(find).first()
        assert found is not None
        return int(found[0]), str(found[1])


def _fill(c: sa.Connection) -> None:
    """Make the tables of a new database."""
    schema.create_all(c)
    if c.execute(_format).scalar() is None:
        c.execute(meta.insert().values(key="format", value=str(FORMAT)))
