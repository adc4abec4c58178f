"""The inputs of a series: earlier values of its columns, by name, and where in the day, week and year the target lies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from whet.data.column import as_numbers, as_texts
from whet.data.prepare import CLIP
from whet.data.series_step import Step
from whet.data.series_time import moments
from whet.data.split import Data, Split
from whet.errors import DataError, nearest

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["calendar", "lag_name", "lag_rows", "lagged", "last_values"]

DAY, WEEK, YEAR = 86_400.0, 604_800.0, 365.2425 * 86_400
CYCLES = {"day": DAY, "week": WEEK, "year": YEAR}


def lag_name(column: str, lag: int) -> str:
    """Return the name of the input that holds `column` so many steps before the target.

    >>> lag_name("load", 24)
    'load t-24'
    """
    return f"{column} t-{lag}"


def lagged(values: np.ndarray, places: np.ndarray, at: np.ndarray, lag: int) -> np.ndarray:
    """Return (m,) the values known `lag` steps before the places `at` (m,): the last one at or before that place.

    values: (n,) float, NaN where missing; places: (n,) rising int64. NaN where nothing is known that early. What is missing,
    or has no row, is filled with the last value known before it: nothing of later is used.

    >>> lagged(np.array([1.0, np.nan, 3.0]), np.array([0, 1, 4]), np.array([1, 2, 4, 5]), 1).tolist()
    [1.0, 1.0, 1.0, 3.0]
    """
    known = np.flatnonzero(np.isfinite(values))
    before = np.searchsorted(places[known], np.asarray(at) - lag, side="right") - 1
    out = np.full(len(at), np.nan)
    out[before >= 0] = values[known[before[before >= 0]]]
    return out


def calendar(times: np.ndarray, cycles: list[str]) -> dict[str, np.ndarray]:
    """Return sine and cosine of the place of each time (n,) in the "day", "week" (from Monday) and "year" as columns.

    >>> {k: float(v[0].round(3)) for k, v in calendar(np.array(["2024-01-01T06:00"], "datetime64[us]"), ["day"]).items()}
    {'day sin': 1.0, 'day cos': 0.0}
    """
    out: dict[str, np.ndarray] = {}
    for cycle in cycles:
        start = times.astype("datetime64[Y]") if cycle == "year" else np.datetime64("1969-12-29")  # a Monday
        seconds = (times - start) / np.timedelta64(1, "s")
        angle = 2 * np.pi * seconds / CYCLES[cycle]
        out |= {f"{cycle} sin": np.sin(angle), f"{cycle} cos": np.cos(angle)}
    return out


def lag_rows(history: pd.DataFrame, plan: Mapping[str, Any]) -> pd.DataFrame:
    """Return the inputs of each row of `history`, and of the step after the last one, as columns to encode.

    history: rows in the order of time, each time once, with the columns the plan names; plan: `meta["series"]` of the
    data, which an exported model carries with its `meta["encoding"]`. Row i predicts the target of history's row i, from rows
    before it alone; the last row predicts what comes next. Raises DataError for a column that is not there, or times that do
    not rise.

    >>> import pandas as pd
    >>> plan = {"time": ["t"], "form": "number", "step": {"unit": "number", "size": 1}, "lags": {"y": [1, 2]}, "calendar": []}
    >>> lag_rows(pd.DataFrame({"t": [0, 1, 2], "y": [5.0, 6.0, 8.0]}), plan).iloc[-1].to_dict()
    {'y t-1': 8.0, 'y t-2': 6.0}
    """
    import pandas as pd

    columns = [str(c) for c in history.columns]
    for name in [*plan["time"], *plan["lags"]]:
        if name not in columns:
            raise DataError(
                f"history: no column '{name}'.{nearest(name, columns)} Give all that the series was made of."
            )
    times, step = moments(history, tuple(plan["time"]), plan["form"]), Step.of(plan["step"])
    if len(times) == 0 or not (np.diff(times) > np.diff(times[:1]).dtype.type(0)).all():
        raise DataError(
            f"history: the times of '{', '.join(plan['time'])}' must rise from row to row. Sort it, one row a time."
        )
    times = np.append(times, step.after(times[-1]))
    at = step.places(times)
    out: dict[str, Any] = {}
    for name, lags in plan["lags"].items():
        if plan.get("kinds", {}).get(name) == "category":
            texts = as_texts(history[name])
            codes, values = pd.factorize(texts)
            series = np.where(codes < 0, np.nan, codes.astype(float))
            for lag in lags:
                code = lagged(series, at[:-1], at, lag)
                known = np.isfinite(code)
                text = np.full(len(code), None, dtype=object)
                text[known] = np.asarray(values, dtype=object)[code[known].astype(int)]
                out[lag_name(name, lag)] = pd.Series(text, dtype=object)
            continue
        series = as_numbers(history[name])
        out |= {lag_name(name, lag): lagged(series, at[:-1], at, lag) for lag in lags}
    return pd.DataFrame(out | calendar(times, list(plan["calendar"])))


def last_values(data: Data, split: Split) -> np.ndarray | None:
    """Return (n,) the target's last value before each example of `split`, by its inputs; None when it is none of them.

    It is the simplest forecast of all (persistence), and what a model of a series has to beat.

    >>> from whet.data.bundled import diabetes
    >>> last_values(diabetes(), diabetes().valid) is None
    True
    """
    if "series" not in data.meta:
        return None
    name = lag_name(data.meta["series"]["target"], 1)
    columns = data.meta["encoding"]["columns"]
    part = next((c["parts"][0] for c in columns if c["name"] == name and c.get("parts")), None)
    if part is None or name not in data.features:  # cleaned away, or the same in all training rows
        return None
    column = split.parts[0][:, data.features.index(name)].double().numpy()
    cut = np.abs(column) >= CLIP  # the encoding cut these values off: they are in the rows themselves
    return np.where(cut, _values_before(data, split), column * part["std"] + part["mean"])


def _values_before(data: Data, split: Split) -> np.ndarray:
    """Return (n,) the target's last known value in a row before each example of `split`; the test split comes after the history."""
    history = data.raw["history"]
    ids, values = history.index.to_numpy(), as_numbers(history[data.meta["series"]["target"]])
    known = np.isfinite(values)
    ids, values = ids[known], values[known]
    if not np.isin(split.ids, ids).all():
        ids, values = np.append(ids, split.ids), np.append(values, split.targets.numpy())
    order = np.argsort(ids, kind="stable")
    at = order[np.searchsorted(ids[order], split.ids)]
    return np.where(at > 0, values[np.maximum(at - 1, 0)], np.nan)
