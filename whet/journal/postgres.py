"""A whet database on a PostgreSQL server: for studies that several machines work on.

A transaction that writes takes the lock of its study's row, so the numbers of events stay dense, studies do not wait
for each other, and readers wait for nobody. It takes two round trips: one brings the lock, the events that are new and
the leases, the other carries what is written and the commit. Each is one message of several statements, which the
server has prepared when the connection began: less CPU time than sending them one by one in a pipeline.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from whet.errors import MissingExtra, StoreError, one_line
from whet.journal.backend import PATIENCE, Call
from whet.journal.tables import Statements

__all__ = ["PostgresServer"]

_LOCK = 0x77686574  # the number of the advisory lock under which tables are made and migrated
_SYNCHRONOUS = {"process": "off", "power": "on"}
LAST = 2**31 - 1


class PostgresServer:
    """The backend of `postgresql://USER:PASSWORD@HOST:PORT/NAME`."""

    shares = True

    def __init__(self, url: str, *, durability: str = "process") -> None:
        try:
            import psycopg
        except ImportError as e:
            raise MissingExtra(
                "store: PostgreSQL needs psycopg, which is not installed. Run: pip install 'whet[postgres]'"
            ) from e
        made = sa.make_url(url).set(drivername="postgresql+psycopg")
        self._url, self._durability = made, durability
        self.where = shown(made)
        self.errors: tuple[type[Exception], ...] = (psycopg.Error,)
        self._cursor = psycopg.ClientCursor  # it puts the values into the text: only so can a message have several
        options = {
            # a server that vanished is noticed in about half a minute, not after the two hours TCP gives it
            "connect_timeout": 10, "keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3,
            "tcp_user_timeout": 30000, "application_name": "whet",
        }  # fmt: skip
        self.engine = sa.create_engine(
            made,
            poolclass=sa.NullPool,
            paramstyle="format",
            connect_args={k: v for k, v in options.items() if k not in made.query},
        )
        sa.event.listen(self.engine, "connect", self._settings)
        self._prepared, self._executes = _named(Statements(self.engine.dialect).takes)

    def _settings(self, connection: Any, _: Any) -> None:
        limit = int(PATIENCE * 1000)
        connection.autocommit = True
        # a process that hangs inside a transaction loses it, so that the others can go on
        connection.execute(
            f"SET synchronous_commit = {_SYNCHRONOUS[self._durability]}; SET lock_timeout = {limit}; "
            f"SET idle_in_transaction_session_timeout = {limit}; SET client_min_messages = warning; "
            "SET default_transaction_isolation = 'read committed'"
        )

    def place(self, fill: Callable[[sa.Connection], None]) -> None:
        """Do nothing: whoever runs the server makes the database."""

    def connect(self) -> sa.Connection:
        """Return a new connection, in autocommit."""
        return self.engine.connect().execution_options(isolation_level="AUTOCOMMIT")

    def raw(self, c: sa.Connection) -> Any:
        """Return the driver's connection behind `c`, with the statements of a journal prepared."""
        raw: Any = c.connection.driver_connection
        raw.execute("; ".join(self._prepared), prepare=False)
        return raw

    def begin(self, raw: Any, texts: Statements, study: int, after: int) -> tuple[list[Any], list[Any]] | None:
        """Take the lock of the study's row; return its events from `after` on (when it is not 0) and its leases."""
        calls: list[Call] = [(texts.lock, (study,))]
        # at READ COMMITTED each statement sees what was committed before it began: these two, all before the lock
        if after:
            calls += [(texts.read, (study, after, LAST)), (texts.leases, (study,))]
        cursor = self._send(raw, "BEGIN; ", calls)
        found = []
        while cursor.nextset():
            found.append(cursor.fetchall())
        if not found[0]:
            raise StoreError(f"{self.where}: the study was deleted meanwhile. Begin it anew.")
        return (found[1], found[2]) if after else None

    def run(self, raw: Any, calls: Sequence[Call]) -> None:
        """Run `calls` in one round trip."""
        self._send(raw, "", calls)

    def commit(self, raw: Any, calls: Sequence[Call]) -> None:
        """Run `calls` and commit, in one round trip."""
        self._send(raw, "", calls, "; COMMIT" if calls else "COMMIT")

    def _send(self, raw: Any, first: str, calls: Sequence[Call], last: str = "") -> Any:
        """Run `calls` as one message, between what comes first and last; return the cursor with all their results."""
        text = first + "; ".join(self._executes[t] for t, _ in calls) + last
        return self._cursor(raw).execute(text, [v for _, values in calls for v in values])

    def roll_back(self, raw: Any) -> None:
        """End a transaction, if there is one; hang up when that does not work, and the server undoes it."""
        try:
            raw.execute("ROLLBACK")
            if raw.info.transaction_status.name == "IDLE":
                return
        except self.errors:
            pass
        raw.close()

    @contextmanager
    def exclusive(self, c: sa.Connection) -> Iterator[None]:
        """Hold a transaction with the lock of the whole whet database; roll back on any exception."""
        c.exec_driver_sql("BEGIN")
        try:
            c.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK})")
            yield
            c.exec_driver_sql("COMMIT")
        except BaseException:
            try:
                c.exec_driver_sql("ROLLBACK")
            except SQLAlchemyError:
                pass  # the connection is gone, and the transaction with it
            raise

    def busy(self, error: BaseException) -> bool:
        """Return False: the server itself waits for locks."""
        return False

    def lost(self, error: BaseException) -> bool:
        """Return whether the connection is gone, or the server cannot be reached for now."""
        import psycopg

        cause = _cause(error)
        state = getattr(cause, "sqlstate", None) or ""
        if state[:2] == "08" or state in ("57P01", "57P02", "57P03", "25P03"):
            return True
        return isinstance(cause, psycopg.OperationalError) and not state and not _refused(str(cause).lower())

    def explain(self, error: BaseException) -> StoreError:
        """Return the StoreError that says what went wrong and what to do."""
        cause = _cause(error)
        text, state = one_line(str(cause)), getattr(cause, "sqlstate", None) or ""
        low, user, name = text.lower(), self._url.username or "", self._url.database or ""
        # of the lines of a failed connection the server's own word
        said = text.rpartition("FATAL: ")[2].strip() if "FATAL: " in text else text
        if state == "28P01" or "password" in low or "authentication" in low or "pg_hba" in low:
            return StoreError(
                f"{self.where}: the server refused user {user!r} ({said}). Check user and password in the URL; "
                "PGPASSWORD or ~/.pgpass work too."
            )
        if state == "3D000" or (f'database "{name.lower()}"' in low and "not exist" in low):
            host = "".join(f" -{k} {v}" for k, v in (("h", self._url.host), ("p", self._url.port)) if v)
            return StoreError(
                f"{self.where}: no such database. Create it with `createdb{host}{f' -U {user}' if user else ''} {name}`."
            )
        if state == "28000" or ("role" in low and "not exist" in low):
            return StoreError(f"{self.where}: {said}. Check the user in the URL.")
        if state == "42501" or "permission denied" in low:
            return StoreError(
                f"{self.where}: user {user!r} may not do this ({said}). Give a database of your own "
                f"(createdb -O {user or 'USER'} NAME), or have its owner GRANT ALL ON SCHEMA public TO {user or 'USER'}."
            )
        if state == "55P03":
            return StoreError(
                f"{self.where}: locked by another process for {PATIENCE:g} s. Close what holds it and run again."
            )
        if state[:2] == "53":
            return StoreError(
                f"{self.where}: the server has no room ({said}). Nothing was lost; make room and run again."
            )
        if self.lost(error):
            return StoreError(
                f"{self.where}: the server cannot be reached ({said}). Check host and port and that PostgreSQL runs, "
                "then run again: a study goes on where it was."
            )
        return StoreError(f"{self.where}: {said}")


