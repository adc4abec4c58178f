"""How studies spend a budget of epochs: whet's with one or more simulated workers, and Optuna's."""

from __future__ import annotations

import heapq
import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

import whet
from curves.bench import Bench
from whet.tune.strategy import Scheduler, Searcher

__all__ = ["PEERS", "Ledger", "Player", "optunas", "ours"]


class Ledger:
    """The values that were paid for, an epoch each, in the order of paying.

    >>> ledger = Ledger(3)
    >>> for value in (2.0, float("nan"), 1.0):
    ...     ledger.pay(value)
    >>> ledger.spent, ledger.values
    (True, [2.0, nan, 1.0])
    """

    def __init__(self, budget: int) -> None:
        self.budget, self.values, self.trials, self.time = budget, [], 0, 0.0

    def pay(self, value: float) -> None:
        """Add the value of one more epoch."""
        assert not self.spent, "an epoch beyond the budget"
        self.values.append(float(value))

    @property
    def spent(self) -> bool:
        """Whether nothing is left."""
        return len(self.values) >= self.budget

    def regret(self, bench: Bench) -> np.ndarray:
        """Return (best so far - optimum) / (median - optimum) after each epoch (budget,).

        1.0 before the first finite value; the last goes on when the study ended before the budget did.
        """
        sign = 1.0 if bench.goal.startswith("min") else -1.0
        values = sign * np.array(self.values)
        best = np.minimum.accumulate(np.where(np.isfinite(values), values, np.inf))
        optimum, median = sign * bench.optimum, sign * bench.median
        found = np.where(np.isfinite(best), (best - optimum) / (median - optimum), 1.0)
        return np.concatenate([found, np.full(self.budget - len(found), found[-1] if len(found) else 1.0)])


Player = Callable[[Bench, int, int], Ledger]  # bench, seed, epochs


def ours(search: str | Searcher, schedule: str | Scheduler, workers: int = 1, spread: float = 0.0) -> Player:
    """Return how a searcher with a scheduler of whet spends the budget.

    workers: so many simulated ones share one study. Each asks when it is free and reports an epoch whenever one has
    passed on a virtual clock; an epoch takes a unit of time, or exp(spread * a normal number), drawn for each trial. A paused
    trial goes on from where it stands, so no epoch is paid twice.
    """

    def play(bench: Bench, seed: int, budget: int) -> Ledger:
        ledger, answer, draw = Ledger(budget), bench.answers(), np.random.default_rng(seed)
        curves: dict[int, np.ndarray] = {}
        takes: dict[int, float] = {}
        with whet.Study(
            bench.space, goal=bench.goal, search=search, schedule=schedule, steps=bench.steps, seed=seed
        ) as study:
            due: list[tuple[float, int, whet.Trial, int]] = []  # when, worker, trial, the step it then reports
            free, now, ended = list(range(workers)), 0.0, False
            while not ledger.spent:
                while free and not ended:
                    trial = study.ask()
                    if isinstance(trial, whet.Idle):
                        ended = trial is whet.Idle.DONE
                        break
                    assert trial.parent is None, f"trial {trial.id} begins from another's weights: not replayed here"
                    if trial.id not in curves:
                        found = answer(trial.params)
                        if found is None:  # every row is used: no new trial can be answered
                            ended = True
                            break
                        curves[trial.id] = found
                        takes[trial.id] = math.exp(spread * draw.standard_normal())
                        ledger.trials += 1
                    heapq.heappush(due, (now + takes[trial.id], free.pop(0), trial, trial.step + 1))
                if not due:
                    assert ended, "the study says WAIT, and nobody is left to wait for"
                    break
                now, worker, trial, step = heapq.heappop(due)
                value = curves[trial.id][step - 1]
                ledger.pay(value)
                verdict = study.report(trial, step, value)  # a value that is not finite fails the trial
                if verdict is whet.Verdict.GO and step < bench.steps:
                    heapq.heappush(due, (now + takes[trial.id], worker, trial, step + 1))
                    continue
                if verdict is whet.Verdict.GO:
                    study.tell(trial, value)
                free.append(worker)
            ledger.time = now
        return ledger

    return play


PEERS = {
    "tpe+hyperband": ("tpe", "hyperband"),
    "tpe+halving": ("tpe", "halving"),
    "tpe+median": ("tpe", "median"),
    "random+halving": ("random", "halving"),
}


def optunas(sampler: str, pruner: str, first: int = 1) -> Player:
    """Return how a sampler with a pruner of Optuna spends the budget; both with their defaults.

    The pruners that compare from a step on are told which is the `first`, and Hyperband what the last is; else they
    would guess from the first trial that ends.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    samplers = {"tpe": optuna.samplers.TPESampler, "random": optuna.samplers.RandomSampler}
    pruners: dict[str, Callable[[int], Any]] = {
        "hyperband": lambda steps: optuna.pruners.HyperbandPruner(min_resource=first, max_resource=steps),
        "halving": lambda steps: optuna.pruners.SuccessiveHalvingPruner(min_resource=first),
        "median": lambda steps: optuna.pruners.MedianPruner(),
    }

    def play(bench: Bench, seed: int, budget: int) -> Ledger:
        ledger, answer = Ledger(budget), bench.answers()
        study = optuna.create_study(
            sampler=samplers[sampler](seed=seed),
            pruner=pruners[pruner](bench.steps),
            direction="minimize" if bench.goal.startswith("min") else "maximize",
            study_name=f"{seed}",  # Hyperband's brackets are drawn from it
        )
        while not ledger.spent:
            trial = study.ask()
            curve = answer({n: _suggest(trial, n, domain) for n, domain in bench.space.items()})
            if curve is None:
                break
            ledger.trials += 1
            state = optuna.trial.TrialState.COMPLETE
            for step, value in enumerate(curve, 1):
                ledger.pay(value)
                if not math.isfinite(value):
                    state = optuna.trial.TrialState.FAIL
                    break
                trial.report(float(value), step)
                if trial.should_prune():
                    state = optuna.trial.TrialState.PRUNED
                    break
                if ledger.spent:
                    break
            whole = state is optuna.trial.TrialState.COMPLETE
            study.tell(trial, float(value) if whole else None, state=state)
        ledger.time = float(len(ledger.values))
        return ledger

    return play


def _suggest(trial: Any, name: str, domain: whet.Domain) -> Any:
    if isinstance(domain, whet.Float):
        return trial.suggest_float(name, domain.low, domain.high, log=domain.log)
    assert isinstance(domain, whet.Int), f"{name}: {domain} is not told to Optuna yet"
    return trial.suggest_int(name, domain.low, domain.high, log=domain.log)
