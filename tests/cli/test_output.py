"""Files that a command is asked for: refused before the work where they cannot be, and nothing found is lost when they fail."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from pathlib import Path

import pytest

import whet.data.look  # noqa: F401 - to be replaced below
from whet.errors import StoreError

ROOT = Path(__file__).resolve().parents[2]
BROKEN = "nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 2), nn.Softmax(dim=1))"
NET = "nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 2))"


@pytest.fixture
def unloaded(monkeypatch):
    """Fail where a task is loaded: what cannot be written is to be refused before."""

    def never(*a, **k):
        raise AssertionError("the task was loaded first")

    monkeypatch.setattr("whet.tasks.resolve", never)


@pytest.mark.parametrize("verb", [("look",), ("check",), ("train", "--watch")])
@pytest.mark.parametrize(
    ("path", "needed"),
    [
        ("/proc/x.html", ("/proc/x.html", "cannot be written")),
        ("/proc/no/x.html", ("/proc/no/x.html", "cannot be written")),
        ("tiny.py/x.html", ("tiny.py/x.html", "Not a directory")),
        (f"{'x' * 300}.html", ("File name too long",)),
        ("page.txt", ("must end in .html",)),
    ],
)
def test_a_page_is_refused_before_the_work(refused, task, unloaded, verb, path, needed):
    task()
    refused(verb[0], "tiny.py", *verb[1:], "--html", path, needed=("--html", *needed))


def test_a_task_file_is_refused_before_the_work(refused, task, monkeypatch):
    def never(*a, **k):
        raise AssertionError("the data were looked at first")

    monkeypatch.setattr(sys.modules["whet.data.look"], "look", never)
    for path, needed in (
        ("/proc/x.py", "cannot be written"),
        ("no/x.py", "its folder is not there"),
        ("x.txt", "ends in .py"),
        ("tiny.py", "is the task"),
    ):
        refused("look", task(), "--apply", "--to", path, needed=(path, needed))


def test_a_full_disk_is_the_machines_failure_before_the_work(refused, task, unloaded, monkeypatch):
    def full(*a, **k):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tempfile.mkstemp", full)
    refused("check", task(), "--html", "page.html", code=3, needed=("No space left", "Make room"))


@pytest.mark.parametrize(("old", "new", "code"), [("", "", 3), (NET, BROKEN, 1)])
@pytest.mark.parametrize("flag", [(), ("--json",)])
def test_what_was_found_is_shown_when_its_page_cannot_be_written(
    whet, task, monkeypatch, tmp_path, old, new, code, flag
):
    def full(*a, **k):
        raise StoreError("report: cannot write page.html: No space left on device. Give a folder you may write to.")

    monkeypatch.setattr("whet.report.write_html", full)
    said = whet("check", task(old, new), "--html", "page.html", *flag)
    assert said.code == code
    assert "No space left" in said.err
    if flag:
        assert json.loads(said.out)["facts"]
    else:
        assert said.out.startswith("check ") or "\ncheck " in said.out
    assert not list(tmp_path.glob("*.html"))


@pytest.mark.parametrize("verb", ["look", "check"])
def test_a_page_larger_than_may_be_leaves_nothing_half_written(task, tmp_path, verb):
    """With the kernel's own limit on the size of a file, as a full disk would be met in the middle of one."""
    made = task()
    done = subprocess.run(
        [sys.executable, "-m", "whet", verb, str(made), "--html", "page.html"], cwd=tmp_path, capture_output=True, text=True,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000)),
    )  # fmt: skip
    assert done.returncode == 3, done.stderr
    assert "File too large" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert done.stdout.startswith("data " if verb == "look" else "check ") or "\ncheck " in done.stdout
    assert {p.name for p in tmp_path.iterdir()} == {"tiny.py"}


def test_a_cleaned_task_that_cannot_be_written_leaves_the_old_one(whet, table, tmp_path, monkeypatch):
    import pandas as pd

    frame = table(100)
    pd.concat([frame, frame.iloc[:40]]).to_csv(tmp_path / "t.csv", index=False)
    assert whet("look", "t.csv", "--target", "label", "--apply").code in (0, 1)
    before = (tmp_path / "t_clean.py").read_text()

    def full(*a, **k):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    said = whet("look", "t.csv", "--target", "label", "--apply", "--yes")
    assert said.code in (1, 3)
    assert "No space left" in said.err
    assert "data " in said.out
    assert (tmp_path / "t_clean.py").read_text() == before
    assert not list(tmp_path.glob(".*"))


def test_a_file_name_that_is_no_text_is_no_bug_of_ours(whet, table, tmp_path, monkeypatch):
    """A name may hold any byte but two; the task file that cleans such a table names it all the same."""
    import os

    import pandas as pd

    frame = table(200)
    pd.concat([frame, frame.iloc[:30]]).to_csv(tmp_path / "plain.csv", index=False)
    os.rename(tmp_path / "plain.csv", os.path.join(os.fsencode(tmp_path), b"caf\xe9.csv"))
    said = whet("look", "caf\udce9.csv", "--target", "label", "--apply", "--to", "c.py")
    assert said.code == 0, said
    assert not list(tmp_path.glob(".c.py.*"))
    assert whet("look", "c.py").code == 0
