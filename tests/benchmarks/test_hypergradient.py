"""The benchmark of the search along gradients runs, keeps what it played, and does not play it again."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_it_runs_and_goes_on_from_what_is_kept(tmp_path: Path) -> None:
    def run() -> str:
        words = [sys.executable, "benchmarks/hypergradient.py", "--quick", "--kept", str(tmp_path / "kept.jsonl")]
        done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    first = run()
    rows = [line for line in first.splitlines() if line.startswith("| ")]
    assert [row.split("|")[1].strip() for row in rows] == ["player", "hypergradient", "implicit", "gp", "random"]
    kept = (tmp_path / "kept.jsonl").read_text()
    assert len(kept.splitlines()) == 8
    assert run() == first
    assert (tmp_path / "kept.jsonl").read_text() == kept
