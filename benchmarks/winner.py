"""How honest the best trial's score is: raw, and less the luck of choosing, beside its score on a huge test split, over many small studies.

Each study tries some dozens of configurations of small scikit-learn models, chooses the best by few validation examples, and scores it on
thousands that nobody has seen. optimism: by how much the validation score is better than that of the test, in standard errors of a validation score
(positive: flattered); covers: how often the 95 % interval holds the test score. Peers: the raw score with its interval; BBC-CV (Tsamardinos et al.
2018: bootstrap, scored out of the bag, percentiles), computed here; and other parts than the halves that whet takes.

kinds: digits (10 classes), waves (2 classes, labels noisy), nothing (labels are coins: every configuration is as good), friedman (numbers); with
`asha`, trials are stopped early by the same examples; with `epochs`, the best epoch of each trial is taken by them; with `folds`, there are no
other examples to train on: each is held out in one of 5 folds, the test score is the mean of the five models', and `race` stops trials
between folds.

Run: python benchmarks/winner.py [--seeds 20] [--kinds digits,nothing] [--kept FILE] [--quick]
"""

from __future__ import annotations

import argparse
import json
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from sklearn.datasets import load_digits, make_classification, make_friedman1
from sklearn.ensemble import ExtraTreesClassifier, ExtraTreesRegressor
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import KFold, StratifiedKFold
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.neural_network import MLPClassifier

import whet
from whet.metric import interval, metric, wilson
from whet.seed import rng
from whet.tune.optimism import optimism
from whet.tune.parts import Means, scorer

Arrays = tuple[np.ndarray, np.ndarray]
PARTS = (0.5, 2 / 3, 0.8, 0.9)
# kind: (data, metric, searcher, schedule, steps, trials, validation examples)
KINDS: dict[str, tuple[str, str, str, str, int, int, int]] = {
    "digits": ("digits", "accuracy", "random", "full", 1, 60, 100),
    "digits, tpe": ("digits", "accuracy", "tpe", "full", 1, 60, 100),
    "digits, 300 examples": ("digits", "accuracy", "random", "full", 1, 60, 300),
    "waves": ("waves", "accuracy", "random", "full", 1, 60, 100),
    "waves, loss, tpe": ("waves", "loss", "tpe", "full", 1, 60, 100),
    "nothing": ("nothing", "accuracy", "random", "full", 1, 60, 100),
    "friedman": ("friedman", "rmse", "random", "full", 1, 60, 60),
    "friedman, tpe": ("friedman", "rmse", "tpe", "full", 1, 60, 60),
    "digits, asha": ("digits", "accuracy", "random", "asha", 9, 60, 100),
    "digits, epochs": ("digits", "accuracy", "random", "full", 9, 30, 100),
    "digits, folds": ("digits", "accuracy", "random", "full", 5, 60, 100),
    "waves, folds": ("waves", "accuracy", "random", "full", 5, 60, 100),
    "nothing, folds": ("nothing", "accuracy", "random", "full", 5, 60, 100),
    "friedman, folds": ("friedman", "rmse", "random", "full", 5, 60, 60),
    "digits, folds, race": ("digits", "accuracy", "random", "race", 5, 60, 100),
    "waves, f1": ("waves", "f1", "random", "full", 1, 60, 100),
    "waves, auc": ("waves", "auc", "random", "full", 1, 60, 100),
}
CLASSES = whet.Space(
    model=whet.Choice(
        {
            "logistic": whet.Space(c=whet.Float(1e-4, 1e2, log=True)),
            "neighbours": whet.Space(k=whet.Int(1, 50)),
            "bayes": whet.Space(smooth=whet.Float(1e-10, 1.0, log=True)),
            "trees": whet.Space(depth=whet.Int(1, 12), features=whet.Float(0.05, 1.0)),
        }
    )
)
NUMBERS = whet.Space(
    model=whet.Choice(
        {
            "ridge": whet.Space(alpha=whet.Float(1e-4, 1e3, log=True)),
            "kernel": whet.Space(alpha=whet.Float(1e-4, 10, log=True), gamma=whet.Float(1e-2, 10, log=True)),
            "neighbours": whet.Space(k=whet.Int(1, 40)),
            "trees": whet.Space(depth=whet.Int(1, 12), features=whet.Float(0.2, 1.0)),
        }
    )
)
NETS = whet.Space(
    lr=whet.Float(1e-4, 3e-2, log=True), width=whet.Int(4, 48, log=True), alpha=whet.Float(1e-5, 1.0, log=True)
)


