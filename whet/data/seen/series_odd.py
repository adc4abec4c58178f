"""What is odd in a series: values far from their neighbours, stretches that stand still, and a level that jumps."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import median_filter
from scipy.stats import t as student

from whet.data.seen.series_season import decompose, filled
from whet.data.seen.tails import Tail, tails

__all__ = ["Jump", "Run", "hampel", "jump", "runs", "stuck"]

HALF = 12  # values on either side whose median a value is held against
LONG = 3  # a stretch that stands still is so many times as long as any other of its value
RESTS = 10  # a value with so many other stretches is a place where the series rests
BLOCKS = 1000  # means the level is judged by; of longer series, of so many blocks
PERSISTENT = 0.7  # an autocorrelation of the rest from which a wander cannot be told from a jump


def hampel(x: np.ndarray, season: int = 0, *, alpha: float = 1e-3) -> list[Tail]:
    """Return the values of x (n,) that are far from the median of the 12 on either side, as `tails` of their local z-scores.

    z = (x - season - rolling median) / (1.4826 rolling median of that, absolute; at least half of the whole series'). Hampel's
    rule would call all |z| > 3 outliers, hundreds of them where tails are heavy; here the z must lie beyond a gap that chance
    rules out (`alpha` over the whole series, see `tails`).

    >>> x = np.random.default_rng(0).normal(size=400).cumsum(); x[77] += 60
    >>> [t.index.tolist() for t in hampel(x)]
    [[77]]
    """
    known = np.isfinite(x)
    level = filled(x)
    if 2 <= season <= len(x) // 2:  # by medians, so that an outlier stays one
        left = level - median_filter(level, season | 1, mode="nearest")
        level = level - np.array([np.median(left[k::season]) for k in range(season)])[np.arange(len(x)) % season]
    rest = level - median_filter(level, 2 * HALF + 1, mode="nearest")
    whole = 1.4826 * float(np.median(np.abs(rest[known]))) if known.any() else 0.0
    if whole == 0:
        return []
    local = 1.4826 * median_filter(np.abs(rest), 4 * HALF + 1, mode="nearest")
    return tails(np.where(known, rest / np.maximum(local, 0.5 * whole), np.nan), alpha=alpha)


@dataclass(frozen=True)
class Run:
    """A stretch of one value: where it starts, how long it is, and how likely one so long is.

    >>> Run(3, 50, 0.0, 1e-20).length
    50
    """

    start: int
    length: int
    value: float
    p: float


def runs(x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return (starts, lengths, values) of the stretches of equal neighbours in x (n,); NaN equals NaN.

    >>> [a.tolist() for a in runs(np.array([1.0, 1.0, 2.0, 2.0, 2.0]))]
    [[0, 2], [2, 3], [1.0, 2.0]]
    """
    same = (x[1:] == x[:-1]) | (np.isnan(x[1:]) & np.isnan(x[:-1]))
    starts = np.concatenate([[0], np.flatnonzero(~same) + 1])
    return starts, np.diff(np.append(starts, len(x))), x[starts]


def stuck(x: np.ndarray, *, alpha: float = 1e-3) -> list[Run]:
    """Return the stretches of x (n,) in which it stands still for longer than chance lets it.

    The chance to stay is that of the value's own other stretches where it has ten or more, and the stretch must then be three
    times as long as any of them (a series may rest at 0); else that of all other values. p = n q^(length - 1) < `alpha`.

    >>> x = np.random.default_rng(0).normal(size=500).round(1); x[100:130] = x[100]
    >>> [(r.start, r.length) for r in stuck(x)]
    [(100, 30)]
    """
    starts, lengths, values = runs(x)
    real = np.isfinite(values)
    starts, lengths, values = starts[real], lengths[real], values[real]
    n = int(lengths.sum())
    found = []
    for i in np.flatnonzero(lengths >= 5)[np.argsort(-lengths[lengths >= 5], kind="stable")][:200]:
        own = (values == values[i]) & (np.arange(len(values)) != i)
        if own.sum() >= RESTS:
            if lengths[i] < LONG * lengths[own].max():
                continue
            others = lengths[own]
        else:
            others = lengths[values != values[i]]
            if len(others) < 20:
                continue
        stay = (others.sum() - len(others) + 1) / (others.sum() + 2)
        p = float(n * stay ** (lengths[i] - 1))
        if p < alpha:
            found.append(Run(int(starts[i]), int(lengths[i]), float(values[i]), p))
    return found


@dataclass(frozen=True)
class Jump:
    """Where the level of a series jumps: the first value after it, by how much, and how likely that is by chance.

    >>> Jump(70, 3.5, 1e-12).at
    70
    """

    at: int
    size: float
    p: float


def jump(x: np.ndarray, season: int = 0, *, alpha: float = 1e-6) -> Jump | str:
    """Return the largest jump of the level of x (n,), or why there is none to be seen.

    The best step at any place, beside a cubic trend, with noise that follows its own last value (generalised least squares; rho
    of the rest beside the step, corrected for its bias); p is Student's, times the number of places. It must also fit the
    surroundings better than a cubic curve, and be twice the deviation of the rest. Under 100 values, or where rho is over 0.7, nothing is said.

    >>> x = np.random.default_rng(0).normal(size=300); x[120:] += 3
    >>> abs(jump(x).at - 120) < 3, jump(np.random.default_rng(1).normal(size=300))
    (True, 'no step')
    """
    level = filled(x) - (decompose(x, season).season if season else 0.0)
    block = -(-len(level) // BLOCKS)
    y = level[: len(level) // block * block].reshape(-1, block).mean(1)
    n = len(y)
    if n < 100 or y.std() == 0:
        return "under 100 values, or one value"
    y = np.clip(y, *np.quantile(y, [0.005, 0.995]))
    t = np.linspace(-1, 1, n)
    trend = np.stack([t**k for k in range(4)], 1)
    steps = (np.arange(n)[:, None] >= np.arange(n)[None, :]).astype(float)
    places = np.arange(max(10, n // 20), n - max(10, n // 20))
    beside, at, _ = _best(y, trend, steps[:, places])
    rest = beside[1]
    rho = float(rest[1:] @ rest[:-1] / max(rest @ rest, 1e-300))
    rho += (6 + 12 * max(rho, 0.0)) / n  # what a cubic trend and the best of all steps take away from it
    if rho > PERSISTENT:
        return f"the rest is persistent (autocorrelation {rho:.2f}): a wander cannot be told from a jump"
    rho = max(rho, 0.0)
    (size, rest), at, score = _best(
        y[1:] - rho * y[:-1], trend[1:] - rho * trend[:-1], steps[1:, places] - rho * steps[:-1, places]
    )
    p = float(2 * student.sf(score, n - 7) * len(places))
    spread = float(rest.std()) / np.sqrt(1 - rho**2)
    where = int(places[at])
    if p >= alpha or abs(size) < 2 * spread or not _sharp(y, where):
        return "no step"
    return Jump(where * block, size, p)


def _best(y: np.ndarray, trend: np.ndarray, steps: np.ndarray) -> tuple[tuple[float, np.ndarray], int, float]:
    """Return ((size, rest), column, |t|) of the column of `steps` (n, k) that explains y (n,) best beside `trend`."""
    q, _ = np.linalg.qr(trend)
    y, s = y - q @ (q.T @ y), steps - q @ (q.T @ steps)
    square = np.maximum((s**2).sum(0), 1e-12)
    gain = (s.T @ y) ** 2 / square
    at = int(np.argmax(gain))
    size = float(s[:, at] @ y / square[at])
    rest = y - size * s[:, at]
    error = np.sqrt(float(rest @ rest) / (len(y) - trend.shape[1] - 2) / square[at])
    return (size, rest), at, abs(size) / max(error, 1e-300)


def _sharp(y: np.ndarray, at: int) -> bool:
    """Return whether a line with a step fits the surroundings of a jump better than a cubic curve."""
    half = min(at, len(y) - at, max(15, len(y) // 8))
    part = y[at - half : at + half]
    t = np.linspace(-1, 1, len(part))
    line = np.stack([np.ones(len(part)), t, (np.arange(len(part)) >= half).astype(float)], 1)
    curve = np.stack([t**k for k in range(4)], 1)
    squares = [float(np.linalg.norm(part - c @ np.linalg.lstsq(c, part, rcond=None)[0]) ** 2) for c in (line, curve)]
    return squares[0] < squares[1]
