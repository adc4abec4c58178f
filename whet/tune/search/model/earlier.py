"""What earlier studies say of the configurations of a space: the posterior mean of each, as known functions for a later model."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from whet.tune.overlap import shared
from whet.tune.search.earlier import said
from whet.tune.search.model.cube import Cube
from whet.tune.search.model.features import Features
from whet.tune.search.model.outcomes import Scale
from whet.tune.search.model.process import Process, fit
from whet.tune.trial import Trials

__all__ = ["Earlier", "Recall"]

_LEAST = 4  # trials that a study must have to be made a model of
_FITTED = 100  # points that its hyperparameters are fitted to, evenly chosen


class Earlier:
    """What earlier studies say of configurations, as known functions z for `Features`: a new study's values are w'z and a rest.

    Each study with at least 4 trials is a Gaussian process of its own, over its values by their own `Scale`: no matter what it measured
    in which direction, good is small. z is its mean. What a study does not know plays no part in its z. The weights w have normal priors
    and are integrated out with the rest, so what the trials of the new study do not bear out counts less with each of them, and what
    they contradict counts against.

    With k studies a weight is expected to be `lean` / k, with the standard deviation `spread` / sqrt(k).

    known: k; lean (known,): expected weights in units of their standard deviation.

    >>> from whet.tune.space import Float, Space
    >>> from whet.tune.trial import State, Trial
    >>> space = Space(x=Float(0, 1))
    >>> done = [Trial(i, {"x": i / 9}, State.DONE, value=abs(i / 9 - 0.3)) for i in range(10)]
    >>> earlier = Earlier(Cube(space), [Trials(done, space=space)])
    >>> low, high = earlier(np.array([[0.3], [0.9]]))[:, 0]
    >>> bool(low < 0 < high)
    True
    """

    def __init__(self, cube: Cube, like: Sequence[Trials], *, lean: float = 0.5, spread: float = 0.5) -> None:
        made = (_model(cube, trials) for trials in like)
        self._models = [m for m in made if m is not None]
        self.known = len(self._models)
        n = max(1, self.known)
        self.spread = spread / math.sqrt(n)
        self.lean = np.full(self.known, lean / n / self.spread)

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        """Return what each says of rows (n, d): (n, known), each in units of the standard deviation of its weight."""
        out = np.empty((len(rows), self.known))
        columns: dict[tuple[bytes, bool], np.ndarray] = {}  # mostly the same for all of them
        for i, (hold, process) in enumerate(self._models):
            key = (hold.tobytes(), process.features.reach)
            if key not in columns:
                held = _held(rows, hold)
                done = np.column_stack([held, np.ones(len(rows))]) if process.features.reach else held
                columns[key] = process.features.of(done)
            out[:, i] = process.mean(columns[key])
        return out * self.spread


class Recall:
    """Remembers what the last earlier studies said in the last space.

    >>> from whet.tune.space import Float, Space
    >>> recall, cube = Recall(), Cube(Space(x=Float(0, 1)))
    >>> recall(cube, ()) is recall(cube, ()), recall(cube, ()) is recall(cube, (Trials([], space=cube.space),))
    (True, False)
    """

    def __init__(self) -> None:
        self._of: tuple[Cube, tuple[Trials, ...]] | None = None

    def __call__(self, cube: Cube, like: tuple[Trials, ...]) -> Earlier:
        """Return what the studies say in the space of `cube`; the same object for the same two."""
        if self._of is None or self._of[0] is not cube or self._of[1] is not like:
            self._of, self._last = (cube, like), Earlier(cube, like)
        return self._last


def _held(rows: np.ndarray, hold: np.ndarray) -> np.ndarray:
    """Return rows (n, d) with the columns that are not known held at one place, the same for all: then nothing depends on them.

    hold (d,): NaN for a column that is known, -inf for one held as not existing, else the place.
    """
    return np.where(np.isnan(hold), rows, np.where(np.isneginf(hold), np.nan, hold))


def _model(cube: Cube, trials: Trials) -> tuple[np.ndarray, Process] | None:
    """Return which columns are held, and the process of one study; None when it says too little."""
    there = said(cube.space, trials)
    if len(there) < _LEAST:
        return None
    names = shared(cube.space, trials.space)
    hold = np.array([
        np.nan if x.name in names else -np.inf if conditional else 0.5
        for x, conditional in zip(cube.dims, cube.conditional, strict=True)
    ])  # fmt: skip
    rows = _held(np.array([place for _, _, place in there]), hold)
    reach = np.array([_reach(trials, t.id) for t, _, _ in there])
    scores = np.array([trials.goal.score(t.value or 0.0) for t, _, _ in there])
    partial = bool((reach < 1.0).any())
    features = Features(cube, reach=partial)
    if partial:
        rows = np.column_stack([rows, reach])
    values = Scale.of(scores).to(scores)
    some = np.unique(np.linspace(0, len(rows) - 1, _FITTED).astype(int)) if len(rows) > _FITTED else slice(None)
    return hold, Process(features, rows, values, fit(features, rows[some], values[some]).theta)


def _reach(trials: Trials, id: int) -> float:
    if trials.steps <= 1:
        return 1.0
    return min(1.0, math.log(max(1, trials.reach(trials[id]))) / math.log(trials.steps))
