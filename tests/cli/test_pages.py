"""Pages beside a verb's words: `whet check --html`, and what `whet train --watch` saw."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

SGD = """
    def optimizer(self, params, model):
        return torch.optim.SGD(model.parameters(), params["lr"])
"""
WIDE = "Float(1e-3, 1e4, log=True)"


def test_check_writes_a_page_beside_its_lines_and_its_json(whet, task):
    path = task()
    said = whet("check", path, "--html", "deep/down/page.html")
    assert said.code == 0
    assert any(
        line.startswith("check     healthy: ") for line in said.out.splitlines()
    )  # after how far it is, when that takes long
    assert said.out.splitlines()[-2:] == ["page      deep/down/page.html", f"next      whet run {path} --budget 3m"]
    assert max(map(len, said.out.splitlines())) <= 80
    page = Path("deep/down/page.html").read_text()
    for words in (
        "Check of tiny",
        "What enters the network",
        "learned by heart",
        "The same again",
        "--html deep/down/page.html",
    ):
        assert words in page
    told = whet("check", path, "--html", "other.html", "--json")
    health = json.loads(told.out)
    assert set(health) == {"findings", "not_run", "facts"}
    assert health["facts"]["OF"]["curves"][0]["steps"][0] == 0
    assert "Check of tiny" in Path("other.html").read_text()


def test_a_program_that_is_wrong_has_a_page_and_code_1(whet, task):
    path = task("nn.Linear(16, 2))", "nn.Linear(16, 2), nn.Softmax(1))")
    said = whet("check", path, "--html", "page.html")
    assert said.code == 1
    assert said.out.startswith("check     1 FAIL in ")
    assert "FAIL OUT tiny.py:" in said.out.splitlines()[1]
    assert said.out.splitlines()[-1] == "page      page.html"
    assert "remove the Softmax from the model" in Path("page.html").read_text()


@pytest.mark.parametrize(
    ("words", "needed"),
    [
        ("check {} --html page.htm", ("--html page.htm", "must end in .html", "page.html")),
        ("check {} --html page", ("must end in .html",)),
        ("train {} --html page.html", ("--html", "--watch", "Give both, or neither.")),
        ("train {} --watch --html page", ("must end in .html",)),
    ],
)
def test_a_page_that_cannot_be_is_refused_before_anything_is_looked_at(refused, task, words, needed):
    refused(*words.format(task()).split(), needed=needed)


def test_a_folder_is_no_page(refused, task, tmp_path):
    (tmp_path / "page.html").mkdir()
    refused("check", task(), "--html", "page.html", needed=("is a folder", "page.html/page.html"))


@pytest.mark.parametrize("seed", [0, 1])
def test_watch_ends_a_hopeless_training_with_the_finding(whet, task, seed):
    path = task("Float(1e-3, 1e-1, log=True)", WIDE, more=SGD)
    words = ("train", path, "--epochs", "400", "--set", "lr=9000", "--seed", seed, "--plain")
    said = whet(*words, "--watch", "--html", "page.html")
    assert said.code == 1
    lines = [line for line in said.out.splitlines() if not line.lstrip().partition(" of ")[0].isdigit()]
    assert lines[0].startswith("train     stopped in epoch ") or "not finite" in said.out
    assert "FAIL " in said.out or "WARN TREND" in said.out
    assert "next " not in said.out
    assert "Training of tiny" in Path("page.html").read_text()


def test_watch_says_that_nothing_was_wrong_and_a_resume_may_begin_or_end_it(whet, task):
    path = task()
    said = whet("train", path, "--epochs", "20", "--set", "lr=0.01", "--watch", "--json")
    told = json.loads(said.out)
    assert said.code == 0
    assert told["health"]["findings"] == []
    assert told["health"]["facts"]["TREND"]["looks"] >= 1
    for watched in (False, True, False):
        again = whet("train", path, "--epochs", "20", "--set", "lr=0.01", "--resume", *["--watch"] * watched)
        assert again.code == 0, again
        assert ("watched: " in again.out) is watched
        assert again.out.splitlines()[-2].endswith("runs/tiny/train/last.safetensors")


def test_what_ended_a_hopeless_training_is_told_again_when_it_is_resumed(whet, task):
    path = task("Float(1e-3, 1e-1, log=True)", WIDE, more=SGD)
    words = ("train", path, "--epochs", "400", "--set", "lr=9000", "--json")
    before = whet(*words, "--watch")
    first = json.loads(before.out)
    assert first["health"]["findings"]
    unwatched = whet(*words, "--resume")
    assert json.loads(unwatched.out)["health"]["findings"] == first["health"]["findings"]
    for _ in range(2):
        again = whet(*words, "--watch", "--resume")
        assert again.code == before.code == 1
        told = json.loads(again.out)
        assert told["health"]["findings"] == first["health"]["findings"]
        assert told["step"] == first["step"]
    said = whet(*words[:-1], "--watch", "--resume", "--plain")
    assert said.out.startswith("train     stopped in epoch ") or "not finite" in said.out


KILLED = """
import os, signal
from pathlib import Path
from whet.checks.live import Live
from whet.cli.job import configuration, make_job, make_task
from whet.recipe.block import Progress
from whet.recipe.single import train_once

made = make_task("tiny.py", None, None, 0, time=None)
job = make_job(made, runs=Path("runs"), budget=None, workers=1, name="", search="auto", schedule="auto", epochs=40, stop=None)
for block in train_once(job, configuration(made.space, job.first, ["lr=1e-6"]), live=Live(stop=True, grace=60.0)):
    if isinstance(block, Progress) and block.spent == "39":
        os.kill(os.getpid(), signal.SIGKILL)
"""


def test_findings_survive_a_kill(whet, task):
    """39 of 40 epochs, then a kill: the one left is too short to find anything in."""
    path = task("Float(1e-3, 1e-1, log=True)", "Float(1e-12, 1e-1, log=True)", more=SGD)
    assert str(path) == "tiny.py"
    dead = subprocess.run([sys.executable, "-c", KILLED], capture_output=True, text=True, check=False)
    assert dead.returncode == -signal.SIGKILL, dead.stderr
    said = whet("train", path, "--epochs", "40", "--set", "lr=1e-6", "--watch", "--resume", "--json")
    health = json.loads(said.out)["health"]
    assert "a step changes weights by" in str(health["findings"]), health
    assert "looks" not in health["facts"]["TREND"] or health["facts"]["TREND"]["looks"] < 3
    assert len({f["message"] for f in health["findings"]}) == len(health["findings"])
