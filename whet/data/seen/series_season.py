"""The season and the trend of a series: its periods, and how much of it each of them is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

__all__ = ["Parts", "autocorrelation", "decompose", "filled", "periods"]

LEAST = 30  # values; in fewer there are no seasons to be seen
CYCLES = 3  # so many times a season must come round to be one
BACKGROUND = 25  # frequencies on either side that say what the spectrum is like around one
WORTH = 0.32  # what a value inside a median under a Hann window is worth, of one in a mean of independent ones
HIGH = 0.1  # least autocorrelation at a season, and least rise of it above the valley before
PEAKS = 8  # of the spectrum, the highest, are looked at
WILD, FEW = 10.0, 0.01  # values so far out are left out, if they are at most this share
MOST = 20_000  # values, the last ones; more say no more


def filled(x: np.ndarray) -> np.ndarray:
    """Return x (n,) with NaN filled in along straight lines, at the ends with the nearest value.

    >>> filled(np.array([np.nan, 1.0, np.nan, 3.0])).tolist()
    [1.0, 1.0, 2.0, 3.0]
    """
    known = np.flatnonzero(np.isfinite(x))
    return np.interp(np.arange(len(x)), known, x[known]) if len(known) else np.zeros(len(x))


def autocorrelation(x: np.ndarray) -> np.ndarray:
    """Return (n,) the autocorrelations of x (n,) at lags 0, 1, ..., all divided by n (the usual estimate).

    >>> autocorrelation(np.array([1.0, -1.0] * 50))[:3].round(2).tolist()
    [1.0, -0.99, 0.98]
    """
    z = x - x.mean()
    size = 1 << (2 * len(z) - 1).bit_length()
    power = np.abs(np.fft.rfft(z, size)) ** 2
    r = np.fft.irfft(power, size)[: len(z)]
    return r / r[0] if r[0] > 0 else np.zeros(len(z))


def periods(x: np.ndarray, natural: Sequence[int] = (), *, alpha: float = 1e-3) -> list[tuple[int, float]]:
    """Return [(period, autocorrelation there)] of x (n,): the season, then a longer one of `natural` that adds to it.

    A peak in the spectrum of the differences counts when its power over the background is past the F(2, 2k) quantile for
    `alpha` over all frequencies; background: the median of the 25 frequencies on either side, worth k means. The period is
    where the autocorrelation, less the linear trend, has its hill (Vlachos, Yu, Castelli, SDM 2005), at the peak's or at a
    multiple, and comes round three times at least. At most 1 % of the values, over 10 robust standard deviations out, are left out; when nothing is
    found then, they are looked at too (what comes once a season is far out as well), each search at half of `alpha`. A `natural` period (steps in a day, week, year) within the resolution is it.

    >>> t = np.arange(240)
    >>> noise = np.random.default_rng(0).normal(size=240)
    >>> [p for p, r in periods(np.sin(t * 2 * np.pi / 12) + 0.1 * t + 0.3 * noise)], periods(noise)
    ([12], [])
    """
    whole = filled(np.asarray(x, float))[-MOST:]
    calm = _calm(whole)
    if calm is whole:
        return _found(whole, natural, alpha)
    return _found(calm, natural, alpha / 2) or _found(whole, natural, alpha / 2)


def _found(x: np.ndarray, natural: Sequence[int], alpha: float) -> list[tuple[int, float]]:
    """Return what `periods` does, of x (n,) without missing values."""
    n = len(x)
    if n < LEAST or x.std() == 0:
        return []
    t = np.arange(n)
    level = x - np.polyval(np.polyfit(t, x, 1), t)
    r = autocorrelation(level) * n / np.arange(n, 0, -1)  # for fewer products at longer lags
    main: tuple[int, float] | None = None
    for base in _peaks(np.diff(x), alpha):
        hills = [h for k in (1, 2, 3, 4, 6) if (h := _hill(r, base * k, natural))]
        top = max((height for _, height in hills), default=0.0)
        best = next((h for h in hills if h[1] >= 0.85 * top), None)
        if best is not None and (main is None or best[1] > main[1] + HIGH):
            main = best
    if main is None:
        return []
    short, height = main
    shorter = [
        h for p in natural if 1.5 * p < short and (h := _hill(r, p, natural)) and h[0] == p and h[1] > height / 2
    ]
    if shorter and short in natural:
        return [shorter[0], main]
    if shorter:  # a multiple of a day, as near a week, is a day
        short, height = shorter[0]
    longer = [h for p in natural if p > 1.5 * short and (h := _hill(r, p, natural)) and h[0] == p]
    return [(short, height), *[h for h in longer if h[1] > height + 2 / np.sqrt(n)][:1]]


def _calm(x: np.ndarray) -> np.ndarray:
    """Return x (n,) without its few values more than `WILD` robust standard deviations out: one 9999 hides every season."""
    distance = np.abs(x - np.median(x))
    wild = distance > WILD * 1.4826 * np.median(distance)
    return filled(np.where(wild, np.nan, x)) if 0 < wild.sum() <= FEW * len(x) else x


def _peaks(d: np.ndarray, alpha: float) -> list[float]:
    """Return the periods at which the spectrum of d (n,) stands out of its surroundings, the highest above them first.

    At most 8. Where there are more, as high harmonics of something short that comes round, a ninth: of the frequency from one to the next.
    """
    n = len(d)
    power = np.abs(np.fft.rfft((d - d.mean()) * np.hanning(n))) ** 2
    power = power[1 : n // 2 + 1]
    m = len(power)
    half = min(BACKGROUND, m // 4)
    padded = np.pad(power, half, mode="reflect")
    background = np.median(np.lib.stride_tricks.sliding_window_view(padded, 2 * half + 1), axis=1) / np.log(2)
    ratio = power / np.maximum(background, 1e-300)
    worth = WORTH * (2 * half + 1)
    p = m * (1 + ratio / worth) ** -worth
    inner = np.pad(power, 1)
    at = np.arange(m)
    high = at[(p < alpha) & (inner[at + 1] >= inner[at]) & (inner[at + 1] >= inner[at + 2]) & (at + 1 >= CYCLES)]
    first = [n / (i + 1) for i in high[np.argsort(-ratio[high], kind="stable")][:PEAKS]]
    return [*first, n / float(np.median(np.diff(high)))] if len(high) > PEAKS else first


def _hill(r: np.ndarray, period: float, natural: Sequence[int]) -> tuple[int, float] | None:
    """Return (lag, height) of the hill of the autocorrelation around `period`, None when there is none."""
    n = len(r)
    bins = n / period  # cycles: the frequency is known to about half a one
    low, high = int(np.floor(n / (bins + 0.6))), int(np.ceil(n / max(bins - 0.6, 0.5)))
    low, high = max(2, min(low, round(period) - 1)), min(max(high, round(period) + 1), n // CYCLES)
    if high < low:
        return None
    lag = low + int(np.argmax(r[low : high + 1]))
    known = [p for p in natural if low <= p <= high and r[p] >= 0.9 * r[lag]]
    lag = min(known, key=lambda p: abs(p - lag), default=lag)
    valley = float(r[max(1, lag // 2) : lag].min()) if lag > 2 else float(r[1])
    if r[lag] < HIGH or r[lag] < valley + HIGH:
        return None
    return lag, float(r[lag])


@dataclass(frozen=True)
class Parts:
    """A series taken apart, additively, each (n,): trend, season and rest.

    trend_strength, season_strength: 1 - Var(rest) / Var(rest + that part), at least 0 (Hyndman and Athanasopoulos).

    >>> Parts(np.arange(3.0), np.zeros(3), np.zeros(3)).trend_strength
    1.0
    """

    trend: np.ndarray
    season: np.ndarray
    rest: np.ndarray

    @property
    def trend_strength(self) -> float:
        """How much of what is not season is trend, 0 to 1."""
        return _strength(self.rest, self.trend)

    @property
    def season_strength(self) -> float:
        """How much of what is not trend is season, 0 to 1."""
        return _strength(self.rest, self.season)


def _strength(rest: np.ndarray, part: np.ndarray) -> float:
    whole = float(np.var(rest + part))
    return max(0.0, 1 - float(np.var(rest)) / whole) if whole > 1e-12 * (1 + float(np.mean(part**2))) else 0.0


def decompose(x: np.ndarray, period: int = 0) -> Parts:
    """Return trend, season and rest of x (n,); NaN is filled in first; period 0: no season.

    The trend is the centred moving average over one period (over a tenth of the series without one, odd, at least 5; even
    periods with half weights at the ends), straight on at both ends; the season the mean of what is left at each place in
    the period, with mean 0. Where the trend is whole these are those of `statsmodels.tsa.seasonal.seasonal_decompose`.

    >>> t = np.arange(60)
    >>> parts = decompose(0.5 * t + np.tile([1.0, -1.0, 0.0], 20), 3)
    >>> parts.season[:2].round(6).tolist(), round(parts.trend_strength, 3)
    ([1.0, -1.0], 1.0)
    """
    x = filled(np.asarray(x, float))
    n = len(x)
    width = period if period >= 2 else max(5, n // 10) | 1
    if n < 2 * width:
        width = max(1, (n // 2 - 1) | 1)
    weights = np.ones(width) if width % 2 else np.concatenate([[0.5], np.ones(width - 1), [0.5]])
    half = len(weights) // 2
    inside = np.convolve(x, weights / weights.sum(), "valid")
    whole = slice(half, half + len(inside))
    trend = np.interp(np.arange(n), np.arange(n)[whole], inside)
    for side, at in ((slice(0, half), slice(0, width)), (slice(n - half, n), slice(-width, None))):
        if half and len(inside) >= 2:
            t = np.arange(n)[whole][at]
            trend[side] = np.polyval(np.polyfit(t, inside[at], 1), np.arange(n)[side])
    season = np.zeros(n)
    if period >= 2 and n >= 2 * period:
        place = np.arange(n)[whole] % period
        left = x[whole] - inside
        means = np.bincount(place, left, minlength=period) / np.maximum(np.bincount(place, minlength=period), 1)
        season = (means - means.mean())[np.arange(n) % period]
    return Parts(trend, season, x - trend - season)
