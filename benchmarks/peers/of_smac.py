"""SMAC3's HyperparameterOptimizationFacade with its defaults, deterministic, by its ask and tell.

A failure is told as StatusType.CRASHED with the largest value told so far: the default cost of a crash, infinity, ends
SMAC3 2.4.1 with an error as soon as its forest is trained. One that comes before any value is told after the first.
"""

from __future__ import annotations

import logging
import tempfile
import warnings

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from ConfigSpace import Categorical, ConfigurationSpace, EqualsCondition, Float, Integer, OrdinalHyperparameter
    from smac import HyperparameterOptimizationFacade, Scenario
    from smac.runhistory import StatusType
    from smac.runhistory.dataclasses import TrialInfo, TrialValue
import whet
from peers.flat import configuration, labels, unconstrained
from whet.tune.domain import Domain, Value

logging.getLogger("smac").setLevel(logging.ERROR)


class Forest:
    """A facade whose files lie in a temporary folder. It is told how many evaluations there will be."""

    def __init__(self, space: whet.Space, seed: int, evaluations: int) -> None:
        self.space = unconstrained(space)
        self._folder = tempfile.TemporaryDirectory()
        scenario = Scenario(
            _configspace(space, seed), deterministic=True, n_trials=evaluations, seed=seed,
            output_directory=self._folder.name,
        )  # fmt: skip
        self.facade = HyperparameterOptimizationFacade(
            scenario, lambda config, seed=0: 0.0, overwrite=True, logging_level=False
        )
        self._worst: float | None = None
        self._held: list[TrialInfo] = []

    def ask(self) -> dict[str, Value]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self._info = self.facade.ask()
        taken = dict(self._info.config)
        return configuration(self.space, lambda label, domain: _value(domain, taken[label]))

    def tell(self, value: float) -> None:
        if value != value:
            self._held.append(self._info)
        else:
            self._worst = value if self._worst is None else max(self._worst, value)
            self.facade.tell(self._info, TrialValue(cost=float(value)), save=False)
        if self._worst is not None:
            for info in self._held:
                self.facade.tell(info, TrialValue(cost=self._worst, status=StatusType.CRASHED), save=False)
            self._held = []

    def close(self) -> None:
        self._folder.cleanup()


def _configspace(space: whet.Space, seed: int) -> ConfigurationSpace:
    found = ConfigurationSpace(seed=seed)
    for label, domain, parent in labels(space):
        made = _hyperparameter(label, domain)
        found.add(made)
        if parent is not None:
            found.add(EqualsCondition(made, found[parent[0]], parent[1]))
    return found


def _hyperparameter(label: str, domain: Domain) -> object:
    match domain:
        case whet.Float():
            return Float(label, (domain.low, domain.high), log=domain.log)
        case whet.Int():
            return Integer(label, (domain.low, domain.high), log=domain.log)
        case whet.Ordered():
            return OrdinalHyperparameter(label, list(range(len(domain.values))))
        case whet.Choice():
            return Categorical(label, list(range(len(domain.options))))
    raise TypeError(domain)


def _value(domain: Domain, found: float) -> Value:
    match domain:
        case whet.Float():
            return min(max(float(found), domain.low), domain.high)
        case whet.Int():
            return int(found)
        case whet.Ordered():
            return domain.values[int(found)]
        case whet.Choice():
            return domain.options[int(found)]
    raise TypeError(domain)
