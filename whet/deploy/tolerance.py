"""When two sets of float32 outputs are the same: the one rule that export and verify use."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["ATOL", "RTOL", "Distance", "distance"]

RTOL = 1e-4
ATOL = 1e-5


@dataclass(frozen=True)
class Distance:
    """How far outputs are from a reference.

    max_abs: greatest absolute difference; max_rel: that over the reference's greatest absolute value; worst: the greatest
    difference in units of what is allowed at its place, so `equal` is `worst <= 1`; atol: the absolute part of what is
    allowed. Values that are not finite are never equal: a deployed model that answers NaN is wrong even if its source
    does the same.

    >>> Distance(max_abs=1e-6, max_rel=1e-7, worst=0.02, atol=1e-4).equal
    True
    """

    max_abs: float
    max_rel: float
    worst: float
    atol: float

    @property
    def equal(self) -> bool:
        """Whether every difference is within the tolerance."""
        return self.worst <= 1


def distance(got: np.ndarray, want: np.ndarray) -> Distance:
    """Compare outputs (n, ...) with a reference of the same shape, in float64.

    Allowed is |got - want| <= 1e-4 * |want - mean of want's column| + 1e-5 * max |want|. The first part follows the
    signal, not its offset, so that predictions such as 2000 +- 1 are not forgiven an error of 0.2; the second is some 80
    roundings of float32 at the outputs' magnitude (sound exports of small networks stay under 10).

    >>> want = np.array([[2000.0], [2001.0]])
    >>> distance(want + 1e-3, want).equal, distance(want + 0.1, want).equal
    (True, False)
    """
    if got.shape != want.shape:
        raise ValueError(f"shapes differ: {got.shape} and {want.shape}")
    a, b = got.astype(np.float64), want.astype(np.float64)
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        return Distance(np.inf, np.inf, np.inf, 0.0)
    magnitude = float(np.abs(b).max(initial=0.0))
    atol = ATOL * magnitude
    allowed = RTOL * np.abs(b - b.mean(axis=0)) + atol
    difference = np.abs(a - b)
    most = float(difference.max(initial=0.0))
    with np.errstate(divide="ignore", invalid="ignore"):  # 0 / 0 where the reference is 0 everywhere: equal
        worst = np.where(difference > 0, difference / allowed, 0.0)
    return Distance(
        most, most / magnitude if magnitude else (np.inf if most else 0.0), float(worst.max(initial=0.0)), atol
    )
