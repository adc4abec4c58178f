"""Every rule keeps every promise of `RULE`, alone and in chains."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whet.distributed.named import RULES, parse_rule
from whet.testing import RULE, Drill

OPTIONS = {
    "bounded": "s=2", "accumulate": "every=2", "average": "every=2", "diloco": "every=2", "elastic": "every=2, alpha=0.3",
    "ec": "every=2", "codistil": "every=2", "clip": "norm=1.5", "finite": "huge=20, quarantine=3",
}  # fmt: skip
ALONE = [f"{name}({OPTIONS[name]})" if name in OPTIONS else name for name in RULES]
CHAINS = [
    "finite(huge=1000, quarantine=2) + sync", "sync + finite", "finite + clip(norm=1) + weighted + dc-asgd",
    "dc-asgd + finite", "bounded(s=0) + discount", "dc-asgd-c(lambda=0.123456789) + sync + clip(norm=1)",
    "finite + average(every=3)", "finite(huge=50, quarantine=2) + elastic(every=1)", "finite + ec(every=2)", "finite + codistil(every=1)",
    "bounded(s=1) + elastic(every=2)", "accumulate(every=3) + weighted + bounded(s=1)", "finite + accumulate(every=2) + sync",
]  # fmt: skip


# In CI each family and the chains in which rounds, refusals and backups meet; the others in `make soak`.
EVERY = ["sync", "dc-asgd", "elastic", "ec", "codistil", "diloco", "weighted"]
SOAKED = [t for t in [*ALONE, *CHAINS[3:]] if t.partition("(")[0] not in EVERY]


@pytest.mark.parametrize("clause", RULE, ids=lambda c: c.__name__)
@pytest.mark.parametrize(
    "text", [t if t not in SOAKED else pytest.param(t, marks=pytest.mark.soak) for t in [*ALONE, *CHAINS]]
)
def test_rule(text, clause):
    clause(lambda: parse_rule(text))


PLAYED = ["finite(quarantine=2) + sync", "bounded(s=1)", "finite + ec(every=1)", "codistil(every=1)", "dc-asgd"]
EVENTS = st.lists(
    st.tuples(st.sampled_from(["join", "leave", "push", "push", "push", "spoil"]), st.integers(0, 2)), max_size=40
)


@pytest.mark.parametrize("text", PLAYED)
@settings(max_examples=25, deadline=None)
@given(events=EVENTS)
def test_no_history_makes_it_wait_for_the_dead_or_lose_a_batch(text, events):
    drill = Drill(parse_rule(text), workers=3)
    for event in [("join", 0), ("join", 1), *events]:
        drill.do(*event)
        assert not drill.stuck
    drill.finish()
    assert len(set(drill.seen)) == len(drill.seen)
    assert drill.server.merged == 30 or drill.server.banned == {0, 1, 2}
