"""Where trials fail: the chance that a configuration does not, learnt from those that did."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import log_ndtr

from whet.tune.search.model.cube import Cube
from whet.tune.search.model.features import Features
from whet.tune.search.model.process import Priors, Process, fit
from whet.tune.search.model.seen import View

__all__ = ["Sound", "sound"]

_SHOWN = 150  # of the failed, and of all points, that the process is made of
_LABELS = Priors(noise=(-3.0, 0.5))  # of labels 1 and -1, some of which are chance
_RECENT = 20  # trials whose failures say how careful to be
_FAILING = (0.03, 0.12)  # from this share of failures on with more care, up to the most at this share
_SAFE = 0.95  # then a proposal must have this chance not to fail


@dataclass(frozen=True)
class Sound:
    """The chance not to fail. least: the chance that a proposal must have.

    It is the probit of a Gaussian process over labels 1 (did not fail) and -1, which is close to a classifier and has a closed form
    (Rasmussen and Williams 2006, section 6.5).
    """

    process: Process
    least: float

    def log_chance(self, rows: np.ndarray) -> np.ndarray:
        """Return the logarithm of the chance (k,) that rows (k, d) do not fail."""
        at, unsure = self.process.predict(rows)
        return log_ndtr(at / np.sqrt(unsure**2 + self.process.noise))

    def weigh(self, value: np.ndarray, rows: np.ndarray, *, logarithm: bool = True) -> np.ndarray:
        """Return what rows (k, d) of this value (k,) are worth when they may fail: the value times the chance that they do not.

        logarithm: whether `value` is a logarithm. Rows with less than the `least` chance are behind all others, the better the larger
        their chance: where the best values lie at the edge of what fails, a product alone would fail every other time for ever.
        """
        log_chance = self.log_chance(rows)
        chance = np.exp(log_chance)
        value = value + log_chance if logarithm else value * chance
        return np.where(chance < self.least, value.min() - 1e3 * (self.least - chance) - 1.0, value)


def sound(cube: Cube, view: View, theta: np.ndarray | None = None, *, refit: bool = True) -> Sound | None:
    """Return what the failures among the trials say, None when there are none.

    theta: the hyperparameters of the last fit, which this one begins from, or which are kept when not `refit`.

    >>> from whet.tune.search.model.seen import Seen
    >>> from whet.tune.space import Float, Space
    >>> from whet.tune.trial import State, Trial, Trials
    >>> ends = [(x, State.FAILED if x > 0.5 else State.DONE) for x in (0.1, 0.3, 0.45, 0.55, 0.7, 0.9)]
    >>> trials = [Trial(i, {"x": x}, s, value=None if s is State.FAILED else 1.0) for i, (x, s) in enumerate(ends)]
    >>> seen = Seen()
    >>> view = seen.look(Trials(trials, space=Space(x=Float(0, 1))))
    >>> np.exp(sound(seen.cube, view).log_chance(np.array([[0.2], [0.8]]))).round(1)
    array([1., 0.])
    """
    if not len(view.failed):
        return None
    features = Features(cube)
    failed = view.failed[-_SHOWN:]
    rows = np.vstack([view.rows[-_SHOWN:], failed])
    labels = np.concatenate([np.ones(len(rows) - len(failed)), -np.ones(len(failed))])
    if theta is None or refit:
        made = fit(features, rows, labels, starts=[] if theta is None else [theta], priors=_LABELS)
        theta = made.theta.round(4)  # as it is recorded
    low, high = _FAILING
    least = min(_SAFE, _SAFE * (view.failing(_RECENT) - low) / (high - low))
    return Sound(Process(features, rows, labels, theta), least)
