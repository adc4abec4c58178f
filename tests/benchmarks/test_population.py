"""The benchmark of population training runs, says what it must, and does not do again what it kept."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_the_quick_run_prints_every_method_and_is_resumable(tmp_path):
    kept, env = tmp_path / "kept.jsonl", {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    words = [sys.executable, str(ROOT / "benchmarks" / "population.py"), "--quick", "--kept", str(kept)]
    said = [subprocess.run(words, capture_output=True, text=True, env=env, check=True).stdout for _ in range(2)]
    assert said[0] == said[1]
    lines = kept.read_text().splitlines()
    assert len(lines) == 2 * (4 + 4)  # the second run added nothing
    for name in ("exploit only", "explore only", "grid", "random", "asha", "population", "pb2"):
        assert f"| {name} | " in said[0]
    assert "nan" not in said[0]
