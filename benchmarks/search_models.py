"""Searchers that tune real scikit-learn models, beside peers, with the same evaluations and seeds.

Twelve tasks: support vectors, networks, forests, boosting and logistic regression on digits, wine, breast cancer, diabetes
(all within scikit-learn) and California housing (`--data`/tabular/california_housing/housing.csv; without it its two tasks
are left out). To keep an evaluation at some hundredths of a second, digits and housing are subsamples with one fixed
split (400 or 600 rows to fit, as many again or 1,000 to score); the others are 3 fixed folds of all rows. Folds,
subsamples and the models' own random numbers never change, so a configuration has one value. What is minimised: the
error rate (svm), the log loss (other classifiers), 1 - R^2 (regressors). A model that raises, or whose loss is not
finite, has failed.

The normalised score of a study is (median - best so far) / (median - least): 0 the median of 100 configurations drawn at
random, 1 the least loss that any player of this run, or those draws, found. It is not below 0. Printed: its mean over
seeds with the standard error, after 20, 40 and 60 evaluations, and the lines of comparison, in 1 - score, after the last.

`--cache` names a folder where the values of configurations are kept, so that playing again costs no training.
Run: python benchmarks/search_models.py [--seeds 10] [--evaluations 60] [--search gp] [--peers optuna-tpe,smac:3]
[--tasks svm,wine] [--cache FOLDER]
"""

from __future__ import annotations

import argparse
import functools
import inspect
import json
import os
import statistics
import sys
import warnings
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import sklearn
from sklearn import datasets, metrics
from sklearn.ensemble import (
    ExtraTreesRegressor,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
)
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import KFold, StratifiedKFold
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler
from sklearn.svm import SVC, SVR

import whet
from peers import Kept, error, lineup, play, verdicts
from whet import Choice, Float, Int, Ordered, Space

AT = (20, 40, 60)
DRAWS = 100  # random configurations whose median is the score 0
Splits = list[tuple[np.ndarray, np.ndarray]]


# -- data: rows, targets, and (rows to fit, rows to score)


def _part(x: np.ndarray, y: np.ndarray, fit: int, score: int) -> tuple[np.ndarray, np.ndarray, Splits]:
    order = np.random.default_rng(0).permutation(len(y))
    return x, y, [(order[:fit], order[fit : fit + score])]


def _folds(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray, Splits]:
    kind = StratifiedKFold if y.dtype.kind == "i" else KFold
    return x, y, list(kind(3, shuffle=True, random_state=0).split(x, y))


@functools.cache
def digits() -> tuple[np.ndarray, np.ndarray, Splits]:
    return _part(*datasets.load_digits(return_X_y=True), 400, 400)


@functools.cache
def wine() -> tuple[np.ndarray, np.ndarray, Splits]:
    return _folds(*datasets.load_wine(return_X_y=True))


@functools.cache
def cancer() -> tuple[np.ndarray, np.ndarray, Splits]:
    return _folds(*datasets.load_breast_cancer(return_X_y=True))


@functools.cache
def diabetes() -> tuple[np.ndarray, np.ndarray, Splits]:
    return _folds(*datasets.load_diabetes(return_X_y=True))


@functools.cache
def housing(path: Path) -> tuple[np.ndarray, np.ndarray, Splits]:
    import pandas as pd

    frame = pd.read_csv(path)
    y = np.log(frame.pop("median_house_value").to_numpy(float))
    x = pd.get_dummies(frame, columns=["ocean_proximity"]).fillna(frame.median(numeric_only=True))
    return _part(x.to_numpy(float), y, 600, 1000)


# -- models: from a configuration to an estimator


def _scaled(how: object, model: object) -> object:
    scalers = {"standard": StandardScaler, "minmax": MinMaxScaler}
    return make_pipeline(scalers[how](), model) if how in scalers else model


SCALE = Choice(["none", "standard", "minmax"])
KERNEL = Choice({
    "rbf": Space(gamma=Float(1e-5, 1e1, log=True)),
    "poly": Space(gamma=Float(1e-5, 1e1, log=True), degree=Int(2, 5), coef0=Float(0, 2)),
    "sigmoid": Space(gamma=Float(1e-5, 1e1, log=True), coef0=Float(-1, 1)),
    "linear": None,
})  # fmt: skip
SVM = Space(scale=SCALE, c=Float(1e-3, 1e3, log=True), kernel=KERNEL, balanced=Choice([False, True]))


