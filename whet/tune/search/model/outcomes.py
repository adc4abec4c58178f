"""What the trials of a study say, as numbers for a model: rows, values that behave, and which configurations failed."""

from __future__ import annotations

import numpy as np
from scipy.stats import yeojohnson

__all__ = ["settle"]

_FAR = 4.0  # values worse than the median by so many times what the best is better are pulled in


def settle(scores: np.ndarray) -> np.ndarray:
    """Return scores (n,), of which the smallest is best, with mean 0, variance 1 and tails that do not rule a model.

    What is far worse than the median is pulled in to `4` times as far as the best is on the other side; then the power
    transform of Yeo and Johnson 2000 with the most likely exponent makes the rest as normal as it can be (as in Cowen-Rivers
    et al. 2022, "HEBO", section 4.2). The order is kept, ties beyond the bound aside.

    >>> settle(np.array([1.0, 2.0, 3.0, 1e9])).round(2).tolist()
    [-0.9, -0.56, -0.22, 1.68]
    """
    scores = np.asarray(scores, float)
    best, median = scores.min(), float(np.median(scores))
    if median > best:
        scores = np.minimum(scores, median + _FAR * (median - best))
    spread = scores.std()
    if not spread > 1e-300:
        return np.zeros(len(scores))
    scores = (scores - scores.mean()) / spread
    if len(scores) > 4:
        scores, _ = yeojohnson(scores)
    return (scores - scores.mean()) / (scores.std() or 1.0)
