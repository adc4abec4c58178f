"""What `whet check` costs: `digits` in seconds of CPU, and a small CNN on 28 by 28 pictures beside one epoch of 60,000.

    python benchmarks/check_cost.py [FOLDER]     FOLDER: IDX files of 28 by 28 pictures, as of Fashion-MNIST

Both times of the CNN are of this process on one thread, five times in turn, with the same model, batch and optimizer.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import torch

from whet.checks import check_task
from whet.finding import Health
from whet.recipe.job import Job
from whet.task import Task
from whet.tasks import resolve

EPOCH, TIMED, ROUNDS = (
    60_000,
    12_000,
    5,
)  # pictures of an epoch, how many of them are trained on to know its time, how often


def spent(work: Callable[[], Any]) -> tuple[Any, float, float]:
    """Return what `work` returns, and the seconds of CPU and of the clock that it took."""
    cpu, wall = time.process_time(), time.perf_counter()
    result = work()
    return result, time.process_time() - cpu, time.perf_counter() - wall


def train(task: Task, params: dict[str, Any], pictures: int) -> None:
    """Train on so many pictures, as one epoch would."""
    plain = task.plain(params)
    data = task.data(plain).visible.train
    torch.manual_seed(0)
    model = task.model(plain)
    loss, optimizer, size = task.loss(plain), task.optimizer(plain, model), int(task.batch(plain))
    order = torch.randperm(pictures) % len(data)
    for begin in range(0, pictures, size):
        inputs, targets = data.batch(order[begin : begin + size])
        optimizer.zero_grad()
        loss(model(*inputs), targets).backward()
        optimizer.step()


def row(what: str, cpu: float, wall: float, more: str = "") -> None:
    """Print one line of the table."""
    print(f"{what:<44}{cpu:>8.1f}{wall:>8.1f}  {more}".rstrip())


def looked(health: Health) -> str:
    """Return how many checks ran."""
    return f"{len(health.facts)} checks ran, {len(health.findings)} findings"


def main() -> None:
    """Print the table."""
    torch.set_num_threads(1)
    print(f"{'':<44}{'CPU s':>8}{'wall s':>8}")
    digits = resolve("digits")
    health, cpu, wall = spent(lambda: check_task(digits, Job(digits).first))
    row("whet check digits (at most 30 s of CPU)", cpu, wall, looked(health))
    if len(sys.argv) > 1:
        task = resolve(sys.argv[1])
        params = Job(task).first
        train(task, params, 1000)  # what is set up once
        rounds = []
        for seed in range(
            ROUNDS
        ):  # in turn, so that other load falls on both; a seed each, for checks end early or late by it
            _, cpu, wall = spent(lambda: train(task, params, TIMED))
            health, mine, clock = spent(lambda: check_task(task, params, seed))  # noqa: B023
            rounds.append((cpu * EPOCH / TIMED, wall * EPOCH / TIMED, mine, clock))
            row(f"round {seed}: an epoch of {EPOCH:,} (from {TIMED:,})", *rounds[-1][:2])
            row(
                "whet check of the same",
                mine,
                clock,
                f"{looked(health)}, {mine / rounds[-1][0]:.2f} of the epoch's CPU",
            )
        cpu, clock = (median(r[k + 2] / r[k] for r in rounds) for k in (0, 1))
        print(f"checks / epoch, median of {ROUNDS}: {cpu:.2f} of the CPU, {clock:.2f} of the clock")
        print("settings:", ", ".join(f"{k} {v}" for k, v in params.items()))


if __name__ == "__main__":
    main()
