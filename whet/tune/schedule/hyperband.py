"""Hyperband: successive halving with several first rungs at once, since nobody knows which is too early."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

import numpy as np

from whet.errors import StudyError
from whet.tune.follow import Follow
from whet.tune.schedule.brackets import Brackets, named
from whet.tune.schedule.paused import Standing
from whet.tune.schedule.rungs import levels
from whet.tune.strategy import Resume, Start
from whet.tune.trial import Idle, Trial, Trials, Verdict

__all__ = ["Hyperband"]


@dataclass(frozen=True)
class Hyperband:
    """Pause trials at rungs as `asha` does, in several brackets: each begins to compare one rung later than the one before.

    Li et al., "Hyperband", JMLR 2018, in its asynchronous form (Li et al., "A System for Massively Parallel Hyperparameter
    Tuning", MLSys 2020; Klein et al., "Model-based Asynchronous Hyperparameter and Neural Architecture Search",
    2020). Trials of a bracket are compared with each other only, and promoted as `whet.tune.schedule.asha.Asha` says; the
    last bracket trains all it has to the end. What differs:

    - brackets are counted as in the second paper: the first rung of bracket b is first * factor ** b. Bracket b is s =
      s_max - b of the first paper;
    - neither one after the other (2018, 2020) nor drawn at random (Klein et al.): a new trial joins the bracket that would
      then have had the least of its share, the earliest of equal ones. So brackets fill side by side, beginning with
      many short trials, and after every round each has had exactly its share;
    - the shares are those of Table 1 of the first paper, floor((s_max + 1) / (s + 1)) * factor ** s. The ceiling in its
      Algorithm 1 is of the whole product and would start 34, 15 and 8 where the table has 27, 9 and 6;
    - among all brackets the trial in the highest rung goes on first, then the better one;
    - a trial that a person enqueued, and an imported one that names no bracket, is compared in bracket 0, and does not
      count as part of its share.

    The bracket is in the trial's origin ("bracket").

    factor: one of how many is promoted, and how much longer it is trained, >= 2; first: the first rung's step in bracket
    0, >= 1. Raises StudyError when they are not whole numbers in these ranges.

    >>> for n, rungs in Hyperband().brackets(27):
    ...     print(n, rungs)
    27 (1, 3, 9, 27)
    9 (3, 9, 27)
    6 (9, 27)
    4 (27,)
    """

    factor: int = 3
    first: int = 1

    def __post_init__(self) -> None:
        for name, value, low in (("factor", self.factor, 2), ("first", self.first, 1)):
            if not isinstance(value, int) or isinstance(value, bool) or value < low:
                raise StudyError(
                    f"hyperband: {name} must be a whole number >= {low}, got {value!r}. Use e.g. Hyperband()."
                )

    @cached_property
    def _brackets(self) -> Brackets:
        return Brackets(self.factor, self.first, many=True)

    @cached_property
    def _standing(self) -> Standing:
        return Standing()

    @cached_property
    def _given(self) -> _Given:
        return _Given()

    def brackets(self, steps: int) -> tuple[tuple[int, tuple[int, ...]], ...]:
        """Return, for every bracket, how many of a round's trials start in it, and its rungs; the last is `steps`."""
        at = levels(self.first, self.factor, steps)
        n = len(at)
        return tuple((n // (n - b) * self.factor ** (n - 1 - b), at[b:]) for b in range(n))

    def pick(self, trials: Trials, rng: np.random.Generator) -> Start | Resume | Idle:
        """Return Resume of an interrupted trial, else of the best promotable one, else Start, with its bracket."""
        if (resume := self._brackets.pick(trials)) is not None:
            return resume
        given = self._given.counts(trials)
        after = [Fraction(given[b] + 1, share) for b, (share, _) in enumerate(self.brackets(trials.steps))]
        return Start(origin={"bracket": after.index(min(after))})

    def finish(self, trials: Trials) -> Resume | Idle:
        """Return what to do in place of a Start when no more trials may start, as `asha` does."""
        return self._brackets.finish(trials)

    def judge(self, trial: Trial, trials: Trials) -> Verdict:
        """Return GO between rungs and at the last step, and where `pick` would resume this very trial; else PAUSE."""
        return self._brackets.judge(trial, trials)

    def keep(self, trials: Trials) -> set[tuple[int, int]]:
        """Return the last checkpoint of every trial that is not closed: as a rung fills, any may be promoted."""
        return self._standing.on(trials)


class _Given:
    """How many trials say that they are in each bracket, kept up to date."""

    def __init__(self) -> None:
        self._follow = Follow()
        self._of: dict[int, int | None] = {}
        self._counts: Counter[int | None] = Counter()

    def counts(self, trials: Trials) -> Counter[int | None]:
        again, news = self._follow.news(trials)
        if again:
            self._of, self._counts = {}, Counter()
        for t in news:
            if (b := named(t)) != (before := self._of.get(t.id)):
                self._counts[before] -= 1
                self._counts[b] += 1
                self._of[t.id] = b
        return self._counts
