"""The margin: a distribution over whole and ordered numbers that never comes to stand on one of them for good."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from scipy.special import ndtr, ndtri

from whet.tune.search.model.covariance import Normal

__all__ = ["cell", "kept_apart"]

_LEAST = 1e-10


def cell(inner: np.ndarray, at: float | np.ndarray) -> np.ndarray:
    """Return the numbers of the cells that places are in; inner: the ends between cells, each belonging to the cell below.

    >>> cell(np.array([0.25, 0.5, 0.75]), np.array([-3.0, 0.25, 0.26, 2.0])).tolist()
    [0, 0, 1, 3]
    """
    return np.asarray(np.searchsorted(inner, at, side="left"))


def kept_apart(normal: Normal, listed: Mapping[int, np.ndarray], least: float) -> Normal:
    """Return `normal` with mean and `widened` moved so that every listed column meets other values with some chance.

    listed: column -> the ends between the cells of its values, at least one; least: the chance. Hamano et al., "CMA-ES with Margin", 2022:
    a mean in the first or last cell is moved until a draw leaves the cell with that chance; elsewhere mean and width are such that a draw
    is below the cell, and above it, with half of that chance at least.

    >>> stuck = Normal.at(np.array([0.1]), 0.001)
    >>> moved = kept_apart(stuck, {0: np.array([0.25, 0.5, 0.75])}, 0.05)
    >>> round(float(1 - ndtr((0.25 - moved.mean[0]) / (moved.step * moved.widened[0]))), 6)
    0.05
    """
    if not listed:
        return normal
    mean, widened = normal.mean.copy(), normal.widened.copy()
    deviations = normal.deviations
    for j, inner in listed.items():
        k = int(cell(inner, mean[j]))
        low, high = inner[max(k - 1, 0)], inner[min(k, len(inner) - 1)]
        width = deviations[j] * widened[j]
        below, above = float(ndtr((low - mean[j]) / width)), 1.0 - float(ndtr((high - mean[j]) / width))
        if max(below, above) > 0.5:  # the first cell or the last: `low` and `high` are the same
            if min(below, above) < least:
                mean[j] = high + np.sign(mean[j] - high) * width * -ndtri(least)
            continue
        inside = 1.0 - below - above
        fewer, more = max(below, least / 2), max(above, least / 2)
        over, room = 1.0 - fewer - more - inside, fewer + inside + more - 1.5 * least
        fewer, more = (float(np.clip(p + over * (p - least / 2) / room, _LEAST, 0.5 - _LEAST)) for p in (fewer, more))
        down, up = -ndtri(fewer), -ndtri(more)  # how many deviations the ends are away
        widened[j] = (high - low) / ((down + up) * deviations[j])
        mean[j] = (low * up + high * down) / (down + up)
    return replace(normal, mean=mean, widened=widened)
