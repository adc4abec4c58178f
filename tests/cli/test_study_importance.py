"""`whet study importance`: what matters in words, a table, JSON and a page; and what it says when it cannot."""

from __future__ import annotations

import json
import math

import pytest

from whet import Choice, Float, Int, Space, Study
from whet.tune.schedule.population import Population

SPACE = Space(
    lr=Float(1e-5, 1e-1, log=True),
    optimizer=Choice({"sgd": Space(momentum=Float(0, 0.99)), "adam": None}),
    width=Int(16, 512, log=True),
)


def accuracy(p):
    return 0.95 - 0.03 * (math.log10(p["lr"]) + 2.5) ** 2


@pytest.fixture
def study(tmp_path):
    """A study of 60 trials, and one of 5."""
    (tmp_path / "runs").mkdir()
    for name, n in (("demo", 60), ("few", 5)):
        with Study(SPACE, goal="max accuracy", search="random", store=tmp_path / "runs" / "whet.db", name=name) as made:
            made.run(accuracy, trials=n)
    return tmp_path


def test_it_says_what_matters_and_writes_nothing(whet, study):
    said = whet("study", "importance", "demo")
    assert said.code == 0, said
    assert not said.err
    assert max(map(len, said.out.splitlines())) <= 80
    assert said.out.startswith("matters   lr matters most (")
    assert "in 50 % of the space only" in said.out
    row = next(line for line in said.out.splitlines() if line.startswith("lr "))
    assert row.endswith("matters")
    assert int(row.split()[1]) > 85
    assert not list(study.rglob("*.html"))
    assert "together" not in said.out


def test_pairs_and_a_page(whet, study):
    said = whet("study", "importance", "demo", "--pairs", "-o", "what matters.html")
    assert said.code == 0, said
    assert "three or more" in said.out
    page = (study / "what matters.html").read_text()
    assert "lr matters most" in page
    assert "https://" not in page.partition("<script>")[0]
    again = whet("study", "importance", "demo", "-o", "what matters.html")
    assert again.code == 2
    assert "exists" in again.err


def test_json_has_shares_intervals_and_curves(whet, study):
    said = whet("study", "importance", "demo", "--json", "--pairs")
    assert said.code == 0, said
    found = json.loads(said.out)
    lr = found["parts"][0]
    assert lr["name"] == "lr"
    assert lr["verdict"] == "matters"
    assert 0 <= lr["alone"]["low"] <= lr["alone"]["value"] <= lr["alone"]["high"] <= 1
    best = lr["curve"]["values"][lr["curve"]["mean"].index(max(lr["curve"]["mean"]))]
    assert math.log10(best) == pytest.approx(-2.5, abs=0.5)
    assert [p["exists"] for p in found["parts"] if p["name"] == "optimizer.momentum"] == [0.5]
    total = sum(p["alone"]["value"] for p in found["parts"]) + sum(p["value"] for p in found["pairs"]) + found["rest"]
    assert total == pytest.approx(1.0, abs=1e-6)
    assert found["path"] is None


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["few"], "study 'few': 5 of 5 trials have a value; what matters needs at least 8"),
        (["demo", "--top", "1.5"], "--top 1.5: must be above 0 and below 1"),
        (["demo", "--top", "0.01"], "top 0.01: 1 of 60 trials is among the best; at least 4 are needed"),
        (["nowhere"], "nowhere"),
        (["demo", "-o", "page.txt"], "-o page.txt: no such format"),
    ],
)
def test_what_it_cannot_do_is_one_line(whet, study, words, said):
    found = whet("study", "importance", *words)
    assert found.code == 2
    assert said in found.err
    assert len(found.err.strip().splitlines()) == 1


def test_it_says_how_many_are_left_out_as_others_trained_their_weights_too(whet, tmp_path):
    """A population of 24 members; a child's value is not that of its last configuration."""
    (tmp_path / "runs").mkdir()
    space = Space(rate=Float(0.01, 0.9, log=True, live=True), width=Int(1, 9))

    def objective(params, run):
        far = (run.load() or {"far": 1.0})["far"]
        for _ in run:
            far *= 1 - params["rate"]
            run.report(far + 0.1 * params["rate"] + 0.01 * params["width"], {"far": far})

    schedule = Population(size=24, interval=2)
    with Study(space, search="sobol", schedule=schedule, steps=8, store=tmp_path / "runs" / "whet.db", name="pbt") as made:  # fmt: skip
        made.run(objective, budget="192epochs")
        born = sum(t.parent is not None for t in made.trials)
        n = len(made.trials)
    assert born > 3
    said = whet("study", "importance", "pbt", "-o", "page.html")
    assert said.code == 0, said
    assert f"{n - born} trials; the model" in said.out
    assert f"{born} left out: they went on from weights of another configuration" in said.out
    assert "that went on from weights of another configuration are left out" in (tmp_path / "page.html").read_text()
    assert json.loads(whet("study", "importance", "pbt", "--json").out)["inherited"] == born


def test_of_shares_that_are_not_shown_nothing_more_is_said(whet, tmp_path):
    (tmp_path / "runs").mkdir()
    values = iter([0.5, 0.1, 0.9, 0.4, 0.8, 0.2, 0.7, 0.3, 0.6, 0.5] * 2)
    with Study(SPACE, goal="max accuracy", search="random", store=tmp_path / "runs" / "whet.db", name="noise") as made:
        made.run(lambda p: next(values), trials=20)
    said = whet("study", "importance", "noise")
    assert said.code == 0, said
    assert "Cannot tell what matters" in said.out
    assert "of the space only" not in said.out
