"""The passes of a study that zooms: what it recorded in its trials, and which one is under way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from whet.tune.follow import Follow
from whet.tune.search.model.bounds import merit
from whet.tune.search.model.cube import Cube
from whet.tune.search.model.ranges import Ranges, narrowed, scaled, wanted
from whet.tune.search.model.seen import Seen, View
from whet.tune.trial import State, Trial, Trials

__all__ = ["Pass", "Passes", "passes"]

_ENDED = (State.DONE, State.STOPPED, State.PAUSED, State.FAILED)


@dataclass(frozen=True)
class Pass:
    """One pass. number: 0, 1, 2 ...; since: the first trial of its descent, which began with the whole space; around: the best trial
    when it began; ranges: by name, as `Ranges.said` writes them, None for the whole space.
    """

    number: int
    since: int = 0
    around: int | None = None
    ranges: Mapping[str, Sequence[Any]] | None = None

    def record(self) -> dict[str, Any]:
        """Return what the first trial of the pass has in its origin; the others have the number alone."""
        if self.ranges is None:
            return {"pass": self.number, **({"since": self.since} if self.since else {})}
        return {"pass": self.number, "since": self.since, "around": self.around, "ranges": self.ranges}


def read(t: Trial) -> tuple[int, Pass | None] | None:
    """Return the number of a trial's pass, and the pass when it is said by this trial; None when it is of none.

    >>> read(Trial(7, origin={"zoom": {"pass": 2}})), read(Trial(3, origin={"search": "sobol"}))
    ((2, None), None)
    """
    said = t.origin.get("zoom")
    if not isinstance(said, Mapping) or not _whole(said.get("pass")):
        return None
    number: int = said["pass"]
    since, around, ranges = said.get("since", 0), said.get("around"), said.get("ranges")
    if not _whole(since) or not isinstance(ranges, (Mapping, type(None))) or (ranges is None and not since):
        return number, Pass(0) if number == 0 else None
    return number, Pass(number, since, around if _whole(around) else None, ranges)


def passes(trials: Trials) -> list[tuple[Pass, tuple[int, ...]]]:
    """Return the passes on record, each with its trials.

    >>> from whet.tune.space import Float, Space
    >>> said = [{"pass": 0}, {"pass": 0}, {"pass": 1, "since": 0, "around": 1, "ranges": {"x": [0.2, 0.7]}}]
    >>> done = [Trial(i, {"x": 0.5}, State.DONE, value=0.0, origin={"zoom": z}) for i, z in enumerate(said)]
    >>> [(p.number, p.ranges, ids) for p, ids in passes(Trials(done, space=Space(x=Float(0, 1))))]
    [(0, None, (0, 1)), (1, {'x': [0.2, 0.7]}, (2,))]
    """
    said: dict[int, Pass] = {}
    of: dict[int, list[int]] = {}
    for t in trials:
        if (found := read(t)) is not None:
            of.setdefault(found[0], []).append(t.id)
            if found[1] is not None:
                said.setdefault(found[0], found[1])
    return [(said.get(n, Pass(n)), tuple(of[n])) for n in sorted(of)]


class Passes:
    """Follows the passes of one study at a time.

    seen: its trials as arrays; cube: of its space, numbers on the scale of the searcher. trials, keep, share, scale: the searcher's options.
    """

    def __init__(self, trials: int, *, keep: float, share: float, scale: str) -> None:
        self._trials, self._keep, self._share, self._scale = trials, keep, share, scale
        self._follow = Follow()
        self.seen = Seen()

    def look(self, trials: Trials) -> View:
        """Take in what is new; return what all trials say."""
        view = self.seen.look(trials)
        again, news = self._follow.news(trials)
        if again:
            self.cube = Cube(scaled(trials.space, self._scale))
            self._said: dict[int, tuple[int, Pass, Ranges]] = {}  # by number: the trial that says it, and what
            self._ended: dict[int, set[int]] = {}
            self._rows: dict[int, np.ndarray] = {}
            self._told: set[int] = set()  # trials that ended with a value, of whatever pass
        for t in news:
            self._take(t)
        return view

    def _take(self, t: Trial) -> None:
        if t.state is State.WAITING or not t.params:
            return
        if t.id not in self._rows:
            self._rows[t.id] = self.cube.encode([t.params])[0]
        over = t.state in _ENDED and (t.value is not None or t.state is State.FAILED)
        (self._told.add if over and t.state is not State.FAILED else self._told.discard)(t.id)
        found = read(t)
        if found is None:
            return
        number, said = found
        ended = self._ended.setdefault(number, set())
        (ended.add if over else ended.discard)(t.id)
        if said is None or t.id > self._said.get(number, (t.id,))[0]:
            return
        ranges = Ranges.whole(self.cube) if said.ranges is None else Ranges.read(self.cube, said.ranges)
        if ranges is not None:
            self._said[number] = t.id, said, ranges

    def begun(self, number: int) -> int | None:
        """Return the first trial of a pass, None when there is none yet."""
        return self._said[number][0] if number in self._said else None

    def now(self, view: View, count: int) -> tuple[Pass, Ranges, bool]:
        """Return the pass under way, its ranges, and whether it begins with this trial. count: how many trials there are, this one included."""
        number = max(self._said, default=None)
        if number is None:
            return Pass(0), Ranges.whole(self.cube), True
        _, now, ranges = self._said[number]
        if len(self._ended.get(number, ())) < self._trials:
            return now, ranges, False
        # what a person or an earlier study knew counts for the first descent
        scores = zip(merit(view).tolist(), view.ids.tolist(), strict=True)
        told = [id for _, id in sorted(scores) if id >= now.since and id in self._told]
        if not told:
            return now, ranges, False
        if ranges.fine(self.cube):  # begin again with the whole space, and forget where this led
            return Pass(number + 1, since=count - 1), Ranges.whole(self.cube), True
        rows = np.array([self._rows[id] for id in told])
        best = wanted(self._share, self._trials)
        new = narrowed(self.cube, ranges, rows, best, keep=self._keep, spread=self._scale == "history")
        said = new.said(self.cube)
        return Pass(number + 1, now.since, told[0], said), Ranges.read(self.cube, said) or new, True


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
