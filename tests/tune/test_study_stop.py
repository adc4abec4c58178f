"""Stopping a whole study by a criterion, and a trial before its last step."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import whet
from whet import Float, Int, Space, State, Study, UsageError
from whet.execute import resolve
from whet.journal.event import Event
from whet.stop import Patience, Target, parse
from whet.tune import ending
from whet.tune.budget import Budget, Price
from whet.tune.progress import Progress
from whet.tune.schedule.asha import Asha

SPACE = Space(x=Float(0, 1), k=Int(0, 99))
WORK = Path(__file__).with_name("processes_work.py")
ENV = {**os.environ, "PYTHONPATH": str(Path(whet.__file__).parents[1])}


def new(**options):
    return Study(SPACE, **{"search": "random", "schedule": "full", "seed": 2, **options})


def by_id(*values):
    """Return an objective that returns values[0], values[1], ... in turn."""
    left = iter(values)
    return lambda params: next(left)


def bare(study):
    return [(e.seq, e.kind, e.trial, {k: v for k, v in e.data.items() if k != "seconds"}) for e in study.journal.read()]


@pytest.mark.parametrize(
    ("stop", "trials", "why"),
    [
        ("target 0.3", 3, "0.3 reached the target 0.3"), ("patience 2", 5, "no improvement on 0.3 in 2 trials"),
        ("patience 2 delta 0.5", 3, "no improvement on 0.5 in 2 trials"), ("trials 4", 4, "4 trials ended"),
        ("cost 4", 4, "cost 4 of 4 spent"), ("target 0.3 & trials 4", 6, "0.1 reached the target 0.3; 6 trials ended"),
    ],
)  # fmt: skip
def test_when_a_study_stops(stop, trials, why):
    study = new().run(by_id(0.5, 0.4, 0.3, 0.9, 0.8, 0.1, 0.0, 0.0), trials=8, stop=stop)
    assert len(study.trials) == trials
    assert study.records("stopped") == [{"why": why, "until": str(parse(stop, study=True)), "nth": 1}]
    assert ending.lines(study) == [f"stopped by {parse(stop, study=True)}: {why}"]


def test_a_criterion_as_an_object_goes_by_the_goal():
    study = new(goal="max score").run(by_id(0.1, 0.95, 0.2), trials=3, stop=Target(0.9, "max") | Patience(9, "max"))
    assert len(study.trials) == 2


def test_failures_are_tries_that_did_not_improve():
    study = new().run(by_id(0.5, math.nan, math.nan, 0.1), trials=4, stop="patience 2")
    assert len(study.trials) == 3


def test_a_stopped_study_stays_so_until_another_criterion_is_given():
    study = new().run(lambda p: p["x"], stop="trials 3")
    before = bare(study)
    study.run(lambda p: p["x"], stop="trials 3")
    study.run(lambda p: p["x"], stop=" ( trials 3 ) ", trials=99)
    assert bare(study) == before, "the same criterion: nothing happens"
    study.run(lambda p: p["x"], stop="trials 5")
    assert len(study.trials) == 5
    assert ending.stopped(study) == "5 trials ended"
    study.run(lambda p: p["x"], trials=7)  # without one it goes on
    assert len(study.trials) == 7
    assert ending.stopped(study) is None
    study.run(lambda p: p["x"], trials=9, stop="never")
    assert len(study.trials) == 9


def test_a_run_that_names_none_goes_by_the_studys():
    study = new().run(lambda p: p["x"], trials=2, stop="trials 4")
    assert len(study.trials) == 2
    study.run(lambda p: p["x"], trials=9)
    assert len(study.trials) == 4


def test_it_is_the_same_study_event_for_event_when_run_in_pieces(tmp_path):
    with new(store=f"sqlite:///{tmp_path}/a.db") as study:
        whole = bare(study.run(lambda p: p["x"], stop="patience 4 | trials 30"))
    for n in range(1, 40, 3):
        with new(store=f"sqlite:///{tmp_path}/b.db") as study:
            study.run(lambda p: p["x"], trials=n, stop="patience 4 | trials 30")
            pieces = bare(study)
    assert pieces == whole


def test_two_processes_stop_at_the_same_point_and_record_it_once(tmp_path, monkeypatch):
    monkeypatch.setenv("WHET_TEST_FLAG", str(tmp_path / "here"))
    (tmp_path / "here").mkdir()
    with Study(SPACE, search="random", schedule="full", steps=3, store=f"sqlite:///{tmp_path}/s.db") as study:
        study.run(resolve(f"{WORK}:meets"), workers=2, stop="trials 7")
        assert len(study.records("stopped")) == 1
        done = [t for t in study.trials if t.state is State.DONE]
        assert len(done) in (7, 8), "a trial that the other worker was about to end may end"
        assert len(study.trials) <= 8
        assert study.spent.steps == sum(t.step for t in study.trials)


def test_two_that_find_it_at_the_same_instant_record_it_once():
    study = new().run(lambda p: p["x"], trials=3, stop="trials 4")
    one, two = ending.Ending(study), ending.Ending(study)
    assert not one.reached()
    assert not two.reached()
    assert one._write("first")
    assert two._write("second"), "it is stopped, by the first"
    assert [r["why"] for r in study.records("stopped")] == ["first"]
    late = ending.Ending(study)
    study.run(lambda p: p["x"], trials=3, stop="trials 9")
    assert not late._write("third"), "another criterion holds now"


def test_another_shell_may_give_the_criterion_to_a_study_that_runs(tmp_path):
    with new(store=f"sqlite:///{tmp_path}/s.db") as study:

        def objective(params):
            if len(study.trials) == 4:
                with Study.open(f"sqlite:///{tmp_path}/s.db", "study") as other:
                    ending.begin(other, "trials 6")
            return params["x"]

        study.run(objective, trials=20)
        assert len(study.trials) == 6


def test_only_the_highest_step_counts():
    progress = Progress(9)
    reported = lambda seq, id, step, value, verdict: Event(  # noqa: E731
        seq, "reported", id, {"step": step, "value": value, "cost": 1.0, "metrics": {}, "verdict": verdict}
    )
    progress.take([reported(1, 0, 1, 0.5, "PAUSE"), reported(2, 1, 1, 0.4, "PAUSE")])
    assert [p.value for p in progress.curve("min")] == [0.5, 0.4]
    progress.take([reported(3, 1, 2, 0.45, "GO"), reported(4, 1, 3, 0.3, "PAUSE"), reported(5, 2, 1, 0.2, "STOP")])
    curve = progress.curve("min")
    assert [p.step for p in curve] == [1, 2, 2, 3]
    assert [math.isnan(p.value) for p in curve] == [True, True, False, True]
    assert [p.cost for p in curve] == [1, 1, 2, 1]
    assert Patience(1)(curve)
    assert not Patience(2)(curve)


def test_the_curve_costs_what_the_study_costs():
    def objective(params, run):
        for _ in run:
            if params["k"] % 3 == 0:
                raise ValueError("no")
            run.report(params["x"], cost=0.25)

    study = new(steps=9, schedule="asha").run(objective, trials=20)
    progress = Progress(9)
    progress.take(study.journal.read())
    assert sum(p.cost for p in progress.curve("min")) == pytest.approx(study.spent.cost)
    told = new(steps=4).run(lambda p: p["x"], trials=3)
    progress = Progress(4)
    progress.take(told.journal.read())
    assert sum(p.cost for p in progress.curve("min")) == told.spent.cost == 12


def test_the_noise_from_repeated_configurations_and_from_the_curves_end():
    progress = Progress(1)
    for i, value in enumerate([1.0, 3.0, 5.0, 7.0, 0.0, 2.0]):
        proposed = Event(2 * i + 1, "proposed", i, {"params": {"k": i // 2}})
        progress.take([proposed, Event(2 * i + 2, "told", i, {"value": value, "metrics": {}})])
    best = min(progress.curve("min"), key=lambda p: p.value)
    assert best.metrics["standard_error"] == pytest.approx(math.sqrt(2))

    study = new(steps=30)

    def wobbles(params, run):
        for step in run:
            run.report(params["x"] + 0.1 * (-1) ** step)

    study.run(wobbles, trials=2)
    progress = Progress(30)
    progress.take(study.journal.read())
    best = min(progress.curve("min"), key=lambda p: p.value)
    assert best.metrics["standard_error"] == pytest.approx(0.4 / math.sqrt(6), rel=1e-6)


def test_gain_stops_a_study_that_has_nothing_left_and_leaves_others_alone():
    flat = new().run(lambda p: 0.5 + 0.001 * p["x"], trials=200, stop="gain 0.01")
    assert len(flat.trials) == 20
    assert "less than" in ending.stopped(flat)
    steep = new().run(lambda p: p["k"] + p["x"], trials=60, stop="gain 0.01")
    assert len(steep.trials) == 60
    assert ending.stopped(steep) is None
    reports = new().run(lambda p: {"loss": 0.5 + 0.001 * p["x"], "standard_error": 0.01}, trials=200, stop="gain")
    assert len(reports.trials) == 20


def test_gain_without_any_noise_says_so_once():
    with pytest.warns(RuntimeWarning, match="the noise of the values is not known") as said:
        study = new().run(lambda p: 0.5 + 0.001 * p["x"], trials=60, stop="gain")
    assert len(said) == 1
    assert len(study.trials) == 60


@pytest.mark.parametrize(
    ("stop", "needed"),
    [
        ("patiance 3", "Did you mean 'patience'"),
        ("steps 3", "one run"),
        ("", "is empty"),
        (lambda c: None, "until"),
        (3, "until"),
    ],
)
def test_what_no_study_can_go_by(stop, needed):
    study = new()
    with pytest.raises(UsageError, match=needed):
        study.run(lambda p: 1.0, trials=2, stop=stop)
    assert not study.journal.read()[1:]


# -- one trial


def stops_early(params, run):
    criterion = Patience(2)
    state = run.load() or {}
    if state.get("why"):
        run.end(state["why"])
    for step in run:
        value = abs(step - 3) + params["x"]
        why = criterion([*run.curve, whet.Point(step, value)])
        run.report(value, {"why": why or "", "value": min([value, *(p.value for p in run.curve)])})
        if why and run.verdict is whet.Verdict.GO:
            run.end(why)
    return min(p.value for p in run.curve)


def test_a_trial_that_is_ended_counts_as_done_with_the_value_told():
    study = new(steps=9).run(stops_early, trials=2)
    for t in study.trials:
        assert t.state is State.DONE
        assert t.value == t.params["x"] == min(p.value for p in t.curve)
        assert study.trials.reach(t) == 9
    assert study.spent.steps == 10, "five steps each were trained and paid"
    assert {r["trial"]: r["step"] for r in study.records("ended")} == {0: 5, 1: 5}
    assert ending.lines(study)[0].startswith("trial 1 and 1 more ended early: no improvement on")


def test_a_trial_that_was_paused_in_the_step_that_ended_it_is_closed_when_it_is_resumed():
    study = new(steps=15, schedule=Asha(first=5)).run(stops_early, trials=12)  # the fifth step is a rung
    done = [t for t in study.trials if t.state is State.DONE]
    paused = [t for t in study.trials if t.state is State.PAUSED]
    assert len(done) >= 2
    assert paused
    assert all(t.value == t.params["x"] for t in done)
    assert study.spent.steps == 5 * 12, "a resumed one is not trained on"
    assert set(ending.ended(study)) == {t.id for t in done}


def test_killed_between_the_record_and_the_telling(tmp_path):
    program = textwrap.dedent("""
        import os, signal, sys
        sys.path.insert(0, sys.argv[2])
        from whet import Study, Space, Float, Int
        import test_study_stop as t
        with t.new(steps=9, store=sys.argv[1]) as study:
            if len(sys.argv) > 3:
                study.tell = lambda *a, **k: os.kill(os.getpid(), signal.SIGKILL)
            study.run(t.stops_early, trials=2)
    """)

    def call(name, *more):
        (tmp_path / name).mkdir(exist_ok=True)
        command = [
            sys.executable,
            "-c",
            program,
            f"sqlite:///{tmp_path}/{name}/s.db",
            str(Path(__file__).parent),
            *more,
        ]
        return subprocess.run(command, env=ENV, capture_output=True, text=True)

    assert call("a", "kill").returncode == -9
    assert call("a").returncode == 0, call("a").stderr
    assert call("b").returncode == 0
    with (
        Study.open(f"sqlite:///{tmp_path}/a/s.db", "study") as a,
        Study.open(f"sqlite:///{tmp_path}/b/s.db", "study") as b,
    ):
        assert bare(a) == bare(b)
        assert len(a.records("ended")) == 2


# -- budgets


@pytest.mark.parametrize("budget", ["20epochs", pytest.param("20cost", marks=pytest.mark.soak)])
def test_several_workers_do_not_exceed_a_budget_by_more_than_a_step(tmp_path, monkeypatch, budget):
    monkeypatch.setenv("WHET_TEST_FLAG", str(tmp_path / "here"))
    (tmp_path / "here").mkdir()
    with new(steps=9, store=f"sqlite:///{tmp_path}/s.db") as study:
        study.run(resolve(f"{WORK}:meets_slowly"), budget=budget, workers=3)
        assert 20 <= study.spent.steps <= 21


def test_trials_nobody_works_on_do_not_hold_up_the_end(tmp_path):
    with new(steps=9, store=f"sqlite:///{tmp_path}/s.db") as study:
        gone = study.ask()
        study.release(gone)
        study.run(resolve(f"{WORK}:plain"), budget="20epochs")
        assert study.spent.steps == 20


def test_money_buys_time_epochs_or_trials():
    assert Budget.of("5cost").priced("2.5/h") == Budget(seconds=7200)
    assert Budget.of("5cost,1h").priced("2.5/h") == Budget(seconds=3600)
    assert Budget.of("5cost,9trials").priced("0.1/epoch") == Budget(trials=9, steps=50)
    assert Budget.of("0.3cost").priced("0.1/epoch") == Budget(steps=3)
    assert Budget.of("5cost").priced("2/trial") == Budget(trials=2)
    assert Budget.of("9trials").priced("2/trial") == Budget(trials=9), "no cost is named: nothing is bought"
    assert Price.of("6/min").spent(Budget(seconds=30)) == 3
    assert Price.of("2/trial").spent(Budget(trials=4)) == 8
    assert Price.of("0.5/epochs").spent(Budget(steps=4)) == 2


@pytest.mark.parametrize("text", ["", "5", "x", "-1/h", "0/h", "1/", "/h", "1/fortnight", "1e999/h", "2.5 h"])
def test_prices_that_cannot_be_read(text):
    with pytest.raises(UsageError, match="price"):
        Price.of(text)
    with pytest.raises(UsageError, match="does not buy one trial"):
        Budget.of("1cost").priced("3/trial")


def test_a_space_that_is_used_up_ends_the_study_and_says_so(tmp_path):
    space = Space(k=Int(1, 4))
    for search in ("random", "sobol", "grid"):
        study = Study(space, search=search)
        with pytest.warns(
            RuntimeWarning, match=r"ended after 4 of 20 trials: all 4 configurations there are were tried"
        ):
            study.run(lambda p: p["k"], trials=20)
        assert ending.lines(study) == ["ended: all 4 configurations there are were tried"]
        study.run(lambda p: p["k"], trials=4)  # as many as were wanted: nothing to warn of
        study.run(lambda p: p["k"])
    study = Study(space, search="random").run(lambda p: p["k"], trials=3)
    assert ending.lines(study) == []
    study.ask()
    assert ending.lines(study) == [], "one is still in work"


def test_a_child_with_its_grandparents_configuration_says_nothing_of_the_noise():
    """What repeats a configuration on other weights differs by more than chance."""

    def noise(parent, imported=False):
        progress = Progress(1)
        for i, value in enumerate([1.0, 5.0, 1.2, 9.0, 0.9]):
            of = parent if value in (5.0, 9.0) else None
            if imported:
                row = {
                    "params": {"x": 0.5},
                    "state": "DONE",
                    "value": value,
                    "curve": [[1, value, 1.0, {}]],
                    "parent": of,
                }
                progress.take([Event(i + 1, "imported", i, row)])
                continue
            asked = {"seen": 1, **({} if of is None else {"parent": of})}
            progress.take([
                Event(1, "asked", i, asked), Event(1, "proposed", i, {"params": {"x": 0.5}}),
                Event(1, "told", i, {"value": value, "metrics": {}}),
            ])  # fmt: skip
        return progress._noise(1, 0)

    assert noise(None) == noise(None, imported=True) > 1
    assert noise([0, 1]) is noise([0, 1], imported=True) is None
