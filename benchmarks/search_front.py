"""Two goals on exhaustive tables: how much of the exact front's hypervolume is missed after so many trials, beside Optuna.

A table holds the final value of every configuration of a finite space. The second goal is the size of the network that a configuration
makes, as the logarithm of its number of weights. All are known, so the front is known exactly. Both goals are laid out from 0, the least of the
table, to 1: the median of the values, the most of the sizes. The hypervolume goes up to (1, 1.1), and 0 is missed when all of the front was found.
Peers: Optuna's TPESampler with two directions (MOTPE), its NSGAIISampler, and random search. A configuration that the table lacks fails.

Run: python benchmarks/search_front.py [--data ../shared/data] [--seeds 10] [--trials 100] [--players gp,tpe] [--tables nasbench,hpolib] [--kept FILE] [--quick]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import optuna

import whet
from peers import error
from peers.of_optuna import distribution
from search_tables import Table
from whet.tune.hypervolume import hypervolume

CORNER = np.array([1.0, 1.1])
PLAYERS = ("random", "tpe", "forest", "gp", "auto", "evolution", "optuna-motpe", "optuna-nsga2")
_WEIGHTS = {"nor_conv_3x3": 9, "nor_conv_1x1": 1}  # of one pair of channels


def weights(params: Mapping[str, Any]) -> int:
    """Return how many weights the network of a configuration has, for 16 inputs and 1 output; in a cell, those of a pair of channels, and 1."""
    if "Op0" in params:
        return 1 + sum(_WEIGHTS.get(op, 0) for op in params.values())
    if "n_units_1" in params:
        return int(16 * params["n_units_1"] + params["n_units_1"] * params["n_units_2"] + params["n_units_2"])
    return int(16 * params["width"] + (params["depth"] - 1) * params["width"] ** 2 + params["width"])


class Trade:
    """A table with two goals, both from 0 to 1."""

    def __init__(self, path: Path) -> None:
        self.table = Table(path)
        self.space = self.table.space
        options = [list(getattr(d, "values", None) or getattr(d, "options", ())) for d in self.space.values()]
        index = np.load(path, allow_pickle=False)["index"]
        rows = [{n: o[i] for n, o, i in zip(self.space, options, row, strict=True)} for row in index.tolist()]
        sizes = np.log10([weights(r) for r in rows])
        self.low, self.high = float(sizes.min()), float(sizes.max())
        values = (self.table.values - self.table.best) / (self.table.median - self.table.best)
        points = np.column_stack([values, (sizes - self.low) / (self.high - self.low)])
        self.whole = hypervolume(points[np.isfinite(values)], CORNER)

    def point(self, params: Mapping[str, Any]) -> tuple[float, float] | None:
        """Return both goals of a configuration, None where the table has nothing."""
        value = self.table.value(dict(params))
        if not np.isfinite(value):
            return None
        loss = (value - self.table.best) / (self.table.median - self.table.best)
        return float(loss), float((np.log10(weights(params)) - self.low) / (self.high - self.low))

    def missed(self, points: list[list[float] | None]) -> float:
        """Return the part of the hypervolume that trials missed."""
        found = np.array([p for p in points if p is not None]).reshape(-1, 2)
        return 1 - hypervolume(found, CORNER) / self.whole


def ours(trade: Trade, name: str, seed: int, trials: int) -> list[list[float] | None]:
    """Return what a searcher of whet found, trial by trial."""
    found: list[list[float] | None] = []
    goals = ["min loss", "min size"]
    with whet.Study(trade.space, goal=goals, search=name, schedule="full", seed=seed) as study:
        for _ in range(trials):
            trial = study.ask()
            if isinstance(trial, whet.Idle):  # nothing is left to try
                break
            point = trade.point(trial.params)
            found.append(None if point is None else list(point))
            if point is None:
                study.fail(trial, "not in the table")
            else:
                study.tell(trial, point[0], size=point[1])
    return found


def theirs(trade: Trade, name: str, seed: int, trials: int) -> list[list[float] | None]:
    """Return what a sampler of Optuna found."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    sampler = {"optuna-motpe": optuna.samplers.TPESampler, "optuna-nsga2": optuna.samplers.NSGAIISampler}[name](
        seed=seed
    )
    study = optuna.create_study(directions=["minimize", "minimize"], sampler=sampler)
    domains = {n: distribution(d) for n, d in trade.space.items()}
    found: list[list[float] | None] = []
    for _ in range(trials):
        trial = study.ask(domains)
        params = {
            n: d.values[trial.params[n]] if isinstance(d, whet.Ordered) else trial.params[n]
            for n, d in trade.space.items()
        }
        point = trade.point(params)
        found.append(None if point is None else list(point))
        if point is None:
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
        else:
            study.tell(trial, point)
    return found


