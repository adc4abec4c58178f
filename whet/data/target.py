"""The target column: whether it names a class or a quantity, and its values as numbers."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from whet.data.split import Kind
from whet.errors import DataError, nearest
from whet.finding import Finding, Severity

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Target", "encode_target", "find_target", "infer_kind"]

FEW = 20  # so many distinct integers are still taken for classes


@dataclass(frozen=True)
class Target:
    """A target column as numbers: int64 class numbers or float32 quantities, for the rows `kept`.

    >>> Target(np.array([0, 1]), "classification", ("a", "b"), np.array([0, 2])).classes
    ('a', 'b')
    """

    values: np.ndarray
    kind: Kind
    classes: tuple[str, ...] | None
    kept: np.ndarray
    findings: tuple[Finding, ...] = ()


def find_target(frame: pd.DataFrame, target: str | Sequence[str] | None, source: str, *, header: bool = True) -> str:
    """Return the name of the target column; without a header row its number (1 is the first, -1 the last) will do.

    Raises DataError when there is none, more than one, or no such column (names the nearest).

    >>> import pandas as pd
    >>> find_target(pd.DataFrame({"x": [1], "y": [2]}), "y", "t.csv")
    'y'
    """
    names = [str(c) for c in frame.columns]
    shown = ", ".join(names[:12]) + (f", ... ({len(names)} columns)" if len(names) > 12 else "")
    if target is not None and not isinstance(target, str):
        if len(target) != 1:
            given = ", ".join(target) or "none"
            raise DataError(f"{source}: one target is needed, got {len(target)} ({given}). Give --target once.")
        target = target[0]
    if not target:
        raise DataError(f"{source}: no target was given. Give --target COLUMN, one of: {shown}.")
    if target in names:
        return target
    if not header and target.lstrip("-").isdigit():
        at = int(target)
        if 1 <= at <= len(names) or -len(names) <= at <= -1:
            return names[at - 1 if at > 0 else at]
    note = "" if header else f" The file has no header row: columns are named c1 to c{len(names)}, and -1 is the last."
    raise DataError(f"{source}: no column '{target}'.{nearest(target, names)} Columns: {shown}.{note}")


def infer_kind(column: pd.Series) -> tuple[Kind, str]:
    """Return what a target column is, and the reason in words.

    Text, booleans, two distinct values, or at most 20 distinct integers (each five times or more on average) are classes.

    >>> import pandas as pd
    >>> infer_kind(pd.Series([0, 1, 2] * 10, name="label"))
    ('classification', '3 distinct integers')
    >>> infer_kind(pd.Series([0.5, 1.25, 7.0]))
    ('regression', '3 distinct numbers')
    """
    import pandas as pd

    column = column.dropna()
    distinct = int(column.nunique())
    if pd.api.types.is_bool_dtype(column):
        return "classification", "true or false"
    if not pd.api.types.is_numeric_dtype(column):
        return "classification", f"{distinct} distinct texts"
    whole = bool(np.all(np.mod(column.to_numpy(float), 1) == 0))
    what = f"{distinct} distinct {'integers' if whole else 'numbers'}"
    few = distinct <= 2 or (whole and distinct <= FEW and len(column) >= 5 * distinct)
    return ("classification" if few else "regression"), what


def encode_target(column: pd.Series, source: str, kind: str | None = None) -> Target:
    """Return the target as numbers; rows where it is missing are left out, with a finding.

    Raises DataError when the target is all missing, constant, a date, has a class of one example, or does not fit `kind`.

    >>> import pandas as pd
    >>> t = encode_target(pd.Series(["b", "a", None, "a", "b"], name="y"), "t.csv")
    >>> t.values.tolist(), t.classes, t.kept.tolist()
    ([1, 0, 0, 1], ('a', 'b'), [0, 1, 3, 4])
    """
    import pandas as pd

    name = str(column.name)
    where = f"{source}: target '{name}'"
    if kind not in (None, "classification", "regression"):
        raise DataError(f"kind: got {kind!r}. Allowed: classification, regression.{nearest(str(kind), _KINDS)}")
    if isinstance(column.dtype, pd.CategoricalDtype):
        column = column.astype(column.cat.categories.dtype)
    if pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column):
        column = column.astype(float).replace([np.inf, -np.inf], np.nan)
    known = column.notna().to_numpy()
    kept = np.flatnonzero(known)
    if len(kept) == 0:
        raise DataError(f"{where} is missing in all {len(column)} rows. Choose another --target.")
    found = []
    if len(kept) < len(column):
        text = f"{len(column) - len(kept):,} of {len(column):,} rows have no target and are left out"
        evidence = {"rows": len(column) - len(kept), "of": len(column)}
        found.append(
            Finding("NO-TARGET", Severity.WARN, name, evidence, text, "fill the target in, or delete the rows")
        )
    column = column.iloc[kept]
    if pd.api.types.is_datetime64_any_dtype(column) or pd.api.types.is_timedelta64_dtype(column):
        raise DataError(f"{where} is a date; allowed are classes and numbers. Turn it into a number, e.g. days.")
    try:
        distinct = int(column.nunique())
    except TypeError:
        raise DataError(f"{where} holds lists or records; allowed are classes and numbers.") from None
    if distinct == 1:
        value = column.iloc[0]
        shown = f"{value:g}" if isinstance(value, float) else repr(value)
        raise DataError(f"{where} is constant: all {len(kept)} rows are {shown}. Choose another --target.")
    inferred, why = infer_kind(column)
    if kind is None:
        other = "regression" if inferred == "classification" else "classification"
        fix = f"--kind {other} to override" if inferred == "regression" or why.endswith(("numbers", "integers")) else ""
        text = f"{inferred}: {why} in `{name}`"
        found.append(
            Finding("KIND", Severity.INFO, name, {"distinct": distinct, "kind": inferred}, text, fix or "none needed")
        )
    chosen: Kind = inferred if kind is None else kind  # type: ignore[assignment]
    if chosen == "regression":
        values = pd.to_numeric(column, errors="coerce").to_numpy(float)
        if np.isnan(values).any():
            bad = column[np.isnan(values)].iloc[0]
            raise DataError(
                f"{where} holds {bad!r}, which is not a number. Regression needs numbers; use --kind classification."
            )
        return Target(values.astype(np.float32), "regression", None, kept, tuple(found))
    if pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column):
        uniques, codes = np.unique(column.to_numpy(float), return_inverse=True)
        labels = tuple(f"{v:g}" for v in uniques)
        if len(set(labels)) < len(labels):
            labels = tuple(repr(float(v)) for v in uniques)
    else:
        texts, codes = np.unique(column.astype(str).to_numpy(dtype=object).astype(str), return_inverse=True)
        labels = tuple(str(v) for v in texts)
    counts = np.bincount(codes, minlength=len(labels))
    lone = np.flatnonzero(counts == 1)
    if len(lone):
        shown = ", ".join(repr(textwrap.shorten(labels[i], 40, placeholder="...")) for i in lone[:5]) + (
            ", ..." if len(lone) > 5 else ""
        )
        number = why.endswith(("numbers", "integers"))
        raise DataError(
            f"{where}: {len(lone)} of {len(labels)} classes have only one example ({shown}); at least 2 are needed. "
            f"Merge or remove them{', or use --kind regression' if number else ''}."
        )
    return Target(codes.astype(np.int64), "classification", labels, kept, tuple(found))


_KINDS = ("classification", "regression")
