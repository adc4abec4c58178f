"""Who is whose child: every line of the picture is one on record, and the way to the best is told change by change."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

from whet import Choice, Float, Int, Space, Study
from whet.report import Report, study_report
from whet.report.block import Section
from whet.report.descent import descent_plot
from whet.tune.search.evolution import Evolution
from whet.tune.search.model.descent import children, line
from whet.tune.search.portfolio import Portfolio
from whet.tune.trial import State, Trial, Trials

SPACE = Space(
    lr=Float(1e-4, 1.0, log=True),
    net=Choice({"one": Space(units=Int(1, 64)), "two": Space(units=Int(1, 64), second=Int(1, 64))}),
)


def loss(p: Any) -> float:
    return abs(p["lr"] - 0.02) + abs(p["net.units"] - 40) / 64 + (0.3 if p["net"] == "one" else 0.0)


def evolved(n: int = 60, *, search: Any = None, goal: str = "min") -> Trials:
    study = Study(SPACE, goal=f"{goal} loss", search=search or Evolution(population=10, sample=4), schedule="full")
    study.run(lambda p: loss(p) if goal == "min" else -loss(p), trials=n)
    return study.trials


def pairs(trace: dict[str, Any]) -> list[tuple[int, int]]:
    return [(trace["x"][i], trace["x"][i + 1]) for i in range(0, len(trace["x"]), 3)]


@pytest.mark.parametrize("goal", ["min", "max"])
def test_every_line_is_one_on_record_and_the_heavy_ones_lead_to_the_best(goal: str) -> None:
    trials = evolved(goal=goal)
    plot = descent_plot(trials)
    assert plot is not None
    others, heavy, dots, marked = plot.figure["data"]
    recorded = [(t.origin["evolution"]["parent"], t.id) for t in trials if "evolution" in t.origin]
    assert len(recorded) > 40
    assert sorted(pairs(others) + pairs(heavy)) == sorted(recorded)
    assert trials.best is not None
    way = [*(a for a, _ in pairs(heavy)), trials.best.id]
    assert pairs(heavy) == list(pairwise(way))
    assert marked["x"] == way
    assert sorted(dots["x"] + marked["x"]) == list(range(60))
    # squares are those that nobody made
    squares = [i for t in (dots, marked) for i, s in zip(t["x"], t["marker"]["symbol"], strict=True) if s == "square"]
    assert sorted(squares) == [t.id for t in trials if "evolution" not in t.origin]
    where = {i: y for t in (dots, marked) for i, y in zip(t["x"], t["y"], strict=True)}
    assert where == {t.id: t.value for t in trials}
    assert plot.title.startswith(
        f"Trial {way[-1]}, the best, is {len(way) - 1} generations from trial {way[0]}: " if len(way) > 2 else "Trial"
    )


def test_the_way_to_the_best_is_told_change_by_change() -> None:
    trials = evolved()
    plot = descent_plot(trials)
    assert plot is not None
    assert plot.table.columns == ("generation", "trial", "child of", "what was changed", "loss")
    rows = list(plot.table.rows)
    assert rows[0][2] is None
    assert rows[-1][1] == trials.best.id  # type: ignore[union-attr]
    for before, row in pairwise(rows):
        assert row[2] == before[1]
        a, b = trials[row[2]].params, trials[row[1]].params
        apart = {n for n in {*a, *b} if a.get(n) != b.get(n)}
        named = trials[row[1]].origin["evolution"]["changed"]
        assert set(named) <= apart
        # what else differs came with a branch
        assert apart - set(named) <= ({"net.second"} if "net" in named else set())
        assert all(f"{n} " in row[3] for n in named)
        assert " to " in row[3]


def test_failed_children_half_trained_ones_and_records_that_are_none() -> None:
    trials = list(evolved(30))
    last = [t for t in trials if "evolution" in t.origin and t.id != 29][-1].id
    trials[last] = replace(trials[last], state=State.FAILED, value=None, error={"type": "E", "message": "m"})
    trials[3] = replace(trials[3], origin={"evolution": {"parent": "x"}})
    trials[4] = replace(trials[4], origin={"evolution": {"parent": 12, "changed": []}})  # of the future
    trials[5] = replace(trials[5], origin={"evolution": 7})
    made = Trials(trials, space=SPACE)
    assert not {3, 4, 5} & set(children(made))
    plot = descent_plot(made)
    assert plot is not None
    assert "1 child failed" in plot.note
    assert last not in plot.figure["data"][2]["x"] + plot.figure["data"][3]["x"]
    half = Trials([replace(t, state=State.STOPPED) if t.id % 2 else t for t in trials], space=SPACE, steps=3)
    plot = descent_plot(half)
    assert plot is not None
    assert "Hollow: not trained to the end" in plot.note
    symbols = dict(zip(plot.figure["data"][2]["x"], plot.figure["data"][2]["marker"]["symbol"], strict=True))
    assert all(s.endswith("-open") == bool(i % 2) for i, s in symbols.items())


def test_it_is_there_where_something_evolved_and_nowhere_else() -> None:
    plain = Study(SPACE, goal="min loss", search="random", schedule="full")
    plain.run(loss, trials=12)
    assert descent_plot(plain.trials) is None
    assert descent_plot(Trials([], space=SPACE)) is None
    alone = Trial(0, {"lr": 0.1, "net": "one", "net.units": 3}, State.DONE, value=1.0)
    assert descent_plot(Trials([alone], space=SPACE)) is None
    shared = evolved(60, search=Portfolio(["evolution", "random"]))
    plot = descent_plot(shared)
    assert plot is not None
    assert len(pairs(plot.figure["data"][0]) + pairs(plot.figure["data"][1])) == len(children(shared))
    report = study_report("x", evolved())
    assert "the best, is" in report.text()
    assert "A line leads from a parent to its child" in report.html()
    assert max(map(len, Report("x", (Section("a", "A", "", (plot,)),)).text().splitlines())) <= 80


def test_a_line_of_ten_thousand_is_drawn_and_is_quick_to_find() -> None:
    said = [{}, *({"evolution": {"parent": i - 1, "changed": ["lr"]}} for i in range(1, 10_000))]
    done = [
        Trial(i, {"lr": 0.1, "net": "one", "net.units": 3}, State.DONE, value=1 - i / 1e4, origin=o)
        for i, o in enumerate(said)
    ]
    trials = Trials(done, space=SPACE)
    assert line(children(trials), 9_999) == list(range(10_000))
    few = Trials(done[:2000], space=SPACE)
    plot = descent_plot(few)
    assert plot is not None
    assert plot.title == "Trial 1999, the best, is 1,999 generations from trial 0: lr was changed 1,999 times"
