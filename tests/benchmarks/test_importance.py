"""The benchmark of what matters: the truth it measures against, and the program at its smallest."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np

import importance_tables

ROOT = Path(__file__).parents[2]


def test_the_truth_is_that_of_the_textbook() -> None:
    rng = np.random.default_rng(0)
    a, b, c = rng.normal(size=4), rng.normal(size=3), rng.normal(size=5)
    values = a[:, None, None] + 2 * b[None, :, None] + 0 * c
    shares = importance_tables.alone(values)
    whole = a.var() + 4 * b.var()
    np.testing.assert_allclose(shares, [a.var() / whole, 4 * b.var() / whole, 0], atol=1e-12)
    np.testing.assert_allclose(importance_tables.total(values), shares, atol=1e-12)
    both = a[:, None] * b - a[:, None] * b.mean() - a.mean() * b + a.mean() * b.mean()
    np.testing.assert_allclose(importance_tables.alone(both), 0, atol=1e-12)
    np.testing.assert_allclose(importance_tables.total(both), 1, atol=1e-12)


def test_the_program_runs_and_measures_nothing_again(tmp_path: Path) -> None:
    folder = tmp_path / "hpo_curves"
    folder.mkdir()
    space = {"lr": [0.1, 0.01, 0.001, 0.0001], "kind": ["a", "b", "c"], "k": [1, 2, 4, 8]}
    index = np.array(list(itertools.product(range(4), range(3), range(4))))
    value = (index[:, 0] - 1.2) ** 2 + 0.3 * index[:, 1] + 0.01 * index[:, 2]
    np.savez(folder / "table_small.npz", space=json.dumps(space), index=index, value=value[:, None], goal="min")
    words = ["--data", tmp_path, "--tables", "small", "--quick", "--kept", tmp_path / "kept.jsonl"]

    def run() -> str:
        done = subprocess.run(
            [sys.executable, str(ROOT / "benchmarks" / "importance_tables.py"), *map(str, words)], capture_output=True,
            text=True, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    out = run()
    rows = [line for line in out.splitlines() if line.startswith("| small | 50 |")]
    assert len(rows) == 2
    error = float(rows[0].split("|")[3].split()[0])
    assert error < 0.05
    kept = (tmp_path / "kept.jsonl").read_text()
    assert len(kept.splitlines()) == 2 * 4  # two seeds; whet twice, each evaluator once
    assert run() == out
    assert (tmp_path / "kept.jsonl").read_text() == kept
