"""Who proposed what in a portfolio: counts and marks are those of the trials, and other studies have no such picture."""

from __future__ import annotations

from typing import Any

import pytest

from whet import Float, Space, Study
from whet.report import study_report
from whet.report.members import members_plot
from whet.tune.search.portfolio import Portfolio
from whet.tune.trial import Point, State, Trial, Trials

SPACE = Space(x=Float(0, 1), y=Float(0, 1))


def shared(n: int = 50, goal: str = "min", members: Any = ("cma", "zoom", "random")) -> Trials:
    sign = 1 if goal == "min" else -1
    study = Study(SPACE, goal=f"{goal} loss", search=Portfolio(members), schedule="full")
    study.run(lambda p: sign * ((p["x"] - 0.3) ** 2 + (p["y"] - 0.6) ** 2), trials=n)
    return study.trials


@pytest.mark.parametrize("goal", ["min", "max"])
def test_every_trial_stands_in_the_row_of_who_proposed_it(goal: str) -> None:
    trials = shared(goal=goal)
    plot = members_plot(trials)
    assert plot is not None
    dots, lines = plot.figure["data"][::2], plot.figure["data"][1::2]
    rows = plot.figure["layout"]["yaxis2"]["ticktext"]
    assert sorted(rows) == ["cma", "random", "zoom"]
    for name, some, line in zip(rows, dots, lines, strict=True):
        assert some["x"] == [t.id for t in trials if t.origin["with"] == name]
        assert line["y"] == [t.origin["credit"][name] for t in trials]
    new, least = set(), float("inf")
    for t in trials:
        assert t.value is not None
        if (score := trials.goal.score(t.value)) < least:
            least = score
            new.add(t.id)
    best = max(new)
    marks = {i: s for d in dots for i, s in zip(d["x"], d["marker"]["symbol"], strict=True)}
    assert {i for i, s in marks.items() if s != "circle"} == new
    assert marks[best] == "star"
    assert plot.title.endswith(f"; the best is by {trials[best].origin['with']}")
    assert sum(r[1] for r in plot.table.rows) == 50
    assert sum(r[4] for r in plot.table.rows) == len(new)


def test_trials_of_people_failed_ones_and_other_searchers() -> None:
    study = Study(SPACE, goal="min loss", search=Portfolio(("cma", "random")), schedule="full")
    study.enqueue({"x": 0.3, "y": 0.6})
    for i in range(20):
        trial = study.ask()
        if i % 5 == 4:
            study.fail(trial, "no")
        else:
            study.tell(trial, trial.params["x"])
    plot = members_plot(study.trials)
    assert plot is not None
    assert sum(r[1] for r in plot.table.rows) == 19
    plain = Study(SPACE, goal="min loss", search="random", schedule="full")
    plain.run(lambda p: p["x"], trials=5)
    assert members_plot(plain.trials) is None
    odd = [Trial(0, {"x": 0.1, "y": 0.1}, State.DONE, [Point(1, 1.0)], 1.0, origin={"search": "portfolio", "with": 3})]
    assert members_plot(Trials(odd, space=SPACE)) is None
    report = study_report("x", shared())
    assert "the best is by" in report.text()
    assert "believed worth" in report.html()


@pytest.mark.parametrize("n", [3, 40])
def test_the_axis_of_trials_has_no_trial_before_the_first(n: int) -> None:
    plot = members_plot(shared(n))
    assert plot is not None
    axis = plot.figure["layout"]["xaxis"]
    assert -1 < axis["range"][0] < 0 <= n - 1 < axis["range"][1] < n
    assert axis.get("dtick") == (1 if n == 3 else None)
