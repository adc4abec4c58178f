"""Squeeze the last out of a study: an ensemble of its trials."""

from __future__ import annotations

from whet.squeeze.combine import Average, combine
from whet.squeeze.ensemble import Ensemble, greedy

__all__ = ["Average", "Ensemble", "combine", "greedy"]
