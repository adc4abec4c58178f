from __future__ import annotations

import time
from contextlib import nullcontext

import pytest

from whet.journal.database import Database
from whet.journal.memory import MemoryJournal
from whet.journal.sql import SqlJournal
from whet.testing.journal import JOURNAL


@pytest.mark.parametrize("clause", JOURNAL, ids=lambda c: c.__name__)
@pytest.mark.parametrize("kind", ["memory", "process", "power"])
def test_contract(clause, kind, tmp_path):
    hold(clause, MemoryJournal if kind == "memory" else Database(f"sqlite:///{tmp_path}/s.db", durability=kind))


@pytest.mark.postgres
@pytest.mark.parametrize("clause", JOURNAL, ids=lambda c: c.__name__)
@pytest.mark.parametrize("durability", ["process", "power"])
def test_contract_on_postgresql(clause, durability, shared):
    database = Database(shared, durability=durability)
    for name, _ in database.studies():
        database.delete(name)
    hold(clause, database)


def hold(clause, where):
    opened = []

    def make(name):
        opened.append(SqlJournal(where, name) if isinstance(where, Database) else where(name))
        return opened[-1]

    clause(make)
    for journal in opened:
        journal.close()


class Forgets(MemoryJournal):
    def append(self, kind, trial, data):
        event = super().append(kind, trial, data)
        return event._replace(seq=event.seq + 1)


class KeepsWhatFailed(MemoryJournal):
    def write(self):
        return nullcontext(self)


class ReadsFrom(MemoryJournal):
    def read(self, after=0):
        return super().read(max(0, after - 1))


class AddsTime(MemoryJournal):
    def spend(self, worker, seconds):
        self._seconds[worker] = self._seconds.get(worker, 0.0) + seconds


class KeepsDropped(MemoryJournal):
    def drop(self, trial):
        pass


class CountsAll(MemoryJournal):
    def record(self, topic, data):
        super().record(topic, data)
        return len(self._events)


class Rounds(MemoryJournal):
    def append(self, kind, trial, data):
        return super().append(kind, trial, {k: [str(x) for x in v] if k == "floats" else v for k, v in data.items()})


class OneForAll(MemoryJournal):
    def __init__(self, name, shared=MemoryJournal("all")):  # noqa: B008
        super().__init__(name)
        self._events = shared._events


class WritesAnything(MemoryJournal):
    def append(self, kind, trial, data):
        return super().append(kind, trial, {k: v if type(v) is not object else "?" for k, v in data.items()})


class LosesThePageBetween(MemoryJournal):
    def pages(self, after=0, size=20_000):
        for page in super().pages(after, size):
            yield page[: size - 1] or page


class CountsBehindItsBack(MemoryJournal):
    def read(self, after=0):
        time.sleep(0.001)
        return super().read(after)

    def write(self):
        return nullcontext(self)


class ShowsItsDraft(SqlJournal):
    def append(self, kind, trial, data):
        event = super().append(kind, trial, data)
        self._connection.raw().execute("COMMIT")
        self._connection.raw().execute("BEGIN IMMEDIATE")
        self._inside.calls, calls = [], self._inside.calls
        self._backend.commit(self._connection.raw(), calls)
        self._connection.raw().execute("BEGIN IMMEDIATE")
        return event


class IsNobody(MemoryJournal):
    def __init__(self, name):
        super().__init__(name)
        self.uid = "always the same"


def test_the_contract_flags_a_journal_that_shows_what_is_not_committed(tmp_path):
    opened = []

    def make(name):
        opened.append(ShowsItsDraft(Database(f"sqlite:///{tmp_path}/s.db"), name))
        return opened[-1]

    with pytest.raises(AssertionError):
        {c.__name__: c for c in JOURNAL}["lets_readers_pass"](make)
    for journal in opened:
        journal.close()


@pytest.mark.parametrize(
    ("clause", "sick"),
    [
        ("numbers_its_events_densely", Forgets),
        ("undoes_what_fails", KeepsWhatFailed),
        ("reads_after", ReadsFrom),
        ("keeps_values_exactly", Rounds),
        ("refuses_what_is_not_json", WritesAnything),
        ("counts_records_by_topic", CountsAll),
        ("keeps_leases", KeepsDropped),
        ("adds_up_time", AddsTime),
        ("keeps_studies_apart", OneForAll),
        ("pages_what_it_reads", LosesThePageBetween),
        ("lets_one_write_at_a_time", CountsBehindItsBack),
        ("knows_a_study_by_its_identity", IsNobody),
    ],
)
def test_the_contract_flags_a_sick_journal(clause, sick):
    with pytest.raises(AssertionError):
        {c.__name__: c for c in JOURNAL}[clause](sick)
