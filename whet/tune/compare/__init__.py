"""Comparing strategies: which of them finds better values sooner, on one task, with several seeds, beyond the noise."""

from whet.tune.compare.result import Comparison as Comparison
from whet.tune.compare.run import compare as compare

__all__ = ["Comparison", "compare"]
