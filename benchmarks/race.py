"""Racing over folds beside full cross-validation: what is lost, what is saved, and how often the right configuration is stopped.

Small scikit-learn models over a conditional space, few examples, ten folds that are the same for every trial; the winner is fitted on all of the examples and
scored on those that nobody saw. Random search throughout, so that all methods are handed the same configurations in the same order.

Two tables. At equal folds trained: full cross-validation, `race`, `median` and `asha` with folds as steps, and one split (the first fold alone, ten times as many
configurations). regret: how far the winner is from the best configuration any of them tried, on the held-out examples, in points of accuracy or percent of the RMSE.
At equal configurations: folds trained as a share of all; how often the configuration that full cross-validation takes was stopped, and what is lost by
that in the cross-validated score and on the held-out examples.

Run: python benchmarks/race.py [--seeds 10] [--data digits,cancer] [--kept FILE] [--quick]
"""

from __future__ import annotations

import argparse
import json
import os
import warnings
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, make_classification, make_friedman1
from sklearn.ensemble import ExtraTreesClassifier, ExtraTreesRegressor
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import KFold, StratifiedKFold
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

import whet
from whet.metric import wilson
from whet.tune.trial import State, Trials

FOLDS = 10
EXAMPLES = {"digits": 150, "cancer": 120, "waves": 150, "diabetes": 120, "friedman": 120}
NUMERIC = ("diabetes", "friedman")
TREES = whet.Space(depth=whet.Int(1, 12), features=whet.Float(0.05, 1.0))
NEAR = whet.Space(k=whet.Int(1, 40), weights=whet.Choice(["uniform", "distance"]))
RBF = {"gamma": whet.Float(1e-4, 1.0, log=True)}
CLASSES = whet.Space(
    model=whet.Choice({
        "svc": whet.Space(c=whet.Float(1e-2, 1e3, log=True), **RBF),
        "logistic": whet.Space(c=whet.Float(1e-4, 1e2, log=True)),
        "neighbours": NEAR,
        "trees": TREES,
    })
)  # fmt: skip
NUMBERS = whet.Space(
    model=whet.Choice({
        "kernel": whet.Space(alpha=whet.Float(1e-4, 10, log=True), **RBF),
        "ridge": whet.Space(alpha=whet.Float(1e-3, 1e4, log=True)),
        "neighbours": NEAR,
        "trees": TREES,
    })
)  # fmt: skip
# name: (schedule, steps); "one split" trains the first fold alone
METHODS = {"full": ("full", FOLDS), "race": ("race", FOLDS), "median": ("median", FOLDS), "asha": ("asha", FOLDS),
           "one split": ("full", 1)}  # fmt: skip


