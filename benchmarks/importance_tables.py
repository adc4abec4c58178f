"""What matters, told from a few trials, against the exact answer of exhaustive tables; beside Optuna's evaluators.

A table holds every configuration of a finite space, so the functional ANOVA of all of it is computed by enumeration. `whet`
(whet.tune.importance, no seed but the sample's), Optuna's `fanova` and `ped` (PED-ANOVA, its default) are handed the same configurations, drawn evenly, and
values; what is far worse than the median is pulled in, in the table as in the trials, for all of them alike (`Scale`), as a few
diverged trainings would else be all of the variance. An ordered dimension is a whole number to Optuna, a choice a category.

error: mean absolute difference from the true share of a dimension alone, shares made to add up to 1 over dimensions (PED-ANOVA has no other). raw: the
same as shares of the variance. rank: Spearman's correlation of the shares with the true ones. inside: how many true shares lie in whet's intervals, alone and
total, 95 % of the trees. wrong: of what it said does not matter, what has a true total above 0.10; of what it said matters, what has one below 0.01; silent: of
how many it said neither. The second table is the local one: of the values cut off at the table's best tenth, which is what `top=0.1` estimates; and
of being among that tenth or not, which is what PED-ANOVA does; believed: in how many runs whet did not say that it cannot tell.

Needs the tables (`--data`, or WHET_DATA). Run: python benchmarks/importance_tables.py [--seeds 10] [--trials 50,200,1000] [--tables nasbench,hpolib]
[--kept FILE] [--quick]
"""

from __future__ import annotations

import argparse
import json
import os
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import optuna
from scipy.stats import spearmanr

from search_tables import Table
from whet.errors import StudyError
from whet.tune.domain import Choice
from whet.tune.importance import importance
from whet.tune.search.model.outcomes import Scale
from whet.tune.trial import State, Trial, Trials

TABLES = "parkinsons,australian,car,nasbench"
TOP = 0.1
Found = dict[str, Any]


class Exact:
    """A table as an array over its configurations, and its ANOVA. values: pulled in; good: the same cut off at the best tenth."""

    def __init__(self, table: Table) -> None:
        self.table, self.space = table, table.space
        known = table.values[np.isfinite(table.values)]
        worst = Scale.of(known).worst
        full = np.full(tuple(d.domain.size for d in self.space.dims), np.nan)
        for place, i in table._place.items():
            full[place] = table.values[i]
        self.values = np.where(np.isnan(full), np.minimum(known, worst).mean(), np.minimum(full, worst))
        self.bound = float(np.quantile(self.values, TOP))

    def at(self, params: dict[str, object]) -> float:
        """Return the value of a configuration."""
        place = [list(_options(d.domain)).index(params[d.name]) for d in self.space.dims]
        return float(self.values[tuple(place)])

    def truth(self) -> dict[str, np.ndarray]:
        """Return the shares of the dimensions, (d,) each: alone and total, and alone of the values cut off and of being good."""
        cut, good = np.minimum(self.values, self.bound), (self.values <= self.bound).astype(float)
        return {
            "alone": alone(self.values), "total": total(self.values), "local": alone(cut), "among": alone(good),
        }  # fmt: skip


def alone(values: np.ndarray) -> np.ndarray:
    """Return the share of the variance that is due to each axis by itself.

    >>> alone(np.array([[0.0, 1.0], [2.0, 3.0]])).tolist()
    [0.8, 0.2]
    """
    axes = range(values.ndim)
    return np.array([values.mean(tuple(k for k in axes if k != j)).var() for j in axes]) / values.var()


def total(values: np.ndarray) -> np.ndarray:
    """Return the share of the variance that each axis has a part in."""
    return np.array([values.var(axis=j).mean() for j in range(values.ndim)]) / values.var()


def _options(domain: Any) -> tuple[Any, ...]:
    return tuple(domain.options if isinstance(domain, Choice) else domain.values)


