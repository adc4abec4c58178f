"""What a verification finds in stores that were really damaged, and what a repair does and must not do."""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import whet
from whet import Float, Int, Space, State, Store, Study, StudyError, Verdict
from whet.errors import StoreError
from whet.journal.process import who
from whet.tune.codec import pack
from whet.tune.fsck import fsck
from whet.tune.keeping import Saved
from whet.tune.replay import replay

HERE = Path(__file__).parent
ENV = {**os.environ, "PYTHONPATH": str(Path(whet.__file__).parents[1])}
SPACE = Space(x=Float(0, 1), k=Int(0, 99))
URL = "sqlite:///s.db"


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def new(**options):
    given = {"search": "random", "schedule": "full", "steps": 4, "seed": 1, "store": URL, "name": "s"}
    return Study(SPACE, **{**given, **options})


def train(params, run):
    state = run.load() or {"x": params["x"], "n": 0}
    for step in run:
        state["n"] = step
        run.report(params["x"] + 1 / step, state)


def some(trials=3, **options):
    """Make a study with trials and checkpoints, and close it."""
    with new(**options) as study:
        study.run(train, trials=trials)


def open_at(step):
    """Make a study whose trial 1 is in work, with checkpoints up to `step`, and nobody works on it."""
    some(1)
    with new() as study:
        t = study.ask()
        for n in range(1, step + 1):
            name = study.files.write(t.id, n, pack({"n": n}))
            study.note_report(t.id, n, 1.0, cost=None, metrics={}, checkpoint=Saved(name, 1))
        return study.checkpoints(t.id)


def sql(*statements, path="s.db"):
    with sqlite3.connect(path) as c:
        for statement in statements:
            c.execute(*statement) if isinstance(statement, tuple) else c.execute(statement)
    c.close()


def only(looked):
    assert len(looked.findings) == 1, [str(f) for f in looked.findings]
    return looked.findings[0]


