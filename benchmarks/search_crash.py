"""Searchers where the loss improves towards configurations that raise, as with a network that no longer fits into memory.

The space has width (16 to 2,048) and batch (8 to 1,024), both whole numbers on a logarithmic scale, depth (1 to 33), a
learning rate, dropout, and an optimizer of which sgd has a momentum. With w, b and d in [0, 1] the places of width, batch
and depth in their ranges, a configuration raises when w + b + d > 1.5, which is half the space. Otherwise the loss is

    2 - w - 0.7 d - 0.4 b + 0.15 (log10 lr + 3)^2 + 0.3 (dropout - 0.2)^2 + (sgd: 0.05 + 0.3 (momentum - 0.9)^2)

so every step to a larger network is better until it raises: the best of all, 0.65, lies on the edge (w = 1, d = 0.5, b = 0).
There is no noise. Without the failures the optimum would be at w = b = d = 1, as far inside of what raises as can be.

Printed per player, means over seeds with their standard errors: the share of trials that failed, of all and of the last
third, and the best value. A failure is told to each as it wants to be told (Optuna FAIL, Hyperopt STATUS_FAIL, SMAC3 CRASHED).
Run: python benchmarks/search_crash.py [--seeds 10] [--evaluations 150] [--search gp,random] [--peers optuna-tpe,smac:3]
"""

from __future__ import annotations

import argparse
import math
import os
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

import whet
from peers import Kept, error, lineup, play, verdicts

SPACE = whet.Space(
    width=whet.Int(16, 2048, log=True),
    batch=whet.Int(8, 1024, log=True),
    depth=whet.Int(1, 33),
    lr=whet.Float(1e-5, 1e-1, log=True),
    dropout=whet.Float(0.0, 0.8),
    optimizer=whet.Choice({"adam": None, "sgd": whet.Space(momentum=whet.Float(0.0, 0.99))}),
)
LEAST = 0.65
TARGET = 0.20  # failed, of all


def loss(params: dict[str, object]) -> float:
    """Return the loss of a configuration; NaN where it raises."""
    w = math.log(params["width"] / 16) / math.log(2048 / 16)
    b = math.log(params["batch"] / 8) / math.log(1024 / 8)
    d = (params["depth"] - 1) / 32
    if w + b + d > 1.5:
        return float("nan")
    value = (
        2 - w - 0.7 * d - 0.4 * b + 0.15 * (math.log10(params["lr"]) + 3) ** 2 + 0.3 * (params["dropout"] - 0.2) ** 2
    )
    if params["optimizer"] == "sgd":
        value += 0.05 + 0.3 * (params["optimizer.momentum"] - 0.9) ** 2
    return value


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--evaluations", type=int, default=150)
    parser.add_argument("--search", default="gp,random")
    parser.add_argument("--peers", default="optuna-tpe,hyperopt", help="names, or none")
    parser.add_argument("--kept", type=Path, help="a folder: what peers did is kept there and not played again")
    options = parser.parse_args()
    players, kept = lineup(options.search, options.peers), Kept(options.kept)
    n, last = options.evaluations, max(1, options.evaluations // 3)
    print(f"{options.seeds} seeds, {n} evaluations, the least loss is {LEAST}\n")
    print(
        f"| player | failed | least to most | of the last {last} | best | CPU ms a trial |\n|---|---|---|---|---|---|"
    )
    found, shares = {}, {}
    for p in players:
        played = [
            play(p, "crash region 1", SPACE, loss, seed=s, evaluations=n, kept=kept) for s in p.seeds(options.seeds)
        ]
        values = np.array([one.values for one in played])  # (seeds, n)
        failed = np.isnan(values)
        best = np.array([np.nanmin(v) if not np.isnan(v).all() else 2.0 for v in values])
        found[p.name], shares[p.name] = best[None] - LEAST, failed.mean()
        whole, tail = failed.mean(1), failed[:, -last:].mean(1)
        print(
            f"| {p.name} | {whole.mean():.1%} (+- {error(whole):.1%}) | {whole.min():.0%} to {whole.max():.0%} | {tail.mean():.1%} |"
            f" {best.mean():.4f} (+- {error(best):.4f}) | {1e3 * np.mean([one.cpu for one in played]) / n:.1f} |",
            flush=True,
        )
    print()
    for p in players:
        if p.ours and p.learns:
            held = "met" if shares[p.name] < TARGET else "missed"
            print(f"{p.name}: {shares[p.name]:.1%} failed, target under {TARGET:.0%}: {held}.")
    for line in verdicts(found, players, ["crash region"], "mean distance of the best value from the least loss"):
        print(line)


if __name__ == "__main__":
    main()
