"""Shares from words to workers: simulated ones and processes take the same, in the ratio that was asked for."""

from fractions import Fraction
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from lessons import PARAMS, Blobs

from whet.distributed.collective.train import Training as Collective
from whet.distributed.compare import Case, compare, simulated
from whet.distributed.local.train import Training
from whet.distributed.named import parse_rule
from whet.distributed.rules.gather import sync
from whet.distributed.rules.gradient import asynchronous
from whet.distributed.shares import parse_shares
from whet.distributed.shuffle import Shuffle
from whet.distributed.simulate import Simulation
from whet.errors import CheckpointError, UsageError
from whet.tasks import resolve

LESSONS = Path(__file__).with_name("lessons.py")


def weights(run):
    return torch.cat([p.detach().flatten() for p in run.model.parameters()])


@given(st.lists(st.integers(1, 100), min_size=1, max_size=9), st.sampled_from(["1", "0.5", "3", "1/7", "0.125"]))
def test_shares_are_the_smallest_whole_numbers_in_the_ratio_of_what_is_given(whole, factor):
    words = [str(n * Fraction(factor)) for n in whole]
    found = parse_shares(",".join(words), len(whole)) or (1,) * len(whole)
    assert all(a * whole[0] == b * found[0] for a, b in zip(found, whole, strict=True))
    assert max(found) <= max(whole)
    assert (parse_shares(",".join(words), len(whole)) == ()) == (len(set(whole)) == 1)


@pytest.mark.parametrize(
    ("text", "needed"),
    [
        ("1,1", "2 shares for 3 workers. Give a number above 0 for each worker, such as 1,1,2."),
        ("2", "1 share for 3 workers"),
        ("1,1,0", "must be above 0, got 0"),
        ("1,-1,1", "must be above 0, got -1"),
        ("1,x,1", "x is no number"),
        ("1,,1", "nothing is no number"),
        ("1,nan,1", "nan is no number"),
        ("1,inf,1", "inf is no number"),
        ("1,1/0,1", "1/0 is no number"),
        ("1,1,1.01", "101 batches between two exchanges"),
    ],
)  # fmt: skip
def test_what_is_no_list_of_shares_is_refused_in_one_line(text, needed):
    with pytest.raises(UsageError) as e:
        parse_shares(text, 3)
    assert str(e.value).startswith(f"--shares {text}: ")
    assert needed in str(e.value)
    assert "\n" not in str(e.value)


def test_a_simulation_of_shares_is_that_of_a_shuffle_with_them():
    named = Simulation(Blobs(), PARAMS, rule=sync(), workers=(2, 1, 1), steps=2, shuffle="local")
    made = Shuffle(240, 16, 3, "local", 0, named.run.alone, shares=(2, 1, 1))
    given = Simulation(Blobs(), PARAMS, rule=sync(), workers=3, steps=2, shuffle=made)
    assert [p.value for p in named] == [p.value for p in given]
    assert torch.equal(weights(named.run), weights(given.run))
    taken = {w: seat.worker.step * named.shuffle.share(w) for w, seat in named.workers.items()}
    assert taken[0] == 2 * taken[1] == 2 * taken[2]


def test_what_was_made_with_other_shares_does_not_go_on():
    first = Simulation(Blobs(), PARAMS, rule=asynchronous(), workers=(2, 1), steps=2)
    next(iter(first))
    for workers in (2, (1, 2)):
        with pytest.raises(CheckpointError, match=r"shares \[2, 1\], and here"):
            Simulation(Blobs(), PARAMS, rule=asynchronous(), workers=workers, steps=2).load(first.state())


def test_rules_are_compared_with_shares_and_the_baseline_has_none():
    setting = {"steps": 1, "shares": (1, 3), "shuffle": "local"}
    outcomes = list(compare(Blobs(), PARAMS, rules=["sync"], workers=[2], baseline=True, **setting))
    alone, unlike = (o.points[-1] for o in outcomes)
    assert alone.metrics["updates"] == 15
    assert unlike.metrics["updates"] < 6  # four batches each
    assert simulated(Blobs(), PARAMS, Case("sync", 2, 0), **setting).shuffle.shares == (1, 3)
    with pytest.raises(UsageError, match="shares: 2 of them for 4 workers"):
        compare(Blobs(), PARAMS, rules=["sync"], workers=[2, 4], **setting)


@pytest.mark.parametrize("rule", ["sync", "average(every=2)"])
def test_processes_take_the_shares_of_the_simulated_ones_bit_for_bit(rule):
    task = resolve(f"{LESSONS}:Blobs", seed=0)
    expected = Simulation(task, PARAMS, rule=parse_rule(rule), workers=(1, 2), steps=2, shuffle="local")
    values = [p.value for p in expected]
    with Training(task, PARAMS, rule=rule, workers=(1, 2), steps=2, shuffle="local") as training:
        assert training.workers == 2
        assert [p.value for p in training] == values
        assert torch.equal(weights(training.run), weights(expected.run))


def test_where_all_step_alike_there_are_no_shares():
    with pytest.raises(UsageError, match="shares: --on torch gives all workers the same"):
        Collective(resolve(f"{LESSONS}:Blobs", seed=0), PARAMS, workers=(1, 2))
