"""A store that is none of ours, a study that is about something else, a disk that is full."""

from __future__ import annotations

import os
import resource
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

import whet as library
from whet.recipe import Job
from whet.tasks import resolve

SMALL = ("--budget", "2trials", "--epochs", "1", "--workers", "1")


@contextmanager
def full(size: int) -> Iterator[None]:
    """Let no file grow past `size` bytes, here and in workers: what a full disk does, without being root."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_file_that_is_no_database_of_ours(refused, tmp_path):
    (tmp_path / "runs").mkdir()
    store = tmp_path / "runs" / "whet.db"
    store.write_text("these are my notes\n" * 100)
    for words in (("run", "diabetes", *SMALL), ("tune", "diabetes", *SMALL), ("study", "list")):
        refused(*words, needed=("runs/whet.db", "not a whet database", "--runs DIR"))
    assert store.read_text() == "these are my notes\n" * 100
    store.unlink()
    with closing(sqlite3.connect(store)) as c:
        c.execute("create table birds (name)")
    refused("run", "diabetes", *SMALL, needed=("runs/whet.db", "not a whet database", "birds"))


def test_a_database_of_a_newer_version(refused, tmp_path):
    (tmp_path / "runs").mkdir()
    library.Study(library.Space(x=library.Float(0, 1)), store="runs/whet.db", name="tiny").close()
    with closing(sqlite3.connect(tmp_path / "runs" / "whet.db")) as c, c:
        c.execute("update whet_meta set value = '99' where key = 'format'")
    for words in (("run", "diabetes", *SMALL), ("study", "list"), ("study", "show", "tiny")):
        refused(*words, needed=("runs/whet.db", "newer whet", "format 99", "pip install --upgrade whet"))


def test_a_name_that_is_taken(refused, whet, task, table, tmp_path):
    table().to_csv(tmp_path / "one.csv", index=False)
    words = ("--target", "label", "--name", "mine", *SMALL)
    job = Job(resolve("one.csv", target="label"), name="mine", steps=1)
    job.study(job.data()).close()
    # other data in the same file, another file, another seed, another space
    table(seed=1).to_csv(tmp_path / "one.csv", index=False)
    refused("tune", "one.csv", *words, needed=("'mine'", "one.csv changed", "--name", "--fresh"))
    refused("run", "one.csv", *words, needed=("'mine'", "one.csv changed"))
    table().to_csv(tmp_path / "two.csv", index=False)
    refused("tune", "two.csv", *words, needed=("'mine'", "one.csv", "two.csv"))
    refused("tune", "one.csv", *words, "--seed", "1", needed=("'mine'", "seed"))
    refused("tune", task(), "--name", "mine", *SMALL, needed=("'mine'", "space"))
    refused("tune", "one.csv", *words, "--search", "random", needed=("'mine'", "search"))
    said = whet("tune", "one.csv", *words, "--seed", "1", "--fresh")
    assert said.code == 0, said
    assert "2 trials" in said.out


def test_two_processes_that_start_one_name_with_different_spaces(tmp_path):
    code = (
        "import sys, whet\n"
        "print('ready', flush=True); sys.stdin.readline()\n"
        "try: whet.Study(whet.Space(x=whet.Float(0, int(sys.argv[1]))), store='whet.db', name='same').close()\n"
        "except whet.WhetError as e: sys.exit(str(e))"
    )
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    both = [subprocess.Popen([sys.executable, "-c", code, n], cwd=tmp_path, env=env, **pipes) for n in "12"]
    for process in both:
        assert process.stdout.readline() == "ready\n"
    for process in both:  # at once
        process.stdin.write("\n")
        process.stdin.flush()
    ends = [(process.communicate(timeout=60)[1], process.returncode) for process in both]
    assert sorted(code for _, code in ends) == [0, 1], ends
    (line,) = [err for err, code in ends if code]
    assert "'same'" in line
    assert "space" in line
    assert len(line.splitlines()) == 1


@pytest.mark.parametrize("limit", [150_000, pytest.param(60_000, marks=pytest.mark.soak)])
def test_no_space_on_the_disk_while_tuning(whet, task, tmp_path, limit):
    task("nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 2)", "nn.Linear(4, 8000), nn.ReLU(), nn.Linear(8000, 2)")
    words = ["tune", "tiny.py", "--budget", "3trials", "--epochs", "1", "--workers", "1"]
    with full(limit):
        said = whet(*words)
    assert said.code == 3, said
    assert len(said.err.strip().splitlines()) == 1, said.err
    assert "Traceback" not in said.out + said.err
    assert "run again" in said.err
    assert not list(tmp_path.rglob(".part-*"))
    said = whet(*words)  # there is room again
    assert said.code == 0, said
    assert "3 trials, 3 finished, 0 failed" in said.out


def test_no_space_on_the_disk_for_the_report(whet, task, tmp_path):
    task()
    words = ["run", "tiny.py", *SMALL]
    with full(1_000_000):
        said = whet(*words)
    assert said.code == 3, said
    assert "report.html" in said.err
    assert len(said.err.strip().splitlines()) == 1, said.err
    assert sorted(p.name for p in Path(tmp_path, "runs", "tiny").iterdir()) == ["checkpoints", "model", "workers.log"]
    said = whet(*words)
    assert said.code == 0, said
    assert "opened once" in said.out
    assert (tmp_path / "runs" / "tiny" / "report.html").stat().st_size > 1_000_000
