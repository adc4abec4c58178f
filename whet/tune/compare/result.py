"""What came of a comparison: curves with bands, ranks with intervals, and what is more than noise. Values in, values out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np

from whet.metric.holm import holm
from whet.tune.compare.line import Line
from whet.tune.compare.noise import LEVEL, interval, midranks, signed_ranks
from whet.tune.compare.told import sentence, table
from whet.tune.goal import Goal

__all__ = ["Comparison", "Curve", "Pair", "Row"]

_POINTS = 120  # places of a curve, at most


@dataclass(frozen=True)
class Curve:
    """The mean over seeds at some places (m,), and its 95 % interval; from the first place on at which every seed has a value."""

    places: np.ndarray
    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray


@dataclass(frozen=True)
class Pair:
    """Two strategies seed by seed: by how much the second is better at the end (below 0: worse), and whether that is more than noise.

    gain, low, high: the mean over seeds in the metric's own units, and its 95 % interval; wins, losses: of the second, in seeds; p: of
    Wilcoxon's signed-rank test, corrected (Holm) for all that were made beside it.
    """

    first: str
    second: str
    gain: float
    low: float
    high: float
    wins: int
    losses: int
    p: float

    @property
    def verdict(self) -> Literal["better", "worse", "not told apart"]:
        """What the second is, beyond the noise."""
        if self.p > 1 - LEVEL or self.wins == self.losses:
            return "not told apart"
        return "better" if self.wins > self.losses else "worse"


@dataclass(frozen=True)
class Row:
    """One strategy at the end of the comparison.

    value, low, high: the mean of the best values over seeds, and its interval; rank: the mean of its ranks among all (1 is best), with its
    interval; over: the mean rank over the whole course; caught: after how much its mean is as good as the baseline's is at the end, None
    when it never is; missing: seeds without any value, which are left out of the value and come last in the ranks.
    """

    name: str
    value: float
    low: float
    high: float
    rank: float
    rank_low: float
    rank_high: float
    over: float
    caught: float | None
    missing: int
    against: Pair | None


@dataclass(frozen=True)
class Comparison:
    """Strategies on one task with the same seeds.

    goal: what is compared; by: what a place on a curve counts, "epochs" or "trials"; seeds: those that every strategy has come to the end
    of; lines: of each strategy, the baseline first, one a seed; wanted: how many seeds were asked for; name: of the task.

    >>> found = Comparison(Goal("loss", "min"), "trials", (0, 1), {"random": (Line((1,), (2.0,), 4, False),) * 2, "gp": (Line((1, 3), (2.0, 1.0), 4, False),) * 2})
    >>> [(r.name, r.value, r.rank, r.caught) for r in found.rows]
    [('gp', 1.0, 1.0, 1.0), ('random', 2.0, 2.0, 1.0)]
    """

    goal: Goal
    by: str
    seeds: tuple[int, ...]
    lines: Mapping[str, tuple[Line, ...]]
    wanted: int = 0
    name: str = ""

    @property
    def baseline(self) -> str:
        """The strategy that the others are held against."""
        return next(iter(self.lines))

    @cached_property
    def end(self) -> int:
        """The place at which they are compared: the furthest that every study came to, those aside that had nothing left to try."""
        spent = [x.spent for own in self.lines.values() for x in own]
        most = max(spent, default=0)
        return min((x.spent for own in self.lines.values() for x in own if not x.ended), default=most)

    @cached_property
    def places(self) -> np.ndarray:
        """The places (m,) at which curves are told."""
        return np.unique(np.round(np.linspace(1, max(1, self.end), min(_POINTS, max(1, self.end)))))

    def values(self, name: str, places: Sequence[float] | np.ndarray | None = None) -> np.ndarray:
        """Return the best values (seeds, m) of a strategy after `places`, at the end when None; NaN before the first."""
        found = self._scores(name, [self.end] if places is None else places)
        found = np.where(np.isfinite(found), found, np.nan)
        return found if self.goal.better == "min" else -found

    def curve(self, name: str) -> Curve:
        """Return the mean of the best values over seeds, with its band."""
        return _curve(self.places, self.values(name, self.places))

    def ahead(self, name: str) -> Curve:
        """Return by how much a strategy is better than the baseline, seed by seed: the mean, with its band."""
        mine, theirs = (self._scores(n, self.places) for n in (name, self.baseline))
        with np.errstate(invalid="ignore"):
            return _curve(self.places, theirs - mine)

    def ranks(self, places: Sequence[float] | np.ndarray | None = None) -> np.ndarray:
        """Return the ranks (strategies, seeds, m) after `places`, at the end when None; 1 is best, what is equal shares the mean."""
        at = [self.end] if places is None else places
        scores = np.stack([self._scores(n, at) for n in self.lines], -1)  # (seeds, m, strategies)
        return np.moveaxis(midranks(scores), -1, 0)

    def _scores(self, name: str, places: Sequence[float] | np.ndarray) -> np.ndarray:
        return np.stack([x.scores(places) for x in self.lines[name]])

    def pair(self, first: str, second: str) -> Pair:
        """Return two strategies held against each other, the p-value as it is."""
        a, b = (self._scores(n, [self.end])[:, 0] for n in (first, second))
        known = np.isfinite(a) & np.isfinite(b)
        gains = a[known] - b[known]
        low, high = interval(gains)
        mean = float(gains.mean()) if len(gains) else math.nan
        return Pair(first, second, mean, low, high, int((b < a).sum()), int((a < b).sum()), signed_ranks(a, b))

    @cached_property
    def against(self) -> dict[str, Pair]:
        """Each strategy against the baseline, corrected for as many tests."""
        return {p.second: p for p in _corrected([self.pair(self.baseline, n) for n in list(self.lines)[1:]])}

    @cached_property
    def pairs(self) -> tuple[Pair, ...]:
        """Every two strategies, the one of better rank second, corrected for as many tests."""
        order = [r.name for r in self.rows][::-1]
        return tuple(_corrected([self.pair(a, b) for i, a in enumerate(order) for b in order[i + 1 :]]))

    @cached_property
    def rows(self) -> tuple[Row, ...]:
        """The strategies at the end, the best rank first."""
        last, over = self.ranks()[:, :, 0], self.ranks(self.places).mean((1, 2))
        base = self.values(self.baseline)[:, 0]
        target = self.goal.score(float(np.nanmean(base))) if np.isfinite(base).any() else math.nan
        found = []
        for i, name in enumerate(self.lines):
            values = self.values(name)[:, 0]
            known = values[np.isfinite(values)]
            mean = float(known.mean()) if len(known) else math.nan
            found.append(Row(
                name, mean, *interval(known), float(last[i].mean()), *interval(last[i]), float(over[i]),
                self._caught(name, target), int((~np.isfinite(values)).sum()), self.against.get(name),
            ))  # fmt: skip
        return tuple(sorted(found, key=lambda r: (r.rank, r.over)))

    def _caught(self, name: str, target: float) -> float | None:
        """Return the first place at which the mean score of a strategy is at most `target`."""
        means = self._scores(name, self.places).mean(0)
        there = np.flatnonzero(means <= target + 1e-12 * max(1.0, abs(target)))
        return float(self.places[there[0]]) if len(there) else None

    @property
    def sentence(self) -> str:
        """What was found, in a few sentences."""
        return sentence(self)

    def json(self) -> dict[str, Any]:
        """Return everything as JSON values; what is not finite is None."""
        curves = {}
        for name in self.lines:
            c, d = self.curve(name), self.ahead(name)
            curves[name] = {
                "mean": _band(c), "ahead": None if name == self.baseline else _band(d),
                "rank": [list(p) for p in zip(self.places.tolist(), self.ranks(self.places)[list(self.lines).index(name)].mean(0).tolist(), strict=True)],
            }  # fmt: skip
        rows = [
            {**asdict(r), "against": None if r.against is None else {**asdict(r.against), "verdict": r.against.verdict}}
            for r in self.rows
        ]
        found = {
            "task": self.name, "goal": str(self.goal), "by": self.by, "end": self.end, "seeds": list(self.seeds), "wanted": self.wanted,
            "baseline": self.baseline, "level": LEVEL, "sentence": self.sentence, "rows": rows, "curves": curves,
            "pairs": [{**asdict(p), "verdict": p.verdict} for p in self.pairs],
            "values": {n: self.values(n)[:, 0].tolist() for n in self.lines},
        }  # fmt: skip
        plain: dict[str, Any] = _finite(found)
        return plain

    def table(self) -> list[str]:
        """Return the table of the strategies at the end, the best rank first, in at most 70 columns."""
        return table(self)

    def __repr__(self) -> str:
        return f"<comparison of {', '.join(self.lines)} over {len(self.seeds)} seeds>"

    def __str__(self) -> str:
        return "\n".join([*self.table(), self.sentence])


def _corrected(pairs: Sequence[Pair]) -> list[Pair]:
    return [Pair(**{**asdict(p), "p": q}) for p, q in zip(pairs, holm([p.p for p in pairs]), strict=True)]


def _curve(places: np.ndarray, values: np.ndarray) -> Curve:
    """Return the mean of (seeds, m) values at the places where all are finite, with intervals."""
    whole = np.isfinite(values).all(0)
    kept = values[:, whole]
    ends = np.array([interval(kept[:, i]) for i in range(kept.shape[1])]).reshape(-1, 2)
    return Curve(places[whole], kept.mean(0) if len(kept) else np.empty(0), ends[:, 0], ends[:, 1])


def _band(c: Curve) -> list[list[float]]:
    return [list(p) for p in zip(*(x.tolist() for x in (c.places, c.mean, c.low, c.high)), strict=True)]


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _finite(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
