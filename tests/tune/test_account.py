from __future__ import annotations

from whet.journal.event import Event
from whet.tune.account import accounts, version

A, B = "one/boot/1/10", "two/boot/2/20"


def test_the_work_on_a_trial_is_summed_over_its_workers():
    events = [
        Event(1, "created", None, {"version": "0.1.0"}, 1.0, A),
        Event(2, "enqueued", 0, {"params": {}, "note": ""}, 5.0, B),  # a person's word is no work
        Event(3, "asked", 0, {"seen": 2}, 10.0, A),
        Event(4, "reported", 0, {"step": 1, "seconds": 2.5}, 12.5, A),
        Event(5, "failed", 0, {"transient": True, "error": {"seconds": 1.0}}, 14.0, A),
        Event(6, "repeated", 0, {"step": 1, "cost": 1.0}, 15.0, B),
        Event(7, "reported", 0, {"step": 2, "seconds": 3.0}, 18.0, B),
        Event(8, "told", 0, {"value": 1.0}, 18.5, B),
        Event(9, "asked", 1, {"seen": 8}, 20.0, B),
        Event(10, "told", 1, {"value": 1.0}, 24.0, B),
        Event(11, "noted", 1, {"note": "", "tags": []}, 99.0, A),
    ]
    found = accounts(events)
    first = found[0]
    assert (first.began, first.ended, first.seconds) == (10.0, 18.5, 6.5)
    assert (first.workers, first.hosts, first.retries, first.repeated) == ((A, B), ("one", "two"), 1, 1)
    assert (found[1].seconds, found[1].ended, found[1].workers) == (4.0, 24.0, (B,))
    assert version(events) == "0.1.0"
    assert version([]) is None
