"""Regret of searchers on exhaustive tables of real training results, beside Optuna's, with the same evaluations and seeds.

A table holds the final value of every configuration of a finite space, averaged over the runs it has, so the optimum is
known. Regret is (value - optimum) / (median - optimum) of the best value so far: 0 is the optimum, 1 the median of the
table. A configuration that the table lacks fails. Needs the tables (`--data`, or WHET_DATA).
Run: python benchmarks/search_tables.py [--seeds 10] [--evaluations 60] [--search gp,random] [--peers tpe,gp]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
import warnings
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

import whet

AT = (20, 40, 60, 100)


class Table:
    """One table: a space, and a value (small is good) for each of its configurations."""

    def __init__(self, path: Path) -> None:
        loaded = np.load(path, allow_pickle=False)
        options = json.loads(str(loaded["space"]))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # a configuration without any run
            mean = np.nanmean(loaded["value"].astype(float), axis=1)
        self.name = path.stem.removeprefix("table_")
        self.values = mean if str(loaded["goal"]) == "min" else -mean
        self.space = whet.Space(**{
            n: whet.Ordered(v) if all(isinstance(x, (int, float)) for x in v) else whet.Choice(v) for n, v in options.items()
        })  # fmt: skip
        self._place = {tuple(row): i for i, row in enumerate(loaded["index"].tolist())}
        self._index = [{v: i for i, v in enumerate(vs)} for vs in options.values()]
        self.best, self.median = np.nanmin(self.values), np.nanmedian(self.values)

    def value(self, params: dict[str, object]) -> float:
        """Return the value of a configuration; NaN where there is none."""
        place = self._place.get(tuple(i[params[n]] for i, n in zip(self._index, self.space, strict=True)))
        return float("nan") if place is None else float(self.values[place])

    def regret(self, values: list[float]) -> np.ndarray:
        """Return the regret after each of the evaluations."""
        best = np.fmin.accumulate(np.array(values))
        return np.nan_to_num((best - self.best) / (self.median - self.best), nan=1.0)


def ours(search: str) -> Callable[[Table, int, int], list[float]]:
    """Return how a searcher of whet spends its evaluations."""

    def play(table: Table, seed: int, evaluations: int) -> list[float]:
        values = []
        with whet.Study(table.space, goal="min loss", search=search, schedule="full", seed=seed) as study:
            for _ in range(evaluations):
                trial = study.ask()
                values.append(table.value(dict(trial.params)))
                if np.isnan(values[-1]):
                    study.fail(trial, "not in the table")
                else:
                    study.tell(trial, values[-1])
        return values

    return play


def optunas(name: str) -> Callable[[Table, int, int], list[float]]:
    """Return how a sampler of Optuna spends its evaluations."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    samplers = {
        "tpe": optuna.samplers.TPESampler,
        "gp": optuna.samplers.GPSampler,
        "random": optuna.samplers.RandomSampler,
    }

    def play(table: Table, seed: int, evaluations: int) -> list[float]:
        study, values = optuna.create_study(sampler=samplers[name](seed=seed)), []
        for _ in range(evaluations):
            trial, params = study.ask(), {}
            for n, domain in table.space.items():
                if isinstance(domain, whet.Choice):
                    params[n] = trial.suggest_categorical(n, domain.options)
                else:  # in order, as ours is told
                    params[n] = domain.values[trial.suggest_int(n, 0, len(domain.values) - 1)]
            values.append(table.value(params))
            if np.isnan(values[-1]):
                study.tell(trial, state=optuna.trial.TrialState.FAIL)
            else:
                study.tell(trial, values[-1])
        return values

    return play


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("WHET_DATA", "../shared/data")))
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--evaluations", type=int, default=60)
    parser.add_argument("--search", default="gp,sobol,random")
    parser.add_argument("--peers", default="tpe,gp", help="of Optuna: tpe, gp, random; or none")
    options = parser.parse_args()
    paths = sorted((options.data / "hpo_curves").glob("table_*.npz"))
    if not paths:
        raise SystemExit(f"search_tables: no table_*.npz in {options.data / 'hpo_curves'}. Give --data, or WHET_DATA.")
    at = [n for n in AT if n <= options.evaluations]
    players = {name: ours(name) for name in options.search.split(",")}
    players |= {f"Optuna {n}": optunas(n) for n in options.peers.split(",") if n not in ("", "none")}
    print(f"{options.seeds} seeds, {options.evaluations} evaluations, regret after {', '.join(map(str, at))}\n")
    print("| table | " + " | ".join(players) + " |\n|" + "---|" * (len(players) + 1))
    means: dict[str, list[np.ndarray]] = {name: [] for name in players}
    cost: dict[str, list[float]] = {name: [] for name in players}
    for path in paths:
        table, cells = Table(path), []
        for name, play in players.items():
            began = time.process_time()
            regrets = np.array([table.regret(play(table, s, options.evaluations)) for s in range(options.seeds)])
            cost[name].append(1e3 * (time.process_time() - began) / options.seeds / options.evaluations)
            found = regrets[:, [n - 1 for n in at]]
            means[name].append(found.mean(0))
            error = found[:, -1].std(ddof=1) / np.sqrt(options.seeds) if options.seeds > 1 else float("nan")
            cells.append(" ".join(f"{x:.4f}" for x in found.mean(0)) + f" (+- {error:.4f})")
        print(f"| {table.name} | " + " | ".join(cells) + " |", flush=True)
    print("| mean | " + " | ".join(" ".join(f"{x:.4f}" for x in np.mean(m, 0)) for m in means.values()) + " |")
    print("| CPU ms a trial | " + " | ".join(f"{statistics.mean(c):.1f}" for c in cost.values()) + " |")


if __name__ == "__main__":
    main()
