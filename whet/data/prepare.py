"""Turn the columns of a table into numbers: fitted on the training rows, kept as JSON, applied to any rows.

A number is imputed by its median and standardised, with a second column that says where it was missing; a category becomes
an integer code (0 is missing or unseen, 1 is any rare value); a date becomes its parts and the days since the first one; free
text becomes the numbers of its first words.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from whet.data.column import as_dates, as_numbers, as_texts, kind_of
from whet.data.textcolumn import as_strings, fit_text, is_text, word_numbers
from whet.errors import DataError, nearest
from whet.finding import Finding, Severity

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["CLIP", "CODED", "apply_encoding", "feature_names", "fit_encoding"]

CODED = ("category", "text")  # kinds that become whole numbers
CLIP = 10.0  # standard deviations; a value of 1e9 by mistake must not blow the first step up
MOST = 1000  # categories kept of one column, the most frequent
PARTS = ("year", "month", "day", "weekday", "hour", "days")
COUNTER = re.compile(r"(^|[_\W])(id|idx|index|row|rownum|rowid|no|nr|unnamed\d*)$|(?-i:[a-z](Id|ID))$|^$", re.I)

Encoding = Mapping[str, Any]


def fit_encoding(
    frame: pd.DataFrame, source: str = "table", *, texts: Collection[str] | None = None
) -> tuple[dict[str, Any], tuple[Finding, ...]]:
    """Return the encoding fitted on `frame` (the training rows, without the target), and what was dropped or changed.

    The encoding is JSON: {"columns": [...], "dropped": {name: why}, "numbers": d, "sizes": [...]}; d is the width of the
    numeric input, sizes the number of codes of each category. texts: the columns that are free text; None guesses.

    Raises DataError when no column is left, or one of `texts` is not there.

    >>> import pandas as pd
    >>> e, found = fit_encoding(pd.DataFrame({"age": [1.0, None, 3.0, 4.0], "sex": ["m", "f", "m", "f"]}))
    >>> e["numbers"], e["sizes"], e["columns"][0]["parts"][0]["median"]
    (2, [4], 3.0)
    """
    columns, dropped, found = [], {}, []
    for absent in [t for t in texts or () if t not in frame.columns]:
        names = [str(c) for c in frame.columns]
        raise DataError(
            f"{source}: texts: no column '{absent}'.{nearest(absent, names)} Columns: {', '.join(names[:12])}."
        )
    for name in frame.columns:
        written = None if texts is None else name in texts
        entry, finding = _fit_column(frame[name], len(frame), written)
        if finding is not None:
            found.append(finding)
        if entry is None:
            assert finding is not None
            dropped[str(name)] = finding.message
        else:
            columns.append(entry)
    if not columns:
        why = "; ".join(f"{n}: {w}" for n, w in list(dropped.items())[:5])
        raise DataError(f"{source}: no column is left to learn from ({why or 'only the target'}). Give at least one.")
    encoding: dict[str, Any] = {"columns": columns, "dropped": dropped}
    encoding["numbers"] = sum(len(c.get("parts", ())) + bool(c["missing"]) for c in columns if c["kind"] not in CODED)
    encoding["sizes"] = [len(c["values"]) + 2 for c in columns if c["kind"] == "category"]
    return encoding, tuple(found)


def _drop(code: str, name: str, text: str, fix: str, **evidence: Any) -> tuple[None, Finding]:
    return None, Finding(code, Severity.WARN, name, evidence, f"dropped: {text}", fix)


def _fit_column(column: pd.Series, n: int, written: bool | None = None) -> tuple[dict[str, Any] | None, Finding | None]:
    name = str(column.name)
    found = None
    kind, form = kind_of(column)
    if kind == "nested":
        return _drop("NESTED", name, "it holds lists or records", "spread it over columns")
    if kind == "empty":
        return _drop("EMPTY", name, f"missing in all {n:,} training rows", "delete the column", rows=n)
    if written or (kind == "category" and written is None and column.dtype != "category"):
        texts = as_strings(column)
        if written or is_text([t for t in texts if t is not None]):
            return _fit_text(texts, name, guessed=not written)
    if kind == "category":
        return _fit_category(column, name, n)
    if kind == "date":
        dates = as_dates(column, form)
        missing = dates.isna().to_numpy()
        origin = str(dates.min().date())
        raw = _date_parts(dates, origin)
    else:
        values = as_numbers(column)
        missing = np.isnan(values)
        raw = {"value": values}
        lost = int(missing.sum() - column.isna().sum())
        if lost:
            text = f"{lost:,} of {n:,} values are not finite numbers and count as missing"
            found = Finding("MIXED", Severity.WARN, name, {"values": lost, "of": n}, text, "write numbers only")
        distinct = len(np.unique(values[~missing]))
        if distinct == n and n >= 20 and COUNTER.search(name) and np.all(values == np.round(values)):
            return _drop(
                "ID",
                name,
                "every row has a whole number of its own: it numbers the rows",
                "delete the column",
                distinct=distinct,
            )
    parts = []
    for part, values in raw.items():
        known = values[~np.isnan(values)]
        if len(known) == 0 or known.min() == known.max():
            continue
        median = float(np.median(known))
        filled = np.where(np.isnan(values), median, values)
        with np.errstate(over="ignore", invalid="ignore"):
            mean, std = float(filled.mean()), float(filled.std())
        if not np.isfinite(mean) or not np.isfinite(std) or std == 0:  # beyond 1e154 squares overflow
            mean, std = median, float(np.abs(known).max()) or 1.0
        parts.append({"part": part, "median": median, "mean": mean, "std": std})
    if not parts and not missing.any():
        value = column.dropna().iloc[0]
        return _drop("CONSTANT", name, f"every row is {value!s}", "delete the column", value=str(value))
    entry: dict[str, Any] = {"name": name, "kind": kind, "parts": parts, "missing": bool(missing.any())}
    if kind == "date":
        entry |= {"format": form, "origin": origin}
    return entry, found


def _fit_category(column: pd.Series, name: str, n: int) -> tuple[dict[str, Any] | None, Finding | None]:
    texts = as_texts(column)
    counts = texts.value_counts(sort=True)
    known, distinct = int(counts.sum()), len(counts)
    if distinct > 0.9 * known and known >= 20:
        text = f"{distinct:,} distinct texts in {known:,} rows: a name or free text, not a category"
        return _drop("ID", name, text, "make features of it, e.g. its first word", distinct=distinct, rows=known)
    if distinct == 1 and known == n:
        return _drop(
            "CONSTANT", name, f"every row is {counts.index[0]}", "delete the column", value=str(counts.index[0])
        )
    least = 1 if n < 50 else 2 if n < 500 else 5
    values = sorted(str(v) for v in counts.index[:MOST][counts.iloc[:MOST] >= least])
    pooled, found = distinct - len(values), None
    if not values and known == n:
        text = f"none of its {distinct:,} texts occurs {least} times"
        return _drop("ID", name, text, "make features of it, e.g. its first word", distinct=distinct, rows=known)
    if pooled:
        text = f"{pooled:,} of {distinct:,} categories are rare (under {least} rows or past {MOST}) and share one code"
        found = Finding("POOLED", Severity.INFO, name, {"pooled": pooled, "of": distinct}, text, "none needed")
    return {"name": name, "kind": "category", "values": values, "rare": bool(pooled), "missing": known < n}, found


def _fit_text(texts: list[str | None], name: str, *, guessed: bool) -> tuple[dict[str, Any] | None, Finding]:
    entry, fact = fit_text(texts, name)
    if not entry["values"]:
        return _drop("EMPTY", name, f"no word occurs in two of its {len(texts):,} texts", "delete the column")
    text = f"free text: {fact['kept']:,} of {fact['distinct']:,} words known, the first {fact['length']} words of a text are read"
    fix = "TableTask(path, target, texts=()) to override, or delete the column" if guessed else "none needed"
    return entry, Finding("TEXT", Severity.INFO, name, fact, text, fix)


def _date_parts(dates: pd.Series, origin: str) -> dict[str, np.ndarray]:
    import pandas as pd

    at = dates.dt
    days = (dates - pd.Timestamp(origin)) / pd.Timedelta(days=1)
    parts = (at.year, at.month, at.day, at.day_of_week, at.hour + at.minute / 60, days)
    return {name: np.asarray(p, dtype=float) for name, p in zip(PARTS, parts, strict=True)}


def apply_encoding(encoding: Encoding, frame: pd.DataFrame) -> tuple[Tensor, ...]:
    """Return the inputs of a model for the rows of `frame`: numbers (n, d) float32, then codes (n, k) int64 if there are any.

    With free text there are always three: numbers, codes and the words (n, t) int64 of the text columns, one behind the other. Columns may come in any order and with others between them.

    Raises DataError naming the columns that are not there.

    >>> import pandas as pd
    >>> e, _ = fit_encoding(pd.DataFrame({"age": [1.0, None, 3.0, 4.0], "sex": ["m", "f", "m", "f"]}))
    >>> numbers, codes = apply_encoding(e, pd.DataFrame({"sex": ["f", "x"], "age": [3, None]}))
    >>> numbers[:, 1].tolist(), codes.tolist()
    ([0.0, 1.0], [[2], [0]])
    """
    names = [str(c) for c in frame.columns]
    absent = [c["name"] for c in encoding["columns"] if c["name"] not in names]
    if absent:
        raise DataError(
            f"columns {', '.join(map(repr, absent))} are not there.{nearest(absent[0], names)} Give all of them."
        )
    numbers, codes, read = [], [], []
    for entry in encoding["columns"]:
        column = frame[entry["name"]]
        if entry["kind"] == "text":
            read.append(word_numbers(entry, as_strings(column)))
            continue
        if entry["kind"] == "category":
            codes.append(_codes(entry, column))
            continue
        if entry["kind"] == "date":
            dates = as_dates(column, entry["format"])
            raw, missing = _date_parts(dates, entry["origin"]), dates.isna().to_numpy()
        else:
            values = as_numbers(column)
            raw, missing = {"value": values}, np.isnan(values)
        for part in entry["parts"]:
            filled = np.where(np.isnan(raw[part["part"]]), part["median"], raw[part["part"]])
            numbers.append(np.clip((filled - part["mean"]) / part["std"], -CLIP, CLIP))
        if entry["missing"]:
            numbers.append(missing.astype(float))
    table = np.stack(numbers, 1) if numbers else np.empty((len(frame), 0))
    inputs = [torch.from_numpy(table.astype(np.float32))]
    if codes or read:
        inputs.append(torch.from_numpy(np.stack(codes, 1) if codes else np.empty((len(frame), 0), np.int64)))
    return (*inputs, torch.from_numpy(np.concatenate(read, 1))) if read else tuple(inputs)


def _codes(entry: Mapping[str, Any], column: pd.Series) -> np.ndarray:
    import pandas as pd

    texts = as_texts(column)
    at = np.asarray(pd.Index(entry["values"], dtype=object).get_indexer(texts.astype(object)), dtype=np.int64)
    unseen = 1 if entry["rare"] else 0  # a code that was trained, if there is one
    return np.where(at >= 0, at + 2, np.where(texts.isna().to_numpy(), 0, unseen)).astype(np.int64)


def feature_names(encoding: Encoding) -> tuple[str, ...]:
    """Return a name for every input column: the numeric ones, the categories, then the texts, in the order of the tensors.

    >>> import pandas as pd
    >>> feature_names(fit_encoding(pd.DataFrame({"sex": ["m", "f"] * 2, "age": [1.0, None, 3.0, 4.0]}))[0])
    ('age', 'age missing', 'sex')
    """
    numbers: list[str] = []
    categories: list[str] = []
    texts: list[str] = []
    for c in encoding["columns"]:
        if c["kind"] in CODED:
            (texts if c["kind"] == "text" else categories).append(c["name"])
            continue
        numbers += [c["name"] if p["part"] == "value" else f"{c['name']} {p['part']}" for p in c["parts"]]
        numbers += [f"{c['name']} missing"] if c["missing"] else []
    return tuple(numbers + categories + texts)
