"""The benchmark of searchers over numbers: what it measures with, and the program at its smallest."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import search_numbers

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", search_numbers.FORMS)
def test_the_least_value_of_a_closed_form_is_right(name: str) -> None:
    from scipy.optimize import minimize

    space, value = search_numbers.FORMS[name]
    rng = np.random.default_rng(0)
    least = search_numbers.least(name)
    drawn = [space.sample(rng) for _ in range(1000)]
    assert min(value(p) for p in drawn) > least
    if name == "mixed":
        top = math.floor(2**8.3 + 0.5)
        best = {"lr": 10 ** (-1.9 - 0.2 * (math.log2(top) - 7)), "width": top, "depth": 5, "optimizer": "sgd", "optimizer.momentum": 0.87}  # fmt: skip
        assert value(best) == pytest.approx(least, abs=1e-9)
        return
    low, high = (np.array([getattr(d, end) for d in space.values()]) for end in ("low", "high"))
    starts = sorted(drawn, key=value)[:5]
    found = [
        minimize(lambda x: value(dict(enumerate(x))), list(s.values()), bounds=list(zip(low, high, strict=True))).fun
        for s in starts
    ]
    assert min(found) == pytest.approx(least, abs=1e-3 if name != "waves" else 1.0)
    assert min(found) >= least - 1e-9


def test_the_program_runs_and_keeps_what_peers_did(tmp_path: Path) -> None:
    args = [
        "--quick",
        "--tasks",
        "edge,mixed",
        "--search",
        "cma,random",
        "--peers",
        "optuna-random",
        "--kept",
        tmp_path,
    ]
    command = [sys.executable, str(ROOT / "benchmarks" / "search_numbers.py"), *map(str, args)]
    for _ in range(2):
        done = subprocess.run(
            command, capture_output=True, text=True, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False
        )
        assert done.returncode == 0, done.stderr
        assert [line.split("|")[1].strip() for line in done.stdout.splitlines() if line.startswith("|")] == [
            "task", "---", "edge", "mixed", "CPU ms a trial"
        ]  # fmt: skip
        assert len(list(tmp_path.iterdir())) == 4
