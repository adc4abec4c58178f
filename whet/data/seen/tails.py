"""Values far outside the rest of an axis: a gap in the tail that even a heavy tail does not explain."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import nnls
from scipy.special import log_ndtr, ndtri

from whet.seed import rng

__all__ = ["Tail", "tails"]

LEAST = 50  # values; fewer do not show what their tail is like
FACTOR = 1.5  # the first value beyond the gap is so many times as far from the median as the last before it
SHARE = 0.02  # at most this share of the values is called outlying
CROWD = 0.1  # and of those that are not the one value that most are
BODY = 30  # so many spacings next to a gap say what the tail is like there: farther in, light tails look heavier


@dataclass(frozen=True)
class Tail:
    """Values beyond a gap on one side.

    index: (m,) positions, the farthest first; z: (m,) their robust z-scores, (x - median) / (1.4826 MAD); gap: how many times farther out the first of them lies than the last that is not; p: how likely such a
    gap anywhere in this tail is under a power law, the heaviest tail; shape: how likely it is under the side's own shape.

    >>> Tail(np.array([7]), np.array([88.0]), 12.0, 1e-9, 1e-20).gap
    12.0
    """

    index: np.ndarray
    z: np.ndarray
    gap: float
    p: float
    shape: float


def tails(
    x: np.ndarray, *, alpha: float = 1e-3, sides: str = "both", share: float = SHARE, seed: int = 0
) -> list[Tail]:
    """Return the outlying ends of x (n,), at most two: lower and upper ("upper": that alone); NaN is left out.

    What is outlying lies beyond a gap: a value at least 1.5 times as far from the median as the next, with at most 2 % of all
    (`share`) beyond it. Either of two nulls must rule the gap out. A power law: sorted distances from the median have independent
    exponential spacings i (log d_i - log d_i+1) (Renyi), so the gap's, over the mean of the 30 within it, is past the F(2, 60)
    quantile that allows for all places looked at. Or the side's own shape: distances at the quantiles up to 98 % follow
    b z exp(c z + h z^2), with normal quantiles z and c, h >= 0 (Tukey's g and h; normal, log-normal and Cauchy values nearly do), and the gap
    ends past 1.5 times what that gives for z at probability alpha / n. And the robust z-scores are past that z. Ties are spread over the column's resolution first, so that
    rounded values make no gaps. Where over half of the values are one, the others are judged by themselves; where most of those are one as
    well (a rare count, a flag), all are judged together, by the median distance of the others in place of the MAD.

    >>> x = np.random.default_rng(0).normal(size=500); x[7] = 60.0
    >>> [t.index.tolist() for t in tails(x)], tails(np.random.default_rng(1).lognormal(size=500))
    ([[7]], [])
    """
    known = np.flatnonzero(np.isfinite(x))
    if len(known) < LEAST:
        return []
    values = np.asarray(x, float)[known]
    middle = float(np.median(values))
    spread = 1.4826 * float(np.median(np.abs(values - middle)))
    if spread == 0:  # most are one value, such as 0, and say nothing of how far out the others lie
        other = np.flatnonzero(values != middle)
        if not len(other):
            return []
        rest = values[other]
        if len(other) >= LEAST and np.median(np.abs(rest - np.median(rest))) > 0:
            share = min(CROWD, share * len(values) / len(other))
            found = tails(rest, alpha=alpha, sides=sides, share=share, seed=seed)
            return [replace(t, index=known[other[t.index]]) for t in found]
        # Most of the others are one value too, as of a rare count or a flag, or they are few: all together say more.
        spread = float(np.median(np.abs(rest - middle)))
    loose = values + _resolution(values) * (rng(seed, "tails").random(len(values)) - 0.5)
    found = []
    for sign in (1,) if sides == "upper" else (-1, 1):
        tail = _tail(sign * (loose - middle), alpha / 2, len(values), share)
        if tail is None:
            continue
        at, gap, p, own = tail
        z = (values[at] - middle) / spread
        if np.abs(z).min() > -ndtri(alpha / len(values)):
            found.append(Tail(known[at], z, gap, min(1.0, 2 * p), min(1.0, 2 * own)))
    return found


def _resolution(values: np.ndarray) -> float:
    """Return the usual step between neighbouring distinct values, 0 when hardly any value repeats."""
    distinct = np.unique(values)
    if len(distinct) > 0.9 * len(values) or len(distinct) < 3:
        return 0.0
    low, high = np.quantile(values, [0.02, 0.98])
    inner = distinct[(distinct >= low) & (distinct <= high)]
    steps = np.diff(inner if len(inner) > 2 else distinct)
    return float(np.median(steps))


def _tail(side: np.ndarray, alpha: float, n: int, share: float) -> tuple[np.ndarray, float, float, float] | None:
    """Return (positions beyond the innermost gap, its factor, its p under either null) on the positive side, or None."""
    order = np.argsort(-side, kind="stable")
    most = max(1, int(share * n))
    reach = min(most + BODY + 1, int((side > 0).sum()))
    if reach < BODY:
        return None
    d = np.log(side[order[:reach]])
    drop = d[:-1] - d[1:]
    steps = np.arange(1, reach) * drop  # (reach - 1,)
    most = min(most, reach - 20)
    shape = _shape(side, n)
    for i in np.flatnonzero(drop[:most] >= np.log(FACTOR))[::-1]:
        rest = steps[i + 1 : i + 1 + BODY]
        p = most * (1 + steps[i] / max(rest.sum(), 1e-12)) ** -len(rest)
        own = 1.0
        if shape is not None:
            own = n * float(np.exp(log_ndtr(-_reached(shape, d[i] - np.log(FACTOR)))))
        if min(p, own) <= alpha:
            return order[: i + 1], float(np.exp(drop[i])), float(p), own
    return None


def _shape(side: np.ndarray, n: int) -> np.ndarray | None:
    """Return (log b, c, h) of the distances at the upper quantiles of `side`, None where they are too few to tell."""
    if n < 200:
        return None
    share = np.linspace(0.6, 0.98, 20)
    d = np.quantile(side, share)
    if (d <= 0).any():  # half of the values are one value
        return None
    z = -ndtri(1 - share)
    y = np.log(d / z)
    columns = np.stack([np.ones(20), -np.ones(20), z, z**2], 1)
    weight = 1 / np.sqrt(share * (1 - share)) * np.exp(-(z**2) / 2) * z  # about one over the error of log d
    up, down, c, h = nnls(columns * weight[:, None], y * weight)[0]
    return np.array([up - down, c, h])


def _reached(shape: np.ndarray, log_distance: float) -> float:
    """Return the normal quantile whose distance that is."""
    low, high = 1e-6, 40.0
    for _ in range(60):
        z = (low + high) / 2
        far = np.log(z) + shape[0] + shape[1] * z + shape[2] * z**2
        low, high = (z, high) if far < log_distance else (low, z)
    return low
