"""The best run again: the test is the textbook's, and a race is on record and can be made again."""

import inspect
import math

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

from whet.data.split import Data, Split
from whet.errors import StudyError, UsageError
from whet.metric import METRICS
from whet.recipe import rerace as rerace_
from whet.recipe.block import Block
from whet.recipe.job import Job
from whet.recipe.rerace import standings
from whet.recipe.steps import tuned
from whet.task import Task
from whet.tasks import resolve
from whet.tune import claim
from whet.tune.asking import Idle
from whet.tune.budget import Budget
from whet.tune.optimism import Optimism, optimism
from whet.tune.replay import replay
from whet.tune.space import Float, Space
from whet.tune.study import Study
from whet.tune.trial import Point, State, Trial, Verdict


@pytest.mark.parametrize("seed", range(2))
def test_the_test_is_the_textbooks(seed):
    """Against the variance of paired means plus that of seeds, by formulas."""
    draw = np.random.default_rng(seed)
    n, r = 400, 4
    y = draw.normal(size=n)
    runs = {i: [y + bias + draw.normal(0, 1, n) for _ in range(r)] for i, bias in ((3, 0.0), (5, 0.25), (9, 0.8))}
    found = standings(runs, y, METRICS["mse"], kind="regression", seed=seed)
    each = {i: np.mean([(o - y) ** 2 for o in os], 0) for i, os in runs.items()}
    scores = {i: [float(np.mean((o - y) ** 2)) for o in os] for i, os in runs.items()}
    pooled = np.mean([np.var(s, ddof=1) for s in scores.values()])
    lead = min(each, key=lambda i: each[i].mean())
    assert found[0].trial == lead
    for s in found[1:]:
        d = each[s.trial] - each[lead]
        error = math.sqrt(d.var(ddof=1) / n + 2 * pooled / r)
        assert s.behind == pytest.approx(stats.t.sf(d.mean() / error, 3 * (r - 1)), rel=0.35, abs=0.003)
        assert s.score == pytest.approx(np.mean(scores[s.trial]))
    assert {s.trial: s.out for s in found}[9]


def test_who_is_equal_is_seldom_out():
    """Configurations of the same worth: over 60 races of three, at most 5 % put anyone out, chance allowed for."""
    out = 0
    for seed in range(60):
        draw = np.random.default_rng(seed)
        y = draw.integers(0, 2, 100)
        runs = {i: [np.where(draw.random(100) < 0.8, y, 1 - y) for _ in range(3)] for i in range(3)}
        out += any(s.out for s in standings(runs, y, METRICS["accuracy"], kind="classification", seed=seed))
    assert out <= 7  # more has a chance below 1 in 100 at 5 %


def test_the_five_percent_are_of_all_comparisons():
    """Of six configurations one is out below 1 %, not below 5 %: there are some between the two."""
    between = 0
    for seed in range(20):
        draw = np.random.default_rng(seed)
        y = draw.normal(size=100)
        runs = {i: [y + 0.1 * i + draw.normal(0, 1, 100) for _ in range(3)] for i in range(6)}
        for s in standings(runs, y, METRICS["mse"], kind="regression", seed=seed)[1:]:
            assert s.out == (s.behind < 0.05 / 5)
            between += 0.05 / 5 < s.behind < 0.05
    assert between > 0


def test_with_one_run_each_nobody_is_out():
    y = np.arange(50) % 2
    found = standings({1: [y], 2: [1 - y], 3: []}, y, METRICS["accuracy"], kind="classification")
    assert [(s.trial, s.runs, s.out) for s in found] == [(1, 1, False), (2, 1, False), (3, 0, False)]


def test_while_a_race_is_on_only_guesses_are_trained_each_to_its_end():
    """Also under a schedule that would pause them; what was decided can be decided again."""
    with Study(Space(x=Float(0, 1)), goal="min loss", search="random", schedule="asha", steps=9, seed=0) as study:
        study.run(_one, trials=9)
        worst = max(study.trials, key=lambda t: t.value or 0)
        before = len(study.trials)
        study.record("race", {"on": True, "of": [worst.id]})
        study.enqueue(worst.params, again=True, tags=("rerace",))
        trial = study.ask()
        assert trial.params == worst.params
        assert [study.report(trial, k, 5.0) for k in range(1, 10)] == [Verdict.GO] * 9
        study.tell(trial, 5.0)
        assert study.ask() is Idle.DONE
        study.record("race", {"on": False})
        assert study.trials[before].state is State.DONE
        study.run(_one, trials=before + 3)  # the search goes on
        again = replay(study.journal.read())
        assert not again.differences


def _one(params, run):
    for _ in run:
        run.report(params["x"])