def svm(p: dict) -> object:
    inner = {k.removeprefix("kernel."): v for k, v in p.items() if k.startswith("kernel.")}
    weight = "balanced" if p["balanced"] else None
    return _scaled(p["scale"], SVC(C=p["c"], kernel=p["kernel"], class_weight=weight, max_iter=20_000, **inner))


SVM_REGRESSOR = Space(
    scale=SCALE, c=Float(1e-2, 1e4, log=True), epsilon=Float(1e-1, 1e2, log=True), kernel=KERNEL
)  # fmt: skip


def svm_regressor(p: dict) -> object:
    inner = {k.removeprefix("kernel."): v for k, v in p.items() if k.startswith("kernel.")}
    return _scaled(p["scale"], SVR(C=p["c"], epsilon=p["epsilon"], kernel=p["kernel"], max_iter=20_000, **inner))


MLP = Space(
    layers=Choice({1: Space(a=Int(8, 128, log=True)), 2: Space(a=Int(8, 128, log=True), b=Int(8, 128, log=True))}),
    activation=Choice(["relu", "tanh", "logistic"]),
    alpha=Float(1e-6, 1e1, log=True),
    batch=Ordered([16, 32, 64, 128]),
    epochs=Int(3, 25),
    solver=Choice({
        "adam": Space(lr=Float(1e-4, 1e-1, log=True)),
        "sgd": Space(lr=Float(1e-4, 1e0, log=True), momentum=Float(0, 0.99), nesterov=Choice([False, True])),
    }),
)  # fmt: skip


def mlp(p: dict) -> object:
    inner = {"learning_rate_init": p["solver.lr"]}
    if p["solver"] == "sgd":
        inner |= {"momentum": p["solver.momentum"], "nesterovs_momentum": p["solver.nesterov"]}
    widths = [p["layers.a"], p["layers.b"]] if p["layers"] == 2 else [p["layers.a"]]
    model = MLPClassifier(
        widths, activation=p["activation"], alpha=p["alpha"], batch_size=p["batch"], max_iter=p["epochs"],
        solver=p["solver"], random_state=0, **inner,
    )  # fmt: skip
    return _scaled("standard", model)


FOREST = Space(
    criterion=Choice(["gini", "entropy"]),
    features=Float(0.05, 1.0),
    leaf=Int(1, 30, log=True),
    depth=Int(2, 20),
    bootstrap=Choice({True: Space(part=Float(0.2, 1.0)), False: None}),
    balanced=Choice([False, True]),
)


def forest(p: dict) -> object:
    return RandomForestClassifier(
        12, criterion=p["criterion"], max_features=p["features"], min_samples_leaf=p["leaf"], max_depth=p["depth"],
        bootstrap=p["bootstrap"], max_samples=p.get("bootstrap.part"), random_state=0,
        class_weight="balanced" if p["balanced"] else None,
    )  # fmt: skip


TREES = Space(features=Float(0.05, 1.0), leaf=Int(1, 30, log=True), split=Int(2, 40, log=True), depth=Int(2, 20))


def trees(p: dict) -> object:
    return ExtraTreesRegressor(
        20, max_features=p["features"], min_samples_leaf=p["leaf"], min_samples_split=p["split"], max_depth=p["depth"],
        random_state=0,
    )  # fmt: skip


BOOSTING = Space(
    rate=Float(1e-2, 1.0, log=True),
    rounds=Int(5, 40, log=True),
    leaves=Int(3, 31, log=True),
    leaf=Int(2, 60, log=True),
    l2=Float(1e-6, 1e2, log=True),
    features=Float(0.1, 1.0),
)


def _histogram(kind: type, p: dict) -> object:
    return kind(
        learning_rate=p["rate"], max_iter=p["rounds"], max_leaf_nodes=p["leaves"], min_samples_leaf=p["leaf"],
        l2_regularization=p["l2"], max_features=p["features"], max_bins=63, early_stopping=False, random_state=0,
    )  # fmt: skip


def boosting(p: dict) -> object:
    return _histogram(HistGradientBoostingClassifier, p)


def boosting_regressor(p: dict) -> object:
    return _histogram(HistGradientBoostingRegressor, p)


GRADIENT = Space(
    rate=Float(1e-3, 1.0, log=True),
    rounds=Int(5, 40, log=True),
    depth=Int(1, 6),
    subsample=Float(0.3, 1.0),
    features=Float(0.1, 1.0),
    leaf=Int(1, 40, log=True),
    loss=Choice({"squared_error": None, "huber": Space(alpha=Float(0.5, 0.99))}),
)


