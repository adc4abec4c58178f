"""The picture of where the best trial of a population comes from."""

from __future__ import annotations

import json

import pytest

from whet import Choice, Float, Int, Space, State, Study
from whet.report import study_report
from whet.report.lineage import lineage_plot
from whet.tune.plan import ancestry
from whet.tune.schedule.population import Population
from whet.tune.trial import Goal, Point, Trial, Trials

SPACE = Space(
    o=Choice({"sgd": Space(lr=Float(1.0, 2.0, live=True)), "adam": Space(lr=Float(1e-4, 1.0, log=True, live=True))}),
    n=Int(1, 9, live=True),
    width=Int(1, 4),
)


def bred() -> Trials:
    """Trial 3 goes on from 1 at step 4, which goes on from 0 at step 2; 2 is another one."""

    def trial(id: int, lr: float, n: int, steps: range, parent: tuple[int, int] | None = None) -> Trial:
        state = State.DONE if steps[-1] == 6 else State.STOPPED
        curve = tuple(Point(k, 1.0 / k + id / 100) for k in steps)
        return Trial(id, {"o": "adam", "o.lr": lr, "n": n, "width": 2}, state, curve, curve[-1].value, parent)

    return Trials(
        [
            trial(0, 0.1, 3, range(1, 4)),
            trial(1, 0.01, 3, range(2, 6), (0, 2)),
            trial(2, 0.5, 9, range(1, 3)),
            trial(3, 0.001, 4, range(4, 7), (1, 4)),
        ],
        space=SPACE,
        goals=(Goal("loss", "min"),),
        steps=6,
    )


def test_the_lineage_is_drawn_step_by_step_with_its_copies() -> None:
    plot = lineage_plot(bred())
    assert plot is not None
    assert plot.title == "Trial 3 comes from 2 other trials; its o.lr went from 0.1 to 0.001"
    others, line, copies = plot.figure["data"][:3]
    assert line["x"] == [0, 2, 2, 4, 4, 6]
    assert line["y"] == pytest.approx([0.75, 0.75, 0.5, 0.5, 0.25, 0.25])  # on the scale of the branch that was taken
    assert line["customdata"] == [0, 0, 1, 1, 3, 3]
    assert copies["x"] == [2, 4]
    assert others["customdata"] == [2, 2, None]  # neither the best nor those it comes from
    assert len(plot.figure["data"]) == 6  # o.lr and n; width is the same all the way
    assert plot.table.columns == ("epochs", "trial", "loss at their end", "o.lr", "n")
    assert plot.table.rows[0] == ("1 to 2", 0, 0.5, 0.1, 3)
    assert [r[0] for r in plot.table.rows] == ["1 to 2", "3 to 4", "5 to 6"]


def test_a_value_of_another_branch_with_the_same_name_has_no_place_on_its_axis() -> None:
    trials = bred()
    other = Trial(4, {"o": "sgd", "o.lr": 1.0, "n": 2, "width": 2}, State.STOPPED, (Point(1, 1.0),), 1.0)
    plot = lineage_plot(Trials([*trials, other], space=trials.space, goals=trials.goals, steps=trials.steps))
    assert plot is not None
    rates, whole = plot.figure["data"][0], plot.figure["data"][3]
    assert 4 not in rates["customdata"]  # 1.0 is on both scales
    assert 4 in whole["customdata"]


def test_the_title_names_what_did_not_come_back() -> None:
    first = Trial(0, {"a": 0.1, "b": 0.5}, State.STOPPED, (Point(1, 3.0), Point(2, 2.0)), 2.0)
    between = Trial(1, {"a": 0.2, "b": 0.4}, State.STOPPED, (Point(2, 2.0), Point(3, 1.5)), 1.5, (0, 2))
    for b, said in ((0.3, "its b went from 0.5 to 0.3"), (0.5, "its a went from 0.1 over 0.2 back to 0.1")):
        last = Trial(2, {"a": 0.1, "b": b}, State.DONE, (Point(3, 1.5), Point(4, 1.0)), 1.0, (1, 3))
        space = Space(a=Float(0, 1, live=True), b=Float(0, 1, live=True))
        plot = lineage_plot(Trials([first, between, last], space=space, steps=4))
        assert plot is not None
        assert plot.title == f"Trial 2 comes from 2 other trials; {said}"


def test_where_the_best_comes_from_no_other_there_is_none() -> None:
    trials = bred()
    assert lineage_plot(Trials([trials[0], trials[2]], space=SPACE, steps=6)) is None
    assert lineage_plot(Trials([], space=SPACE)) is None
    assert lineage_plot(Trials([trials[3]], space=SPACE, steps=6)) is None  # a part of a study


def test_a_real_population_in_all_three_forms() -> None:
    def objective(params, run):  # type: ignore[no-untyped-def]
        state = run.load() or {"x": 1.0}
        for _ in run:
            state["x"] *= 1 - 0.3 * params["rate"]
            run.report(state["x"] + 0.3 * params["rate"], state)

    space = Space(rate=Float(0.01, 1.0, log=True, live=True))
    with Study(space, search="random", schedule=Population(6), steps=20, seed=3) as study:
        study.run(objective, budget="120epochs")
        trials, best = study.trials, study.best
    assert best.parent is not None
    report = study_report("bred", trials)
    title = f"Trial {best.id} comes from {len(ancestry(trials, best.id)) - 1} other trial"
    assert title in report.text()
    assert title in report.html()
    assert title in json.dumps(report.json())
