"""Two goals, with and without early stopping: how much of the hypervolume is missed after so many epochs, beside Optuna.

LCBench (Zimmer et al. 2021) by its surrogate (`curves.bench.LCBench`): validation accuracy after each of 52 epochs under 7 hyperparameters. The second goal
is the size of the network, as the logarithm of how many weights it has: a funnel of `num_layers` layers from `max_units` down, as LCBench builds it, for 32 inputs and 2
outputs. It is reported with every epoch and never changes. Accuracy is laid out from 0, the most that is known, to 1, the median of random
configurations; size from 0, the least, to 1, the most. Every report counts, since a training that was stopped has a model too. The hypervolume goes up to
(1, 1.1); 0 is missed when the front is as good as the one found by 2,048 random configurations and 10 rounds of changes to the best of them, which is not exact: it
may be beaten.

The budget is 20 full trainings, in epochs. Players are SEARCH+SCHEDULE of whet with both goals; SEARCH+SCHEDULE@first with the accuracy as the only goal; and
Optuna's TPESampler with two directions, which cannot stop a trial early: its `should_prune` refuses several objectives.

Run: python benchmarks/front_stopping.py [--data ../shared/data] [--lcbench 3] [--seeds 10] [--trainings 20] [--players ...] [--kept FILE] [--quick]
"""

from __future__ import annotations

import argparse
import json
import os
import warnings
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import optuna

import whet
from curves.bench import LCBench
from peers import error
from peers.of_optuna import distribution
from whet.tune.dominance import crowding, ranks
from whet.tune.hypervolume import hypervolume

CORNER = np.array([1.0, 1.1])
PLAYERS = "random+full,random+asha,tpe+full,tpe+asha,tpe+hyperband,tpe+median,gp+full,gp+hyperband,evolution+asha,tpe+asha@first,optuna-motpe"
MARKS = 10  # parts of the budget after which it is looked
_INPUTS, _OUTPUTS = 32, 2


def weights(params: Mapping[str, Any]) -> int:
    """Return how many weights the network has: the widths of a funnel fall in even steps from `max_units` to the outputs."""
    n, most = int(params["num_layers"]), int(params["max_units"])
    step = (most - _OUTPUTS) / n
    widths = [_INPUTS, *(round(most - i * step) for i in range(n)), _OUTPUTS]
    return sum((a + 1) * b for a, b in pairwise(widths))


class Trade(LCBench):
    """A data set of LCBench with two goals, both from 0 to 1."""

    def __init__(self, session: Any, space: whet.Space, code: int, name: str) -> None:
        self._session, self.space, self._code, self.name = session, space, code, name
        rng = np.random.default_rng(0)
        units = rng.random((2048, len(space.dims)))
        curves = self._curves(units)
        self.median = float(np.median(curves[:, -1]))
        most = curves.max(1)
        sizes = np.array([np.log10(weights(space.decode(u))) for u in units])
        for spread in np.geomspace(0.2, 0.005, 10):
            points = np.column_stack([-most, sizes])
            rank = ranks(points)
            first = np.lexsort((-crowding(points), rank))[:128]
            near = np.clip(np.repeat(units[first], 4, 0) + spread * rng.standard_normal((512, units.shape[1])), 0, 1)
            units = np.vstack([units, near])
            most = np.concatenate([most, self._curves(near).max(1)])
            sizes = np.concatenate([sizes, [np.log10(weights(space.decode(u))) for u in near]])
        self.optimum = float(most.max())
        ends = [
            np.log10(weights({"num_layers": n, "max_units": u}))
            for n in (space["num_layers"].low, space["num_layers"].high)  # type: ignore[union-attr]
            for u in (space["max_units"].low, space["max_units"].high)  # type: ignore[union-attr]
        ]
        self.low, self.high = min(ends), max(ends)
        self.whole = hypervolume(self.points(most, sizes), CORNER)

    def points(self, accuracies: np.ndarray, sizes: np.ndarray) -> np.ndarray:
        """Return both goals (n, 2), lower is better."""
        loss = (self.optimum - accuracies) / (self.optimum - self.median)
        return np.column_stack([loss, (sizes - self.low) / (self.high - self.low)])

    def answer(self, params: Mapping[str, Any]) -> tuple[np.ndarray, float]:
        """Return the accuracies of a configuration (steps,) and its size."""
        curve = self._curves(self.space.encode(params)[None])[0]
        return curve, float(np.log10(weights(params)))


