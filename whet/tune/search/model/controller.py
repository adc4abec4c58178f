"""What a controller has learnt from the trials of a study: REINFORCE with a baseline, folded over them in order."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from whet.tune.follow import Follow
from whet.tune.search.model.bounds import merit
from whet.tune.search.model.heads import Drawn, Heads, Params
from whet.tune.search.model.seen import Seen, View
from whet.tune.trial import State, Trial, Trials

__all__ = ["Controller", "Learnt", "reward"]

_WINDOW = 20  # trials before it that one is ranked among
_NEWEST = 0.1  # how much of the baseline the last reward is, at least
_STEEPEST = 0.5  # the most that a logarithm of a deviation moves at once
_FARTHEST = 6.0  # logits from each other


@dataclass(frozen=True)
class Learnt:
    """params: of the heads; baseline: what the next reward is compared with; seen: how many trials taught it."""

    params: Params
    baseline: float = 0.0
    seen: int = 0


class Controller:
    """Follows one study at a time. rate: how far one trial moves it; entropy: of the bonus; sd: of numbers at first."""

    def __init__(self, rate: float, entropy: float, sd: float) -> None:
        self._rate, self._entropy, self._sd = rate, entropy, sd
        self._follow = Follow()
        self.seen = Seen()

    def look(self, trials: Trials) -> View:
        """Take in what is new; return what all trials say."""
        view = self.seen.look(trials)
        again, news = self._follow.news(trials)
        if again:
            self.heads = Heads(self.seen.cube)
            self._drawn: dict[
                int, tuple[Drawn, float]
            ] = {}  # by trial: what it is, and the logarithm of its chance then
            self._ended: set[int] = set()
            self._told: list[tuple[int, float, int]] = []  # (trial, rank, among how many), in order
            self._states: list[Learnt] = [Learnt(self.heads.first(self._sd))]
        for t in news:
            self._take(t)
        return view

    def _take(self, t: Trial) -> None:
        if t.state in (State.WAITING, State.RUNNING) or not t.params:
            self._ended.discard(t.id)
        else:
            self._ended.add(t.id)
        if t.state is State.WAITING or not t.params or t.id in self._drawn:
            return
        row = self.seen.cube.encode([t.params])[0]
        found = read(t.origin.get("policy"), len(self.heads.numbers))
        if found is None:
            drawn = self.heads.of(row)
            self._drawn[t.id] = drawn, self.heads.even(drawn)
        else:
            self._drawn[t.id] = self.heads.of(row, found[0]), found[1]

    def now(self, view: View) -> Learnt:
        """Return what all trials that ended have taught."""
        scores = dict(zip(view.ids.tolist(), merit(view).tolist(), strict=True))
        scores |= dict.fromkeys(view.failed_ids.tolist(), math.inf)
        ids = sorted(id for id in scores if id in self._ended and id in self._drawn)
        ranks, among = ranked(np.array([scores[id] for id in ids], float))
        told = list(zip(ids, ranks.tolist(), among.tolist(), strict=True))
        # forecasts of half-trained trials move with every report, their ranks seldom do
        both = min(len(told), len(self._told))
        same = next((i for i in range(both) if told[i] != self._told[i]), both)
        del self._states[same + 1 :]
        for id, rank, others in told[same:]:
            self._states.append(self._after(self._states[-1], id, reward(rank, others)))
        self._told = told
        return self._states[-1]

    def _after(self, before: Learnt, id: int, value: float) -> Learnt:
        """Return what is learnt after one more trial.

        Its step is along (reward - baseline) times the gradient of the logarithm of its chance (Williams 1992), and along that of the entropy. A trial
        that was not drawn from what is known now, as it began before others ended or is a person's, counts the less the less likely it is by now.
        """
        drawn, then = self._drawn[id]
        p = before.params
        seen = before.seen + 1
        first = before.seen == 0  # nothing to compare it with
        advantage = 0.0 if first else value - before.baseline
        weight = math.exp(min(0.0, self.heads.logp(p, drawn) - then))
        g, h = self.heads.gradient(p, drawn), self.heads.entropy_gradient(p, drawn)
        a, b = self._rate * weight * advantage, self._rate * self._entropy
        # steps of numbers are in units of their variance, as Williams has them: so their size does not depend on the scale
        mean = np.clip(p.mean + a * np.exp(2 * p.log_sd) * g.mean, 0.0, 1.0)
        moved = np.clip(a * g.log_sd, -_STEEPEST, _STEEPEST) + b * h.log_sd
        log_sd = np.clip(p.log_sd + moved, self.heads.narrowest, math.log(0.5))
        logits = p.logits + a * g.logits + b * h.logits
        if len(logits):
            logits = np.maximum(logits - logits.max(1, keepdims=True), np.where(np.isinf(logits), -np.inf, -_FARTHEST))
        baseline = before.baseline + max(_NEWEST, 1 / seen) * (value - before.baseline)
        return Learnt(Params(logits, mean, log_sd), baseline, seen)


def ranked(scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the rank (n,) of each of scores (n,) among those just before it, 20 at most, and how many these are (n,).

    The smallest score is the best, inf a failure: its rank is inf. Equal ones share a place.

    >>> ranks, among = ranked(np.array([2.0, 1.0, np.inf, 2.0]))
    >>> ranks.tolist(), among.tolist()
    ([1.0, 1.0, inf, 2.5], [0, 1, 2, 3])
    """
    ranks = np.ones(len(scores))
    for k in range(1, min(_WINDOW, len(scores) - 1) + 1):
        ranks[k:] += (scores[:-k] < scores[k:]) + 0.5 * (scores[:-k] == scores[k:])
    return np.where(np.isinf(scores), np.inf, ranks), np.minimum(np.arange(len(scores)), _WINDOW)


def reward(rank: float, among: int) -> float:
    """Return the reward of a trial of this rank among those just before it, inf being a failure: -log(rank / (among + 1)).

    It says how rare so good a trial has been lately: twice as rare is log 2 more. Drawn from what does not change it is 1 on average.

    >>> [round(reward(rank, 7), 2) for rank in (1.0, 2.0, 4.0, 8.0, math.inf)]
    [2.08, 1.39, 0.69, 0.0, 0.0]
    """
    return math.log((among + 1) / rank) if math.isfinite(rank) else 0.0


def read(said: Any, n: int) -> tuple[np.ndarray, float] | None:
    """Return raw numbers (n,) and the logarithm of the chance of what a trial recorded; None when it is not a record of this kind.

    >>> read({"at": [0.5, None], "logp": -1.5}, 2)
    (array([0.5, nan]), -1.5)
    >>> read({"at": [0.5]}, 1) is None
    True
    """
    if not isinstance(said, Mapping):
        return None
    at, logp = said.get("at"), said.get("logp")
    if not isinstance(at, list) or len(at) != n or not all(x is None or _number(x) for x in at) or not _number(logp):
        return None
    return np.array([math.nan if x is None else x for x in at], float), float(logp)  # type: ignore[arg-type]


def _number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