def of_whet(exact: Exact, drawn: list[Any], values: list[float], seed: int, top: float | None) -> Found:
    """Return what whet says."""
    done = [Trial(i, p, State.DONE, value=v) for i, (p, v) in enumerate(zip(drawn, values, strict=True))]
    found = importance(Trials(done, space=exact.space), top=top, seed=seed)
    parts = {p.name: p for p in found.parts}
    rows = [parts[d.name] for d in exact.space.dims]
    return {
        "alone": [p.alone.value for p in rows], "in": [[p.alone.low, p.alone.high] for p in rows],
        "total": [p.total.value for p in rows], "total in": [[p.total.low, p.total.high] for p in rows],
        "said": [p.verdict for p in rows], "r2": found.r2, "believed": found.predicts,
    }  # fmt: skip


def of_optuna(kind: str) -> Callable[..., Found]:
    """Return what an evaluator of Optuna says, as `of_whet` does."""

    def evaluate(exact: Exact, drawn: list[Any], values: list[float], seed: int, top: float | None) -> Found:
        import optuna.distributions as od

        dims = exact.space.dims
        kinds: dict[str, Any] = {
            d.name: od.CategoricalDistribution(_options(d.domain)) if isinstance(d.domain, Choice) else od.IntDistribution(0, len(_options(d.domain)) - 1)
            for d in dims
        }  # fmt: skip
        study = optuna.create_study()
        for p, v in zip(drawn, values, strict=True):
            params = {
                d.name: p[d.name] if isinstance(d.domain, Choice) else _options(d.domain).index(p[d.name]) for d in dims
            }
            study.add_trial(optuna.trial.create_trial(params=params, distributions=kinds, value=v))
        evaluator = (
            optuna.importance.FanovaImportanceEvaluator(seed=seed)
            if kind == "fanova"
            else optuna.importance.PedAnovaImportanceEvaluator()
        )
        found = optuna.importance.get_param_importances(study, evaluator=evaluator, normalize=False)
        return {"alone": [float(found[d.name]) for d in dims]}

    return evaluate


PLAYERS: dict[str, Callable[..., Found]] = {"whet": of_whet, "fanova": of_optuna("fanova"), "ped": of_optuna("ped")}


def play(exact: Exact, n: int, seed: int, name: str, top: float | None) -> Found:
    """Return what one says of `n` configurations drawn evenly, and the CPU seconds it took."""
    rng = np.random.default_rng([seed, n])
    drawn = [exact.space.sample(rng) for _ in range(n)]
    values = [exact.at(p) for p in drawn]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        began = time.process_time()
        try:
            found = PLAYERS[name](exact, drawn, values, seed, top)
        except (StudyError, RuntimeError):  # too few good ones: it says nothing
            found = {"alone": None}
    return {**found, "cpu": time.process_time() - began}


def measured(found: list[Found], true: np.ndarray) -> tuple[float, float, float]:
    """Return the mean error, raw error and rank correlation over seeds, NaN where nothing was said."""
    even, raw, rank = [], [], []
    for f in found:
        if f["alone"] is None or not np.sum(f["alone"]) > 0:
            continue
        mine = np.array(f["alone"])
        even.append(np.abs(mine / mine.sum() - true / true.sum()).mean())
        raw.append(np.abs(mine - true).mean())
        rank.append(spearmanr(mine, true).statistic)
    return tuple(float(np.nanmean(x)) if x else float("nan") for x in (even, raw, rank))  # type: ignore[return-value]