def gradient(p: dict) -> object:
    return GradientBoostingRegressor(
        learning_rate=p["rate"], n_estimators=p["rounds"], max_depth=p["depth"], subsample=p["subsample"],
        max_features=p["features"], min_samples_leaf=p["leaf"], loss=p["loss"], alpha=p.get("loss.alpha", 0.9),
        random_state=0,
    )  # fmt: skip


LOGISTIC = Space(
    scale=SCALE,
    c=Float(1e-5, 1e4, log=True),
    balanced=Choice([False, True]),
    intercept=Choice([True, False]),
    solver=Choice({
        "lbfgs": Space(iterations=Int(5, 100, log=True)),
        "saga": Space(iterations=Int(3, 30, log=True), l1=Float(0, 1)),
    }),
)  # fmt: skip


def logistic(p: dict) -> object:
    model = LogisticRegression(
        C=p["c"], solver=p["solver"], max_iter=p["solver.iterations"], l1_ratio=p.get("solver.l1", 0.0),
        fit_intercept=p["intercept"], class_weight="balanced" if p["balanced"] else None, random_state=0,
    )  # fmt: skip
    return _scaled(p["scale"], model)


# -- tasks


def wrong(model: object, x: np.ndarray, y: np.ndarray) -> float:
    """Return the error rate."""
    return 1 - metrics.accuracy_score(y, model.predict(x))


def log_loss(model: object, x: np.ndarray, y: np.ndarray) -> float:
    """Return the log loss."""
    return metrics.log_loss(y, model.predict_proba(x), labels=model.classes_)


def unexplained(model: object, x: np.ndarray, y: np.ndarray) -> float:
    """Return 1 - R^2."""
    return 1 - metrics.r2_score(y, model.predict(x))


