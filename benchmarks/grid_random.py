"""Grid against random search with the same number of trials, where few hyperparameters matter and where all do (Bergstra and Bengio 2012).

Functions of d numbers in [0, 1], k of which matter: the sum of (x - c)^2 over those, the best place c being drawn anew with every seed. A grid of p
values each has p^d trials, and only p different values of what matters; random search has p^d of them. The least value found is the regret; over all
places of c that of a grid with spacing h is k h^2 / 12 on average, which the program prints beside what it measured. And a network on the 8 x 8 digits:
81 trials of 2 epochs over 4 hyperparameters, of which the learning rate matters most; its validation loss, another split and other weights with every seed.

Run: python benchmarks/grid_random.py [--seeds 30] [--real 12] [--kept FOLDER] [--quick]
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

import whet
from whet.tune.compare.result import Comparison
from whet.tune.compare.run import make_plan
from whet.tune.compare.studies import Through, inline
from whet.tune.search.grid import Grid

CASES = ((2, 1, 8), (2, 2, 8), (3, 1, 4), (3, 3, 4), (4, 1, 3), (4, 2, 3), (4, 4, 3), (6, 1, 2), (6, 2, 2), (6, 6, 2))


def distance(d: int, k: int) -> Callable[[int], Callable[[Any], float]]:
    """Return the objective of each seed: the squared distance from a best place of its own, in the first k of d numbers."""

    def made(seed: int) -> Callable[[Any], float]:
        best = np.random.default_rng([seed, d, k]).random(k)
        return lambda p: float(sum((p[f"x{i}"] - c) ** 2 for i, c in enumerate(best)))

    return made


def expected(k: int, points: int) -> float:
    """Return what a grid of so many values each has on average over all best places."""
    return k / (points - 1) ** 2 / 12


def trained(seed: int) -> Callable[..., Any]:
    """Return the objective of each seed: the validation loss of a network on the digits after 2 epochs."""
    from digits_mlp import DigitsMlp
    from whet.tune.worker import train_task

    task = DigitsMlp()
    task.seed = seed
    return lambda params, run: train_task(task, params, run)


def held(
    space: whet.Space, points: int, objective: Callable[[int], Any], seeds: int, *, steps: int, store: Path
) -> Comparison:
    """Return grid against random search, with as many trials as the grid has."""
    grid = Grid(points)
    plan = make_plan(
        space, "min loss", steps, search=["random", grid], schedule="full", seeds=seeds, budget=f"{grid.size(space)}trials", store=str(store),
    )  # fmt: skip
    through = Through(plan)
    for _ in inline(plan, objective, through):
        pass
    return through.result


def row(what: str, found: Comparison, trials: int, theory: str) -> str:
    """Return a line of the table."""
    random, grid = found.lines
    means = {r.name: r for r in found.rows}
    p = found.against[grid]
    verdict = {"worse": "random wins", "better": "grid wins", "not told apart": "not told apart"}[p.verdict]
    cells = [f"{means[n].value:.4f} ({means[n].low:.4f} to {means[n].high:.4f})" for n in (grid, random)]
    return f"| {what} | {trials} | {cells[0]} | {theory} | {cells[1]} | {p.losses} of {len(found.seeds)} | {verdict} (p {p.p:.1g}) |"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=30)
    parser.add_argument("--real", type=int, default=12, help="seeds of the network; 0: without it")
    parser.add_argument("--kept", type=Path, help="a folder: every study is kept there, and gone on with")
    parser.add_argument("--quick", action="store_true", help="6 seeds, three functions, no network")
    given = parser.parse_args()
    seeds, cases, real = (6, CASES[:3], 0) if given.quick else (given.seeds, CASES, given.real)
    print(f"{seeds} seeds, least value found; means (95 %, bootstrap over seeds)\n")
    print("| numbers, of which matter | trials | grid | grid in theory | random | seeds won by random | verdict |")
    print("|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        kept = given.kept or Path(folder)
        kept.mkdir(parents=True, exist_ok=True)
        for d, k, points in cases:
            space = whet.Space(**{f"x{i}": whet.Float(0, 1) for i in range(d)})
            found = held(space, points, distance(d, k), seeds, steps=1, store=kept / f"{d}-{k}-{points}.db")
            print(row(f"{d}, {k}", found, points**d, f"{expected(k, points):.4f}"), flush=True)
        if real:
            from digits_mlp import DigitsMlp

            found = held(DigitsMlp.space, 3, trained, real, steps=2, store=kept / "digits.db")
            print(row(f"digits, 4 hyperparameters ({real} seeds)", found, 81, ""), flush=True)


if __name__ == "__main__":
    main()
