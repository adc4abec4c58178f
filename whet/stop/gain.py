"""What going on may bring: the expected gain of as many further trials, against the noise of the best one's value."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from whet.errors import UsageError
from whet.stop.combine import Joins
from whet.stop.criterion import number
from whet.stop.point import Better, Curve, best, check_better

__all__ = ["LEAST", "NOISE", "Gain", "expected_gain"]

LEAST = 20  # values without which nothing is said
NOISE = "standard_error"  # the metric that holds the noise of a point's value
_TAIL = 5  # best values whose distance to the next one is the scale of the tail
_BOUND = 2 * _TAIL / 6.1791  # the 20 % point of chi-squared with 2 * 5 degrees of freedom
_RECORDS = 0.7965996  # Ein(1): how many scales a best of n gains in n more, on average


def expected_gain(values: Sequence[float], better: Better = "min") -> float:
    """Return by how much as many further trials may be expected to beat the best value, at an 80 % upper bound.

    An extrapolation of the records without a model of the objective. The best values of n trials are taken for the
    exponential tail that extreme value theory gives every distribution that is not heavy-tailed: above the (k+1)-th
    best value, k = 5, the mean excess of the k best estimates its scale s (Weissman 1978, "Estimation of parameters
    and large quantiles based on the k largest observations"; the maximum-likelihood estimate), and 2 k s / scale is
    chi-squared with 2 k degrees of freedom, which gives the upper bound. Of n further trials a number that is Poisson
    with mean 1 beats the best so far, and the expectation of the best of those is s * Ein(1) = 0.797 s below it. A
    tail that ends (a best value that cannot be beaten) is lighter, so that this says too much rather than too little.

    What none of the trials hinted at cannot be expected: a region of 1 in n of the space has been missed by n random
    trials with a chance of 37 %. Values that are not finite do not count; inf for less than 20 values.

    >>> expected_gain([1.0] * 20), expected_gain([1.0] * 19)
    (0.0, inf)
    >>> round(expected_gain([x / 20 for x in range(20)]), 3)
    0.193
    """
    check_better("expected_gain", better)
    sign = 1.0 if better == "min" else -1.0
    scores = sorted(sign * v for v in values if math.isfinite(v))
    if len(scores) < LEAST:
        return math.inf
    scale = math.fsum(scores[_TAIL] - s for s in scores[:_TAIL]) / _TAIL
    return scale * _BOUND * _RECORDS


@dataclass(frozen=True)
class Gain(Joins):
    """Stop a study when the expected gain of as many further trials is below the noise; a point is a trial's value.

    noise: the standard error of a value; None: that of the best point, in its metrics as "standard_error". To stop when
    what is left to gain cannot be told from the error of the validation estimate is the rule of Makarova et al. 2022,
    "Automatic Termination for Hyperparameter Optimization" (arXiv:2104.08166), whose bound on the regret comes from a
    Gaussian process; here it is `expected_gain`. It says nothing before 20 values, or where no noise is known.

    >>> from whet.stop import curve
    >>> Gain(0.01)(curve(*[0.5] * 20))
    'as many trials again are expected to gain less than 0, below the noise of 0.01'
    """

    noise: float | None = None
    better: Better = "min"

    def __post_init__(self) -> None:
        check_better("Gain", self.better)
        if self.noise is not None and not (math.isfinite(self.noise) and self.noise > 0):
            raise UsageError(f"Gain: noise must be a finite number > 0 or None, got {self.noise!r}.")

    def __call__(self, curve: Curve) -> str | None:
        """Return why to stop, or None."""
        if len(curve) < LEAST or (gain := expected_gain([p.value for p in curve], self.better)) == math.inf:
            return None
        noise = self.noise
        if noise is None:
            top = best(curve, self.better)
            noise = top.metrics.get(NOISE, math.nan) if top else math.nan
        if not gain < noise:  # also where no noise is known
            return None
        return f"as many trials again are expected to gain less than {gain:.2g}, below the noise of {noise:.2g}"

    def __str__(self) -> str:
        return "gain" if self.noise is None else f"gain {number(self.noise)}"
