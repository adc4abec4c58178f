"""Hyperopt's TPE with its defaults, asked and told as its own loop does. A failure is told as STATUS_FAIL."""

from __future__ import annotations

import logging
import math
import warnings

import numpy as np

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import hyperopt
    from hyperopt import hp, tpe
    from hyperopt.base import JOB_STATE_DONE, JOB_STATE_RUNNING, Domain
import whet
from peers.flat import configuration, unconstrained
from whet.tune import domain as ours

logging.getLogger("hyperopt").setLevel(logging.ERROR)


class Tpe:
    """Trials in memory that tpe.suggest proposes from."""

    def __init__(self, space: whet.Space, seed: int, evaluations: int) -> None:
        self.space = unconstrained(space)
        self.domain = Domain(lambda _: 0.0, _nest(space, ""))
        self.trials = hyperopt.Trials()
        self.rng = np.random.default_rng(seed)

    def ask(self) -> dict[str, ours.Value]:
        ids = self.trials.new_trial_ids(1)
        self.trials.refresh()
        made = tpe.suggest(ids, self.domain, self.trials, int(self.rng.integers(2**31 - 1)), verbose=False)
        self.trials.insert_trial_docs(made)
        self.trials.refresh()
        self._doc = self.trials._dynamic_trials[-1]
        self._doc["state"] = JOB_STATE_RUNNING
        taken = {label: v[0] for label, v in self._doc["misc"]["vals"].items() if len(v)}
        return configuration(self.space, lambda label, domain: _value(domain, taken[label]))

    def tell(self, value: float) -> None:
        failed = value != value
        self._doc["result"] = {"status": hyperopt.STATUS_FAIL} if failed else {"status": "ok", "loss": float(value)}
        self._doc["state"] = JOB_STATE_DONE
        self.trials.refresh()

    def close(self) -> None:
        pass


def _nest(space: whet.Space, prefix: str) -> dict[str, object]:
    return {
        name: _expression(domain, prefix + name)
        for name, domain in space.items()
        if domain.size != 1 or isinstance(domain, whet.Choice)
    }


def _expression(domain: ours.Domain, label: str) -> object:
    match domain:
        case whet.Float(log=True):
            return hp.loguniform(label, math.log(domain.low), math.log(domain.high))
        case whet.Float():
            return hp.uniform(label, domain.low, domain.high)
        case whet.Int(log=True):  # half a step more on either side, so that the ends are as likely as their neighbours
            return hp.qloguniform(label, math.log(domain.low - 0.5), math.log(domain.high + 0.5), 1)
        case whet.Int():
            return hp.quniform(label, domain.low - 0.5, domain.high + 0.5, 1)
        case whet.Ordered():
            return hp.quniform(label, -0.5, len(domain.values) - 0.5, 1)
        case whet.Choice():
            branches = domain.branches or (None,) * len(domain.options)
            inner = [{} if b is None else _nest(b, f"{label}={i}.") for i, b in enumerate(branches)]
            return inner[0] if len(inner) == 1 else hp.choice(label, inner)
    raise TypeError(domain)


def _value(domain: ours.Domain, found: float) -> ours.Value:
    match domain:
        case whet.Float():
            return min(max(float(found), domain.low), domain.high)
        case whet.Int():
            return min(max(int(found), domain.low), domain.high)
        case whet.Ordered():
            return domain.values[min(max(int(found), 0), len(domain.values) - 1)]
        case whet.Choice():
            return domain.options[int(found)]
    raise TypeError(domain)
