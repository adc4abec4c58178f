"""The catalogue of bugs: each has the finding that names it, over several seeds, and one cause gives one finding."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from bugs import Bug, catalogue
from whet.checks import check
from whet.finding import Finding, Health

BUGS = {b.title: b for b in catalogue()}
OVER_SEEDS = 5


def looked(bug: Bug, seed: int, **more: object) -> Health:
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    return check(**{**bug.make(), **more})  # type: ignore[arg-type]


def held(bug: Bug, seed: int) -> None:
    health = looked(bug, seed)

    def named(f: Finding) -> bool:
        return f.code in bug.code.split() and f.severity.value in bug.severity.split() and bug.words in f.message

    assert any(named(f) for f in health.findings), str(health)
    assert all(
        f.fix and f.where and f.message and not f.message.endswith(".") and f.evidence is not None
        for f in health.findings
    )
    assert sum(f.severity.value == "FAIL" for f in health.findings) <= 1, "one cause, one finding"


def test_every_bug_has_a_title_of_its_own() -> None:
    assert len(BUGS) == len(catalogue()) >= 60
    assert len({b.family.split(",")[0] for b in BUGS.values()}) >= 9


@pytest.mark.parametrize("title", BUGS)
def test_it_is_named(title: str) -> None:
    held(BUGS[title], sum(map(ord, title)) % 3)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(OVER_SEEDS))
@pytest.mark.parametrize("title", BUGS)
def test_it_is_named_over_seeds(title: str, seed: int) -> None:
    held(BUGS[title], seed)


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