class Slight(Task):
    """Two classes that a linear model tells apart, with noise: learning rates are all alike."""

    goal, steps = "max accuracy", 3
    space = Space(lr=Float(0.01, 0.05, log=True))

    def data(self, params):
        x = torch.randn(260, 4, generator=torch.Generator().manual_seed(0))
        y = (x[:, 0] + 0.8 * torch.randn(260, generator=torch.Generator().manual_seed(1)) > 0).long()
        return Data(Split(x[:100], y[:100]), Split(x[100:160], y[100:160]), kind="classification")

    def model(self, params):
        return nn.Linear(4, 2)


def test_the_share_is_taken_from_every_limit(tmp_path):
    job = Job(Slight(), runs=tmp_path, budget=Budget(trials=50, steps=200, seconds=100.0), rerace=0.2)
    assert job.searching == Budget(40, 160, 0.8 * job.limits.seconds)
    assert Job(Slight(), runs=tmp_path, budget=Budget(trials=50)).searching == Budget(trials=50)
    with pytest.raises(UsageError, match=r"--rerace: must be a share of the budget from 0 to 0.9, got 1.5"):
        Job(Slight(), runs=tmp_path, rerace=1.5)
    with pytest.raises(UsageError, match="--rerace: takes a share of the budget"):
        Job(Slight(), runs=tmp_path, rerace=0.2, until="gain")


def racing_job(folder, trials, schedule):
    """Return the job of a random search with a re-race for half of its budget, of a task that worker processes can load."""
    file = folder / "slight.py"
    file.write_text(
        "import torch\nfrom torch import nn\nfrom whet import Data, Float, Space, Split, Task\n\n\n"
        + inspect.getsource(Slight)
    )
    runs, budget = folder / "runs", Budget(trials=trials)
    return Job(resolve(str(file)), runs=runs, budget=budget, search="random", schedule=schedule, rerace=0.5)


def test_a_study_is_raced_within_its_budget_and_goes_on_after_a_stop(tmp_path):
    """With real workers, under a schedule that pauses: interrupted within the race, gone on with, and shown again at no cost."""

    def go(trials, stop_at=None):
        job = racing_job(tmp_path, trials, "asha")

        def stopping():
            if stop_at is None:
                return False
            with Study.open(job.store, job.name) as study:
                return sum("rerace" in t.tags for t in study.trials) >= stop_at

        blocks = {b.step: b for b in tuned(job, stopping=stopping) if isinstance(b, Block)}
        with Study.open(job.store, job.name) as study:
            assert not replay(study.journal.read()).differences
            assert study.records("race")[-1] == {"on": False}
            return blocks["tune"], study.trials, len(study.journal.read()), study.records("raced")

    first, trials, _, _ = go(24, stop_at=2)
    assert first.data["trials"] < 24
    block, trials, events, raced = go(24)
    again = [t for t in trials if "rerace" in t.tags]
    assert len(again) >= 4
    assert block.data["trials"] <= 24
    assert sum("rerace" not in t.tags for t in trials) == 12
    assert all(t.state is State.DONE and t.step == 3 and t.note.startswith("trial ") for t in again)
    assert raced[-1]["lines"][0] in " ".join(block.lines)
    assert {r["trial"] for r in raced[-1]["found"]} <= set(range(12))
    assert go(24)[2] == events  # nothing is done twice


def test_a_child_of_a_population_is_no_fresh_seed_of_its_configuration(tmp_path):
    """Times 0.8 and times 1.25 it has the configuration of who it comes from, and that one's weights."""
    job = Job(Slight(), runs=tmp_path)
    data, params = job.data(), {"lr": 0.02}
    with Study(Slight.space, goal="max accuracy", steps=3, store=job.store, name=job.name) as study:
        study.add([
            Trial(0, params, State.DONE, [Point(k, 0.8) for k in (1, 2, 3)], 0.8),
            Trial(1, params, State.DONE, [Point(k, 0.8) for k in (2, 3)], 0.8, parent=(0, 2)),
            Trial(2, params, State.DONE, [Point(k, 0.8) for k in (1, 2, 3)], 0.8),
        ])  # fmt: skip
        outputs = np.zeros((60, 2), np.float32)
        asked = []
        rerace_.outputs_of, before = lambda _, id: (asked.append(id), ({}, outputs))[1], rerace_.outputs_of
        try:
            found = rerace_._standings(job, study, data, [0])
        finally:
            rerace_.outputs_of = before
    assert asked == [2]
    assert [(s.trial, s.runs) for s in found] == [(0, 1)]
    lines = rerace_._lines(found, study, "fresh seed")
    assert lines[0].startswith("run again on 1 fresh seed, the configuration of trial 0")


