"""The facts on a series in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["told"]


def told(facts: Mapping[str, Any]) -> list[str]:
    """Return lines on a series: its span, its season and trend, and the errors of the rules a model must beat.

    >>> facts = {"from": "1949-01-01", "to": "1960-12-01", "step": "month", "n": 144, "gaps": {"missing": 0}, "season": 12,
    ...          "seasons": [12], "season_strength": 0.98, "trend_strength": 0.99, "trend": 3.1,
    ...          "naive": {"last": {"rmse": 33.7}, "season": {"rmse": 36.3}}}
    >>> for line in told(facts): print(line)
    series 1949-01-01 to 1960-12-01, every month, 144 visible rows, no gaps
    season 12 (strength 0.98), trend up (strength 0.99)
    to beat on valid: the last value again rmse 33.7, a season ago 36.3
    """
    lost = facts["gaps"]["missing"]
    gaps = f"{lost:,} step{'s' * (lost > 1)} without a row" if lost else "no gaps"
    every = "irregular" if facts["step"] == "row" else f"every {facts['step']}"
    out = [f"series {facts['from']} to {facts['to']}, {every}, {facts['n']:,} visible rows, {gaps}"]
    season = ", ".join(str(p) for p in facts["seasons"])
    said = [f"season {season} (strength {facts['season_strength']:.2f})" if season else "no season"]
    way = "up" if facts["trend"] > 0 else "down"
    strong = facts["trend_strength"] > 0.3
    said.append(f"trend {way} (strength {facts['trend_strength']:.2f})" if strong and abs(facts["trend"]) > 0.5 else
                f"slow swings (strength {facts['trend_strength']:.2f})" if strong else "no trend")  # fmt: skip
    out.append(", ".join(said))
    naive = facts["naive"]
    if "last" in naive:
        line = f"to beat on valid: the last value again rmse {naive['last']['rmse']:.4g}"
        out.append(line + (f", a season ago {naive['season']['rmse']:.4g}" if "season" in naive else ""))
    return out
