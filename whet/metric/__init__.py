"""Metrics of predictions, with the interval that the number of examples allows; NumPy only."""

from __future__ import annotations

from whet.metric.bootstrap import Interval, wilson
from whet.metric.score import METRICS, Metric, default_metrics, interval, metric

__all__ = ["METRICS", "Interval", "Metric", "default_metrics", "interval", "metric", "wilson"]
