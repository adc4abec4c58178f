"""Freeze and thaw: at every mark, go on with the trial that is forecast to gain the most for its steps, or start another."""

from __future__ import annotations

import bisect
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from whet.errors import StudyError
from whet.tune.follow import Follow
from whet.tune.forecast import Forecast, marks
from whet.tune.schedule.limits import Limits, said
from whet.tune.schedule.paused import Standing
from whet.tune.strategy import Resume, Start
from whet.tune.trial import Idle, State, Trial, Trials, Verdict

__all__ = ["FreezeThaw"]

_BEGIN = 10  # trials that are started before any goes on
_FURTHER = (1.5, 2.5, 5.0, 12.0, np.inf)  # how many times as far it is looked
_SHORT = 1e-3  # of a level: a gain below counts as none
_ENDED = 3  # trials that are trained to the end in any case, so that curves are known to their end
_WORTH = 0.02  # of a level: the expected gain for which trials still go on when no more may start
_EACH = 8  # the best so many at each mark are looked at
_DIVERGED = 3.0  # times what the best has gained, above where it began
_SEVENTEENTH = 17  # of a full training is what a new trial has before it is compared


@dataclass(frozen=True)
class FreezeThaw:
    """Train every trial a little, then always the one whose expected improvement on the best value, per step, is largest.

    After Swersky, Snoek and Adams, "Freeze-Thaw Bayesian Optimization", 2014 (arXiv:1406.3896), in which a basket of paused
    trials is kept too, and any of them may be revived. What differs:

    - curves are forecast as those of trials that stood alike went on (`Forecast`), not by a Gaussian process with exponential decay:
      nothing is assumed of their shape;
    - the best trial is the one with the largest expected improvement per step, over five horizons, not the one that tells the most
      about the minimum;
    - new trials have a fixed share of all steps; with several workers the best trial goes on all the same, and others start the
      new ones: its steps take their time one after the other. What a new trial is, the searcher says.

    At each mark (1, 2, 3, 5, 8, 11, 17 ... steps) the trial that trains is compared with those that wait. One that has got worse
    than where it began, by three times what the best has gained, is stopped for good. One that is held to break a bound of the goal
    (`whet.tune.schedule.limits`) goes on only when all are, and what it has reached is not what others must beat. Several goals it cannot serve: a forecast is of one number.

    share: of all steps that are the first of a trial, in (0, 1]; first: how many steps these are for each trial (default: a
    seventeenth of `steps`, at least 1). Raises StudyError when they are not.

    >>> FreezeThaw().at(51), FreezeThaw(first=1).at(9)
    ((3, 5, 8, 11, 17, 26, 38, 51), (1, 2, 3, 5, 9))
    """

    share: float = 0.6
    first: int | None = None

    def __post_init__(self) -> None:
        number = isinstance(self.share, (int, float)) and not isinstance(self.share, bool)
        if not number or not 0.0 < self.share <= 1.0:
            raise StudyError(f"freeze-thaw: share must be above 0 and at most 1, got {self.share!r}. Use e.g. 0.6.")
        whole = isinstance(self.first, int) and not isinstance(self.first, bool)
        if self.first is not None and (not whole or self.first < 1):
            raise StudyError(f"freeze-thaw: first must be a whole number >= 1, got {self.first!r}. Use e.g. 3.")

    def at(self, steps: int) -> tuple[int, ...]:
        """Return the steps at which trials of at most `steps` steps are compared; the last is `steps`."""
        first = min(self.first or max(1, round(steps / _SEVENTEENTH)), steps)
        return (first, *(m for m in marks(steps) if m > first))

    @cached_property
    def _forecast(self) -> Forecast:
        return Forecast()

    @cached_property
    def _basket(self) -> _Basket:
        return _Basket()

    @cached_property
    def _breaking(self) -> _Breaking:
        return _Breaking()

    @cached_property
    def _standing(self) -> Standing:
        return Standing()

    @property
    def one_goal(self) -> bool:
        """Curves are forecast of the first goal alone, so a study with several is refused."""
        return True

    def pick(self, trials: Trials, rng: np.random.Generator) -> Start | Resume | Idle:
        """Return Resume of an interrupted trial; else Start when new trials have had less than their share, else Resume of the best.

        While others run, Resume of a trial that waits when it is the best of all comes before Start.
        """
        basket = self._see(trials)
        if basket.interrupted:
            return Resume(min(basket.interrupted))
        if self._due(basket):
            first = self._leader(basket)
            return Resume(first) if first is not None and first in basket.waiting else Start()
        best = self._best(basket)
        return Start() if best is None else Resume(best)

    def finish(self, trials: Trials) -> Resume | Idle:
        """Return what to do in place of a Start when no more trials may start.

        Resume the best until a few have ended and none is forecast to gain anything worth its steps; then DONE, or WAIT while others run.
        """
        basket = self._see(trials)
        best = self._ranked(basket.waiting)
        if best is not None and (len(basket.done) < _ENDED or best[1] >= _WORTH):
            return Resume(best[0])
        return Idle.WAIT if basket.running or basket.asked else Idle.DONE

    def judge(self, trial: Trial, trials: Trials) -> Verdict:
        """Return GO between marks, at the last step, and where `pick` would resume this very trial; STOP when it diverged; else PAUSE."""
        step, at = trial.step, self.at(trials.steps)
        before = trial.curve[-2].step if len(trial.curve) > 1 else 0
        if step >= trials.steps or bisect.bisect_right(at, step) == bisect.bisect_right(at, before):
            return Verdict.GO
        basket = self._see(trials)
        if self._diverged(trial):
            return Verdict.STOP
        if basket.interrupted:
            return Verdict.PAUSE
        if self._due(basket):
            first = self._leader(basket, trial.id)
        else:
            first = self._best(basket, basket.waiting | {trial.id})
        return Verdict.GO if first == trial.id else Verdict.PAUSE

    def keep(self, trials: Trials) -> set[tuple[int, int]]:
        """Return the last checkpoint of every trial that is not closed: any may be revived."""
        return self._standing.on(trials)

    def _see(self, trials: Trials) -> _Basket:
        self._forecast.see(trials, without=self._breaking.held(trials))
        self._basket.see(trials, self.at(trials.steps))
        return self._basket

    def _due(self, basket: _Basket) -> bool:
        return basket.begun < _BEGIN or basket.fresh <= self.share * basket.steps

    def _leader(self, basket: _Basket, judged: int | None = None) -> int | None:
        """Return which trial goes on though new ones are due: the best of those that wait and run, when others can start the new ones.

        judged: the trial that is judged; None when a worker asks that has none. With one worker there is no such trial.
        """
        others = basket.running - {judged}
        if not others or basket.begun < _BEGIN:
            return None
        return self._best(basket, basket.waiting | others | ({judged} if judged is not None else set()))

    def _diverged(self, trial: Trial) -> bool:
        stand, n = self._forecast.stands[trial.id], len(self._forecast.stands)
        return n >= _BEGIN and stand.last > stand.first + _DIVERGED * self._forecast.scale

    def _best(self, basket: _Basket, among: set[int] | None = None) -> int | None:
        """Return which trial gains most per step; when none is forecast to gain, the best of them; None when there is none."""
        found = self._ranked(basket.waiting if among is None else among)
        return found[0] if found else None

    def _ranked(self, among: set[int]) -> tuple[int, float] | None:
        """Return the trial that gains most per step, and what it is expected to gain in all, in levels; None when there is none."""
        ids = self._foremost(among)
        if not ids:
            return None
        last = self._forecast.marks[-1]
        stands = [self._forecast.stands.get(i) for i in ids]
        known = [(i, s) for i, s in zip(ids, stands, strict=True) if s is not None]
        if not known:
            return min(ids), 0.0
        step = np.array([s.step for _, s in known], float)
        asked = np.array([np.minimum(np.ceil(step * f), last) for f in _FURTHER])  # (horizons, n)
        levels, weights = self._forecast.outcomes([i for i, _ in known] * len(_FURTHER), asked.ravel())
        gain = (np.maximum(-_SHORT - levels, 0.0) * weights).sum(1).reshape(asked.shape)
        rate = (gain / np.maximum(asked - step, 1.0)).max(0)
        _, _, id, most = min(zip(-rate, [s.low for _, s in known], [i for i, _ in known], gain.max(0), strict=True))
        return id, float(most)

    def _foremost(self, ids: set[int]) -> list[int]:
        """Return the best few at each mark: those behind have less to gain in as many steps."""
        groups: dict[int, list[tuple[float, int]]] = {}
        for i in ids - self._forecast.without or ids:
            s = self._forecast.stands.get(i)
            groups.setdefault(len(s.lows) if s else 0, []).append((s.low if s else np.inf, i))
        return sorted(i for group in groups.values() for _, i in sorted(group)[:_EACH])


