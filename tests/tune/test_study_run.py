"""`Study.run` in this process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import warnings
from pathlib import Path

import pytest

import whet
from whet import Choice, Float, Int, Space, State, Study, StudyError, UsageError
from whet.tune.budget import Budget
from whet.tune.loop import Spending

SPACE = Space(x=Float(0, 1), k=Int(1, 50))
ENV = {**os.environ, "PYTHONPATH": str(Path(whet.__file__).parents[1])}


def new(**options):
    return Study(SPACE, **{"search": "random", "seed": 2, **options})


def test_a_function_of_the_configuration():
    study = new().run(lambda params: params["x"], trials=7)
    assert len(study.trials) == 7
    assert study.best.value == min(t.params["x"] for t in study.trials)
    assert study.spent.trials == study.spent.steps == 7
    assert new().run(lambda params, scale=2.0: params["x"] * scale, trials=2).best.value <= 2.0


def test_a_mapping_is_the_value_and_metrics():
    study = new(goal="max score").run(lambda params: {"score": params["x"], "size": params["k"]}, trials=3)
    for t in study.trials:
        assert t.value == t.params["x"]
        assert t.curve[-1].metrics == {"size": t.params["k"]}


@pytest.mark.parametrize("form", ["run", "run_with_default", "anything", "returns"])
def test_a_function_that_reports(form):
    def body(params, run):
        for step in run:
            run.report(params["x"] / step, {"step": step})

    forms = {
        "run": body, "run_with_default": lambda params, run=None: body(params, run), "anything": lambda *args: body(*args),
        "returns": lambda params, run: (body(params, run), -1.0)[1],
    }  # fmt: skip
    study = new(steps=3, schedule="full").run(forms[form], trials=3)
    assert all(t.state is State.DONE and t.step == 3 for t in study.trials)
    assert all((t.value == -1.0) == (form == "returns") for t in study.trials)


def test_no_epoch_is_trained_twice_with_states():
    trained = []

    def objective(params, run):
        state = run.load() or {"steps": 0}
        for step in run:
            state["steps"] += 1
            assert state["steps"] == step
            trained.append((run.id, step))
            run.report(params["x"] + 1 / step, state)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        study = new(steps=27, schedule="asha").run(objective, trials=40)
    assert len(trained) == len(set(trained)) == study.spent.steps == sum(t.step for t in study.trials)
    assert sum(t.step == 27 for t in study.trials) >= 1
    assert study.spent.steps < 40 * 27 / 3
    assert {s for t, s in trained if t == study.best.id} == set(range(1, 28))


def test_failures_are_data():
    def objective(params):
        if params["k"] % 5 == 0:
            raise ValueError(f"no {params['k']}")
        if params["k"] % 5 == 1:
            raise MemoryError
        return [params["x"], float("nan"), None][params["k"] % 3]

    study = new().run(objective, trials=40)
    kinds = {t.error["type"] if t.error else "fine" for t in study.trials}
    assert kinds == {"ValueError", "OutOfMemory", "NotFinite", "Failed", "fine"}
    failed = next(t for t in study.trials if t.error and t.error["type"] == "ValueError")
    assert f"no {failed.params['k']}" in failed.error["message"]
    assert "raise ValueError" in failed.error["traceback"]


@pytest.mark.parametrize(
    ("objective", "match"),
    [
        (lambda params: 1 / 0, "ZeroDivisionError: division by zero"),
        (lambda params: {"acc": 1.0}, r"returned \['acc'\], but the goal is loss"),
        (lambda params: {"loss": 1.0, "trial": 2.0}, "a metric cannot be called trial. Return it under another name"),
        (lambda params: {"loss": "low"}, "loss must be one number, got 'low'"),
        (lambda params: "low", "returned str and reported nothing"),
        (lambda params: None, "returned NoneType and reported nothing"),
        (lambda params: True, "returned bool and reported nothing"),
    ],
)
def test_when_all_fail_the_commonest_reason_is_given(objective, match):
    study = new()
    with pytest.raises(StudyError, match=match) as e:
        study.run(objective, trials=100)
    assert len(str(e.value).splitlines()) == 1
    assert "all" in str(e.value)
    assert len(study.trials) == 12  # it did not go on to the end
    assert all(t.state is State.FAILED for t in study.trials)


def test_some_failures_do_not_end_a_run():
    def objective(params):
        if len(study.trials) < 11:
            raise ValueError
        return 1.0

    study = new()
    assert len(study.run(objective, trials=30).trials) == 30


def test_limits_are_totals():
    study = new(steps=4, schedule="full")

    def objective(params, run):
        run.load()
        for step in run:
            run.report(params["x"], {"n": step}, cost=0.5)

    study.run(objective, budget="6steps")
    assert study.spent.steps == 6
    assert study.trials[1].state is State.RUNNING
    study.run(objective, budget="6steps")
    assert study.spent.steps == 6
    study.run(objective, budget="4.5cost")
    assert study.spent.cost == 4.5
    study.run(objective, trials=4)
    assert study.spent.trials == 4
    assert study.spent.steps == 16
    assert all(t.state is State.DONE for t in study.trials)
    study.run(objective, trials=4, budget="100trials")
    assert len(study.trials) == 4
    assert new().run(lambda params: 1.0, budget="5epochs").spent.steps == 5


def test_time_is_an_account_over_runs():
    study = new()
    first = Spending(study, Budget())
    first._began -= 50
    first.close()
    second = Spending(study, Budget(seconds=60))
    assert 50 <= study.spent.seconds < 55
    assert not second.over
    second._began -= 11
    assert second.over
    second.close()
    assert 61 <= study.spent.seconds < 66
    study.run(lambda params: 1.0, budget=60)
    assert len(study.trials) == 0  # it was spent before


def test_a_time_budget_ends_a_run():
    study = new()
    study.run(lambda params: params["x"], budget=0.3)
    assert len(study.trials) > 0
    assert study.spent.seconds >= 0.3


def test_no_limit_is_refused_where_it_would_never_end():
    for workers in (1, 2):
        with pytest.raises(UsageError, match="would run for ever"):
            new().run(lambda params: 1.0, workers=workers)
    for limits in ({"trials": 0}, {"trials": 2.5}, {"budget": "0s"}, {"trials": "many"}):
        with pytest.raises(UsageError, match="budget"):
            new().run(lambda params: 1.0, **limits)
    finite = Study(Space(k=Int(1, 4), c=Choice(["a", "b"])))
    assert len(finite.run(lambda params: params["k"]).trials) == 8


def test_what_was_asked_for_by_hand_is_taken_over():
    study = new()
    by_hand = study.ask()
    study.run(lambda params: 1.0, trials=3)
    assert [t.state for t in study.trials] == [State.DONE] * 3
    with pytest.raises(StudyError, match="it is DONE"):
        study.tell(by_hand, 0.0)


def test_a_trial_that_was_taken_over_meanwhile_does_not_end_the_run(tmp_path):
    from whet.tune import claim

    store = f"sqlite:///{tmp_path}/s.db"
    other = new(store=store)
    states = iter(["raise", "return", "fine"])

    def objective(params):
        how = next(states)
        if how != "fine":
            with pytest.MonkeyPatch.context() as m:
                m.setattr(claim, "dead", lambda name: True)
                taken = other.ask()
            other.tell(taken, 7.0)
        if how == "raise":
            raise ValueError
        return 1.0

    with new(store=store) as study:
        study.run(objective, trials=3)
        assert [t.value for t in study.trials] == [7.0, 7.0, 1.0]
    other.close()


def test_a_full_disk_ends_the_run_and_fails_no_trial(tmp_path):
    code = f"""
        import resource, numpy as np, whet
        space = whet.Space(x=whet.Float(0, 1))
        study = whet.Study(space, steps=9, schedule="full", seed=1, store="sqlite:///{tmp_path}/s.db")
        def objective(params, run):
            state = run.load()
            for step in run:
                run.report(step, {{"w": np.zeros(200 if step < 4 else size)}})
        size = 100_000
        resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, resource.RLIM_INFINITY))
        try:
            study.run(objective, trials=2)
        except whet.WhetError as e:
            print(type(e).__name__, e)
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        print([(t.state.value, t.step) for t in study.trials], study.journal.leases())
        study.run(objective, trials=2)
        print([(t.state.value, t.step) for t in study.trials], study.spent.steps)
    """
    said = run_script(tmp_path, code)[1].splitlines()
    assert "CheckpointError" in said[0]
    assert "cannot be written" in said[0]
    assert said[1:] == ["[('RUNNING', 3)] {}", "[('DONE', 9), ('DONE', 9)] 18"]


def run_script(folder, code, wait=True):
    script = folder / "script.py"
    script.write_text(textwrap.dedent(code))
    process = subprocess.Popen(
        [sys.executable, script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=ENV,
    )
    if not wait:
        return process
    out, err = process.communicate(timeout=90)
    assert process.returncode == 0, err
    return process, out


@pytest.mark.parametrize("times", [1, 2])
def test_ctrl_c_once_finishes_the_step_and_twice_stops_at_once(times, tmp_path):
    code = f"""
        import sys, whet
        study = whet.Study(whet.Space(x=whet.Float(0, 1)), steps=9, schedule="full", seed=1, store="sqlite:///{tmp_path}/s.db")
        def objective(params, run):
            for step in run:
                if step == 3:
                    for _ in range({times}):
                        try:
                            print("step 3", flush=True)
                            sys.stdin.readline()
                        except KeyboardInterrupt:
                            print("at once", flush=True)
                            raise
                run.report(step, {{}})
        try:
            study.run(objective, trials=2)
        except KeyboardInterrupt:
            print("interrupted", study.trials[0].state.value, study.trials[0].step, len(study._claims._mine), flush=True)
    """
    process = run_script(tmp_path, code, wait=False)
    for i in range(times):
        assert process.stdout.readline() == "step 3\n"
        process.send_signal(signal.SIGINT)
        if i < times - 1 or times == 1:
            process.stdin.write("\n")
            process.stdin.flush()
    out, err = process.communicate(timeout=60)
    want = ["interrupted RUNNING 3 0"] if times == 1 else ["at once", "interrupted RUNNING 2 0"]
    assert out.splitlines() == want, (out, err)
