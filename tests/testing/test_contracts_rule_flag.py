"""Every clause for rules has a broken rule that it must flag."""

from __future__ import annotations

import dataclasses
import itertools

import pytest
import torch

from whet.distributed import named
from whet.distributed.rule import Rule, chain
from whet.distributed.rules.elastic import elastic
from whet.distributed.rules.ensemble import ensemble_compress
from whet.distributed.rules.gather import joint, level, mean, sync
from whet.distributed.rules.gradient import asynchronous, bounded, delay_compensated
from whet.distributed.rules.guard import finite
from whet.distributed.update import Refused
from whet.testing import RULE, Drill, history


def merging(merge, **more):
    return Rule("sick", merge=merge, **more)


def counts_calls():
    """What it remembers is not in its memory."""
    calls = itertools.count()
    return merging(lambda memory, u, held: (memory, u and u._replace(vector=u.vector / (1 + next(calls)))))


def writes_into_the_weights():
    def merge(memory, u, held):
        if u is not None:
            held.weights.sub_(u.vector)
        return memory, u

    return merging(merge)


def writes_into_the_backup():
    def merge(memory, u, held):
        if u is not None:
            held.backups[u.worker].copy_(held.weights)  # as if it were pulled when it was pushed
        return memory, u

    return merging(merge, backup=True)


def averages_with_the_last_one():
    """Keeps the last update's vector, which its worker is writing into by now."""

    def merge(memory, u, held):
        if u is None:
            return memory, None
        last, memory["last"] = memory.get("last", u.vector), u.vector
        return memory, u._replace(vector=(u.vector + last) / 2)

    return merging(merge, init=lambda held: {})


def remembers_a_set():
    def merge(memory, u, held):
        if u is not None:
            memory["seen"].add(u.worker)
        return memory, u

    return merging(merge, init=lambda held: {"seen": set()})


def gathering(complete):
    def merge(memory, u, held):
        if u is not None:
            memory["waiting"][u.worker] = u
            memory["ever"][u.worker] = True
        found = [memory["waiting"][w] for w in sorted(memory["waiting"])]
        if not found or not complete(memory, held):
            return memory, None
        memory["waiting"] = {}
        return memory, joint(found)._replace(vector=mean(found, torch.empty_like(found[0].vector)))

    return merging(merge, init=lambda held: {"waiting": {}, "ever": {}}, admit=level, gathers=True)


def waits_for_all_that_ever_sent():
    return gathering(lambda memory, held: set(memory["ever"]) <= set(memory["waiting"]))


def waits_for_two():
    return gathering(lambda memory, held: len(memory["waiting"]) >= 2)


def counts_on_what_was_refused():
    """Behind a guard: a round is complete when each living worker has one update in it, refused ones counting as missing."""
    return chain(finite(), gathering(lambda memory, held: all(w in memory["waiting"] for w in held.clocks)))


def forgets_what_the_dead_sent():
    def merge(memory, u, held):
        memory["waiting"] = {w: v for w, v in memory["waiting"].items() if w in held.clocks}
        return whole.merge(memory, u, held)

    whole = gathering(lambda memory, held: held.slowest >= max(held.clocks.get(w, 0) for w in memory["waiting"]))
    return dataclasses.replace(whole, merge=merge)


def holds_back_the_slowest():
    return Rule(
        "sick", admit=lambda held, worker: held.clocks[worker] > held.slowest or len(set(held.clocks.values())) < 2
    )


def lets_only_the_fastest_on():
    def admit(held, worker):
        return held.clocks[worker] == held.slowest or held.clocks[worker] >= held.slowest + 2

    return Rule("sick", admit=admit)


def wants_two():
    return Rule("sick", admit=lambda held, worker: len(held.clocks) >= 2 and level(held, worker))


def follows_the_first():
    return Rule("sick", admit=lambda held, worker: worker == 0 or held.clocks[worker] <= held.clocks.get(0, -1))


def needs_an_update():
    return merging(lambda memory, u, held: (memory, u._replace(vector=u.vector * 2)))


