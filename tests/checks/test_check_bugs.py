"""The catalogue of bugs: each has the finding that names it, over several seeds, and one cause gives one finding."""

from __future__ import annotations

from pathlib import Path

import pytest

from bugs import BY_CHANCE, DOORS, Bug, Undetectable, catalogue, looked, undetectable
from bugs.told import as_told, named, seed_of, told, words_of
from whet.finding import Finding, Severity

BUGS = {b.title: b for b in catalogue()}
HIDDEN = {b.title: b for b in undetectable()}
OVER_SEEDS = 5


def held(bug: Bug, seed: int) -> Finding:
    health = looked(bug, seed)
    found = named(bug, health.findings)
    assert found is not None, str(health)
    assert all(f.fix and f.where and f.message and f.evidence is not None for f in health.findings)
    assert not any(f.message.endswith(".") for f in health.findings)
    assert sum(f.severity is Severity.FAIL for f in health.findings) <= 1, "one cause, one finding"
    return found


def silent(bug: Undetectable, seed: int) -> None:
    health = looked(bug, seed)
    assert [str(f) for f in health.findings if f.severity is not Severity.INFO] == []
    assert health.facts, "nothing was looked at"


def test_the_list_of_fifty_is_complete() -> None:
    assert len(BUGS) == len(catalogue()) >= 60
    assert len({b.family.split(",")[0] for b in BUGS.values()}) >= 9
    assert {b.number for b in (*BUGS.values(), *HIDDEN.values())} - {None} == set(range(1, 51))
    assert {b.how for b in BUGS.values()} == set(DOORS)
    assert set(told()) == set(BUGS)


@pytest.mark.parametrize("title", BUGS)
def test_it_is_named(title: str) -> None:
    """And the page that shows it tells what is said: `python tests/checks/bugs/told.py` asks all again."""
    found = held(BUGS[title], seed_of(title))
    if " " not in BUGS[title].severity:  # where two will do, machines differ
        assert words_of(as_told(found)) == words_of(told()[title])


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(OVER_SEEDS))
@pytest.mark.parametrize("title", sorted(BUGS.keys() - set(BY_CHANCE)))
def test_it_is_named_over_seeds(title: str, seed: int) -> None:
    held(BUGS[title], seed)


@pytest.mark.soak
@pytest.mark.parametrize("title", BY_CHANCE)
def test_what_acts_by_chance_is_named_with_four_seeds_of_five(title: str) -> None:
    bug = BUGS[title]
    assert sum(named(bug, looked(bug, seed).findings) is not None for seed in range(OVER_SEEDS)) >= OVER_SEEDS - 1


@pytest.mark.parametrize("title", HIDDEN)
def test_nothing_names_what_is_listed_as_undetectable(title: str) -> None:
    silent(HIDDEN[title], seed_of(title))


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(OVER_SEEDS))
@pytest.mark.parametrize("title", HIDDEN)
def test_nothing_names_it_over_seeds(title: str, seed: int) -> None:
    silent(HIDDEN[title], seed)


@pytest.mark.parametrize("name", ["softmax before ce", "softmax over the batch", "sigmoid before ce", "relu on scores"])
def test_overfitting_sees_it_too_and_knows_the_floor(name: str) -> None:
    health = looked(BUGS[f"dense: {name}"], 0, allow=("OUT", "DEP"))
    found = [f for f in health.findings if f.code == "OF"]
    assert [f.severity.value for f in found] == ["FAIL"]
    if name in ("softmax before ce", "sigmoid before ce"):
        assert "log(1 + (C-1)/e)" in found[0].message
        assert abs(found[0].evidence["loss"] - 1.4612) < 0.02
        assert found[0].fix == "give cross_entropy the raw scores (logits)"


def test_where_is_the_users_own_line() -> None:
    health = looked(BUGS["dense: dropout always on"], 0)
    file = Path(__file__).with_name("bugs") / "case.py"
    line = file.read_text().split("\n").index("class Through(nn.Module):") + 1
    assert health.findings[0].where.endswith(f"case.py:{line} (Through)")
    assert looked(BUGS["dense: nll of scores"], 0).findings[0].where == "NLLLoss"