def played(trade: Trade, name: str, seed: int, *, trials: int, kept: Path | None) -> list[list[float] | None]:
    """Return what a player found, from the file when it is there; one line of it is one play, and a program that was cut off goes on."""
    version = optuna.__version__ if name.startswith("optuna") else whet.__version__
    key = json.dumps([trade.table.key, name, version, seed, trials])
    if kept is not None and kept.exists():
        for line in kept.read_text().splitlines():
            known = json.loads(line)
            if known["key"] == key:
                return list(known["points"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = (theirs if name.startswith("optuna") else ours)(trade, name, seed, trials)
    if kept is not None:
        with kept.open("a") as file:
            file.write(json.dumps({"key": key, "points": found}) + "\n")
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=os.environ.get("WHET_DATA"), help="the folder above hpo_curves")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--players", default=",".join(PLAYERS))
    parser.add_argument("--tables", default="", help="only those with one of these in their names")
    parser.add_argument("--kept", type=Path, help="a file: every play is kept there, and not played again")
    parser.add_argument("--quick", action="store_true", help="1 seed, 15 trials")
    options = parser.parse_args()
    seeds, trials = (1, 15) if options.quick else (options.seeds, options.trials)
    folder = (options.data or Path("../shared/data")) / "hpo_curves"
    paths = [p for p in sorted(folder.glob("table_*.npz")) if any(w in p.stem for w in options.tables.split(","))]
    if not paths:
        raise SystemExit(f"search_front: no table_*.npz in {folder}. Give --data, or WHET_DATA.")
    names = options.players.split(",")
    at = sorted({max(1, trials // 2), trials})
    print(f"{seeds} seeds, part of the hypervolume missed after {' and '.join(map(str, at))} trials (standard error)\n")
    print("| table | " + " | ".join(names) + " |\n|" + "---|" * (len(names) + 1))
    every: dict[str, list[np.ndarray]] = {n: [] for n in names}
    for path in paths:
        trade, cells = Trade(path), []
        for name in names:
            points = [played(trade, name, s, trials=trials, kept=options.kept) for s in range(seeds)]
            missed = np.array([[trade.missed(p[:n]) for n in at] for p in points])
            every[name].append(missed)
            cells.append(" ".join(f"{m.mean():.4f} ({error(m):.4f})" for m in missed.T))
        print(f"| {trade.table.name} | " + " | ".join(cells) + " |", flush=True)
    means = [" ".join(f"{x:.4f}" for x in np.array(m).mean((0, 1))) for m in every.values()]
    print("| mean | " + " | ".join(means) + " |\n")
    for peer in [n for n in names if n != "tpe"] if "tpe" in names else []:
        apart = np.array(every["tpe"])[:, :, -1] - np.array(every[peer])[:, :, -1]  # (tables, seeds)
        better = sum(bool(row.mean() < 0) for row in apart)
        per_seed = apart.mean(0)
        print(
            f"tpe misses {statistics.mean(per_seed):+.4f} (standard error {error(per_seed):.4f}) beside {peer}"
            f" after {at[-1]}; less on {better} of {len(paths)} tables"
        )


if __name__ == "__main__":
    main()