def drawn(name: str, valid: int, seed: int) -> tuple[Arrays, Arrays, Arrays]:
    """Return train, validation and test examples of a kind of data."""
    draw = np.random.default_rng(seed)
    if name == "digits":
        x, y = load_digits(return_X_y=True)
        x, train = x / 16, 200
    elif name == "friedman":
        x, y = make_friedman1(20_200, noise=2.0, random_state=seed)
        train = 140
    else:
        x, y = make_classification(
            20_300,
            12,
            n_informative=5,
            n_redundant=0,
            n_clusters_per_class=2,
            flip_y=0.3,
            class_sep=0.7,
            random_state=seed,
        )
        y = draw.integers(0, 2, len(y)) if name == "nothing" else y
        train = 200
    order = draw.permutation(len(y))
    cut = np.split(order, [train, train + valid])
    return tuple((x[i], y[i]) for i in cut)  # type: ignore[return-value]


def model(p: Mapping[str, Any], numbers: bool, seed: int) -> Any:
    """Return the model of a configuration."""
    name, of = p["model"], {k.partition(".")[2]: v for k, v in p.items()}
    if name == "neighbours":
        return (KNeighborsRegressor if numbers else KNeighborsClassifier)(of["k"])
    if name == "trees":
        kind = ExtraTreesRegressor if numbers else ExtraTreesClassifier
        return kind(12, max_depth=of["depth"], max_features=of["features"], random_state=seed)
    if name == "kernel":
        return KernelRidge(alpha=of["alpha"], gamma=of["gamma"], kernel="rbf")
    if name == "ridge":
        return Ridge(of["alpha"])
    return LogisticRegression(C=of["c"], max_iter=100) if name == "logistic" else GaussianNB(var_smoothing=of["smooth"])


def said(fitted: Any, x: np.ndarray) -> np.ndarray:
    """Return the outputs of a model: log-probabilities, no class impossible, or numbers."""
    if not hasattr(fitted, "predict_proba"):
        return np.asarray(fitted.predict(x))
    return np.log(np.maximum(fitted.predict_proba(x), 1e-3))


