"""Optuna's samplers with their defaults. A failure is told as TrialState.FAIL."""

from __future__ import annotations

from typing import ClassVar

import optuna

import whet
from peers.flat import configuration, unconstrained
from whet.tune.domain import Domain, Value

optuna.logging.set_verbosity(optuna.logging.ERROR)


class Tpe:
    """A study in memory with TPESampler, Optuna's default."""

    sampler: ClassVar[type] = optuna.samplers.TPESampler

    def __init__(self, space: whet.Space, seed: int, evaluations: int) -> None:
        self.space = unconstrained(space)
        self.study = optuna.create_study(sampler=self.sampler(seed=seed))

    def ask(self) -> dict[str, Value]:
        self._trial = trial = self.study.ask()
        return configuration(self.space, lambda label, domain: _suggest(trial, label, domain))

    def tell(self, value: float) -> None:
        if value != value:
            self.study.tell(self._trial, state=optuna.trial.TrialState.FAIL)
        else:
            self.study.tell(self._trial, value)

    def close(self) -> None:
        pass


class Gp(Tpe):
    """The same with GPSampler."""

    sampler = optuna.samplers.GPSampler


class Random(Tpe):
    """The same with RandomSampler."""

    sampler = optuna.samplers.RandomSampler


class Cma(Tpe):
    """The same with CmaEsSampler, which draws choices at random."""

    sampler = staticmethod(lambda seed: optuna.samplers.CmaEsSampler(seed=seed, warn_independent_sampling=False))


def distribution(domain: Domain) -> optuna.distributions.BaseDistribution:
    """Return the domain as Optuna has it; what is ordered as the number of its value."""
    match domain:
        case whet.Float():
            return optuna.distributions.FloatDistribution(domain.low, domain.high, log=domain.log)
        case whet.Int():
            return optuna.distributions.IntDistribution(domain.low, domain.high, log=domain.log)
        case whet.Ordered():
            return optuna.distributions.IntDistribution(0, len(domain.values) - 1)
        case whet.Choice():
            return optuna.distributions.CategoricalDistribution(domain.options)
    raise TypeError(domain)


def _suggest(trial: optuna.Trial, label: str, domain: Domain) -> Value:
    match domain:
        case whet.Float():
            return trial.suggest_float(label, domain.low, domain.high, log=domain.log)
        case whet.Int():
            return trial.suggest_int(label, domain.low, domain.high, log=domain.log)
        case whet.Ordered():
            return domain.values[trial.suggest_int(label, 0, len(domain.values) - 1)]
        case whet.Choice():
            return trial.suggest_categorical(label, domain.options)
    raise TypeError(domain)
