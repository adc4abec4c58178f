"""What every journal must do. A clause is given `make(name)`, which opens the journal of a study, new or existing."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable

import numpy as np

from whet.errors import StoreError
from whet.journal.event import Event, Journal, Lease

__all__ = ["JOURNAL"]

Make = Callable[[str], Journal]


def numbers_its_events_densely(make: Make) -> None:
    """The seq of events is 1, 2, 3 ... over transactions; `append` returns the event as it is read."""
    journal = make("dense")
    made: list[Event] = []
    for size in (1, 3, 0, 2):
        with journal.write() as w:
            made += [w.append("told", i, {"value": i / 3}) for i in range(size)]
    read = journal.read()
    assert [e.seq for e in read] == list(range(1, 7)), [e.seq for e in read]
    assert [e.bare for e in read] == [e.bare for e in made]


def undoes_what_fails(make: Make) -> None:
    """An exception inside a transaction undoes its events and leases, whatever it is, and comes out unchanged."""
    for error in (ValueError("no"), KeyboardInterrupt()):
        journal = make("undo")
        with journal.write() as w:
            first = w.append("noted", 0, {})
            w.take(0, "me")
        try:
            with journal.write() as w:
                w.append("noted", 1, {})
                w.take(0, "you")
                w.take(1, "you")
                w.drop(0)
                raise error
        except BaseException as e:
            came_out = e
        assert came_out is error, f"{error!r} came out as {came_out!r}"
        assert len(journal.read(first.seq)) == 0, "an event of a failed transaction stayed"
        with journal.write() as w:
            assert w.leases().get(0) == Lease(0, "me"), w.leases()
            assert 1 not in w.leases()
            assert w.append("noted", 0, {}).seq == first.seq + 1, "a failed transaction used up a number"


def reads_after(make: Make) -> None:
    """`read(n)` returns the events after the n-th, inside a transaction those of it too."""
    journal = make("after")
    with journal.write() as w:
        for i in range(4):
            w.append("noted", i, {})
        assert [e.seq for e in w.read(3)] == [4]
    for after in range(5):
        assert [e.seq for e in journal.read(after)] == list(range(after + 1, 5))
    with journal.write() as w:
        w.append("noted", 4, {})
        assert w.append("noted", 5, {}).seq == 6, "a transaction that has read nothing lost count"


def pages_what_it_reads(make: Make) -> None:
    """`pages` yields what `read` returns, in lists of at most `size`; events that are written meanwhile come too."""
    journal = make("pages")
    assert list(journal.pages()) == []
    with journal.write() as w:
        for i in range(7):
            w.append("noted", i, {"i": i})
    for size in (1, 3, 7, 8):
        for after in (0, 2, 7):
            pages = list(journal.pages(after, size))
            assert [e for page in pages for e in page] == journal.read(after), (size, after)
            assert all(0 < len(page) <= size for page in pages), (size, after)
    seen: list[Event] = []
    for page in journal.pages(size=3):
        seen += page
        if len(seen) < 9:
            journal.record("more", {})
    assert [e.seq for e in seen] == list(range(1, len(seen) + 1))
    assert [e.bare for e in seen] == [e.bare for e in journal.read()]


def lets_one_write_at_a_time(make: Make) -> None:
    """What several write at once is one dense record, each transaction in one piece; each sees what came before it."""
    journals = [make("many") for _ in range(3)] if make("many").durable else [make("many")] * 3
    torn: list[object] = []

    def add(journal: Journal, trial: int) -> None:
        for i in range(20):
            with journal.write() as w:
                before = w.read(0)
                first = w.append("noted", trial, {"i": i})
                if first.seq != len(before) + 1 or [e.seq for e in w.read(first.seq - 1)] != [first.seq]:
                    torn.append((first, len(before)))
                w.append("noted", trial, {"i": i})

    threads = [threading.Thread(target=add, args=(j, n)) for n, j in enumerate(journals)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    events = journals[0].read()
    assert not torn, torn[0]
    assert [e.seq for e in events] == list(range(1, 121))
    assert all(a.trial == b.trial and a.data == b.data for a, b in zip(events[::2], events[1::2], strict=True))
    for trial in range(3):
        assert [e.data["i"] for e in events[::2] if e.trial == trial] == list(range(20))


def lets_readers_pass(make: Make) -> None:
    """Who reads does not wait for a transaction, and sees nothing of it before its end."""
    writer = make("open")
    if not writer.durable:
        return  # it has no second reader
    reader = make("open")
    with writer.write() as w:
        w.append("noted", 0, {})
        w.take(0, "me")
        w.read(0)
        assert reader.read() == []
        assert list(reader.pages()) == []
        assert reader.leases() == {}
        assert reader.spent() == 0.0
    assert len(reader.read()) == 1
    assert reader.leases() == {0: Lease(0, "me")}


def knows_a_study_by_its_identity(make: Make) -> None:
    """`uid` is the study's own, whoever opens it."""
    one, two = make("one"), make("two")
    assert one.uid
    assert one.uid != two.uid
    if one.durable:
        assert make("one").uid == one.uid


