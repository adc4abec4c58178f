"""What matters in a study: functional ANOVA of a forest grown on its trials."""

from __future__ import annotations

from whet.tune.importance.measure import importance
from whet.tune.importance.result import Importance, Joint, Part, Share

__all__ = ["Importance", "Joint", "Part", "Share", "importance"]