class Ledger:
    """What was paid for: every epoch a point, until the budget is spent."""

    def __init__(self, trade: Trade, budget: int) -> None:
        self.trade, self.budget, self.trials = trade, budget, 0
        self.points: list[tuple[float, float]] = []

    def pay(self, accuracy: float, size: float) -> None:
        """Add an epoch."""
        assert not self.spent
        self.points.append((accuracy, size))

    @property
    def spent(self) -> bool:
        """Whether nothing is left."""
        return len(self.points) >= self.budget

    def missed(self) -> list[float]:
        """Return the part of the hypervolume that is missed after every part of the budget."""
        found = self.trade.points(*np.array(self.points).T)
        ends = [self.budget * (k + 1) // MARKS for k in range(MARKS)]
        return [1 - hypervolume(found[:n], CORNER) / self.trade.whole for n in ends]


def ours(trade: Trade, name: str, seed: int, budget: int) -> Ledger:
    """Return how a searcher with a scheduler of whet spends the budget."""
    pair, _, only = name.partition("@")
    search, schedule = pair.split("+")
    goals = ["max accuracy"] if only else ["max accuracy", "min size"]
    ledger, known = Ledger(trade, budget), {}
    with whet.Study(trade.space, goal=goals, search=search, schedule=schedule, steps=trade.steps, seed=seed) as study:
        while not ledger.spent:
            trial = study.ask()
            if isinstance(trial, whet.Idle):
                break
            if trial.id not in known:
                known[trial.id] = trade.answer(trial.params)
                ledger.trials += 1
            curve, size = known[trial.id]
            for step in range(trial.step + 1, trade.steps + 1):
                value = float(curve[step - 1])
                ledger.pay(value, size)
                if study.report(trial, step, value, size=size) is not whet.Verdict.GO or ledger.spent:
                    break
                if step == trade.steps:
                    study.tell(trial, value, size=size)
    return ledger


def theirs(trade: Trade, name: str, seed: int, budget: int) -> Ledger:
    """Return how Optuna's multi-objective TPE spends the budget: every trial is trained to the end."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(directions=["maximize", "minimize"], sampler=optuna.samplers.TPESampler(seed=seed))
    domains = {n: distribution(d) for n, d in trade.space.items()}
    ledger = Ledger(trade, budget)
    while not ledger.spent:
        trial = study.ask(domains)
        curve, size = trade.answer(trial.params)
        ledger.trials += 1
        for value in curve[: budget - len(ledger.points)]:
            ledger.pay(float(value), size)
        study.tell(trial, (float(curve[-1]), size))
    return ledger


def played(trade: Trade, name: str, seed: int, *, budget: int, kept: Path | None) -> dict[str, Any]:
    """Return what a player missed, from the file when it is there; one line of it is one play, and a program that was cut off goes on."""
    version = optuna.__version__ if name.startswith("optuna") else whet.__version__
    key = json.dumps([trade.name, name, version, seed, budget])
    if kept is not None and kept.exists():
        for line in kept.read_text().splitlines():
            known = json.loads(line)
            if known["key"] == key:
                return dict(known)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ledger = (theirs if name.startswith("optuna") else ours)(trade, name, seed, budget)
    found = {"key": key, "missed": ledger.missed(), "trials": ledger.trials}
    if kept is not None:
        with kept.open("a") as file:
            file.write(json.dumps(found) + "\n")
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=os.environ.get("WHET_DATA"), help="the folder above hpo_curves")
    parser.add_argument("--lcbench", type=int, default=3, help="so many data sets, evenly among all")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--trainings", type=int, default=20, help="the budget, in full trainings")
    parser.add_argument("--players", default=PLAYERS)
    parser.add_argument("--kept", type=Path, help="a file: every play is kept there, and not played again")
    parser.add_argument("--quick", action="store_true", help="1 data set, 1 seed, 4 trainings")
    options = parser.parse_args()
    some, seeds, trainings = (1, 1, 4) if options.quick else (options.lcbench, options.seeds, options.trainings)
    folder = (options.data or Path("../shared/data")) / "hpo_curves" / "lcbench_surrogate"
    if not (folder / "model.onnx").exists():
        raise SystemExit(f"front_stopping: no model.onnx in {folder}. Give --data, or WHET_DATA.")
    names = options.players.split(",")
    trades = Trade.read(folder, some)
    budget = trainings * Trade.steps
    marks = sorted({MARKS // 3, MARKS})
    print(
        f"{seeds} seeds, part of the hypervolume missed after {' and '.join(str(budget * k // MARKS) for k in marks)} epochs "
        f"(standard error), and trials started\n"
    )
    print("| data set | " + " | ".join(names) + " |\n|" + "---|" * (len(names) + 1))
    every: dict[str, list[np.ndarray]] = {n: [] for n in names}
    for trade in trades:
        cells = []
        for name in names:
            plays = [played(trade, name, s, budget=budget, kept=options.kept) for s in range(seeds)]
            missed = np.array([[p["missed"][k - 1] for k in marks] for p in plays])
            every[name].append(missed)
            started = np.mean([p["trials"] for p in plays])
            cells.append(" ".join(f"{m.mean():.4f} ({error(m):.4f})" for m in missed.T) + f", {started:.0f}")
        print(f"| {trade.name} | " + " | ".join(cells) + " |", flush=True)
    means = [" ".join(f"{x:.4f}" for x in np.array(m).mean((0, 1))) for m in every.values()]
    print("| mean | " + " | ".join(means) + " |\n")
    for ours_, peer in (("tpe+asha", n) for n in names if n != "tpe+asha" and "tpe+asha" in names):
        apart = np.array(every[ours_])[:, :, -1] - np.array(every[peer])[:, :, -1]  # (data sets, seeds)
        per_seed = apart.mean(0)
        print(
            f"{ours_} misses {per_seed.mean():+.4f} (standard error {error(per_seed):.4f}) beside {peer} in the end; "
            f"less on {sum(bool(r.mean() < 0) for r in apart)} of {len(trades)} data sets"
        )


if __name__ == "__main__":
    main()
