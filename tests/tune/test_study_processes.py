"""Studies in several real processes, some of which are really killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import whet
from whet import Float, Int, Space, State, Study, StudyError, UsageError
from whet.execute import resolve
from whet.journal.event import Event
from whet.tune import crew

WORK = Path(__file__).with_name("processes_work.py")
ENV = {**os.environ, "PYTHONPATH": str(Path(whet.__file__).parents[1])}
SPACE = Space(x=Float(0, 1), k=Int(0, 99))


def work(name):
    return resolve(f"{WORK}:{name}")


def new(folder, **options):
    return Study(
        **{
            "space": SPACE,
            "search": "random",
            "schedule": "full",
            "steps": 3,
            "seed": 1,
            "store": f"sqlite:///{folder}/s.db",
            **options,
        }
    )


def bare(events: list[Event]):
    """Return what two runs of one study have in common: everything but times."""
    return [(e.seq, e.kind, e.trial, {k: v for k, v in e.data.items() if k != "seconds"}) for e in events]


def test_two_workers_share_the_trials_and_the_limit(tmp_path, monkeypatch):
    monkeypatch.setenv("WHET_TEST_FLAG", str(tmp_path / "here"))
    (tmp_path / "here").mkdir()
    with new(tmp_path, schedule="asha", steps=9) as study:
        study.run(work("meets"), trials=11, workers=2)
        assert len(study.trials) == study.spent.trials == 11
        assert study.spent.steps == sum(t.step for t in study.trials), "an epoch was trained twice"
        for t in study.trials:
            state = whet.Attempt(study, t).load()
            assert state["trained"] == list(range(1, t.step + 1))
        events = study.journal.read()
        assert len({e.who for e in events if e.kind == "asked"}) == 2
        assert [e.seq for e in events] == list(range(1, len(events) + 1))
        study.run(work("plain"), trials=11, workers=2)  # nothing is left
        assert study.journal.read() == events
        assert not study.journal.leases()


def test_a_worker_that_is_killed_does_not_stop_the_study(tmp_path, monkeypatch):
    monkeypatch.setenv("WHET_TEST_FLAG", str(tmp_path / "flag"))
    with new(tmp_path) as study:
        study.run(work("kills_itself_once"), trials=6, workers=2)
        assert (tmp_path / "flag").exists()
        assert [t.state for t in study.trials] == [State.DONE] * 6
        assert study.spent.steps == 18
        assert not any(e.kind == "repeated" for e in study.journal.read())


def test_when_all_fail_the_reason_is_given(tmp_path):
    with new(tmp_path, steps=1) as study:
        with pytest.raises(StudyError, match="ValueError: always"):
            study.run(work("fails"), trials=20, workers=2)
        assert len(study.trials) < 20
    with new(tmp_path / "2", steps=1) as study, pytest.raises(StudyError, match=r"WorkerLost|died"):
        study.run(work("exits"), trials=1, workers=2)


def test_what_cannot_be_sent_to_workers_is_refused_with_the_reason(tmp_path):
    with new(tmp_path) as study:
        with pytest.raises(UsageError, match=r"lambda.*it is a lambda.*workers=1"):
            study.run(lambda params: 1.0, trials=2, workers=2)

        def inner(params):
            return 1.0

        with pytest.raises(UsageError, match="defined inside a function"):
            study.run(inner, trials=2, workers=2)
        for workers in (0, -1, 1.5, "two"):
            with pytest.raises(UsageError, match="workers must be"):
                study.run(work("plain"), trials=2, workers=workers)
        assert len(study.trials) == 0
    with pytest.raises(UsageError, match=r'need a store.*Give store="sqlite:///study.db"'):
        Study(SPACE).run(work("plain"), trials=2, workers=2)


def test_a_time_budget_ends_the_workers(tmp_path):
    with new(tmp_path, steps=1000) as study:
        study.run(work("slow"), budget="4s", workers=2)
        assert study.spent.seconds >= 4
        assert study.spent.steps > 0
        assert not study.journal.leases()


def test_a_step_that_outlives_the_budget_is_abandoned_and_its_trial_handed_back(tmp_path, monkeypatch):
    monkeypatch.setattr(crew, "_GRACE", 0.2)
    with new(tmp_path, steps=1) as study:
        study.run(work("quick_then_endless"), budget="4s", workers=2)
        assert [t.state for t in study.trials] == [State.DONE, State.RUNNING, State.RUNNING]
        assert study.interrupted == {1, 2}
        assert not study.journal.leases()  # handed back: being ended for the time is no lapse of the trial's
        again = study.ask()
        assert again.id == 1
        assert study.interrupted == {2}
        assert study.journal.leases()[1].lapses == 0
        study.tell(again, 2.0)


def test_a_script_without_a_guard_gets_an_explanation(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent(f"""
        import whet
        def objective(params):
            return params["x"]
        study = whet.Study(whet.Space(x=whet.Float(0, 1)), store="sqlite:///{tmp_path}/s.db", seed=1, search="random")
        study.run(objective, trials=3, workers=2)
        """)
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, env=ENV, timeout=120)
    assert done.returncode == 1, done.stderr
    assert '__name__ == "__main__"' in done.stderr.splitlines()[-1], done.stderr
    script.write_text(script.read_text().replace("study.run", 'if __name__ == "__main__": study.run'))
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, env=ENV, timeout=120)
    assert done.returncode == 0, done.stderr
    with Study.open(f"sqlite:///{tmp_path}/s.db", "study") as study:
        assert len(study.trials) == 3


CREATE = """
import sys, whet
space = whet.Space(x=whet.Float(0, float(sys.argv[2])))
print("ready", flush=True)
sys.stdin.readline()
try:
    study = whet.Study(space, store=sys.argv[1], name="s", schedule="full", search="random")
    for _ in range(3):
        study.tell(study.ask(), 1.0)
    print("went on")