@dataclass
class Task:
    """A model on data. data(): rows, targets, splits; make(params): the estimator; loss(estimator, rows, targets).

    cache: a folder of values, or None.
    """

    name: str
    space: whet.Space
    data: Callable[[], tuple[np.ndarray, np.ndarray, Splits]]
    make: Callable[[dict], object]
    loss: Callable[[object, np.ndarray, np.ndarray], float]
    cache: Path | None = None
    _known: dict[str, float | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        x, y, splits = self.data()
        parts = [self.name, sklearn.__version__, inspect.getsource(self.make), inspect.getsource(_histogram)]
        parts += [inspect.getsource(self.loss), repr(x.sum()), repr(y.sum()), repr([s[0].sum() for s in splits])]
        self.key = f"{self.name} {zlib.crc32(''.join(parts).encode()):08x}"
        self._file = self.cache and self.cache / f"{self.key.replace(' ', '-')}.jsonl"
        if self._file is not None and self._file.exists():
            for line in self._file.read_text().splitlines():
                text, value = json.loads(line)
                self._known[text] = value

    def value(self, params: dict) -> float:
        """Return the loss of a configuration, the mean over the splits; NaN when it failed."""
        text = json.dumps(params, sort_keys=True)
        if text not in self._known:
            self._known[text] = value = self._measured(params)
            if self._file is not None:
                self._file.parent.mkdir(parents=True, exist_ok=True)
                with self._file.open("a") as f:  # one write of one line: several programs may share a folder
                    f.write(json.dumps([text, value]) + "\n")
        value = self._known[text]
        return float("nan") if value is None else value

    def _measured(self, params: dict) -> float | None:
        x, y, splits = self.data()
        found = []
        try:
            with warnings.catch_warnings(), np.errstate(all="ignore"):
                warnings.simplefilter("ignore")  # "did not converge" is part of the search
                for fit, score in splits:
                    model = self.make(params)
                    model.fit(x[fit], y[fit])
                    found.append(float(self.loss(model, x[score], y[score])))
        except (ValueError, ArithmeticError):
            return None
        mean = statistics.mean(found)
        return mean if np.isfinite(mean) else None


def tasks(data: Path, cache: Path | None) -> Iterator[Task]:
    """Yield the tasks; print a line when those of California housing are left out."""
    yield Task("svm digits", SVM, digits, svm, wrong, cache)
    yield Task("svm cancer", SVM, cancer, svm, wrong, cache)
    yield Task("svm diabetes", SVM_REGRESSOR, diabetes, svm_regressor, unexplained, cache)
    yield Task("mlp digits", MLP, digits, mlp, log_loss, cache)
    yield Task("mlp wine", MLP, wine, mlp, log_loss, cache)
    yield Task("forest wine", FOREST, wine, forest, log_loss, cache)
    yield Task("boosting cancer", BOOSTING, cancer, boosting, log_loss, cache)
    yield Task("boosting diabetes", GRADIENT, diabetes, gradient, unexplained, cache)
    yield Task("logistic digits", LOGISTIC, digits, logistic, log_loss, cache)
    yield Task("logistic cancer", LOGISTIC, cancer, logistic, log_loss, cache)
    path = data / "tabular" / "california_housing" / "housing.csv"
    if not path.exists():
        print(f"California housing is left out: no {path}. Give --data, or WHET_DATA.")
        return
    yield Task("forest housing", TREES, lambda: housing(path), trees, unexplained, cache)
    yield Task("boosting housing", BOOSTING, lambda: housing(path), boosting_regressor, unexplained, cache)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("WHET_DATA", "../shared/data")))
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--evaluations", type=int, default=60)
    parser.add_argument("--search", default="gp,random")
    parser.add_argument("--peers", default="optuna-tpe,hyperopt,smac:3", help="names, or none")
    parser.add_argument("--tasks", default="", help="only those with one of these in their names")
    parser.add_argument("--cache", type=Path, help="a folder: values of configurations are kept there")
    parser.add_argument("--kept", type=Path, help="a folder: what peers did is kept there and not played again")
    options = parser.parse_args()
    at = [n for n in AT if n <= options.evaluations] or [options.evaluations]
    players, kept = lineup(options.search, options.peers), Kept(options.kept)
    played_tasks, regrets = [], {p.name: [] for p in players}
    rows, cost = [], {p.name: [] for p in players}
    for task in tasks(options.data, options.cache):
        if not any(w in task.name for w in options.tasks.split(",")):
            continue
        rng = np.random.default_rng(0)
        drawn = np.array([task.value(task.space.sample(rng)) for _ in range(DRAWS)])
        best = {}  # by player, (seeds, evaluations): the best so far
        for p in players:
            played = [
                play(p, task.key, task.space, task.value, seed=s, evaluations=options.evaluations, kept=kept)
                for s in p.seeds(options.seeds)
            ]
            values = np.array([one.values for one in played])
            best[p.name] = np.fmin.accumulate(values, axis=1)
            cost[p.name].append(1e3 * statistics.mean(one.cpu for one in played) / options.evaluations)
        zero = float(np.median(np.nan_to_num(drawn, nan=np.inf)))
        least = min(float(np.nanmin(drawn)), *(float(np.nanmin(b)) for b in best.values()))
        played_tasks.append(task.name)
        cells = []
        for p in players:
            score = np.clip((zero - best[p.name][:, [n - 1 for n in at]]) / (zero - least), 0, 1)
            score = np.nan_to_num(score, nan=0.0)  # everything so far has failed
            regrets[p.name].append(1 - score)
            cells.append(" ".join(f"{r.mean():.3f} ({error(r):.3f})" for r in score.T))
        columns = len(task.space.dims)
        rows.append(f"| {task.name} | {columns} | {zero:.4f} | {least:.4f} | " + " | ".join(cells) + " |")
        print(f"{task.name} done", file=sys.stderr, flush=True)
    if not rows:
        raise SystemExit(f"search_models: no task with {options.tasks} in its name.")
    print(
        f"{options.seeds} seeds, {options.evaluations} evaluations, normalised score after {', '.join(map(str, at))}\n"
    )
    print(
        "| task | columns | median | least | "
        + " | ".join(p.name for p in players)
        + " |\n|"
        + "---|" * (len(players) + 4)
    )
    print("\n".join(rows))
    whole = {name: np.array(r) for name, r in regrets.items()}  # (tasks, seeds, len(at))
    means = [
        " ".join(f"{1 - x:.3f}" for x in r.mean((0, 1))) + f" ({error(r[:, :, -1].mean(0)):.3f})"
        for r in whole.values()
    ]
    print("| mean | | | | " + " | ".join(means) + " |")
    print(
        "| CPU ms a trial, training not counted | | | | "
        + " | ".join(f"{statistics.mean(c):.1f}" for c in cost.values())
        + " |\n"
    )
    judged = {name: r[:, :, -1] for name, r in whole.items()}
    for line in verdicts(judged, players, played_tasks, f"mean of 1 - score after {at[-1]}"):
        print(line)


if __name__ == "__main__":
    main()
