"""The benchmark of racing over folds: what it calls lost, and the program at its smallest."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.model_selection import cross_val_score

import race

ROOT = Path(__file__).parents[2]


def test_scores_are_those_of_scikit_learn() -> None:
    case = race.Case("cancer", 1)
    params = race.key({"model": "logistic", "model.c": 0.5})
    made = race.model({"model": "logistic", "model.c": 0.5}, False, 1)
    reference = cross_val_score(made, case.x, case.y, cv=case.folds)
    assert [case.fold(params, k) for k in range(race.FOLDS)] == pytest.approx(reference)
    assert case.crossed(params) == pytest.approx(np.mean(reference))
    assert case.held(params) == pytest.approx(made.fit(case.x, case.y).score(case.held_x, case.held_y))
    assert case.loss(0.9, 0.95) == pytest.approx(5.0)


def test_all_methods_are_handed_the_same_configurations() -> None:
    case = race.Case("cancer", 0)
    one, other = (case.search(m, "3trials") for m in ("full", "race"))
    assert [t.params for t in one] == [t.params for t in other]


def test_the_program_runs_and_measures_nothing_again(tmp_path: Path) -> None:
    kept = tmp_path / "kept.jsonl"
    words = [sys.executable, str(ROOT / "benchmarks" / "race.py"), "--quick", "--kept", str(kept)]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    first, again = (subprocess.run(words, env=env, capture_output=True, text=True, check=True).stdout for _ in range(2))
    assert first == again
    assert len(kept.read_text().splitlines()) == 4
    assert "race    stopped the configuration of full cross-validation in" in first
