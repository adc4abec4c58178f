"""The tables of a whet database, and the text of the statements a journal runs, compiled once for each dialect.

SQLAlchemy knows the schema and how each database spells it. A journal runs a handful of statements many thousand times
a second, so their text is made once and handed to the driver itself.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

import sqlalchemy as sa

__all__ = ["Statements", "events", "leases", "meta", "schema", "sessions", "studies"]

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
    sa.Column("uid", sa.Text, nullable=False, server_default=""),  # random: a study made again is another study
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


class Statements:
    """The statements of a journal as text for one dialect; each takes its values in the order shown here.

    >>> from sqlalchemy.dialects.sqlite import dialect
    >>> Statements(dialect()).drop
    'DELETE FROM leases WHERE leases.study = ? AND leases.trial = ?'
    """

    def __init__(self, dialect: sa.Dialect) -> None:
        def text(statement: sa.ClauseElement, order: str) -> str:
            made = statement.compile(dialect=dialect)
            found = tuple(getattr(made, "positiontup", None) or ())
            assert found == tuple(order.split()), f"{made}: takes {found}"
            shown = " ".join(str(made).split())
            self.takes[shown] = len(found)
            return shown

        self.takes: dict[str, int] = {}  # the texts of all statements, and how many values each takes

        e, l, s, b = events.c, leases.c, sessions.c, sa.bindparam  # noqa: E741
        own, mine = e.study == b("study"), (l.study == b("study"), l.worker == b("holder"))
        rows = sa.select(e.seq, e.kind, e.trial, e.data, e.at, e.who).where(own)
        # numbers are dense, so a range of them is a page; the first is the last one known: it must still be there
        self.read = text(rows.where(e.seq >= b("first"), e.seq <= b("last")).order_by(e.seq), "study first last")
        brief = sa.select(e.seq, e.kind, e.trial, e.data).where(own, e.seq >= b("first"), e.seq <= b("last"))
        self.brief = text(brief.order_by(e.seq), "study first last")
        self.last = text(sa.select(sa.func.coalesce(sa.func.max(e.seq), sa.literal_column("0"))).where(own), "study")
        self.records = text(sa.select(e.data).where(own, e.kind == b("kind")).order_by(e.seq), "study kind")
        self.append = text(sa.insert(events), "study seq kind trial data at who")
        self.leases = text(sa.select(l.trial, l.worker, l.beat, l.lapses).where(l.study == b("study")), "study")
        self.take = text(_upsert(dialect, leases, "study trial"), "study trial worker beat lapses")
        self.drop = text(sa.delete(leases).where(l.study == b("study"), l.trial == b("of")), "study of")
        self.held = text(sa.select(sa.func.count()).select_from(leases).where(*mine), "study holder")
        self.beat = text(sa.update(leases).where(*mine).values(beat=l.beat + sa.literal_column("1")), "study holder")
        self.spend = text(_upsert(dialect, sessions, "study worker"), "study worker seconds")
        total = sa.func.coalesce(sa.func.sum(s.seconds), sa.literal_column("0.0"))
        self.spent = text(sa.select(total).where(s.study == b("study")), "study")
        lock = sa.select(studies.c.uid).where(studies.c.id == b("study")).with_for_update()
        self.lock = text(lock, "study")


def _upsert(dialect: sa.Dialect, table: sa.Table, key: str) -> Any:
    made: Any = import_module(f"sqlalchemy.dialects.{dialect.name}").insert(table)  # the other one is not loaded
    rest = {c.name: made.excluded[c.name] for c in table.c if c.name not in key.split()}
    return made.on_conflict_do_update(index_elements=key.split(), set_=rest)