def searched(kind: str, seed: int) -> tuple[dict[int, np.ndarray], int, np.ndarray, float]:
    """Run a study; return the outputs of all that the best was chosen from, its id, the targets, and its score on the test examples."""
    data, goal, search, schedule, steps, trials, n = KINDS[kind]
    (x, y), (xv, yv), (xt, yt) = drawn(data, n, seed)
    m, numbers = metric(goal), data == "friedman"
    fitted: dict[int, Any] = {}
    outputs: dict[int, np.ndarray] = {}

    def at_once(p: Mapping[str, Any], run: whet.Attempt) -> None:
        for _ in run:
            fitted[run.id] = made = model(p, numbers, seed).fit(x, y)
            outputs[run.id] = said(made, xv)
            run.report(m.compute(outputs[run.id], yv))

    def by_epochs(p: Mapping[str, Any], run: whet.Attempt) -> float | None:
        net = fitted.get(run.id) or MLPClassifier(
            (p["width"],), alpha=p["alpha"], learning_rate_init=p["lr"], batch_size=32, random_state=run.id
        )
        run.load()
        best, here = -1.0, None
        for step in run:
            fitted[run.id] = net.partial_fit(x, y, classes=np.arange(10))
            found = said(net, xv)
            value = m.compute(found, yv)
            run.report(value, {"step": step})
            if "epochs" not in kind or value > best:
                best, outputs[run.id], here = value, found, said(net, xt)
        if "epochs" in kind:
            fitted[run.id] = here
            return best
        return None

    dealt = (StratifiedKFold, KFold)[numbers](5, shuffle=True, random_state=seed)
    folds = list(dealt.split(xv, yv)) if "folds" in kind else []
    scores: dict[int, list[float]] = {}

    def by_folds(p: Mapping[str, Any], run: whet.Attempt) -> None:
        run.load()
        values = [float(v) for v in np.multiply([q.value for q in run.curve], [q.step for q in run.curve])[-1:]]
        for step in run:
            known, held = folds[step - 1]
            made = model(p, numbers, seed).fit(xv[known], yv[known])
            here = said(made, xv[held])
            if run.id not in outputs:
                outputs[run.id] = np.zeros((len(yv), *here.shape[1:]))
            outputs[run.id][held] = here
            scores.setdefault(run.id, []).append(float(m.compute(said(made, xt), yt)))
            values.append(m.compute(here, yv[held]))
            run.report(sum(values) / step, {"step": step})

    space = NETS if steps > 1 and not folds else NUMBERS if numbers else CLASSES
    objective = by_folds if folds else by_epochs if steps > 1 else at_once
    with whet.Study(
        space, goal=f"{m.better} {goal}", search=search, schedule=schedule, steps=steps, seed=seed
    ) as study:
        study.run(objective, trials=trials)
        chosen = {t.id: outputs[t.id] for t in study.trials.contenders}
        best = study.best.id
    if folds:
        return chosen, best, yv, float(np.mean(scores[best]))
    last = fitted[best]
    return chosen, best, yv, float(m.compute(last if isinstance(last, np.ndarray) else said(last, xt), yt))


def bbc(
    outputs: Mapping[int, np.ndarray], y: np.ndarray, goal: str, kind: str, seed: int
) -> tuple[float, float, float]:
    """Return the estimate of Bootstrap Bias Corrected CV and its percentile interval, 1,000 bootstrap samples (100 of a metric that is no mean)."""
    m, n = metric(goal), len(y)
    scores, draw = scorer(m, list(outputs.values()), y, kind), rng(seed, "bbc")
    sign, found = (1.0 if m.better == "min" else -1.0), []
    times = 1000 if isinstance(scores, Means) else 100
    for _ in range(times):
        times_in = np.bincount(draw.integers(0, n, n), minlength=n).astype(float)
        if isinstance(scores, Means):
            best = int(scores(times_in[None])[0].argmin())
        else:
            at = np.repeat(np.arange(n), times_in.astype(int))
            best = int(np.argmin([sign * m.compute(o[at], y[at]) for o in outputs.values()]))
        out = np.flatnonzero(times_in == 0)
        found.append(float(m.compute(list(outputs.values())[best][out], y[out])))
    low, high = np.nanquantile(found, [0.025, 0.975])
    return float(np.nanmean(found)), float(low), float(high)


def played(kind: str, seed: int, kept: Path | None) -> dict[str, Any]:
    """Return what one study found, from the file when it is there."""
    key = json.dumps([kind, list(KINDS[kind]), seed, whet.__version__])
    if kept is not None and kept.exists():
        for line in kept.read_text().splitlines():
            if (known := json.loads(line))["key"] == key:
                return dict(known)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        outputs, best, y, test = searched(kind, seed)
    goal, of = KINDS[kind][1], "regression" if KINDS[kind][0] == "friedman" else "classification"
    found: dict[str, Any] = {"key": key, "test": test, "trials": len(outputs)}
    for part in PARTS:
        result = optimism(outputs, y, goal, kind=of, winner=best, part=part, seed=seed)
        i = result.corrected
        found[f"part {part:.2f}"] = [i.value, i.low, i.high]
        if part == 0.5:
            found |= {
                "overfitted": result.overfitted,
                "shaky": result.shaky,
                "noise": result.noise,
                "wins": result.wins[:3],
            }
    i = interval(goal, outputs[best], y, kind=of)
    found |= {"raw": [i.value, i.low, i.high], "bbc": list(bbc(outputs, y, goal, of, seed))}
    if kept is not None:
        with kept.open("a") as file:
            file.write(json.dumps(found) + "\n")
    return found


