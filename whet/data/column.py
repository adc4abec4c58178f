"""What a column of a table holds (numbers, flags, dates, categories), and its values as such."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["as_dates", "as_numbers", "as_texts", "kind_of"]

MOSTLY = 0.95  # this share of a text column must parse for it to count as numbers or dates
FORMATS = ("ISO8601", "%d.%m.%Y", "%d.%m.%Y %H:%M", "%Y/%m/%d", "%Y/%m/%d %H:%M", "%Y/%m/%d %H:%M:%S", "%m/%d/%Y",
           "%d/%m/%Y", "%m/%d/%Y %H:%M", "%d/%m/%Y %H:%M", "%m/%d/%Y %H:%M:%S", "%d/%m/%Y %H:%M:%S", "%d-%m-%Y", "%m-%d-%Y",
           "%d-%b-%Y", "%d %b %Y", "%b %d, %Y", "%d %B %Y", "%B %d, %Y")  # fmt: skip
DATELIKE = re.compile(r"\d.*[-/. ].*\d")
FLAGS = {"true": 1.0, "false": 0.0, "1": 1.0, "0": 0.0, "1.0": 1.0, "0.0": 0.0}


def kind_of(column: pd.Series) -> tuple[str, str]:
    """Return (kind, format): number, flag, date, category, empty or nested; the format is given for dates only.

    Text counts as numbers or dates when 95 % of it parses as such; dates are tried in 19 formats, months first.

    >>> import pandas as pd
    >>> kind_of(pd.Series(["2024-01-31", None])), kind_of(pd.Series(["31.12.2023"])), kind_of(pd.Series(["3", "4.5"]))
    (('date', 'ISO8601'), ('date', '%d.%m.%Y'), ('number', ''))
    """
    import pandas as pd

    types = pd.api.types
    if column.isna().all():
        return "empty", ""
    if isinstance(column.dtype, pd.CategoricalDtype):
        return "category", ""
    if types.is_bool_dtype(column):
        return "flag", ""
    if types.is_datetime64_any_dtype(column):
        return "date", "ISO8601"
    if types.is_numeric_dtype(column) or types.is_timedelta64_dtype(column):
        return "number", ""
    known = column.dropna()
    if len(known) > 20_000:  # evenly spaced, so that the answer does not depend on chance
        known = known.iloc[np.linspace(0, len(known) - 1, 20_000).astype(int)]
    try:
        known = pd.Series(known.unique())
    except TypeError:
        return "nested", ""
    if any(isinstance(v, (list, dict, set, np.ndarray, bytes)) for v in known.iloc[:100]):
        return "nested", ""
    texts = known.astype(str)
    if set(texts.str.lower()) <= {"true", "false"}:
        return "flag", ""
    if pd.to_numeric(texts, errors="coerce").notna().mean() >= MOSTLY:
        return "number", ""
    if texts.iloc[:100].str.contains(DATELIKE).mean() >= MOSTLY:
        for form in FORMATS:
            if pd.to_datetime(texts.iloc[:100], format=form, errors="coerce", utc=True).notna().mean() < MOSTLY:
                continue
            if pd.to_datetime(texts, format=form, errors="coerce", utc=True).notna().mean() >= MOSTLY:
                return "date", form
    return "category", ""


def as_numbers(column: pd.Series) -> np.ndarray:
    """Return (n,) float64; what is not a finite number is NaN; True is 1; durations are in seconds.

    >>> import pandas as pd
    >>> as_numbers(pd.Series(["1", "x", True])).tolist()
    [1.0, nan, 1.0]
    """
    import pandas as pd

    if pd.api.types.is_timedelta64_dtype(column):
        values = column.dt.total_seconds().to_numpy(float)
    elif pd.api.types.is_numeric_dtype(column) or pd.api.types.is_bool_dtype(column):
        values = column.astype("Float64").to_numpy(float, na_value=np.nan)
    else:
        texts = column.astype(str).str.strip()
        values = pd.to_numeric(texts, errors="coerce").to_numpy(float)
        values = np.where(np.isnan(values), texts.str.lower().map(FLAGS).to_numpy(float), values)
        values = np.where(column.isna().to_numpy(), np.nan, values)
    return np.where(np.isfinite(values), values, np.nan)


def as_dates(column: pd.Series, form: str) -> pd.Series:
    """Return the column as times without a zone (UTC); what is not a date is NaT.

    >>> import pandas as pd
    >>> as_dates(pd.Series(["31.12.2023", "x"]), "%d.%m.%Y").dt.day.tolist()
    [31.0, nan]
    """
    import pandas as pd

    if not pd.api.types.is_datetime64_any_dtype(column):
        column = pd.to_datetime(
            column.astype(object).where(column.notna(), None), format=form, errors="coerce", utc=True
        )
    return column.dt.tz_convert(None) if column.dt.tz is not None else column


def as_texts(column: pd.Series) -> pd.Series:
    """Return the column as stripped texts; missing stays missing. 3 and 3.0 are one category.

    >>> import pandas as pd
    >>> as_texts(pd.Series([" a", 3.0, None])).tolist()
    ['a', '3', nan]
    """
    import pandas as pd

    if isinstance(column.dtype, pd.CategoricalDtype):
        column = column.astype(column.cat.categories.dtype)
    texts = column.astype(str).str.strip()
    if pd.api.types.is_numeric_dtype(column) or column.dtype == object:
        texts = texts.str.replace(r"(?<=\d)\.0$", "", regex=True)
    return texts.where(column.notna(), np.nan)
