"""README.md does what it says: every block of Python and every `$ whet ...` line runs, as written, in an empty folder."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[2]


class Step(NamedTuple):
    """One thing README.md tells the reader to run."""

    line: int
    kind: str  # "python" or "command"
    text: str


def steps(page: str) -> list[Step]:
    """Return what a page says to run, in order: ```python blocks, and the `$ whet` lines of ```console and ```sh blocks."""
    found = []
    for block in re.finditer(r"^```(\w+)[^\n]*\n(.*?)^```", page, re.S | re.M):
        line = page[: block.start()].count("\n") + 1
        if block[1] == "python":
            found.append(Step(line, "python", block[2]))
        elif block[1] in ("console", "sh", "shell", "bash"):
            whole = block[2].replace("\\\n", " ")
            for command in re.findall(r"^\$ (whet\b.*)$", whole, re.M):
                found.append(Step(line, "command", re.sub(r"\s+#.*$", "", command)))
    return found


def run(step: Step, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a step in `folder` the way a reader would, with this interpreter and this whet."""
    if step.kind == "python":
        script = folder / f"readme_{step.line}.py"
        script.write_text(step.text, encoding="utf-8")
        command = [sys.executable, script.name]
    else:
        command = [sys.executable, "-m", "whet", *shlex.split(step.text)[1:]]
    env = {**os.environ, "NO_COLOR": "1", "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    return subprocess.run(
        command, cwd=folder, env=env, capture_output=True, text=True, timeout=280, stdin=subprocess.DEVNULL
    )


def test_readme_runs_as_written(tmp_path: Path) -> None:
    todo = steps((ROOT / "README.md").read_text(encoding="utf-8"))
    assert {step.kind for step in todo} == {"python", "command"}, "README.md shows a library and a command-line example"
    for step in todo:  # in order and in one folder: a later step may use what an earlier one made
        done = run(step, tmp_path)
        assert done.returncode == 0, f"README.md:{step.line}: {step.text}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"


@pytest.mark.parametrize("page", ["checking.md"])
def test_a_page_of_the_docs_runs_from_top_to_bottom(page: str, tmp_path: Path) -> None:
    blocks = [s for s in steps((ROOT / "docs" / page).read_text(encoding="utf-8")) if s.kind == "python"]
    assert len(blocks) > 1
    done = run(Step(1, "python", "".join(s.text for s in blocks)), tmp_path)
    assert done.returncode == 0, f"docs/{page}: {done.stdout[-2000:]}\n{done.stderr[-4000:]}"


def test_steps_finds_what_is_to_be_run() -> None:
    page = (
        "text\n```python\nprint(1)\n```\n```console\n$ make demo\n$ whet look digits   # the data\nanswer\n"
        "$ whet tune digits \\\n    --budget 2epochs\n```\n```text\n$ whet no\n```\n"
    )
    assert steps(page) == [
        Step(2, "python", "print(1)\n"),
        Step(5, "command", "whet look digits"),
        Step(5, "command", "whet tune digits      --budget 2epochs"),
    ]


def test_a_step_that_fails_is_seen(tmp_path: Path) -> None:
    assert run(Step(1, "python", "raise SystemExit(3)"), tmp_path).returncode == 3
    assert run(Step(1, "python", "import whet; print(whet.__version__)"), tmp_path).returncode == 0
