"""The benchmark of channels, at its smallest: every engine hands over whole vectors, and the program prints its table."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from channels.case import LR, Case, apply, timed
from channels.of_memory import Limit
from channels.play import Figures
from distributed_channels import line, tenth

ROOT = Path(__file__).parents[2]


def test_the_limit_takes_the_step_and_copies_what_was_before_it() -> None:
    limit = Limit(Case(10, 0, 0.0, ""))
    count = len(limit.seconds(0.0))
    after, g = torch.ones(10), torch.full((10,), 1e-6)
    for _ in range(count - 1):
        apply(after, g)
    assert torch.equal(limit.out, after)
    assert torch.equal(limit.weights, after.add(g, alpha=-LR))


def test_calls_are_timed_one_by_one_and_a_few_at_least() -> None:
    calls: list[int] = []
    assert len(timed(lambda: calls.append(1), 0.0)) == len(calls) == 5


def test_a_line_by_hand() -> None:
    rounds = [Figures([0.2, 0.4, 0.6], [0.1, 0.1], 0.3), Figures([0.4, 0.4, 0.4], [0.2, 0.2], 0.5)]
    got = line(7, 2, "whet", rounds)
    assert (got.median, got.ratio, got.cpu) == pytest.approx((400.0, 3.0, 400.0))
    assert got.rate == pytest.approx(2 * 3 / 1.2)
    assert tenth([3.0, 1.0, 2.0]) == 1.0


def test_the_program_runs() -> None:
    done = subprocess.run(
        [sys.executable, "benchmarks/distributed_channels.py", "--quick", "--engines", "whet,tcp,zeromq"],
        cwd=ROOT, capture_output=True, text=True, timeout=300, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    rows = [row for row in done.stdout.splitlines() if row.startswith("| 20,000 |")]
    named = {row.split("|")[3].strip() for row in rows}
    assert {"*memcpy*", "whet", "raw TCP"} <= named
    assert ("ZeroMQ ipc" in named) != ("ZeroMQ ipc: left out" in done.stdout)
