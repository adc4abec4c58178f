"""The benchmark of the honest winner: its peer, and the program at its smallest."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np

import winner

ROOT = Path(__file__).parents[2]


def test_bootstrap_bias_corrected_cv_knows_coins_and_a_winner_by_far() -> None:
    draw = np.random.default_rng(0)
    y = draw.integers(0, 2, 200)
    coins = {i: draw.integers(0, 2, 200) for i in range(40)}
    value, low, high = winner.bbc(coins, y, "accuracy", "classification", 0)
    assert low < 0.5 < high
    assert abs(value - 0.5) < 0.06
    right = np.where(np.arange(200) % 10 == 0, 1 - y, y)
    value, low, high = winner.bbc(coins | {40: right}, y, "accuracy", "classification", 0)
    assert abs(value - 0.9) < 0.01
    assert low < 0.9 < high


def test_the_program_runs_and_measures_nothing_again(tmp_path: Path) -> None:
    kept = tmp_path / "kept.jsonl"
    words = [sys.executable, str(ROOT / "benchmarks" / "winner.py"), "--quick", "--kept", str(kept)]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    first, again = (subprocess.run(words, env=env, capture_output=True, text=True, check=True).stdout for _ in range(2))
    assert first == again
    assert len(kept.read_text().splitlines()) == 4
    assert "whet   covers" in first
    assert first.count("\n") == 2 + 2 + 1 + 6
