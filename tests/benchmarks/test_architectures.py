"""The benchmark of architectures at its smallest: a real search, kept; what lacks its data is left out."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def run(*words: object) -> str:
    done = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / "architectures.py"), *map(str, words)], capture_output=True, text=True, cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_program_runs_and_trains_nothing_again(tmp_path: Path) -> None:
    kept = tmp_path / "kept.jsonl"
    words = ("--quick", "--data", tmp_path, "--kept", kept)
    out = run(*words)
    assert f"cells is left out: no {tmp_path}/hpo_curves" in out
    assert f"convnet is left out: no {tmp_path}/vision" in out
    rows = [line.split("|") for line in out.splitlines() if line.startswith(("| evolution", "| random"))]
    assert len(rows) == 2
    assert all(0 < float(row[4].split()[0]) < 1.5 for row in rows)  # the loss of the best of 6
    before = kept.read_text()
    assert len(before.splitlines()) == 2
    assert run(*words) == out
    assert kept.read_text() == before