except whet.StudyError as e:
    print("refused:", e)
"""


@pytest.mark.parametrize("highs", [(1, 1), (1, 2)])
def test_two_processes_create_one_study_at_once(highs, tmp_path):
    url = f"sqlite:///{tmp_path}/s.db"
    both = [
        subprocess.Popen(
            [sys.executable, "-c", CREATE, url, str(h)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=ENV,
        )
        for h in highs
    ]
    for p in both:
        assert p.stdout.readline() == "ready\n"
    for p in both:
        p.stdin.write("\n")
        p.stdin.flush()
    said = sorted(p.communicate(timeout=60)[0].strip() for p in both)
    with Study.open(url, "s") as study:
        assert sum(e.kind == "created" for e in study.journal.read()) == 1
        if highs == (1, 1):
            assert said == ["went on", "went on"]
            assert len(study.trials) == 6
        else:
            assert said[1] == "went on"
            assert len(study.trials) == 3
            assert "refused: study 's': was created with another space (x is a number from 0 to " in said[0]


TRAIN = """
import sys, whet
url, name = sys.argv[1:]
study = whet.Study(
    whet.Space(x=whet.Float(0, 1)), search="random", schedule="asha", steps=9, seed=5, store=url, name="s"
)
trained = open(url.removeprefix("sqlite:///") + ".trained", "a")
def at(point):
    if name:  # wait to be killed, or to be told to go on
        print(point, flush=True)
        sys.stdin.readline()
def objective(params, run):
    state = run.load() or {"trained": []}
    at(f"begun {run.id} {run.last}")
    for step in run:
        at(f"mid {run.id} {step}")
        state["trained"] = [*state["trained"], step]
        assert state["trained"] == list(range(1, step + 1))
        print(run.id, step, file=trained, flush=True)
        run.report(params["x"] + 1 / step, state)
        at(f"reported {run.id} {step}")
study.run(objective, trials=9)
study.close()
"""


def trainer(url, name=""):
    return subprocess.Popen(
        [sys.executable, "-c", TRAIN, url, name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=ENV
    )


def complete(url):
    process = trainer(url)
    process.communicate(timeout=60)
    assert process.returncode == 0


def killed(url, at):
    """Train until the process says that it is at `at`, and kill it there."""
    process = trainer(url, "stepwise")
    for line in process.stdout:
        if line.strip() == at:
            break
        process.stdin.write("\n")
        process.stdin.flush()
    else:
        raise AssertionError(f"never at {at}")
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    process.stdin.close()


def test_a_study_that_was_killed_and_resumed_equals_one_that_was_not(tmp_path):
    url = f"sqlite:///{tmp_path}/calm.db"
    complete(url)
    with Study.open(url, "s") as study:
        calm, best = bare(study.journal.read()), study.best
    assert any(kind == "resumed" for _, kind, _, _ in calm)
    (tmp_path / "again").mkdir()
    url = f"sqlite:///{tmp_path}/again/killed.db"
    for at in ("begun 0 0", "mid 1 1", "reported 2 1", "mid 0 3", "mid 0 3", "reported 0 5"):
        killed(url, at)
    complete(url)
    with Study.open(url, "s") as study:
        assert bare(study.journal.read()) == calm
        assert study.best == best
        assert not study.journal.leases()
        assert study.spent.steps == len((tmp_path / "again" / "killed.db.trained").read_text().splitlines()), (
            "an epoch was trained twice"
        )