def checked(found: list[Found], true: dict[str, np.ndarray]) -> str:
    """Return how often intervals hold the true shares, and how often what is said is wrong."""
    hits: dict[str, list[bool]] = {"in": [], "total in": []}
    said = [(s, t) for f in found for s, t in zip(f["said"], true["total"], strict=True)]
    for f in found:
        for key, of in (("in", "alone"), ("total in", "total")):
            hits[key] += [low <= t <= high for (low, high), t in zip(f[key], true[of], strict=True)]
    no, yes = [t for s, t in said if s == "does not matter"], [t for s, t in said if s == "matters"]
    wrong = f"{sum(t > 0.10 for t in no)} of {len(no)}, {sum(t < 0.01 for t in yes)} of {len(yes)}"
    return f"{np.mean(hits['in']):.0%} {np.mean(hits['total in']):.0%} | {wrong}, {1 - (len(no) + len(yes)) / len(said):.0%}"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=os.environ.get("WHET_DATA"), help="the folder above hpo_curves")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--trials", default="50,200,1000")
    parser.add_argument("--tables", default=TABLES, help="only those with one of these in their names")
    parser.add_argument("--kept", type=Path, help="a file of JSON lines: what is in it is not measured again")
    parser.add_argument("--quick", action="store_true", help="2 seeds, 50 trials, the first table")
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    folder = (options.data or Path("../shared/data")) / "hpo_curves"
    paths = [p for p in sorted(folder.glob("table_*.npz")) if any(w in p.stem for w in options.tables.split(","))]
    if not paths:
        said = f"importance_tables: no table_*.npz in {folder} with {options.tables} in its name. Give --data, or WHET_DATA."
        if options.data:
            raise SystemExit(said)
        return print(said)
    seeds, sizes = options.seeds, [int(n) for n in options.trials.split(",")]
    if options.quick:
        seeds, sizes, paths = 2, [50], paths[:1]
    lines = options.kept.read_text().splitlines() if options.kept and options.kept.exists() else []
    kept: dict[str, Found] = {line["key"]: line["found"] for line in map(json.loads, lines)}

    def ask(exact: Exact, n: int, seed: int, name: str, top: float | None) -> Found:
        key = json.dumps([exact.table.key, n, seed, name, top])
        if key not in kept:
            kept[key] = play(exact, n, seed, name, top)
            if options.kept:
                with options.kept.open("a") as file:
                    file.write(json.dumps({"key": key, "found": kept[key]}) + "\n")
        return kept[key]

    print(f"{seeds} seeds\n\n| table | trials | error " + " ".join(PLAYERS) + " | raw whet fanova | rank "
          + " ".join(PLAYERS) + " | inside alone total | wrong no, yes, silent | CPU s " + " ".join(PLAYERS)
          + " |\n|" + "---|" * 8)  # fmt: skip
    everything = [Exact(Table(path)) for path in paths]
    for exact in everything:
        true = exact.truth()
        for n in sizes:
            found = {name: [ask(exact, n, s, name, None) for s in range(seeds)] for name in PLAYERS}
            figures = {name: measured(f, true["alone"]) for name, f in found.items()}
            error, raw, rank = (" ".join(f"{figures[name][k]:.3f}" for name in PLAYERS) for k in range(3))
            cpu = " ".join(f"{np.mean([f['cpu'] for f in of]):.2f}" for of in found.values())
            raw = " ".join(raw.split()[:2])
            print(
                f"| {exact.table.name} | {n} | {error} | {raw} | {rank} | {checked(found['whet'], true)} | {cpu} |",
                flush=True,
            )
    print(
        "\n| table | trials | error "
        + " ".join(PLAYERS)
        + " | rank | error of being among them | rank | believed |\n|"
        + "---|" * 7
    )
    for exact in everything:
        true = exact.truth()
        for n in sizes:
            found = {
                name: [ask(exact, n, s, name, TOP if name == "whet" else None) for s in range(seeds)]
                for name in PLAYERS
            }
            local, among = ({name: measured(f, true[of]) for name, f in found.items()} for of in ("local", "among"))
            cells = [" ".join(f"{of[name][k]:.3f}" for name in PLAYERS) for of in (local, among) for k in (0, 2)]
            believed = sum(bool(f.get("believed")) for f in found["whet"])
            print(f"| {exact.table.name} | {n} | " + " | ".join(cells) + f" | {believed} of {seeds} |", flush=True)


if __name__ == "__main__":
    main()
