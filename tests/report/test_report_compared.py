"""The page of a comparison: its numbers are those of the comparison, whatever the strategies are called and however they ended."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from whet.report.block import Plot, Table
from whet.report.compared import comparison_report
from whet.tune.compare.line import Line
from whet.tune.compare.result import Comparison
from whet.tune.goal import Goal

NAMES = ["random", "gp(acquisition=<b>ei</b>)", "tpe", "evolution", "zoom", "a%sb"]


def comparison(goal, *, seeds=8, none=()):
    rng, lines = np.random.default_rng(0), {}
    for i, name in enumerate(NAMES):
        own = []
        for s in range(seeds):
            scores = np.minimum.accumulate(rng.random(5) * 0.2 + 1 - 0.15 * i)
            scores = scores - 1 if goal.better == "max" else scores
            there = () if (name, s) in none else tuple(float(x) for x in scores)
            own.append(Line((2, 5, 9, 20, 44)[: len(there)], there, 50, False))
        lines[name] = tuple(own)
    return Comparison(goal, "epochs", tuple(range(seeds)), lines, seeds, "toy")


def blocks(report, kind):
    return [b for s in report.sections for b in s.blocks if isinstance(b, kind)]


@pytest.mark.parametrize("goal", [Goal("loss", "min"), Goal("accuracy", "max")])
def test_the_page_holds_what_was_found(goal):
    found = comparison(goal)
    report = comparison_report(found, command="whet compare toy", setting={"task": "toy"})
    table = next(b for b in blocks(report, Table) if b.columns[0] == "strategy")
    assert [r[0] for r in table.rows] == [r.name for r in found.rows]
    assert [r[1] for r in table.rows] == [r.value for r in found.rows]
    course = blocks(report, Plot)[0]
    for trace in course.figure["data"]:
        if trace["mode"] == "lines" and "text" in trace:
            name = next(n for n in NAMES if trace["legendgroup"] == n)
            assert len(trace["x"]) == len(found.curve(name).places)
    page = report.html()
    assert "<b>ei</b>" not in page
    assert "whet compare toy" in page
    assert found.sentence in report.text().replace("\n", " ")
    json.dumps(report.json(), allow_nan=False)
    json.dumps(found.json(), allow_nan=False)
    assert max(map(len, found.table())) <= 70
    assert max(map(len, report.text().splitlines())) <= 80


def test_seeds_without_any_value_come_last_and_are_said():
    found = comparison(Goal("loss", "min"), none={("a%sb", 0), ("a%sb", 3)} | {("zoom", s) for s in range(8)})
    rows = {r.name: r for r in found.rows}
    assert (rows["a%sb"].missing, rows["zoom"].missing) == (2, 8)
    assert found.rows[-1].name == "zoom"
    assert math.isnan(rows["zoom"].value)
    assert found.against["zoom"].verdict == "worse"
    report = comparison_report(found)
    assert "a%sb: 2 seeds without any value" in report.text().replace("\n", " ")
    report.html()
    json.dumps(found.json(), allow_nan=False)
    assert str(found)


def test_with_one_seed_there_is_no_page():
    with pytest.raises(ValueError, match="fewer than two seeds"):
        comparison_report(comparison(Goal("loss", "min"), seeds=1))


def test_a_line_that_another_one_covers_is_named_and_ranks_are_stairs():
    lines = {"random": (Line((1,), (2.0,), 4, False),) * 6}
    lines |= {n: (Line((1, 3), (2.0, 1.0), 4, False),) * 6 for n in ("tpe", "gp")}
    report = comparison_report(Comparison(Goal("loss", "min"), "trials", tuple(range(6)), lines))
    plots = [b for s in report.sections for b in s.blocks if isinstance(b, Plot)]
    assert "tpe and gp have the same values all the way: the line of gp covers that of tpe." in plots[0].note
    assert "random and" not in plots[0].note
    ranks = next(p for p in plots if p.title.startswith("Ranks"))
    assert {t["line"]["shape"] for t in ranks.figure["data"]} == {"hv"}
