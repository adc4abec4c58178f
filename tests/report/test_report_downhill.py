"""The picture of a search along gradients: every step is in it, and from where it was made."""

from __future__ import annotations

import numpy as np
import pytest

from whet import Choice, Float, Int, Space, Study
from whet.report.downhill import downhill_plot
from whet.tune.search.hypergradient import Hypergradient
from whet.tune.search.model.downhill import walked


def searched(space, *, trials=30, of="", seed=0):
    study = Study(space, goal="min loss", search=Hypergradient(starts=2, seed=seed), schedule="full")
    for i in range(trials):
        trial = study.ask()
        if i % 9 == 7:
            study.fail(trial, "out of memory")
            continue
        u = {n: space[n].encode(v) - 0.4 for n, v in trial.params.items() if n in space and isinstance(space[n], Float)}
        told = {f"{of}gradient.{n}": 2 * (k + 1) * v for k, (n, v) in enumerate(u.items())}
        study.tell(trial, float(sum((k + 1) * v**2 for k, v in enumerate(u.values()))), **told)
    return study.trials


@pytest.mark.parametrize("seed", range(3))
def test_every_step_is_drawn_from_where_it_was_made(seed):
    space = Space(a=Float(0, 1), k=Int(1, 3), b=Float(0, 1))
    trials = searched(space, seed=seed)
    plot = downhill_plot(trials)
    steps = {(t.origin["hypergradient"]["from"], t.id) for t in trials if "hypergradient" in t.origin}
    for axis, name in (("x", "a"), ("x2", "b")):
        drawn = set()
        for trace in plot.figure["data"]:
            if trace["xaxis"] == axis:
                drawn |= set(zip(trace["x"], trace["x"][1:], strict=False))
                assert trace["y"] == pytest.approx([trials[i].params[name] for i in trace["x"]])
        assert drawn == steps
    assert plot.table.rows[0][0] == walked(trials)[0].path[0].id
    assert sum(row[2] + row[3] for row in plot.table.rows) == len(steps)


def test_only_real_numbers_that_moved_have_a_row_and_a_branch_its_own():
    inner = Space(m=Float(0, 1))
    space = Space(o=Choice({"s": inner, "t": None}), a=Float(0, 1), still=Float(0, 1))
    study = Study(space, goal="min loss", search=Hypergradient(starts=1), schedule="full")
    for _ in range(12):
        trial = study.ask()
        study.tell(trial, (trial.params["a"] - 0.4) ** 2, **{"gradient.a": 2 * (trial.params["a"] - 0.4)})
    plot = downhill_plot(study.trials)
    assert "yaxis2" not in plot.figure["layout"]
    assert "moved a most" in plot.title
    assert "1 of 3 real numbers" in plot.note


def test_it_says_what_was_followed_in_place_of_the_goal():
    space = Space(a=Float(0, 1))
    study = Study(space, goal="max accuracy", search=Hypergradient(starts=1), schedule="full")
    for _ in range(6):
        trial = study.ask()
        away = trial.params["a"] - 0.4
        study.tell(trial, 1 - abs(away), **{"loss": away**2, "gradient(loss).a": 2 * away})
    assert "followed the gradient of loss, since accuracy has none" in downhill_plot(study.trials).note


def test_there_is_none_without_a_step():
    space = Space(a=Float(0, 1))
    study = Study(space, search="random").run(lambda p: p["a"], trials=3)
    assert downhill_plot(study.trials) is None
    assert np.isfinite(study.best.value)
