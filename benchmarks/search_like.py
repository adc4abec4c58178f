"""What earlier studies are worth: regret on recorded trainings with and without them, and when they mislead.

TaskSet (Metz et al. 2020): the final validation loss of the same 1,000 configurations of Adam on each of 7 tasks. Each task is searched
in turn; the earlier studies are 50 random configurations on each of the other tasks. A proposal is answered by the nearest row not
yet used, in the unit cube with logarithms. Earlier studies mislead when their values are negated (what was bad there is the best
here), or shuffled among their trials (they say nothing). Regret is (value - optimum) / (median - optimum) of the best so far.

Needs the recorded trainings (`--data`, or WHET_DATA).
Run: python benchmarks/search_like.py [--seeds 10] [--search gp,sobol] [--earlier true,negated,shuffled] [--studies 6]
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Sequence
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

import whet
from whet.tune.trial import State, Trial, Trials

AT = (5, 10, 20, 30)
RANDOM = 50  # trials of an earlier study

# All are drawn log-uniform in TaskSet, the betas as 1 - beta; the rows fill these ranges and no more.
SPACE = whet.Space(
    learning_rate=whet.Float(1e-8, 1e1, log=True),
    one_minus_beta1=whet.Float(1e-4, 1.0, log=True),
    one_minus_beta2=whet.Float(1e-6, 1.0, log=True),
    epsilon=whet.Float(1e-10, 1e3, log=True),
    l1=whet.Float(1e-8, 1e1, log=True),
    l2=whet.Float(1e-8, 1e1, log=True),
    linear_decay=whet.Float(1e-7, 1e-4, log=True),
    exponential_decay=whet.Float(1e-6, 1e-3, log=True),
)


class Task:
    """One task: rows (n, d) in the unit cube, values (n,) of which the smallest is the best, NaN where a training failed."""

    def __init__(self, path: Path) -> None:
        with np.load(path, allow_pickle=False) as z:
            columns = dict(zip(z["names"].tolist(), z["x"].T, strict=True))
            values = z["valid"][:, -1].astype(float)
        for beta in ("beta1", "beta2"):
            columns[f"one_minus_{beta}"] = 1.0 - columns.pop(beta)
        self.name = path.stem.removeprefix("taskset_")
        self.params = [dict(zip(SPACE, row, strict=True)) for row in np.array([columns[n] for n in SPACE]).T.tolist()]
        self.rows = np.array([SPACE.encode(p) for p in self.params])
        self.values = np.where(np.isfinite(values), values, np.nan)
        self.best, self.median = float(np.nanmin(self.values)), float(np.nanmedian(self.values))

    def earlier(self, seed: int, kind: str) -> Trials:
        """Return a study of random rows of this task."""
        rng = np.random.default_rng([seed, len(self.name), ord(self.name[-1])])
        rows = rng.choice(len(self.rows), RANDOM, replace=False)
        values = self.values[rows]
        if kind == "negated":
            values = -values
        if kind == "shuffled":
            rng.shuffle(values)
        trials = []
        for i, (row, value) in enumerate(zip(rows, values.tolist(), strict=True)):
            ok = np.isfinite(value)
            error = None if ok else {"type": "ValueError", "message": "not finite", "traceback": ""}
            state = State.DONE if ok else State.FAILED
            trials.append(Trial(i, SPACE.clean(self.params[row]), state, value=value if ok else None, error=error))
        return Trials(trials, space=SPACE, name=self.name)

    def play(self, search: str, like: Sequence[Trials], seed: int, evaluations: int) -> np.ndarray:
        """Return the regret after each evaluation of a study."""
        free, values = np.ones(len(self.rows), bool), []
        with whet.Study(SPACE, goal="min loss", search=search, schedule="full", seed=seed, like=like) as study:
            for _ in range(evaluations):
                trial = study.ask()
                assert isinstance(trial, whet.Trial)
                far = ((self.rows - SPACE.encode(trial.params)) ** 2).sum(1)
                row = int(np.where(free, far, np.inf).argmin())
                free[row] = False
                values.append(self.values[row])
                if np.isnan(values[-1]):
                    study.fail(trial, "not finite")
                else:
                    study.tell(trial, float(values[-1]))
        best = np.fmin.accumulate(np.array(values))
        return np.nan_to_num((best - self.best) / (self.median - self.best), nan=1.0)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("WHET_DATA", "../shared/data")))
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--evaluations", type=int, default=30)
    parser.add_argument("--search", default="gp,sobol")
    parser.add_argument("--earlier", default="none,true,negated,shuffled")
    parser.add_argument("--studies", type=int, default=6, help="how many of the other tasks were searched before")
    options = parser.parse_args()
    tasks = [Task(p) for p in sorted((options.data / "hpo_curves").glob("taskset_*.npz"))]
    if not tasks:
        raise SystemExit(f"search_like: no taskset_*.npz in {options.data / 'hpo_curves'}. Give --data, or WHET_DATA.")
    at = [n - 1 for n in AT if n <= options.evaluations]
    seeds = range(options.first, options.first + options.seeds)
    print(f"seeds {seeds[0]} to {seeds[-1]}, {options.studies} earlier studies of {RANDOM} trials\n")
    print("| search | earlier studies | " + " | ".join(f"regret at {i + 1}" for i in at) + " | CPU ms a trial |")
    print("|---|---|" + "---|" * (len(at) + 1))
    for search in options.search.split(","):
        for kind in options.earlier.split(","):
            began, found = time.process_time(), []
            for place, task in enumerate(tasks):
                others = (tasks[place + 1 :] + tasks[:place])[: options.studies]
                for seed in seeds:
                    like = [] if kind == "none" else [o.earlier(seed, kind) for o in others]
                    found.append(task.play(search, like, seed, options.evaluations)[at])
            cost = 1e3 * (time.process_time() - began) / len(found) / options.evaluations
            # of the mean over tasks, between seeds
            means = np.array(found).reshape(len(tasks), len(seeds), len(at)).mean(0)
            error = means.std(0, ddof=1) / np.sqrt(len(seeds)) if len(seeds) > 1 else np.full(len(at), np.nan)
            cells = [f"{m:.4f} (+- {e:.4f})" for m, e in zip(means.mean(0), error, strict=True)]
            print(f"| {search} | {kind} | " + " | ".join(cells) + f" | {cost:.0f} |", flush=True)


if __name__ == "__main__":
    main()