def keeps_values_exactly(make: Make) -> None:
    """Numbers, text and structure come back as they were; tuples as lists, NumPy's numbers as Python's."""
    journal = make("exact")
    data = {
        "floats": [0.1, -0.0, 1e-323, 1.7976931348623157e308, math.inf, -math.inf],
        "ints": [0, -1, 2**63, 10**40],
        "text": ["", "ünïcödé ☃ \U0001f600", 'quo"te\\', "a\nb\tc\0d", "half \ud83d", "$float"],
        "rest": [True, False, None, [], {}, {"$float": "soon"}, {"deep": [{"er": [1, [2]]}]}],
    }
    with journal.write() as w:
        w.append("noted", 0, {**data, "nan": math.nan})
        w.append("noted", 0, {"numpy": [np.float32(0.5), np.int64(3), np.bool_(True), np.arange(2)], "tuple": (1, 2)})
    for read in (journal.read(), make("exact").read() if journal.durable else journal.read()):
        found = dict(read[0].data)
        assert math.isnan(found.pop("nan"))
        assert repr(found) == repr(data), found
        second = {"numpy": [0.5, 3, True, [0, 1]], "tuple": [1, 2]}
        assert repr(read[1].data) == repr(second), read[1].data


def refuses_what_is_not_json(make: Make) -> None:
    """A value that cannot be written is refused with a StoreError, and nothing of it is written."""
    journal = make("strange")
    try:
        with journal.write() as w:
            w.append("noted", 0, {})
            w.append("noted", 0, {"thing": object()})
    except StoreError:
        assert journal.read() == []
    else:
        raise AssertionError("an object was written")


def counts_records_by_topic(make: Make) -> None:
    """`record` appends a "recorded" event and returns how many there are of its topic."""
    journal = make("records")
    assert [journal.record(t, {"n": 1}) for t in ("a", "b", "a", "a")] == [1, 1, 2, 3]
    assert [e.data["topic"] for e in journal.read()] == ["a", "b", "a", "a"]
    assert {e.kind for e in journal.read()} == {"recorded"}


def keeps_leases(make: Make) -> None:
    """A trial has one lease: the last taken. A beat raises those of its worker only; a new holder begins at 0."""
    journal = make("leases")
    with journal.write() as w:
        w.take(0, "a")
        w.take(1, "b", 2)
        w.take(2, "a")
        w.drop(2)
        w.drop(9)
    assert journal.leases() == {0: Lease(0, "a"), 1: Lease(1, "b", 0, 2)}
    journal.beat("b")
    journal.beat("nobody")
    if journal.durable:
        assert journal.leases() == {0: Lease(0, "a"), 1: Lease(1, "b", 1, 2)}, journal.leases()
    with journal.write() as w:
        w.take(1, "a", 3)
        assert w.leases()[1] == Lease(1, "a", 0, 3)
    assert journal.read() == [], "a lease is not an event"


def adds_up_time(make: Make) -> None:
    """`spend` sets what a worker has spent in all; `spent` is the sum over workers."""
    journal = make("time")
    assert journal.spent() == 0.0
    for worker, seconds in (("a", 1.0), ("a", 2.5), ("b", 4.0)):
        journal.spend(worker, seconds)
    assert journal.spent() == 6.5


def keeps_studies_apart(make: Make) -> None:
    """Two studies share nothing: not the numbers of events, nor leases, nor time."""
    one, two = make("one"), make("two")
    with one.write() as w:
        w.append("noted", 0, {})
        w.take(0, "a")
    one.spend("a", 3.0)
    assert two.read() == []
    assert two.leases() == {}
    assert two.spent() == 0.0
    assert two.record("x", {}) == 1
    assert [e.seq for e in two.read()] == [1]


#: The clauses, to be run one by one.
#:
#: >>> from whet.journal.memory import MemoryJournal
#: >>> for clause in JOURNAL:
#: ...     clause(MemoryJournal)
JOURNAL: tuple[Callable[[Make], None], ...] = (
    numbers_its_events_densely, undoes_what_fails, reads_after, keeps_values_exactly, refuses_what_is_not_json,
    counts_records_by_topic, keeps_leases, adds_up_time, keeps_studies_apart, pages_what_it_reads,
    lets_one_write_at_a_time, lets_readers_pass, knows_a_study_by_its_identity,
)  # fmt: skip
