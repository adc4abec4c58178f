"""A goal with a bound: the loss falls towards what the bound forbids, half of the space. How many trials break it, and how good is the best that does not?

python benchmarks/search_bounds.py --seeds 5
"""

from __future__ import annotations

import argparse

import numpy as np

from whet import Choice, Float, Space
from whet.testing import play
from whet.tune.schedule.full import Full
from whet.tune.search import searcher
from whet.tune.space import Params

SPACE = Space(a=Float(0, 1), b=Float(0, 1), c=Float(0, 1), k=Choice(["x", "y", "z"]))
GOAL = ["min loss", "memory <= 8"]  # that is a + b <= 1, where the loss is at least 1


def edge(space: Space, params: Params, step: int) -> dict[str, float]:
    """Return the loss and the memory of a configuration."""
    a, b, c, k = (params[n] for n in "abck")
    return {"loss": 2 - a - b + (c - 0.3) ** 2 + 0.2 * (k != "x"), "memory": 4 * 2.0 ** (a + b)}


def main() -> None:
    """Print a row for each searcher, with the bound and without."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--trials", type=int, default=60)
    given = parser.parse_args()
    print(f"{given.trials} trials, seeds 0 to {given.seeds - 1}: mean (largest)")
    print(f"{'searcher':10}{'goal':26}{'break the bound':>18}{'of the last half':>18}{'best above optimum':>24}")
    for name in ("random", "auto", "gp", "forest", "tpe"):
        for goal in (GOAL[:1], GOAL) if name != "random" else (GOAL,):
            broken, late, regret = [], [], []
            for seed in range(given.seeds):
                made = searcher(name, SPACE, seed=seed)
                done = play(made, Full(), SPACE, goal=goal, starts=given.trials, seed=seed, objective=edge)
                bad = [t.curve[-1].metrics["memory"] > 8 for t in done.trials]
                broken.append(sum(bad))
                late.append(sum(bad[given.trials // 2 :]))
                kept = [t.value for t, b in zip(done.trials, bad, strict=True) if not b and t.value is not None]
                regret.append(min(kept, default=np.nan) - 1)
            print(
                f"{name:10}{', '.join(goal):26}"
                f"{np.mean(broken):12.1f} ({max(broken):2d}){np.mean(late):13.1f} ({max(late):2d})"
                f"{np.mean(regret):15.5f} ({max(regret):.5f})"
            )


if __name__ == "__main__":
    main()
