"""How many classes and examples there are in effect, when some classes are rare."""

from __future__ import annotations

import numpy as np

__all__ = ["effective_classes", "effective_size"]


def effective_classes(counts: np.ndarray) -> float:
    """Return exp(entropy) of the class shares: of k equally common classes k.

    >>> effective_classes(np.array([50, 50])), round(effective_classes(np.array([99, 1])), 2)
    (2.0, 1.06)
    """
    share = counts[counts > 0] / counts.sum()
    return float(np.exp(-(share * np.log(share)).sum()))


def effective_size(counts: np.ndarray) -> float:
    """Return k^2 / sum(1 / n_c) over the k classes present: so many balanced examples judge a balanced score as surely.

    >>> effective_size(np.array([50, 50])), round(effective_size(np.array([99, 1])), 2)
    (100.0, 3.96)
    """
    present = counts[counts > 0]
    return float(len(present) ** 2 / (1 / present).sum())
