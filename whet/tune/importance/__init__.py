"""What matters in a study: functional ANOVA of a forest grown on its trials."""

from __future__ import annotations

from whet.tune.importance.measure import importance

__all__ = ["importance"]
