"""Grid against random: what theory expects of a grid, the program at its smallest, and that it goes on."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import grid_random
from whet import Float, Space
from whet.tune.search.grid import lattice

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(("d", "k", "points"), [(2, 1, 5), (2, 2, 4), (3, 2, 3)])
def test_theory_is_the_mean_over_best_places(d: int, k: int, points: int) -> None:
    space = Space(**{f"x{i}": Float(0, 1) for i in range(d)})
    grid = [p for p in lattice(space, points).points() if p is not None]
    assert len(grid) == points**d
    least = []
    for seed in range(400):
        loss = grid_random.distance(d, k)(seed)
        least.append(min(loss(p) for p in grid))
    theory = grid_random.expected(k, points)
    assert np.mean(least) == pytest.approx(theory, abs=4 * np.std(least) / 20)


def test_the_program_runs_and_goes_on_from_what_it_kept(tmp_path: Path) -> None:
    def run() -> str:
        done = subprocess.run(
            [sys.executable, str(ROOT / "benchmarks" / "grid_random.py"), "--quick", "--kept", str(tmp_path)],
            capture_output=True, text=True, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    out = run()
    rows = [line for line in out.splitlines() if line.startswith(("| 2, ", "| 3, "))]
    assert len(rows) == 3
    assert "| 6 of 6 | random wins" in rows[0]
    assert run() == out