def _named(takes: Mapping[str, int]) -> tuple[list[str], dict[str, str]]:
    """Return how each statement is prepared under a name, and how it is called by that name.

    >>> _named({"DELETE FROM leases WHERE study = %s AND trial = %s": 2})
    (['PREPARE whet_0 AS DELETE FROM leases WHERE study = $1 AND trial = $2'], {'DELETE FROM leases WHERE study = %s AND trial = %s': 'EXECUTE whet_0(%s, %s)'})
    """
    prepared, executes = [], {}
    for i, (text, count) in enumerate(takes.items()):
        numbers = (f"${n}" for n in range(1, count + 1))
        prepared.append(f"PREPARE whet_{i} AS " + re.sub("%s", lambda _: next(numbers), text))  # noqa: B023
        executes[text] = f"EXECUTE whet_{i}({', '.join(['%s'] * count)})"
    return prepared, executes


def shown(url: sa.URL) -> str:
    """Return a URL for messages: without password and options.

    >>> shown(sa.make_url("postgresql+psycopg://me:secret@db:5432/lab?sslmode=require"))
    'postgresql://me@db:5432/lab'
    """
    return sa.URL.create(
        "postgresql", username=url.username, host=url.host, port=url.port, database=url.database
    ).render_as_string()


def _cause(error: BaseException) -> BaseException:
    return error.orig if isinstance(error, DBAPIError) and error.orig is not None else error


def _refused(low: str) -> bool:
    """Return whether a connection failed for a reason that waiting does not mend."""
    wrong = ("password", "authentication", "pg_hba", "not exist", "no permission", "permission denied", "invalid ")
    return any(w in low for w in wrong) and "starting up" not in low
