"""DUP: validating on training examples (bug 41), twins across splits (42), and data whose duplicates are natural."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bugs.whole import given as of
from bugs.whole import stripped
from task_zoo import HEALTHY, clusters, look, only
from whet.checks.overlap import across
from whet.data.split import Split
from whet.finding import Severity
from whet.task import Task


@pytest.mark.parametrize("seed", range(3))
def test_validating_on_training_examples_is_impossible_in_a_correct_program(seed: int) -> None:
    whole = clusters(300, seed)
    order = np.random.default_rng(seed).permutation(300)
    for train, valid, shared in (
        (whole, whole, 300),  # bug 41
        (stripped(whole), stripped(whole), 300),
        (whole.take(order[:200]), whole.take(order[150:]), 50),  # splits that overlap
        (whole.take(order[:200]), whole.take(order[197:]), 3),
    ):
        found = only(look(of(train, valid), "DUP", seed))
        assert found.severity is Severity.FAIL
        assert found.evidence["ids"] == shared
        assert f"{shared} of {len(valid)} validation examples are training examples" in found.message


@pytest.mark.parametrize("seed", range(3))
def test_all_of_validation_under_other_ids(seed: int) -> None:
    whole = clusters(300, seed)
    found = only(look(of(whole, stripped(whole.take(range(250, 300)))), "DUP", seed))
    assert found.severity is Severity.FAIL
    assert "all 50 validation examples are in training as well" in found.message


@pytest.mark.parametrize("copies", [9, 60])
@pytest.mark.parametrize("seed", range(3))
def test_twins_that_came_after_the_split_are_a_warning(seed: int, copies: int) -> None:
    """Bug 42: some validation examples were copied into training (or oversampled over both)."""
    train, valid = clusters(400, seed), clusters(100, seed + 50)
    mixed = Split(torch.cat([valid.inputs, train.inputs[:copies]]), torch.cat([valid.targets, train.targets[:copies]]))  # type: ignore[list-item]
    found = only(look(of(train, mixed), "DUP", seed))
    assert found.severity is Severity.WARN
    assert found.evidence["across"] == copies
    assert found.evidence["p"] < 2e-4


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("share", [0.02, 0.3])
def test_a_random_split_of_duplicates_is_at_most_worth_knowing(seed: int, share: float) -> None:
    whole = clusters(600, seed)
    draw = np.random.default_rng(seed)
    repeated = np.concatenate([np.arange(600), draw.integers(0, 600, int(600 * share))])
    order = draw.permutation(len(repeated))
    many = stripped(whole.take(repeated[order]))
    n = len(many)
    health = look(of(many.take(range(n // 4, n)), many.take(range(n // 4))), "DUP", seed)
    assert all(f.severity is Severity.INFO for f in health.findings)
    assert [f.code for f in health.findings] == ["DUP"] or share < 0.1


@pytest.mark.parametrize("seed", range(10))
def test_few_states_with_ids_of_their_own_are_healthy(seed: int) -> None:
    """Both splits number their examples from 0, and three bits of input make many of them alike by chance."""
    draw = torch.Generator().manual_seed(seed)
    made = [
        Split(torch.randint(0, 2, (n, 3), generator=draw).float(), torch.randint(0, 2, (n,), generator=draw))
        for n in (300, 80)
    ]
    health = look(of(*made), "DUP", seed)
    assert all(f.severity is Severity.INFO for f in health.findings)
    assert health.facts["DUP"]["ids"] == 0


def test_constant_inputs_are_no_overlap() -> None:
    made = [Split(torch.zeros(n, 3), torch.zeros(n, dtype=torch.int64)) for n in (50, 30)]
    health = look(of(*made), "DUP")
    assert all(f.severity is Severity.INFO for f in health.findings)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("task", HEALTHY)
def test_healthy(task: type[Task], seed: int) -> None:
    assert all(f.severity is Severity.INFO for f in look(task(), "DUP", seed).findings)


def test_the_expectation_is_that_of_dividing_anew() -> None:
    """Brute force: pool, shuffle, divide, count."""
    draw = np.random.default_rng(0)
    pooled = draw.integers(0, 400, 500).astype(np.uint64)
    counted = []
    for _ in range(2000):
        order = draw.permutation(500)
        counted.append(int(np.isin(pooled[order[400:]], pooled[order[:400]]).sum()))
    expected, _ = across(pooled[:400], pooled[400:])
    assert expected == pytest.approx(np.mean(counted), abs=4 * np.std(counted) / np.sqrt(2000) + 0.3)


def test_the_p_value_of_random_divisions_is_no_smaller_than_it_says() -> None:
    small = 0
    for seed in range(100):
        draw = np.random.default_rng(seed)
        pooled = draw.integers(0, 300, 200).astype(np.uint64)
        small += across(pooled[:150], pooled[150:], seed=seed, most=500)[1] < 0.05
    assert small <= 12  # of 100, 5 are expected; 12 or more happen once in 200 times


def test_nothing_twice_has_no_expectation() -> None:
    assert across(np.arange(5, dtype=np.uint64), np.arange(5, 9, dtype=np.uint64)) == (0.0, 1.0)
