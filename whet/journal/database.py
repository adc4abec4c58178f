"""A whet database: its tables, how it is opened, created and written, and what its failures mean.

Transactions are begun by hand, in autocommit: SQLite takes the write lock at once (`BEGIN IMMEDIATE`), so a transaction
that has read cannot fail to write. Readers never wait for it (write-ahead mode).
"""

from __future__ import annotations

import os
import sqlite3
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from whet.errors import StoreError, one_line
from whet.journal.event import FORMAT

__all__ = ["Database"]

schema = sa.MetaData()
meta = sa.Table(
    "whet_meta", schema,
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("value", sa.Text, nullable=False),
)  # fmt: skip
studies = sa.Table(
    "studies", schema,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("name", sa.Text, nullable=False, unique=True),
    sa.Column("at", sa.Float, nullable=False),
)  # fmt: skip
events = sa.Table(
    "events", schema,
    sa.Column("study", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("seq", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("trial", sa.Integer),
    sa.Column("data", sa.Text, nullable=False),
    sa.Column("at", sa.Float, nullable=False),
    sa.Column("who", sa.Text, nullable=False),
    sqlite_with_rowid=False,
)  # fmt: skip
leases = sa.Table(
    "leases", schema,
    sa.Column("study", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("trial", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("worker", sa.Text, nullable=False),
    sa.Column("beat", sa.Integer, nullable=False),
    sa.Column("lapses", sa.Integer, nullable=False),
)  # fmt: skip
sessions = sa.Table(
    "sessions", schema,
    sa.Column("study", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("worker", sa.Text, primary_key=True),
    sa.Column("seconds", sa.Float, nullable=False),
)  # fmt: skip

_SYNCHRONOUS = {"process": "NORMAL", "power": "FULL"}
_BUSY = 60.0  # seconds a writer waits for another before it gives up


class Database:
    """A whet database: opens or creates it, and refuses anything else.

    Raises StoreError when the file is no whet database, comes from a newer version, or cannot be written.
    """

    def __init__(self, url: str, *, durability: str = "process", create: bool = True) -> None:
        self.url = url
        self.path = Path(sa.make_url(url).database or "")
        self._durability = durability
        if not create and not self.path.exists():
            raise StoreError(
                f"{self.path}: no such study database. Run `whet run` or `whet tune` first, or check the path."
            )
        self.shield(lambda: self.path.parent.mkdir(parents=True, exist_ok=True))
        self.engine = sa.create_engine(
            url, poolclass=sa.NullPool, connect_args={"timeout": _BUSY, "check_same_thread": False}
        )
        sa.event.listen(self.engine, "connect", self._pragmas)
        if not self.path.exists():
            self.shield(self._create)
        with self.connect() as c:
            self._prepare(c)

    def _create(self) -> None:
        """Put a new database in place, whole: made beside it, then linked, unless another process was quicker."""
        beside = str(self.path.parent / f".new-{uuid.uuid4().hex}.db")
        engine = sa.create_engine("sqlite://", creator=lambda: sqlite3.connect(beside), poolclass=sa.NullPool)
        sa.event.listen(engine, "connect", self._pragmas)
        try:
            with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as c, self.transaction(c):
                schema.create_all(c)
                c.execute(meta.insert().values(key="format", value=str(FORMAT)))
            try:
                os.link(beside, self.path)
            except FileExistsError:
                pass
            except OSError:  # a file system without links
                if not self.path.exists():
                    os.rename(beside, self.path)
        finally:
            for suffix in ("", "-wal", "-shm"):
                Path(beside + suffix).unlink(missing_ok=True)

    def _pragmas(self, connection: Any, _: Any) -> None:
        cursor = connection.cursor()
        # the mode is a property of the file: asking before changing saves a lock
        if cursor.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
            cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute(f"PRAGMA synchronous={_SYNCHRONOUS[self._durability]}")
        cursor.close()

    def connect(self) -> sa.Connection:
        """Return a new connection, in autocommit."""
        return self.shield(lambda: self.engine.connect().execution_options(isolation_level="AUTOCOMMIT"))

    def _prepare(self, c: sa.Connection) -> None:
        tables = set(self.shield(lambda: sa.inspect(c).get_table_names()))
        if "whet_meta" not in tables:
            if tables:
                few = ", ".join(sorted(tables)[:3])
                raise StoreError(
                    f"{self.path}: not a whet database (it has tables {few}). Give another file, or --runs DIR."
                )
            with self.transaction(c):
                schema.create_all(c)
                have = c.execute(sa.select(meta.c.value).where(meta.c.key == "format")).scalar()
                if have is None:
                    c.execute(meta.insert().values(key="format", value=str(FORMAT)))
        found = self.shield(lambda: c.execute(sa.select(meta.c.value).where(meta.c.key == "format")).scalar())
        if found is None or not str(found).isdigit():
            raise StoreError(
                f"{self.path}: not a whet database (its format is {found!r}). Give another file, or --runs DIR."
            )
        if int(found) > FORMAT:
            raise StoreError(
                f"{self.path}: written by a newer whet (format {found}, this one reads up to {FORMAT}). "
                "Upgrade with `pip install --upgrade whet`, or give another file, or --runs DIR."
            )

    def shield(self, act: Any) -> Any:
        """Run `act`; a failure of the database or the disk becomes a StoreError that says what to do."""
        try:
            return act()
        except (SQLAlchemyError, OSError) as e:
            if isinstance(e, StoreError):
                raise
            raise self.explain(e) from e

    def explain(self, e: BaseException) -> StoreError:
        """Return the StoreError that says what went wrong and what to do."""
        text = one_line(str(e.orig if isinstance(e, DBAPIError) and e.orig is not None else e))
        low = text.lower()
        if "not a database" in low or "malformed" in low:
            return StoreError(f"{self.path}: not a whet database ({text}). Give another file, or --runs DIR.")
        if "disk is full" in low or "no space" in low or "disk i/o" in low:
            return StoreError(f"{self.path}: no space on the disk ({text}). Nothing was lost; make room and run again.")
        if "readonly" in low or "read-only" in low or "permission" in low or "unable to open" in low:
            return StoreError(
                f"{self.path}: cannot be written ({text}). Check the folder's permissions, or give --runs."
            )
        if "locked" in low or "busy" in low:
            return StoreError(
                f"{self.path}: locked by another process for {_BUSY:g} s. Close what holds it and run again."
            )
        return StoreError(f"{self.path}: {text}")

    @contextmanager
    def transaction(self, c: sa.Connection) -> Iterator[None]:
        """Hold the write lock; commit at the end, roll back on any exception."""
        self.shield(lambda: c.exec_driver_sql("BEGIN IMMEDIATE"))
        try:
            yield
            c.exec_driver_sql("COMMIT")
        except BaseException as e:
            try:
                c.exec_driver_sql("ROLLBACK")
            except SQLAlchemyError:
                pass  # the failed COMMIT has rolled back already
            if isinstance(e, SQLAlchemyError):
                raise self.explain(e) from e
            raise

    def studies(self) -> list[tuple[str, float]]:
        """Return (name, creation time) of every study, oldest first."""
        with self.connect() as c:
            rows = self.shield(lambda: c.execute(sa.select(studies.c.name, studies.c.at).order_by(studies.c.id)).all())
        return [(n, t) for n, t in rows]

    def delete(self, name: str) -> None:
        """Delete the study `name` with all its events; nothing happens when there is none."""
        with self.connect() as c, self.transaction(c):
            study = c.execute(sa.select(studies.c.id).where(studies.c.name == name)).scalar()
            for table in (events, leases, sessions):
                c.execute(table.delete().where(table.c.study == study))
            c.execute(studies.delete().where(studies.c.id == study))

    def study_id(self, c: sa.Connection, name: str) -> int:
        """Return the number of the study `name`, creating it when there is none."""
        find = sa.select(studies.c.id).where(studies.c.name == name)
        found = self.shield(lambda: c.execute(find).scalar())
        if found is None:
            with self.transaction(c):  # another process may have created it in the meantime
                found = c.execute(find).scalar()
                if found is None:
                    c.execute(studies.insert().values(name=name, at=time.time()))
                    found = c.execute(find).scalar()
        assert found is not None
        return int(found)