def applies_something_of_its_own():
    def merge(memory, u, held):
        memory["last"] = u._replace(vector=u.vector.clone()) if u else memory["last"]
        return memory, memory["last"]

    return merging(merge, init=lambda held: {"last": None})


def says_zeros_for_nobody():
    from whet.distributed.update import Update

    return merging(lambda memory, u, held: (memory, u or Update(0, 0, torch.zeros_like(held.weights))))


def gives_the_models_of_all_that_ever_were():
    def merge(memory, u, held):
        memory, out = made.merge(memory, u, held)
        if out is not None and out.models:
            memory["ever"] += [list(m) for m in out.models]
            out = out._replace(models=tuple((w, m) for w, m in memory["ever"]))
        return memory, out

    made = ensemble_compress(2)
    return dataclasses.replace(made, merge=merge, init=lambda held: {**made.init(held), "ever": []})


def turns_weights_into_gradients():
    made = elastic(0.2, every=2)

    def merge(memory, u, held):
        return memory, u and u._replace(kind="gradient", vector=held.weights - u.vector)

    return dataclasses.replace(made, merge=merge)


def refuses_and_forgets_for_how_many():
    """A guard behind one that gathers, which says that one worker's batches were refused instead of all of them."""

    def merge(memory, u, held):
        memory, out = made.merge(memory, u, held)
        return memory, Refused("nan", out.tickets[:1]) if out and not torch.isfinite(out.vector).all() else out

    made = sync()
    return dataclasses.replace(made, merge=merge)


def does_not_say_its_options():
    return dataclasses.replace(bounded(1), options=())


def rounds_its_options():
    return dataclasses.replace(delay_compensated(0.123456789), options=(("lambda", 0.123457),))


def takes_anything(s=1):
    return Rule("async", options=(("s", s),))


@pytest.mark.parametrize(
    ("clause", "sick"),
    [
        ("decides_by_what_it_is_given", counts_calls),
        ("changes_only_what_it_may", writes_into_the_weights),
        ("changes_only_what_it_may", writes_into_the_backup),
        ("keeps_nothing_that_a_worker_writes_over", averages_with_the_last_one),
        ("goes_into_a_checkpoint", remembers_a_set),
        ("goes_into_a_checkpoint", counts_calls),
        ("waits_for_nobody_who_left", wants_two),
        ("waits_for_nobody_who_left", follows_the_first),
        ("loses_no_batch", waits_for_all_that_ever_sent),
        ("serves_one_worker", waits_for_two),
        ("lets_the_slowest_go_on", holds_back_the_slowest),
        ("lets_the_slowest_go_on", lets_only_the_fastest_on),
        ("loses_no_batch", counts_on_what_was_refused),
        ("loses_no_batch", forgets_what_the_dead_sent),
        ("loses_no_batch", applies_something_of_its_own),
        ("loses_no_batch", refuses_and_forgets_for_how_many),
        ("has_nothing_to_say_of_nothing", says_zeros_for_nobody),
        ("has_nothing_to_say_of_nothing", needs_an_update),
        ("gives_each_peer_once", gives_the_models_of_all_that_ever_were),
        ("sends_what_it_says", turns_weights_into_gradients),
        ("is_read_back_from_its_text", does_not_say_its_options),
        ("is_read_back_from_its_text", rounds_its_options),
    ],
)
def test_sick_rules(clause, sick):
    with pytest.raises((AssertionError, AttributeError, ValueError)):
        {c.__name__: c for c in RULE}[clause](sick)


def test_a_rule_that_takes_nan_is_flagged(monkeypatch):
    monkeypatch.setitem(named.RULES, "async", (f"{__name__}:takes_anything", {}))
    with pytest.raises(AssertionError, match=r"async.*took s=nan"):
        {c.__name__: c for c in RULE}["refuses_what_is_no_number"](takes_anything)


def test_a_drill_is_the_same_every_time_and_has_work_for_everybody():
    facts = []
    for _ in range(2):
        drill = Drill(asynchronous(), workers=3, seed=5)
        for event in history(5, 3, 40):
            drill.do(*event)
        drill.finish()
        facts.append(drill.facts()["weights"])
    assert torch.equal(*facts)
    assert drill.server.merged == 30
