"""`whet tune` with goals that have bounds, and with every searcher and scheduler there is."""

from __future__ import annotations

import json

import pytest

from whet.tune.schedule import NAMES as SCHEDULES
from whet.tune.search import NAMES as SEARCHES


def test_a_task_may_have_bounds_in_its_goal(whet, task):
    task("steps = 3", 'steps = 3\n    goal = "max accuracy", "train_loss <= 0.62"')
    said = whet(
        "tune", "tiny.py", "--search", "gp", "--budget", "12trials", "--epochs", "1", "--workers", "1", "--plain"
    )
    assert said.code == 0, said
    shown = json.loads(whet("study", "show", "tiny", "--json").out)
    losses = {t["id"]: t["curve"][-1]["train_loss"] for t in shown["trials"]}
    assert min(losses.values()) <= 0.62 < max(losses.values())
    best = json.loads(whet("study", "best", "tiny", "--json").out)
    assert losses[best["id"]] <= 0.62


def test_a_grid_says_how_many_points_it_has_before_its_first_trial(whet, task):
    task()
    said = whet(
        "tune", "tiny.py", "--search", "grid", "--budget", "2trials", "--epochs", "1", "--workers", "1", "--plain"
    )
    assert said.code == 0, said
    assert said.out.index("grid: 25 points over 2 dimensions (lr 5, decay 5).") < said.out.index("2 trials")


def test_no_line_is_too_long_for_the_screen_whatever_the_strategy_has_to_say(whet, task):
    task()
    said = whet("tune", "tiny.py", "--search", "portfolio", "--budget", "2trials", "--epochs", "1", "--workers", "1", "--plain")  # fmt: skip
    assert said.code == 0, said
    assert max(map(len, said.out.splitlines() + said.err.splitlines())) <= 80


def test_a_race_that_has_nothing_to_run_says_so(whet, task, tmp_path):
    """The search keeps a share for it, and has it in the end: all of the budget is spent."""
    task()
    words = ("--search", "random", "--epochs", "1", "--workers", "1", "--plain", "--rerace", "0.5")
    said = whet("tune", "tiny.py", *words, "--budget", "2trials")
    assert said.code == 0, said
    text = " ".join(said.out.split())
    assert (
        "nothing was run again: no other trial that came as far as trial 0, the best by then, might be as good; the search had its share"
        in text
    )
    assert "2 trials, 2 finished" in text
    assert "--budget 2 trials is spent: a larger one goes on" in text
    assert max(map(len, said.out.splitlines())) <= 80
    said = whet("tune", "tiny.py", *words, "--budget", "9trials")
    assert said.code == 0, said
    text = " ".join(said.out.split())
    assert "run again on 1 fresh seed, the configuration" in text
    assert "nothing was run again" not in text
    page = (tmp_path / "runs" / "tiny" / "report.html").read_text()
    assert "Run again on fresh seeds" in page
    assert "Run again on 1 fresh seed, the configuration of trial" in page


def test_the_trials_of_a_task_report_the_gradients_that_a_searcher_goes_by(whet, task):
    task("steps = 3", 'steps = 2\n    goal = "min loss"')
    words = ("--search", "hypergradient", "--budget", "7trials", "--workers", "1", "--plain")
    said = whet("tune", "tiny.py", *words)
    assert said.code == 0, said
    trials = json.loads(whet("study", "show", "tiny", "--json").out)["trials"]
    assert all("gradient.lr" in t["curve"][-1] for t in trials)
    shown = whet("study", "show", "tiny", "3").out
    assert "gradient.lr" not in shown
    assert "and the gradient by 1 hyperparameter; --json has it" in shown
    steps = [t for t in trials if "hypergradient" in t["origin"]]
    assert len(steps) >= 1
    assert all(t["params"] != trials[t["origin"]["hypergradient"]["from"]]["params"] for t in steps)


def test_a_search_along_gradients_is_refused_where_it_makes_no_sense(refused, whet, task):
    task()
    refused(
        "tune", "tiny.py", "--search", "hypergradient", "--schedule", "asha", "--budget", "2trials", "--plain", out=True,
        needed=("search 'hypergradient' does not go with schedule 'asha'", "Use full, median or race"),
    )  # fmt: skip
    task(
        "decay=Float",
        "drop=Float",
        more="\n    def optimizer(self, params, model):\n        return torch.optim.Adam(model.parameters())\n",
    )
    said = whet(
        "tune",
        "tiny.py",
        "--search",
        "hypergradient",
        "--epochs",
        "1",
        "--budget",
        "3trials",
        "--plain",
        "--workers",
        "1",
    )
    assert said.code == 2, said
    assert "reported no gradient of accuracy" in said.err
    assert len([line for line in said.err.splitlines() if "gradient" in line]) == 1


@pytest.mark.soak
@pytest.mark.parametrize("schedule", ["auto", *SCHEDULES.known])
@pytest.mark.parametrize("search", ["auto", *SEARCHES.known])
def test_every_searcher_goes_with_every_scheduler(whet, search, schedule):
    said = whet(
        "tune", "digits", "--search", search, "--schedule", schedule, "--budget", "12epochs", "--workers", "1", "--json"
    )
    if search == "hypergradient" and schedule not in ("auto", "full", "median", "race"):
        assert said.code == 2
        assert f"search 'hypergradient' does not go with schedule '{schedule}'" in said.err
        return
    assert said.code == 0, said
    found = json.loads(said.out)["tune"]
    assert 10 <= found["epochs"] <= 12
    assert found["value"] > 0.5
    shown = json.loads(whet("study", "show", "digits", "--json").out)
    assert len(shown["trials"]) == found["trials"] > 0
