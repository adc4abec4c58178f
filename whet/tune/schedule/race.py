"""A race over folds: a step is a fold, the value is the mean of the folds so far, and who is beaten on the same folds is out."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from whet.errors import StudyError
from whet.tune.follow import Follow
from whet.tune.schedule.paused import Paused, Standing
from whet.tune.strategy import Resume, Start
from whet.tune.trial import Curve, Goal, Idle, State, Trial, Trials, Verdict

__all__ = ["DEAL", "Race", "beaten"]

DEAL = "deal-"  # begins the tag of a trial on other folds than the first ones, with whom nobody can be paired


@dataclass(frozen=True)
class Race:
    """Stop a trial that is worse than the best finished one on the folds both have, by a paired test.

    For cross-validated objectives: one step is one fold, the same folds in the same order for every trial, and what is reported is the
    mean over the folds so far. The score of a fold is taken back from two means. F-race and its kin (Birattari et al.
    2002; Maron and Moore 1994) test so; the test here is the paired t-test whose variance counts that the training parts of folds overlap
    (Nadeau and Bengio 2003), with the folds not yet seen among the steps of the study.

    alpha: the chance, at one look, that a trial that is as good as the best is stopped; least: folds before the first look. Raises
    StudyError when alpha is not between 0 and 0.5, or least not a whole number >= 2.

    >>> Race(alpha=0.01).least
    3
    """

    alpha: float = 0.05
    least: int = 3

    def __post_init__(self) -> None:
        if not isinstance(self.alpha, float) or not 0 < self.alpha < 0.5:
            raise StudyError(f"race: alpha must be a number between 0 and 0.5, got {self.alpha!r}. Use e.g. 0.05.")
        if not isinstance(self.least, int) or isinstance(self.least, bool) or self.least < 2:
            raise StudyError(f"race: least must be a whole number >= 2, got {self.least!r}. Use e.g. 3.")

    @property
    def one_goal(self) -> bool:
        """Whether a study with several goals is refused: True, the test is of the first one, and would stop what is on the front."""
        return True

    @cached_property
    def _paused(self) -> Paused:
        return Paused()

    @cached_property
    def _standing(self) -> Standing:
        return Standing()

    @cached_property
    def _leader(self) -> _Leader:
        return _Leader()

    def pick(self, trials: Trials, rng: np.random.Generator) -> Start | Resume | Idle:
        """Return Resume of the first interrupted trial, else Start."""
        id = self._paused.first(trials)
        return Start() if id is None else Resume(id)

    def judge(self, trial: Trial, trials: Trials) -> Verdict:
        """Return STOP when the trial is beaten, else GO; GO at the last step, where there is nothing left to save."""
        if trial.step < self.least or trial.step >= trials.steps:
            return Verdict.GO
        lead = self._leader.now(trials)
        if lead is None:
            return Verdict.GO
        mine, theirs = folds(trial.curve, trials.goal), folds(lead, trials.goal)
        if mine is None or theirs is None:
            return Verdict.GO
        return Verdict.STOP if beaten(mine - theirs[: len(mine)], trials.steps, self.alpha) else Verdict.GO

    def keep(self, trials: Trials) -> set[tuple[int, int]]:
        """Return the last checkpoint of every trial that is not closed."""
        return self._standing.on(trials)


def beaten(differences: np.ndarray, steps: int, alpha: float) -> bool:
    """Return whether differences (k,) on k of `steps` folds, positive where the trial is worse, are more than chance.

    t is their mean over sd sqrt(1/k + 1/(steps - 1)): the last term, test over training examples of a fold, counts that trainings share
    most of their examples. It is held against Student's t with k - 1 degrees of freedom, on one side.

    >>> beaten(np.array([0.1, 0.12, 0.09]), 10, 0.05), beaten(np.array([0.1, -0.2, 0.3]), 10, 0.05)
    (True, False)
    """
    from scipy.special import stdtr

    k, mean, spread = len(differences), float(differences.mean()), float(differences.std(ddof=1))
    if not mean > 0:
        return False
    if spread <= 1e-9 * abs(mean):
        return True
    t = mean / (spread * math.sqrt(1 / k + 1 / (steps - 1)))
    return float(1 - stdtr(k - 1, t)) < alpha


def folds(curve: Curve, goal: Goal) -> np.ndarray | None:
    """Return the score of each fold (k,), lower is better, from the means so far; None when a step was not reported.

    >>> from whet.tune.trial import Point
    >>> folds(Curve((Point(1, 0.5), Point(2, 0.4), Point(3, 0.5))), Goal("loss", "min")).round(9).tolist()
    [0.5, 0.3, 0.7]
    """
    k = len(curve)
    if k == 0 or curve.last != k:
        return None
    sums = np.array([goal.score(v) for v in curve.values()]) * np.arange(1, k + 1)
    return np.diff(sums, prepend=0.0)


class _Leader:
    """The curve of the best trial that saw all folds."""

    def __init__(self) -> None:
        self._follow = Follow()
        self._best: tuple[float, int] | None = None
        self._curve: Curve | None = None

    def now(self, trials: Trials) -> Curve | None:
        """Return it, or None before there is one."""
        again, news = self._follow.news(trials)
        if again:
            self._best = self._curve = None
        for t in news:
            if t.state is not State.DONE or t.step < trials.steps or len(t.curve) != t.step:
                continue
            if any(tag.startswith(DEAL) for tag in t.tags):
                continue
            key = (trials.goal.score(t.curve[-1].value), t.id)
            if self._best is None or key < self._best:
                self._best, self._curve = key, t.curve
        return self._curve