def drawn(name: str, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return few examples to search on, and many that are held out: x, y, held x, held y."""
    if name == "friedman":
        x, y = make_friedman1(10_000, noise=2.0, random_state=seed)
    elif name == "waves":
        x, y = make_classification(
            10_000, 12, n_informative=5, n_redundant=0, n_clusters_per_class=2, flip_y=0.1, random_state=seed
        )
    else:
        load = {"digits": load_digits, "cancer": load_breast_cancer, "diabetes": load_diabetes}[name]
        x, y = load(return_X_y=True)
    order, n = np.random.default_rng(seed).permutation(len(y)), EXAMPLES[name]
    return x[order[:n]], y[order[:n]], x[order[n:]], y[order[n:]]


def model(p: Mapping[str, Any], numeric: bool, seed: int) -> Any:
    """Return the model of a configuration behind a scaler: both are fitted on the training part of a fold only."""
    of: Any = {k.partition(".")[2]: v for k, v in p.items()}
    if p["model"] == "neighbours":
        made = (KNeighborsRegressor if numeric else KNeighborsClassifier)(of["k"], weights=of["weights"])
    elif p["model"] == "trees":
        kind = ExtraTreesRegressor if numeric else ExtraTreesClassifier
        made = kind(12, max_depth=of["depth"], max_features=of["features"], random_state=seed)
    elif p["model"] == "svc":
        made = SVC(C=of["c"], gamma=of["gamma"])
    elif p["model"] == "kernel":
        made = KernelRidge(alpha=of["alpha"], gamma=of["gamma"], kernel="rbf")
    else:
        made = Ridge(of["alpha"]) if numeric else LogisticRegression(C=of["c"], max_iter=100, tol=1e-3)
    return make_pipeline(StandardScaler(), made)


class Case:
    """One data set under one seed: scores of configurations on folds and on the held-out examples, each computed once."""

    def __init__(self, name: str, seed: int) -> None:
        self.numeric, self.seed = name in NUMERIC, seed
        self.x, self.y, self.held_x, self.held_y = drawn(name, seed)
        deal = (KFold if self.numeric else StratifiedKFold)(FOLDS, shuffle=True, random_state=seed)
        self.folds = list(deal.split(self.x, self.y))
        self.mean = float(self.y.mean())
        self.fold, self.held = lru_cache(None)(self._fold), lru_cache(None)(self._held)
        self.space, self.goal = (NUMBERS, "min rmse") if self.numeric else (CLASSES, "max accuracy")

    def _scored(self, p: str, x: np.ndarray, y: np.ndarray, held_x: np.ndarray, held_y: np.ndarray) -> float:
        shift = self.mean if self.numeric else 0  # kernel ridge has no intercept
        made = model(json.loads(p), self.numeric, self.seed).fit(x, y - shift)
        said = made.predict(held_x) + shift
        return float(np.sqrt(np.mean((said - held_y) ** 2)) if self.numeric else np.mean(said == held_y))

    def _fold(self, p: str, k: int) -> float:
        train, valid = self.folds[k]
        return self._scored(p, self.x[train], self.y[train], self.x[valid], self.y[valid])

    def _held(self, p: str) -> float:
        return self._scored(p, self.x, self.y, self.held_x, self.held_y)

    def crossed(self, p: str) -> float:
        """Return the mean over all folds."""
        return float(np.mean([self.fold(p, k) for k in range(FOLDS)]))

    def loss(self, found: float, best: float) -> float:
        """Return how far a score is behind another: points of accuracy, or percent of the RMSE."""
        return 100 * (found / best - 1) if self.numeric else 100 * (best - found)

    def search(self, method: str, budget: str) -> Trials:
        """Return the trials of a search."""
        schedule, steps = METHODS[method]

        def objective(params: Mapping[str, Any], run: whet.Attempt) -> None:
            scores, p = run.load() or [], key(params)
            for step in run:
                scores = [*scores, self.fold(p, step - 1)]
                run.report(float(np.mean(scores)), scores)

        with whet.Study(
            self.space, goal=self.goal, search="random", schedule=schedule, steps=steps, seed=self.seed
        ) as study:
            study.run(objective, budget=budget)
            return study.trials


def key(params: Mapping[str, Any]) -> str:
    """Return a configuration as text."""
    return json.dumps(dict(params), sort_keys=True)


def played(name: str, seed: int, equal: int, trials: int, kept: Path | None) -> dict[str, Any]:
    """Return what the searches on one data set under one seed found, from the file when it is there."""
    at = json.dumps([name, EXAMPLES[name], seed, equal, trials, whet.__version__])
    if kept is not None and kept.exists():
        for line in kept.read_text().splitlines():
            if (known := json.loads(line))["key"] == at:
                return dict(known)
    with warnings.catch_warnings():
        # solvers that stop early are a property of the configuration; of the digits some classes are in fewer examples than folds
        warnings.simplefilter("ignore")
        found = {"key": at, **_played(Case(name, seed), equal, trials)}
    if kept is not None:
        with kept.open("a") as file:
            file.write(json.dumps(found) + "\n")
    return found


def _played(case: Case, equal: int, trials: int) -> dict[str, Any]:
    sign = 1.0 if case.numeric else -1.0
    same = {m: case.search(m, f"{equal}steps") for m in METHODS}
    many = {m: case.search(m, f"{trials}trials") for m in METHODS if METHODS[m][1] > 1}
    tried = [key(t.params) for t in many["full"]]
    winners = {m: key(found.best.params) for m, found in same.items() if found.best}
    held = [case.held(p) for p in (*tried, *winners.values())]
    best = min(held, key=lambda v: sign * v)
    right = min(range(len(tried)), key=lambda i: (sign * case.crossed(tried[i]), i))  # what full cross-validation takes
    chosen = many["full"].best
    assert chosen is not None
    assert chosen.id == right
    out: dict[str, Any] = {"equal": {}, "many": {}}
    for m, p in winners.items():
        out["equal"][m] = {"regret": case.loss(case.held(p), best), "configurations": len(same[m])}
    for m, found in many.items():
        assert [key(t.params) for t in found] == tried
        assert found.best is not None
        took = key(found.best.params)
        out["many"][m] = {
            "share": sum(t.step for t in found) / (FOLDS * len(found)),
            "stopped": found[right].state in (State.STOPPED, State.PAUSED),
            "lost": case.loss(case.crossed(took), case.crossed(tried[right])),
            "lost held out": case.loss(case.held(took), case.held(tried[right])),
        }
    return out


def main(argv: list[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--data", default=",".join(EXAMPLES), help="names before a comma; all by default")
    parser.add_argument("--folds", type=int, default=300, help="folds trained, where these are equal")
    parser.add_argument("--trials", type=int, default=60, help="configurations, where these are equal")
    parser.add_argument("--kept", type=Path)
    parser.add_argument("--quick", action="store_true", help="two seeds of two data sets, to see that it runs")
    args = parser.parse_args(argv)
    names, seeds, equal, trials = args.data.split(","), args.seeds, args.folds, args.trials
    if args.quick:
        names, seeds, equal, trials = ["cancer", "diabetes"], 2, 40, 6
    rows = {n: [played(n, s, equal, trials, args.kept) for s in range(seeds)] for n in names}
    every = [r for found in rows.values() for r in found]
    print(
        f"\nequal folds trained: {equal} of {FOLDS} a configuration; regret of the winner on held-out examples, +- its standard error"
    )
    print(f"{'data':<10}{'n':>4}  " + "".join(f"{m:>14}" for m in METHODS))
    for name in names:
        cells = "".join(f"{_mean([r['equal'][m]['regret'] for r in rows[name]]):>14}" for m in METHODS)
        print(f"{name:<10}{EXAMPLES[name]:>4}  {cells}")
    print(f"{'all':<16}" + "".join(f"{_mean([r['equal'][m]['regret'] for r in every]):>14}" for m in METHODS))
    less = {m: [r["equal"][m]["regret"] - r["equal"]["full"]["regret"] for r in every] for m in METHODS}
    print(f"{'less full':<16}" + "".join(f"{_mean(less[m]):>14}" for m in METHODS))
    tried = {m: float(np.mean([r["equal"][m]["configurations"] for r in every])) for m in METHODS}
    print(f"{'configurations':<16}" + "".join(f"{tried[m]:>14.0f}" for m in METHODS))
    print(f"\nequal configurations: {trials}; beside full cross-validation")
    print(
        f"{'data':<10}{'method':<8}{'folds trained':>14}{'right one stopped':>19}{'lost, crossed':>15}{'lost, held out':>16}"
    )
    for name, found in [*rows.items(), ("all", every)]:
        for m in (m for m in METHODS if METHODS[m][1] > 1 and m != "full"):
            of = [r["many"][m] for r in found]
            stopped = f"{sum(r['stopped'] for r in of)} of {len(of)}"
            share = f"{np.mean([r['share'] for r in of]):.0%}"
            print(
                f"{name:<10}{m:<8}{share:>14}{stopped:>19}{_mean([r['lost'] for r in of]):>15}{_mean([r['lost held out'] for r in of]):>16}"
            )
    for m in ("race", "median", "asha"):
        hits = sum(r["many"][m]["stopped"] for r in every)
        low, high = wilson(hits, len(every))
        print(
            f"{m:<7} stopped the configuration of full cross-validation in {hits} of {len(every)}: {hits / len(every):.0%} (95 %: {low:.0%} to {high:.0%})"
        )


def _mean(values: list[float]) -> str:
    return f"{np.mean(values):.2f}+-{np.std(values) / max(1, len(values) - 1) ** 0.5:.2f}"


if __name__ == "__main__":
    main()
