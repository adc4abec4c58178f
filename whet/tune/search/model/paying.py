"""Which searcher pays off: what each proposal was worth beside all that came before it, and what is drawn from that."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from whet.tune.follow import Follow
from whet.tune.search.model.seen import Seen
from whet.tune.search.model.standing import standing
from whet.tune.trial import Trial, Trials

__all__ = ["Account", "Paying", "worth"]

_FORGOTTEN = 7.0  # times `memory`: older credit weighs less than a thousandth
_NOT_ITS_OWN = ("start", "fallback", "instead", "like")  # in the origin of what a member did not think of itself


@dataclass(frozen=True)
class Account:
    """What is known of the members, each (k,). credit: what its proposals were worth, recent ones the most; weight: how many they count
    as, so that credit is at most weight; idle: how many proposals were made since its last one, all there are when it made none.
    """

    credit: np.ndarray
    weight: np.ndarray
    idle: np.ndarray

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        """Return a draw (k,) for each member from what the worth of its next proposal is believed to be: Beta(1 + credit, 1 + weight - credit)."""
        return rng.beta(1.0 + self.credit, 1.0 + self.weight - self.credit)

    @property
    def mean(self) -> np.ndarray:
        """The mean (k,) of what `draw` draws from."""
        return (1.0 + self.credit) / (2.0 + self.weight)


class Paying:
    """Follows who proposed what in one study at a time.

    names: of the members; memory: how many proposals of the same member later a credit weighs 1/e.

    >>> from whet.tune.space import Float, Space
    >>> from whet.tune.trial import State
    >>> said = [{"search": "portfolio", "with": name} for name in "aabb"]
    >>> done = [Trial(i, {"x": i / 9}, State.DONE, value=v, origin=said[i]) for i, v in enumerate((3.0, 2.0, 2.5, 4.0))]
    >>> account = Paying("ab", memory=50.0).look(Trials(done, space=Space(x=Float(0, 1))))
    >>> account.credit.round(2).tolist(), account.weight.round(2).tolist(), account.idle.tolist()
    ([1.98, 0.63], [1.98, 1.98], [2, 0])
    """

    def __init__(self, names: Sequence[str], memory: float) -> None:
        self._names, self._memory = list(names), memory
        self._follow, self._seen = Follow(), Seen()

    def look(self, trials: Trials) -> Account:
        """Take in what is new; return what all trials say of the members."""
        view = self._seen.look(trials)
        again, news = self._follow.news(trials)
        if again:
            self._by: dict[int, int] = {}  # trial -> member
            self._own: set[int] = set()  # of these, what the member thought of itself
        for t in news:
            self._take(t)
        k = len(self._names)
        idle = np.full(k, len(self._by))
        for age, id in enumerate(sorted(self._by, reverse=True)):
            if idle[self._by[id]] > age:
                idle[self._by[id]] = age
                if (idle < len(self._by)).all():
                    break
        scores = dict(zip(view.ids.tolist(), standing(view).tolist(), strict=True))
        scores |= dict.fromkeys(view.failed_ids.tolist(), math.inf)
        ids = np.array(sorted(scores), int)
        values = np.array([scores[i] for i in ids.tolist()], float)
        credit, weight = np.zeros(k), np.zeros(k)
        most = _FORGOTTEN * self._memory
        later = [0] * k
        for i in range(len(ids) - 1, -1, -1):
            if (id := int(ids[i])) not in self._own or later[member := self._by[id]] > most:
                continue
            w = math.exp(-later[member] / self._memory)
            weight[member] += w
            credit[member] += w * worth(values[i], values[:i])
            later[member] += 1
        return Account(credit, weight, idle)

    def _take(self, t: Trial) -> None:
        name = t.origin.get("with") if t.origin.get("search") == "portfolio" else None
        if name not in self._names:
            return
        self._by[t.id] = self._names.index(name)
        if not any(key in t.origin for key in _NOT_ITS_OWN):
            self._own.add(t.id)


def worth(score: float, before: np.ndarray) -> float:
    """Return what a trial is worth beside those before it (n,), the smallest score being the best and inf a failure.

    1 for a new best, 0 for a failure, else 1 - log(rank) / log(n + 2): a rank twice as good is worth the same step wherever it is,
    so that what comes near to the best, which is what a search is for, counts most. It goes by the order alone.

    >>> [round(worth(score, np.arange(1.0, 9.0)), 2) for score in (0.0, 1.5, 3.5, 9.0, np.inf)]
    [1.0, 0.7, 0.4, 0.05, 0.0]
    """
    if not math.isfinite(score):
        return 0.0
    rank = 1.0 + float((before < score).sum()) + 0.5 * float((before == score).sum())
    return 1.0 - math.log(rank) / math.log(len(before) + 2)
