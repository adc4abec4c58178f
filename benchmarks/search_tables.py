"""Regret of searchers on exhaustive tables of real training results, beside peers, with the same evaluations and seeds.

A table holds the final value of every configuration of a finite space, averaged over the runs it has, so the optimum is
known. Regret is (value - optimum) / (median - optimum) of the best value so far: 0 is the optimum, 1 the median of the
table. A configuration that the table lacks fails. After each mean stands its standard error over seeds. The lines below
the table compare each searcher of whet that learns with the best peer, after 60 evaluations and after the last. Peers
know how many evaluations they have where they ask for it (SMAC3: a quarter of them are its initial design).
Needs the tables (`--data`, or WHET_DATA). Run: python benchmarks/search_tables.py [--seeds 10] [--evaluations 100]
[--search gp,random] [--peers optuna-tpe,smac:3,aging] [--tables nasbench,hpolib]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import warnings
import zlib
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

import whet
from peers import Kept, error, lineup, play, verdicts

AT = (20, 40, 60, 100)
JUDGED = 60


class Table:
    """One table: a space, and a value (small is good) for each of its configurations."""

    def __init__(self, path: Path) -> None:
        loaded = np.load(path, allow_pickle=False)
        options = json.loads(str(loaded["space"]))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # a configuration without any run
            mean = np.nanmean(loaded["value"].astype(float), axis=1)
        self.name = path.stem.removeprefix("table_")
        self.key = f"{self.name} {zlib.crc32(mean.tobytes()):08x}"
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


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=os.environ.get("WHET_DATA"), help="the folder above hpo_curves")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--evaluations", type=int, default=100)
    parser.add_argument("--search", default="gp,sobol,random")
    parser.add_argument("--peers", default="optuna-tpe,optuna-gp,hyperopt,smac", help="names, or none")
    parser.add_argument("--tables", default="", help="only those with one of these in their names")
    parser.add_argument("--kept", type=Path, help="a folder: what peers did is kept there and not played again")
    options = parser.parse_args()
    folder = (options.data or Path("../shared/data")) / "hpo_curves"
    wanted = options.tables.split(",")
    paths = [p for p in sorted(folder.glob("table_*.npz")) if any(w in p.stem for w in wanted)]
    if not paths:
        said = (
            f"search_tables: no table_*.npz in {folder} with {options.tables or 'any name'}. Give --data, or WHET_DATA."
        )
        if options.data or options.tables:
            raise SystemExit(said)
        return print(said)
    at = [n for n in AT if n <= options.evaluations] or [options.evaluations]
    players, kept = lineup(options.search, options.peers), Kept(options.kept)
    print(f"{options.seeds} seeds, {options.evaluations} evaluations, regret after {', '.join(map(str, at))}\n")
    print("| table | " + " | ".join(p.name for p in players) + " |\n|" + "---|" * (len(players) + 1))
    found: dict[str, list[np.ndarray]] = {p.name: [] for p in players}  # by table, (seeds, len(at))
    cost: dict[str, list[float]] = {p.name: [] for p in players}
    for path in paths:
        table, cells = Table(path), []
        for p in players:
            played = [
                play(p, table.key, table.space, table.value, seed=s, evaluations=options.evaluations, kept=kept)
                for s in p.seeds(options.seeds)
            ]
            regrets = np.array([table.regret(one.values)[[n - 1 for n in at]] for one in played])
            found[p.name].append(regrets)
            cost[p.name].append(1e3 * statistics.mean(one.cpu for one in played) / options.evaluations)
            cells.append(" ".join(f"{r.mean():.4f} ({error(r):.4f})" for r in regrets.T))
        print(f"| {table.name} | " + " | ".join(cells) + " |", flush=True)
    whole = {name: np.array(r) for name, r in found.items()}  # (tables, seeds, len(at))
    means = [" ".join(f"{x:.4f}" for x in r.mean((0, 1))) for r in whole.values()]
    print("| mean | " + " | ".join(means) + " |")
    print("| CPU ms a trial | " + " | ".join(f"{statistics.mean(c):.1f}" for c in cost.values()) + " |\n")
    names = [p.stem.removeprefix("table_") for p in paths]
    for n in dict.fromkeys([JUDGED if JUDGED in at else at[-1], at[-1]]):
        judged = {name: r[:, :, at.index(n)] for name, r in whole.items()}
        for line in verdicts(judged, players, names, f"mean regret after {n}"):
            print(line)


if __name__ == "__main__":
    main()