def test_who_cannot_be_run_again_is_said(tmp_path, monkeypatch):
    """Members of a population that went on from another's weights: nothing is asked for, and a second time nothing is written."""
    job = Job(Slight(), runs=tmp_path, budget=Budget(trials=9), rerace=0.5)
    data = job.data()
    with Study(Slight.space, goal="max accuracy", steps=3, store=job.store, name=job.name) as study:
        study.add([
            Trial(0, {"lr": 0.02}, State.DONE, [Point(k, 0.7) for k in (1, 2, 3)], 0.7),
            Trial(1, {"lr": 0.03}, State.DONE, [Point(k, 0.8) for k in (2, 3)], 0.8, parent=(0, 2)),
            Trial(2, {"lr": 0.04}, State.DONE, [Point(k, 0.8) for k in (2, 3)], 0.8, parent=(0, 2)),
        ])  # fmt: skip
        outputs = {i: np.eye(2)[data.valid.targets.numpy()] + 0.1 * i for i in range(3)}
        monkeypatch.setattr(
            rerace_,
            "worth",
            lambda *_: optimism(outputs, data.valid.targets.numpy(), "accuracy", kind="classification"),
        )
        alone = "nothing was run again: no other trial that came as far as trial"
        heirs = "not run again: trials 1, 2, which went on from another trial's"
        for rivals, said in (((1,), [alone]), ((1, 2), [alone, heirs])):
            monkeypatch.setattr(Optimism, "rivals", list(rivals))
            for _ in range(2):
                made = rerace_.rerace(job, study, data, None)
                with pytest.raises(StopIteration) as end:
                    next(made)
                assert end.value.value is False  # what was kept for it is for the search
            assert [r["lines"][0][:50] for r in study.records("raced")] == [s[:50] for s in said]
        assert study.records("race") == []


def test_the_search_has_the_share_of_a_race_that_nobody_is_in(tmp_path, monkeypatch):
    """All of the budget is spent, once; what a larger one leaves is raced when there are rivals by then."""

    def go(trials):
        job = racing_job(tmp_path, trials, "full")
        block = next(b for b in tuned(job) if isinstance(b, Block) and b.step == "tune")
        with Study.open(job.store, job.name) as study:
            assert not replay(study.journal.read()).differences
            return " ".join(block.lines), study.trials, len(study.journal.read())

    with monkeypatch.context() as m:
        m.setattr(Optimism, "rivals", [0])
        said, trials, events = go(8)
        assert len(trials) == 8
        assert all(t.state is State.DONE and not t.tags for t in trials)
        assert "nothing was run again: no other trial" in said
        assert "the search had its share" in said
        assert go(8)[2] == events  # nothing is done twice
    trials = go(20)[1]
    assert sum("rerace" in t.tags for t in trials) >= 2
    assert sum("rerace" not in t.tags for t in trials) == 10


@pytest.mark.parametrize("ended", [True, False], ids=["ended", "killed"])
def test_a_search_goes_on_when_the_race_of_another_process_is_over(tmp_path, monkeypatch, ended):
    """Nothing new is started while somebody runs the best again; that is no end of the search, and is not recorded as one."""
    monkeypatch.setattr(claim, "LAPSE", 30.0 if ended else 0.5)
    file = tmp_path / "slight.py"
    file.write_text(
        "import torch\nfrom torch import nn\nfrom whet import Data, Float, Space, Split, Task\n\n\n"
        + inspect.getsource(Slight)
    )
    job = Job(resolve(str(file)), runs=tmp_path / "runs", budget=Budget(trials=30), search="random", schedule="full")
    looks = 0

    def look():  # what the other process does: it begins a race, and ends it unless it is killed
        nonlocal looks
        looks += 1
        if looks == 1 or (looks == 12 and ended):
            with Study.open(job.store, job.name) as other:
                other.record("race", {"on": looks == 1})
        return False

    assert any(isinstance(b, Block) and b.step == "tune" for b in tuned(job, stopping=look))
    with Study.open(job.store, job.name) as study:
        assert len(study.trials) == 30
        assert not replay(study.journal.read()).differences


def test_a_race_in_which_everything_fails_is_not_run_to_the_end_of_its_budget(tmp_path):
    """The search that has what is left of it finds that nothing works any more, and says so."""
    file, lost = tmp_path / "slight.py", tmp_path / "lost"
    file.write_text(
        "import os\nimport time\nimport torch\nfrom pathlib import Path\nfrom torch import nn\nfrom whet import Data, Float, Space, Split, Task\n\n\n"
        + inspect.getsource(Slight)
        + f"\n    def batch(self, params):\n        if 'WHET_WORKER' in os.environ and Path({str(lost)!r}).exists():\n"
        + "            time.sleep(0.2)\n            raise FileNotFoundError\n        return 32\n"
    )

    def go(trials, rerace):
        job = Job(
            resolve(str(file)),
            runs=tmp_path / "runs",
            budget=Budget(trials=trials),
            search="random",
            schedule="full",
            rerace=rerace,
        )
        for _ in tuned(job):
            pass

    go(14, 0.0)
    lost.touch()
    with pytest.raises(StudyError, match="trials failed in a row"):
        go(140, 0.9)
    with Study.open(f"sqlite:///{tmp_path}/runs/whet.db", "slight") as study:
        raced = [t for t in study.trials if "rerace" in t.tags]
        assert 2 <= len(raced) <= 6
        assert all(t.state is State.FAILED for t in raced)
        assert len(study.trials) < 140