class _Breaking:
    """Which trials are held to break a bound."""

    def __init__(self) -> None:
        self._follow, self._limits = Follow(), Limits()
        self._over: dict[int, tuple[float, ...]] = {}
        self._upto: tuple[float, ...] = ()
        self._held: frozenset[int] = frozenset()

    def held(self, trials: Trials) -> frozenset[int]:
        """Return their ids; none when all that have reported are among them."""
        again, news = self._follow.news(trials)
        self._limits.see(trials)
        if again:
            self._over, self._held, self._upto = {}, frozenset(), ()
        if not self._limits.bounds:
            return self._held
        for t in news:
            if t.curve and t.state is not State.FAILED:
                self._over[t.id] = self._limits.excesses(said(t.curve[-1], trials.goal.name))
            else:
                self._over.pop(t.id, None)
        if news or self._upto != self._limits.known:
            self._upto = self._limits.known
            found = frozenset(id for id, over in self._over.items() if self._limits.beyond(over) > 0)
            self._held = found if len(found) < len(self._over) else frozenset()
        return self._held


class _Basket:
    """Which trials wait at a mark, and how many steps were the first of a trial.

    begun: trials started; steps, fresh: steps of all trials, and those of them up to the first mark, of which running trials
    are given in advance what they are about to have.
    """

    def __init__(self) -> None:
        self._follow = Follow()
        self._clear()

    def _clear(self) -> None:
        self.waiting: set[int] = set()
        self.interrupted: set[int] = set()
        self.running: set[int] = set()
        self.asked: set[int] = set()
        self.done: set[int] = set()
        self._counted: dict[int, int] = {}
        self.begun = self.steps = self.fresh = 0

    def see(self, trials: Trials, at: tuple[int, ...]) -> None:
        again, news = self._follow.news(trials)
        if again:
            self._clear()
        for t in news:
            self._take(t, trials.steps, at)

    def _take(self, t: Trial, steps: int, at: tuple[int, ...]) -> None:
        for group in (self.waiting, self.interrupted, self.running, self.asked, self.done):
            group.discard(t.id)
        if t.state is State.PAUSED:
            before = t.curve[-2].step if len(t.curve) > 1 else 0
            marked = bisect.bisect_right(at, t.step) > bisect.bisect_right(at, before)
            (self.waiting if marked and t.step < steps else self.interrupted).add(t.id)
        elif t.state is State.RUNNING:
            self.running.add(t.id)
        elif t.state is State.WAITING and t.origin.get("search") != "enqueue":
            self.asked.add(t.id)
        elif t.state is State.DONE:
            self.done.add(t.id)
        had = t.step
        if t.id in self.running or t.id in self.asked:
            had = max(had, at[0])
        before = self._counted.pop(t.id, 0)
        if had:
            self._counted[t.id] = had
        self.begun += bool(had) - bool(before)
        self.steps += had - before
        self.fresh += min(had, at[0]) - min(before, at[0])
