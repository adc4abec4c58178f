"""How far `whet simulate` is, in lines that fit."""

from __future__ import annotations

import pytest

from whet.cli.screen import _facts
from whet.cli.standing import Far, at_equal_time, chosen_rates, ends
from whet.distributed.compare import Case
from whet.distributed.rates import Rate, Tried
from whet.distributed.summary import Reached, Summary

LONG = "finite + clip(norm=1) + dc-asgd-a(lambda=2, decay=0.95)"


@pytest.fixture
def clock(monkeypatch):
    """The seconds that the module believes it is."""
    now = [100.0]
    monkeypatch.setattr("whet.cli.standing.time.monotonic", lambda: now[0])
    return now


def test_the_time_left_follows_from_the_parts_of_epochs_that_are_done(clock):
    far = Far(4, 10)
    assert far.look().seconds is None
    far.at(Case("sync", 4, 0), 5.0)
    clock[0] += 60.0
    at = far.look()
    assert (at.done, at.spent, at.limit, at.seconds) == (0.125, "0", "4 trainings", pytest.approx(7 * 60.0))
    far.at(Case("sync", 4, 1), 0.0)  # the one before is over
    assert (far.look().done, far.look().spent) == (0.25, "1")
    far.at(Case("sync", 4, 1), 12.0, rate=0.1)  # another training, since its rate is another
    assert far.look().done == 0.75
    assert far.look().trying == "seed 1, rate 0.1"


@pytest.mark.parametrize("rule", ["sync", LONG])
def test_a_line_says_the_time_left_whatever_the_rule_is_called(clock, rule):
    far = Far(120, 100)
    far.at(Case(rule, 1000, 3), 99.9, rate=0.01)
    clock[0] += 4000.0
    line = _facts(far.look())
    assert len(line) <= 70
    assert " left, " in line
    assert "with 1000, epoch 99.9" in line


def test_tables_are_70_columns_wide_whatever_is_in_them():
    row = Summary(LONG, 4000, 0.123456, 0.00123, 1234567.8, 1e6, 3999.12, 5, 2, 3456.7)
    reached = Reached(LONG, 4000, 1e6, 99.9, 0.123456, 0.00123, 5, 0)
    tried = tuple(Tried(r, 0.123456, 2, int(r > 0.1)) for r in (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0))
    found = {(LONG, 4000): Rate(0.1, tried, ""), ("sync", 4): Rate(0.001, tried, "lowest")}
    for lines in (
        ends([row], "average_precision"),
        at_equal_time("after " * 20, [reached], "accuracy"),
        chosen_rates(found, "loss"),
    ):
        assert max(map(len, lines)) <= 70, lines
    assert "2 of 5 seeds" in ends([row], "loss")[-2]
    said = "\n".join(chosen_rates(found, "loss"))
    assert "0.3: 0.1235!" in " ".join(said.split())
    assert "may be better: sync with 4" in " ".join(said.split())
    assert "! some of its seeds diverged" in said
