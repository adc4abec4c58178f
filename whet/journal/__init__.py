"""The append-only record of a study and its files: the only memory there is."""

from whet.journal.event import Event as Event
from whet.journal.event import Journal as Journal
from whet.journal.store import Store as Store

__all__ = ["Event", "Journal", "Store"]
