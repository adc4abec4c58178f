"""What brings a database of an older format up to today's: one step a format, all in one transaction.

A step speaks of the tables as they were then, in SQL, never of today's `whet.journal.tables`.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable

import sqlalchemy as sa

from whet.journal.event import FORMAT

__all__ = ["STEPS", "migrate"]


def _studies_have_an_identity(c: sa.Connection) -> None:
    """1 -> 2: a study made anew under an old name can be told from the old one; events of new kinds need no change."""
    c.execute(sa.text("ALTER TABLE studies ADD COLUMN uid TEXT NOT NULL DEFAULT ''"))
    for (study,) in c.execute(sa.text("SELECT id FROM studies")).all():
        c.execute(sa.text("UPDATE studies SET uid = :uid WHERE id = :id"), {"uid": uuid.uuid4().hex, "id": study})


#: The step from format n + 1 to n + 2, for n = 0, 1, 2 ...
STEPS: tuple[Callable[[sa.Connection], None], ...] = (_studies_have_an_identity,)


def migrate(c: sa.Connection, found: int) -> None:
    """Bring a database of format `found` to today's, inside a transaction that excludes all others."""
    assert len(STEPS) == FORMAT - 1, "a format without a step to it"
    for step in STEPS[found - 1 :]:
        step(c)
    c.execute(sa.text("UPDATE whet_meta SET value = :value WHERE key = 'format'"), {"value": str(FORMAT)})
