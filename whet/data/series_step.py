"""How far apart the rows of a series are: by the calendar (months), in working days, in seconds, or in a unit of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["Step", "find_step"]

REGULAR = 0.8  # so large a share of the rows must come one step after the row before
FAR = 1000  # grids with so many places a row are no grids: the step is a typing error or a burst
SECONDS = {"week": 604_800, "day": 86_400, "hour": 3600, "minute": 60, "second": 1}


@dataclass(frozen=True)
class Step:
    """The distance between rows.

    unit: "month", "weekday" (Monday to Friday), "second", "number" (the time is a number), or "row" (no regular distance:
    rows count); size: how many of them.

    >>> str(Step("month", 3)), str(Step("second", 600)), str(Step("second", 86400)), Step("second", 3600).periods
    ('3 months', '10 minutes', 'day', (24, 168, 8766))
    """

    unit: str
    size: float = 1

    def __str__(self) -> str:
        size, unit = self.size, self.unit
        if unit == "second":
            unit = next(u for u in SECONDS if size % SECONDS[u] == 0 or u == "second")
            size = size / SECONDS[unit]
        elif unit == "month" and size % 12 == 0:
            size, unit = size / 12, "year"
        elif unit == "number":
            return f"{size:g}"
        return unit if size == 1 else f"{size:g} {unit}s"

    @property
    def periods(self) -> tuple[int, ...]:
        """Steps in a day, a week and a year, those that are two or more."""
        if self.unit == "month":
            found = [12 / self.size]
        elif self.unit == "weekday":
            found = [5.0, 261.0]
        elif self.unit == "second":
            found = [86_400 / self.size, 604_800 / self.size, 365.25 * 86_400 / self.size]
        else:
            found = []
        return tuple(round(p) for p in found if p >= 2)

    def json(self) -> dict[str, Any]:
        """Return the step as JSON values."""
        return {"unit": self.unit, "size": self.size}

    @classmethod
    def of(cls, value: Mapping[str, Any]) -> Step:
        """Return the step that `json` wrote."""
        return cls(str(value["unit"]), float(value["size"]))

    def places(self, times: np.ndarray) -> np.ndarray:
        """Return (n,) int64: the place of each time on the grid, the first at 0; times (n,) rise, datetime64 or float.

        Each distance is rounded to whole steps, at least one, so that a clock that drifts stays on the grid.

        >>> Step("month").places(np.array(["2024-01-31", "2024-02-29", "2024-05-31"], "datetime64[s]")).tolist()
        [0, 1, 4]
        """
        if self.unit == "row" or len(times) < 2:
            return np.arange(len(times))
        ahead = np.maximum(np.rint(_distances(times, self.unit) / self.size), 1).astype(np.int64)
        return np.concatenate([[0], np.cumsum(ahead)])

    def after(self, time: Any) -> Any:
        """Return the time one step after `time` (datetime64 or float); of rows without a step the same.

        >>> str(Step("month").after(np.datetime64("2024-01-31T00:00:00")))
        '2024-02-29T00:00:00'
        """
        import pandas as pd

        if self.unit == "row":
            return time
        if self.unit == "number":
            return time + self.size
        at = pd.Timestamp(time)
        if self.unit == "month":
            later = at + pd.DateOffset(months=int(self.size))
            later = later + pd.offsets.MonthEnd(0) if at.is_month_end else later
        elif self.unit == "weekday":
            later = at + pd.offsets.BusinessDay(1)
        else:
            later = at + pd.Timedelta(seconds=self.size)
        return later.to_datetime64()


def _distances(times: np.ndarray, unit: str) -> np.ndarray:
    if unit == "number":
        return np.diff(times.astype(float))
    if unit == "month":
        return np.diff(times.astype("datetime64[M]").astype(np.int64))
    if unit == "weekday":
        days = times.astype("datetime64[D]")
        return np.busday_count(days[:-1], days[1:])
    return np.diff(times) / np.timedelta64(1, "s")


def find_step(times: np.ndarray) -> tuple[Step, float]:
    """Return the step of rising `times` (n,), datetime64 or float, and the share of rows that come one step after the last.

    Months when days of the month and hours are alike (or all are the last of a month), weekdays when days follow each other
    but for all weekends, else the commonest distance. Below a share of 0.8 there is no regular step: Step("row").

    >>> find_step(np.arange("2024-01", "2025-01", dtype="datetime64[M]"))
    (Step(unit='month', size=1.0), 1.0)
    >>> find_step(np.array([0.0, 1.0, 5.0, 5.5, 9.0]))[0]
    Step(unit='row', size=1)
    """
    unit = _unit(times)
    far = _distances(times, unit)
    values, counts = np.unique(far, return_counts=True)
    size = float(values[counts.argmax()])
    if counts.max() < REGULAR * len(far):  # loggers that are late by a little: the middle distance will do
        size = float(np.median(far))
    if size <= 0:
        return Step("row"), 0.0
    step = Step(unit, size)
    one = float((np.abs(far / size - 1) <= 0.1).mean())
    if one < REGULAR or step.places(times)[-1] > FAR * len(times):
        return Step("row"), one
    return step, one


def _unit(times: np.ndarray) -> str:
    if times.dtype.kind != "M":
        return "number"
    days = times.astype("datetime64[D]")
    hours = times - days
    dom = (days - times.astype("datetime64[M]")).astype(int)
    last = (days + 1).astype("datetime64[M]") > days.astype("datetime64[M]")
    if (hours == hours[0]).all():
        if (np.diff(days).astype(int) >= 28).all() and ((dom == dom[0]).all() or last.all()):
            return "month"
        week = (days.astype(int) + 3) % 7  # Monday is 0
        if (week < 5).all() and len(days) >= 10 and float(np.median(np.diff(days).astype(int))) == 1:
            return "weekday"
    return "second"
