"""The generations of a study: what evolution recorded in its trials, and the distribution that this leads to.

Which trials made a generation, in which order, is written into the first trial of the next one. So the distribution is a function of the
record alone: trials that end late, or get another value, change nothing of what was sampled already.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from whet.tune.follow import Follow
from whet.tune.search.model.bounds import merit
from whet.tune.search.model.covariance import sized
from whet.tune.search.model.mixture import Columns, Mixture
from whet.tune.search.model.seen import Seen, View
from whet.tune.trial import State, Trial, Trials

__all__ = ["Generations", "Ranked"]

Ranked = tuple[tuple[int, ...], int]  # trials, the best first, and how many of them, the last ones, failed

_ENDED = (State.DONE, State.STOPPED, State.PAUSED, State.FAILED)


class Generations:
    """Follows the generations of one study at a time.

    seen: its trials as arrays; columns: of its space. population, step, seed: the options of the searcher.
    """

    def __init__(self, population: int | None, step: float, seed: int) -> None:
        self._population, self._step, self._seed = population, step, seed
        self._follow = Follow()
        self.seen = Seen()

    def look(self, trials: Trials) -> View:
        """Take in what is new; return what all trials say."""
        view = self.seen.look(trials)
        again, news = self._follow.news(trials)
        if again:
            self.columns = Columns(self.seen.cube, self._step)
            self._told: dict[int, Ranked] = {}  # by generation, what led to it
            self._by: dict[int, int] = {}  # the trial that says so
            self._of: dict[int, dict[int, np.ndarray]] = {}  # by generation, the numbers of its trials
            self._rows: dict[int, np.ndarray] = {}
            self._ended: set[int] = set()
            self._states: list[tuple[Ranked, Mixture]] = []
        for t in news:
            self._take(t)
        return view

    def _take(self, t: Trial) -> None:
        if t.state is State.WAITING or not t.params:
            return
        if t.state in _ENDED and (t.value is not None or t.state is State.FAILED):
            self._ended.add(t.id)
        else:
            self._ended.discard(t.id)
        if t.id in self._rows:
            return
        self._rows[t.id] = self.seen.cube.encode([t.params])[0]
        found = read(t.origin.get("cma"), len(self.columns.numbers), t.id)
        if found is None:
            return
        generation, numbers, ranked = found
        self._of.setdefault(generation, {})[t.id] = numbers
        if ranked is not None and t.id < self._by.get(generation, t.id + 1):
            self._told[generation], self._by[generation] = ranked, t.id

    def begun(self, view: View, start: int) -> bool:
        """Return whether so many trials have ended, one of them at least with a value."""
        return len(self._ended) >= start and not self._ended.isdisjoint(view.ids.tolist())

    def now(self, view: View) -> tuple[Mixture, int, Ranked | None]:
        """Return the distribution to sample from, its generation, and what has just led to it, to be recorded; one trial has a value."""
        scores = dict(zip(view.ids.tolist(), merit(view).tolist(), strict=True))
        failed = set(view.failed_ids.tolist())

        def ranked(ids: list[int]) -> Ranked:
            order = sorted(ids, key=lambda id: (id in failed, scores.get(id, math.inf), id))
            return tuple(order), sum(id in failed for id in order)

        state = self._recorded()
        if state is None:
            most = (self._population or sized(self.seen.cube.d)) // 2
            best = ranked(sorted(id for id in self._ended if id in scores))[0][:most]
            return self._after(None, 0, (best, 0)), 0, (best, 0)
        generation = len(self._states) - 1
        used = {id for (ids, _), _ in self._states[1:] for id in ids}
        ended = sorted((self._near(generation).keys() & self._ended) - used)
        # a generation of nothing but failures says nothing of where to go; so it goes on until one of its trials has a value
        if len(ended) < state.size or not any(id in scores for id in ended):
            return state, generation, None
        some = ended[: state.size]
        if not any(id in scores for id in some):
            some = [*some[:-1], next(id for id in ended if id in scores)]
        told = ranked(some)
        return self._after(state, generation + 1, told), generation + 1, told

    def _recorded(self) -> Mixture | None:
        """Return the distribution that the record leads to, None when there is none; what is known of it already is kept."""
        states = self._states
        generation = 0
        state: Mixture | None = None
        while (told := self._told.get(generation)) is not None and self._sound(state, generation, told[0]):
            if generation < len(states) and states[generation][0] != told:
                del states[generation:]
            if generation == len(states):
                states.append((told, self._after(state, generation, told)))
            state = states[generation][1]
            generation += 1
        del states[generation:]
        return state

    def _sound(self, before: Mixture | None, generation: int, ids: tuple[int, ...]) -> bool:
        """Return whether trials can be what led to a generation: an imported record may be of anything."""
        if before is None:
            return all(id in self._rows for id in ids)
        near = self._near(generation - 1)
        return len(ids) == before.size and all(id in near for id in ids)

    def _near(self, generation: int) -> dict[int, np.ndarray]:
        """Return the numbers of the trials that a generation may be made of: its own, and those of the one before that ended late."""
        return {**self._of.get(generation - 1, {}), **self._of.get(generation, {})}

    def _after(self, before: Mixture | None, generation: int, told: Ranked) -> Mixture:
        ids, failed = told
        rows = np.array([self._rows[id] for id in ids])
        if before is None:
            return Mixture.first(self.columns, rows, self._step, self._population)
        near = self._near(generation - 1)
        numbers = np.array([near[id] for id in ids])
        return before.after(self.columns, numbers, rows, failed=failed, seed=self._seed, step=self._step)


def read(said: Any, n: int, id: int) -> tuple[int, np.ndarray, Ranked | None] | None:
    """Return generation, numbers (n,) and what led to it of what a trial recorded; None when it is not a record of this kind.

    >>> read({"generation": 2, "at": [0.5], "ranked": [4, 1, 0], "failed": 1}, 1, 7)
    (2, array([0.5]), ((4, 1, 0), 1))
    >>> read({"generation": 2}, 1, 7) is None
    True
    """
    if not isinstance(said, Mapping) or not _whole(said.get("generation")):
        return None
    at, ranked, failed = said.get("at"), said.get("ranked"), said.get("failed", 0)
    if not isinstance(at, list) or len(at) != n or not all(isinstance(x, (int, float)) for x in at):
        return None
    if ranked is None:
        return said["generation"], np.array(at, float), None
    if (
        not isinstance(ranked, list)
        or not ranked
        or not all(_whole(i) and i < id for i in ranked)
        or not _whole(failed)
    ):
        return None
    return said["generation"], np.array(at, float), (tuple(ranked), min(failed, len(ranked)))


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