def told(rows: list[dict[str, Any]], better: str, how: str) -> tuple[float, float, int]:
    """Return the mean optimism left in standard errors, its own standard error, and how many intervals cover the test score."""
    sign = 1.0 if better == "max" else -1.0
    left = np.array([sign * (r[how][0] - r["test"]) / r["noise"] for r in rows if r["noise"] > 0])
    covers = sum(r[how][1] <= r["test"] <= r[how][2] for r in rows)
    return float(left.mean()), float(left.std() / max(1, len(left) - 1) ** 0.5), covers


def main(argv: list[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--first", type=int, default=200, help="part and width were settled on 0 to 19 and 100 to 119")
    parser.add_argument("--kinds", default="", help="names before a comma, or folds, asha ...; all by default")
    parser.add_argument("--kept", type=Path)
    parser.add_argument("--quick", action="store_true", help="two seeds of two kinds, to see that it runs")
    args = parser.parse_args(argv)
    asked = args.kinds.split(",")
    names = [k for k in KINDS if not args.kinds or k.split(",")[0] in asked or any(f" {a}" in k for a in asked)]
    names, seeds = (["nothing", "friedman"], 2) if args.quick else (names, args.seeds)
    ways: dict[str, str] = {
        "raw": "raw",
        "whet": "part 0.50",
        "bbc": "bbc",
        "0.67": "part 0.67",
        "0.8": "part 0.80",
        "0.9": "part 0.90",
    }
    print(
        f"{'kind':<22}{'n':>4}{'trials':>7} | optimism left, in standard errors of a validation score"
        + " " * 8
        + "| covers the test score"
    )
    print(
        " " * 33
        + " | "
        + "".join(f"{w:>12}" for w in ways)
        + " | "
        + "".join(f"{w:>6}" for w in ways)
        + "  over-fitted"
    )
    every: list[dict[str, Any]] = []
    betters: list[str] = []
    for kind in names:
        rows = [played(kind, s, args.kept) for s in range(args.first, args.first + seeds)]
        every, betters = every + rows, betters + [metric(KINDS[kind][1]).better] * len(rows)
        _line(kind, rows, ways, [metric(KINDS[kind][1]).better] * len(rows), KINDS[kind][6])
    _line("all", every, ways, betters, None)
    for way, how in ways.items():
        hits = sum(r[how][1] <= r["test"] <= r[how][2] for r in every)
        low, high = wilson(hits, len(every))
        print(f"{way:<6} covers {hits} of {len(every)}: {hits / len(every):.1%} (95 %: {low:.1%} to {high:.1%})")


def _line(kind: str, rows: list[dict[str, Any]], ways: Mapping[str, str], betters: list[str], n: int | None) -> None:
    cells, covers = [], []
    for how in ways.values():
        parts: list[tuple[list[dict[str, Any]], str]] = [
            ([r for r, b in zip(rows, betters, strict=True) if b == d], d) for d in ("min", "max")
        ]
        left = [told(r, d, how) for r, d in parts if r]
        share = [len(r) for r, _ in parts if r]
        mean = float(np.average([x[0] for x in left], weights=share))
        cells.append(
            f"{mean:>6.2f}+-{(sum((x[1] * w) ** 2 for x, w in zip(left, share, strict=True)) ** 0.5) / sum(share):.2f}"
        )
        covers.append(f"{sum(x[2] for x in left):>6}")
    trials = int(np.median([r["trials"] for r in rows]))
    over = sum(r["overfitted"] for r in rows)
    print(
        f"{kind:<22}{n or '':>4}{trials:>7} | "
        + "".join(f"{c:>12}" for c in cells)
        + " | "
        + "".join(covers)
        + f"  {over} of {len(rows)}",
        flush=True,
    )


if __name__ == "__main__":
    main()