def damage(name, how="flip"):
    path = Path("s/checkpoints") / name
    data = bytearray(path.read_bytes())
    match how:
        case "flip":
            data[len(data) // 2] ^= 1
            path.write_bytes(data)
        case "cut":
            path.write_bytes(data[:-3])
        case "gone":
            path.unlink()


def test_a_clean_store_is_counted():
    some(3)
    some(2, name="t", schedule="asha")
    looked = fsck(URL)
    assert not looked.findings
    assert not looked.done
    with Study.open(URL, "s") as a, Study.open(URL, "t") as b:
        assert looked.events == a.trials.seq + b.trials.seq
    assert (looked.studies, looked.trials) == (2, 5)
    files = list(Path().glob("*/checkpoints/*/*.safetensors"))
    assert looked.checkpoints == len(files) > 5
    assert looked.bytes == sum(f.stat().st_size for f in files)
    assert str(looked).startswith("clean: 2 studies, 5 trials, ")
    assert fsck(URL, ["t"]).trials == 2
    json.dumps(looked.json())


def test_what_is_not_there_is_said():
    with pytest.raises(StoreError, match="no such study database"):
        fsck(URL)
    some(1)
    with pytest.raises(StudyError, match=r"study 'x': not in s\.db"):
        fsck(URL, ["x"])


# -- checkpoints


@pytest.mark.parametrize(("how", "said"), [("flip", "damaged"), ("cut", "damaged"), ("gone", "missing")])
def test_a_checkpoint_with_an_older_one_costs_the_steps_between(how, said):
    names = open_at(3)
    damage(names[-1][1], how)
    looked = fsck(URL)
    finding = only(looked)
    assert (finding.code, finding.severity, finding.where) == ("CKPT", "WARN", "study s, trial 1")
    assert finding.message == f"checkpoint {said} at step 3: it goes on from step 2: 1 step is trained again"
    assert not looked.failed
    with Study.open(URL, "s") as study, pytest.warns(RuntimeWarning, match="Using the one before it"):
        assert whet.Attempt(study, study.ask()).load() == {"n": 2}  # what was foretold


def test_a_trial_without_any_checkpoint_starts_again():
    for _, name in open_at(2):
        damage(name, "flip")
    looked = fsck(URL)
    finding = only(looked)
    assert finding.severity == "FAIL"
    assert "starts again at step 1; the 2 points it has stand" in finding.message
    assert looked.failed
    before = sorted(Path("s/checkpoints").glob("*/*"))
    assert fsck(URL, repair=True).failed, "a repair cannot bring it back"
    assert sorted(Path("s/checkpoints").glob("*/*")) == before, "what an event names is never deleted"


def test_the_model_of_a_closed_trial():
    some(3)
    with Study.open(URL, "s") as study:
        best = study.best.id
        other = next(t.id for t in study.trials if t.id != best)
        names = {id: study.checkpoints(id) for id in (best, other)}
    for _, name in names[other]:
        if (Path("s/checkpoints") / name).exists():
            damage(name)
    finding = only(fsck(URL))
    assert (finding.severity, finding.where) == ("WARN", f"study s, trial {other}")
    assert "cannot be part of an ensemble" in finding.message
    for _, name in names[best]:
        if (Path("s/checkpoints") / name).exists():
            damage(name)
    by = {f.where: f for f in fsck(URL).findings}
    assert by[f"study s, trial {best}"].severity == "FAIL"
    assert "the best model is lost" in by[f"study s, trial {best}"].message
    subprocess.run(["rm", "-r", "s/checkpoints"], check=True)
    finding = only(fsck(URL))
    assert finding.severity == "FAIL"
    assert "none of its 6 checkpoints is there" in finding.message


# -- leftovers

SCRIPT = f"""
import sys, whet
sys.path.insert(0, {str(HERE)!r})
import processes_work
study = whet.Study.open("{URL}", "s")
study.run(getattr(processes_work, sys.argv[1]), trials=2)
"""


@pytest.mark.parametrize(
    ("how", "left"), [("dies_after_writing", "2-*.safetensors"), ("dies_while_writing", ".part-*")]
)
def test_what_a_killed_worker_leaves_is_found_and_removed(how, left):
    some(1)
    done = subprocess.run([sys.executable, "-c", SCRIPT, how], env=ENV, capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    (leftover,) = Path("s/checkpoints/1").glob(left)
    looked = fsck(URL)
    assert not looked.failed
    assert {(f.code, f.severity.value) for f in looked.findings} == {("LEFT", "INFO"), ("LEASE", "INFO")}
    assert "the worker of trial 1 is gone" in "".join(f.message for f in looked.findings)
    assert str(looked).startswith("clean: ")
    repaired = fsck(URL, repair=True)
    assert len(repaired.done) == 1
    assert repaired.done[0].startswith("study s: removed 1 files that no event names (")
    assert not leftover.exists()
    assert [f.code for f in repaired.findings] == ["LEASE"], "the lease counts how often that happened: it stays"
    some(2)  # goes on
    assert not fsck(URL).findings


def test_what_a_live_worker_has_just_written_stays():
    with new() as study:
        t = study.ask()
        name = study.files.write(t.id, 1, {"n": 1})  # written, its event is not
        other = study.files.write(7, 1, {"n": 1})
        looked = fsck(URL, repair=True)
        assert any("left the files of trial 0: somebody works on it" in d for d in looked.done)
        assert (study.files.folder / name).exists()
        assert not (study.files.folder / other).exists(), "nobody works on a trial that is not there"
        assert study.note_report(t.id, 1, 1.0, cost=None, metrics={}, checkpoint=Saved(name, 1)) is Verdict.GO
        assert study.checkpoints(t.id)
    assert not fsck(URL).findings


def test_files_that_are_not_ours_and_models_stay():
    some(1)
    kept = [
        Path("s/report.html"),
        Path("s/model/model.onnx"),
        Path("s/checkpoints/mine.txt"),
        Path("s/checkpoints/0/x"),
    ]
    for path in kept:
        path.parent.mkdir(exist_ok=True)
        path.write_text("mine")
    assert not fsck(URL, repair=True).findings
    assert all(p.exists() for p in kept)


def test_two_databases_in_one_folder_do_not_lose_each_others_files():
    some(2)
    Path("s/checkpoints/study").unlink()  # as a whet that did not mark its folders left them
    some(2, seed=2, store="sqlite:///other.db")
    before = sorted(Path("s/checkpoints").glob("*/*"))
    looked = fsck(URL, repair=True)
    assert any("other.db may have a study of this name and folder" in d for d in looked.done)
    assert sorted(Path("s/checkpoints").glob("*/*")) == before


def test_folders_of_no_study():
    some(1)
    some(1, name="gone")
    some(1, name="theirs", store="sqlite:///other.db")
    Path("notes").mkdir()
    Store(URL).database().delete("gone")
    looked = fsck(URL, repair=True)
    finding = only(looked)
    assert (finding.code, finding.severity, finding.where) == ("FOLDER", "WARN", "gone")
    assert "rm -r gone" in finding.fix
    assert Path("gone/checkpoints/0").exists()


def test_repairing_while_workers_are_killed_takes_nothing_from_them():
    """Two workers, killed now and then, and a repair that never rests."""
    worker = f"""
import sys
sys.path.insert(0, {str(HERE)!r})
import processes_work
processes_work.drive("{URL}", "s", 14)
"""
    rest = threading.Event()
    seen = []

    def repairing():
        while not rest.is_set():
            looked = fsck(URL, repair=True)
            seen.append([str(f) for f in looked.findings if f.severity != "INFO"])

    with new(steps=9, schedule="asha") as study:
        crew = [subprocess.Popen([sys.executable, "-c", worker], env=ENV) for _ in range(2)]
        thread = threading.Thread(target=repairing)
        thread.start()
        try:
            for n in range(2):
                until = study.trials.seq + random.Random(n).randint(5, 15)
                while study.trials.seq < until and crew[n].poll() is None:
                    pass
                crew[n].send_signal(signal.SIGKILL)
                crew[n].wait()
                crew[n] = subprocess.Popen([sys.executable, "-c", worker], env=ENV)
            assert [p.wait(timeout=120) for p in crew] == [0, 0]
        finally:
            rest.set()
            thread.join()
            for p in crew:
                p.kill()
                p.wait()
        assert len(seen) > 3
        assert not any(seen), [s for s in seen if s]
        for t in study.trials:
            if study.checkpoints(t.id):
                assert whet.Attempt(study, t).load()["trained"] == list(range(1, study.checkpoints(t.id)[-1][0] + 1))
        assert not replay(study.journal.read()).differences
    assert not fsck(URL, repair=True).findings


# -- leases


def test_a_lease_on_a_trial_that_is_closed():
    some(2)
    sql(("INSERT INTO leases (study, trial, worker, beat, lapses) SELECT id, 0, ?, 0, 0 FROM studies", (who(),)))
    finding = only(fsck(URL))
    assert (finding.code, finding.severity, finding.evidence["trials"]) == ("LEASE", "WARN", [0])
    repaired = fsck(URL, repair=True)
    assert repaired.done == ["study s: dropped the lease on trial 0, which is not running"]
    assert not repaired.findings
    assert not fsck(URL, repair=True).done, "once is enough"


def test_an_open_trial_without_a_lease_is_only_interrupted():
    open_at(2)
    with Study.open(URL, "s") as study:
        assert study.interrupted == {1}
        assert study.trials[1].state is State.RUNNING
    assert not fsck(URL).findings


# -- the log


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("DELETE FROM events WHERE seq = 5", "event 5 is missing (next is 6)"),
        ("UPDATE events SET data = '{\"step\": 1' WHERE seq = 4", "cannot be decoded"),
        ("UPDATE events SET kind = 'levitated' WHERE seq = 4", "unknown event 'levitated'"),
        ('UPDATE events SET data = \'{"verdict": "GO"}\' WHERE seq = 4', "cannot be read (KeyError 'step'"),
        ("UPDATE events SET data = '[]' WHERE seq = 4", "cannot be read (TypeError"),
        ("UPDATE events SET data = replace(data, '\"space\"', '\"spce\"') WHERE seq = 1", "(KeyError 'space')"),
        ("UPDATE events SET trial = 7 WHERE seq = 4", "trial: 7 where only one of the 1 there are can be"),
        (
            "UPDATE events SET data = replace(data, '\"step\":1', '\"step\":3') WHERE seq = 4",
            "step: 2 where only one from 4",
        ),
        ("DELETE FROM studies WHERE name = 's'", "rows of events belong to no study"),
    ],
)
def test_a_damaged_log(statement, said):
    some(3)
    sql(statement)
    looked = fsck(URL)
    texts = [str(f) for f in looked.findings]
    assert any(said in t for t in texts), texts
    assert looked.failed
    assert all(f.code in ("LOG", "FOLDER") for f in looked.findings)
    before = sql_dump()
    fsck(URL, repair=True)
    assert sql_dump() == before, "events are never changed"


def sql_dump():
    with sqlite3.connect("s.db") as c:
        return c.execute("SELECT * FROM events ORDER BY study, seq").fetchall()


def test_the_last_event_that_cannot_be_decoded_is_named():
    some(6)
    for seq in (3, 17):
        sql(f"UPDATE events SET data = 'x' WHERE seq = {seq}")
        assert only(fsck(URL)).evidence["seq"] == seq


def test_a_database_with_damaged_pages():
    some(40)
    with sqlite3.connect("s.db") as c:
        c.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    c.close()
    data = bytearray(Path("s.db").read_bytes())
    page = 4096
    for at in range(6 * page, len(data) - page, page):
        data[at : at + 64] = b"\xff" * 64
    Path("s.db").write_bytes(data)
    looked = fsck(URL)
    assert looked.failed
    assert "the database is damaged" in str(looked.findings[0])


def test_a_study_that_was_never_begun():
    Store(URL).journal("empty").close()
    looked = fsck(URL)
    assert (only(looked).severity, looked.studies) == ("INFO", 1)
