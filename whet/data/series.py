"""A table whose rows are in time becomes `Data`: the past of every column as inputs, the next value as target, split by time.

No gap is left between the splits, and none is needed: the inputs of a row are from before its target, so the first
validation target is later than every input and every target of training. The inputs of validation rows reach back into
training, as they will into the known past when the model is used.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from whet.data.divide import SHARES
from whet.data.prepare import fit_encoding
from whet.data.seen.series_season import periods
from whet.data.series_lags import CYCLES, calendar
from whet.data.series_made import Rows, made
from whet.data.series_time import LEAST, Clock, day, find_clock, in_order
from whet.data.split import Data
from whet.data.target import encode_target, infer_kind
from whet.errors import DataError
from whet.finding import Finding, Severity

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["lookahead", "series", "series_again"]

WIDEST = 48  # lags of the target in a row; longer seasons get the one lag that is a season away
COLUMNS = 200  # inputs that are lags, of all columns together


def series(
    frame: pd.DataFrame, target: str, clock: Clock | None, *, kind: str | None = None, source: str = "table"
) -> Data | None:
    """Return the table as a series by its clock, or None when it has none, or has classes and a clock that nobody named.

    Each row with a target is an example: inputs are the last values of every column (`meta["series"]["lags"]`: the target's over a
    season and one more step, at most 49; 24 or, by the month, 12 without a season) and sine and cosine of the time of day, week
    and year; numbers are learned as numbers. The first 70 % of the examples train, the next 15 % validate, the last 15 % are
    the sealed test. Season, lags and encoding are those of the training rows. `raw["history"]` has all visible rows.

    Raises DataError for a time column or a target that cannot be used, or under 20 rows.

    >>> import pandas as pd
    >>> from whet.data.series_time import find_clock
    >>> frame = pd.DataFrame({"day": pd.date_range("2024-01-01", periods=100).astype(str), "y": np.arange(100) % 7 * 1.5})
    >>> data = series(frame, "y", find_clock(frame, "y", None, "t.csv"))
    >>> len(data.train), data.features[:2], data.meta["series"]["season"]
    (64, ('y t-1', 'y t-2'), 7)
    """
    numeric = _numeric(frame[target])
    if clock is None or (
        not clock.named and (not numeric or (kind or infer_kind(frame[target])[0]) == "classification")
    ):
        return None
    if not numeric or kind == "classification":
        what = "--kind classification" if kind == "classification" else "text"
        raise DataError(
            f"{source}: target '{target}': a series predicts numbers, got {what}. Use --time none for a table."
        )
    y = encode_target(frame[target], source, "regression")
    known = np.isin(clock.rows, y.kept)
    rows = np.flatnonzero(known)  # positions in the order of time
    if len(rows) < LEAST:
        raise DataError(
            f"{source}: a series of {len(rows)} rows with a target; at least {LEAST} are needed. Give more, or --time none."
        )
    return _made(frame, clock, target, rows, y.findings, source)


def _numeric(column: pd.Series) -> bool:
    import pandas as pd

    return pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)


def _made(
    frame: pd.DataFrame, clock: Clock, target: str, rows: np.ndarray, found: tuple[Finding, ...], source: str
) -> Data:  # fmt: skip
    ordered, places = frame.iloc[clock.rows].reset_index(drop=True), clock.places
    fit = rows[: int(SHARES[0] * len(rows))]  # before every validation row, whatever the window
    kinds, dropped = _others(ordered, clock, target, fit[-1] + 1, source)
    plan = _plan(ordered, clock, target, kinds, fit)
    start = places[rows[0]] + min(max(plan["lags"][target]), int(0.25 * len(rows)))
    rows = rows[places[rows] >= start]
    n = len(rows)
    first, second = round(SHARES[0] * n), round((SHARES[0] + SHARES[1]) * n)
    train, valid, test = rows[:first], rows[first:second], rows[second:]
    cut = {"valid": str(clock.times[valid[0]]), "test": str(clock.times[test[0]])}
    parts = {"train": train, "valid": valid, "test": test}
    whole = {**plan, "from": str(clock.times[0]), "starts": cut}
    data, changed = made(Rows(ordered, clock.rows, parts, int(valid[-1]) + 1, whole, source))
    said = _said(clock, plan, cut, target)
    return replace(data, findings=(said, *clock.findings, *map(_kept, found), *dropped, *changed))


def series_again(rows: Rows, train: np.ndarray, valid: np.ndarray) -> Data:
    """Return the data of a series divided otherwise, without a test split: season, lags and encoding are those of `train`.

    train, valid: positions of their examples in `rows.frame`, in the order of time; rows after the last of `valid` are not looked at.

    >>> import pandas as pd
    >>> from whet.data.series_time import find_clock
    >>> frame = pd.DataFrame({"day": pd.date_range("2024-01-01", periods=100).astype(str), "y": np.arange(100) % 7 * 1.5})
    >>> rows = series(frame, "y", find_clock(frame, "y", None, "t.csv")).sealed.rows
    >>> data = series_again(rows, np.arange(20, 50), np.arange(50, 60))
    >>> len(data.train), len(data.valid), data.sealed is None
    (30, 10, True)
    """
    seen = rows.frame.iloc[: int(valid[-1]) + 1]
    clock = find_clock(seen, rows.target, ",".join(rows.plan["time"]), rows.source)
    assert clock is not None
    kinds, _ = _others(seen, clock, rows.target, int(train[-1]) + 1, rows.source)
    plan = _plan(seen, clock, rows.target, kinds, train)
    cut = {"valid": str(clock.times[valid[0]]), "test": rows.plan["starts"]["test"]}
    whole = {**plan, "from": str(clock.times[0]), "starts": cut}
    parts = {"train": train, "valid": valid, "test": rows.parts["test"]}
    data, _ = made(Rows(rows.frame, rows.ids, parts, len(seen), whole, rows.source))
    return replace(data, sealed=None)


def _kept(finding: Finding) -> Finding:
    """Return a finding on the target in the words of a series: a row without one keeps its time and its other columns."""
    if finding.code != "NO-TARGET":
        return finding
    text = f"{finding.evidence['rows']:,} of {finding.evidence['of']:,} values of the target are missing: they are not predicted, "
    text += "and among the inputs the last value before them stands in"
    return replace(finding, message=text, fix="find out why; the rows stay, so that the times stay regular")


def _others(
    ordered: pd.DataFrame, clock: Clock, target: str, end: int, source: str
) -> tuple[dict[str, str], tuple[Finding, ...]]:
    """Return the kinds of the other columns that are worth their past, and what was dropped, by the first `end` rows."""
    names = [c for c in ordered.columns if c != target and c not in clock.names]
    if not names:
        return {}, ()
    try:
        encoding, found = fit_encoding(ordered[names].iloc[:end], source)
    except DataError:  # none of them is of use: the target's own past is left
        return {}, ()
    kinds = {c["name"]: c["kind"] for c in encoding["columns"] if c["kind"] not in ("date", "text")}
    unread = [c["name"] for c in encoding["columns"] if c["name"] not in kinds]
    found = tuple(f for f in found if f.where not in unread)
    if unread:
        text = f"dropped: of a series the past of numbers and categories is read, not {', '.join(unread[:5])}"
        fix = "make numbers of them, or --time none for a table"
        found = (*found, Finding("SERIES", Severity.INFO, "columns", {"columns": unread}, text, fix))
    return kinds, found


def _plan(ordered: pd.DataFrame, clock: Clock, target: str, kinds: dict[str, str], fit: np.ndarray) -> dict[str, Any]:
    """Return what the inputs are, as JSON, by the rows `fit`."""
    places, past = clock.places, ordered[target].to_numpy(float)[fit]
    line = np.full(int(places[fit[-1]] - places[fit[0]]) + 1, np.nan) if clock.step.unit != "row" else past
    if clock.step.unit != "row":
        line[places[fit] - places[fit[0]]] = past
    seasons = [p for p, _ in periods(line, clock.step.periods)]
    short = [p for p in seasons if p <= WIDEST]
    most = max(1, len(fit) // 4)
    monthly = clock.step.unit == "month"
    window = min(max(short) + 1 if short else 12 if monthly else 24, most)
    lags = {target: [*range(1, window + 1), *(p for p in seasons if window < p <= most)]}
    numbers = [n for n, k in kinds.items() if k != "category"]
    reach = min(window, max(1, (COLUMNS - window) // max(1, len(numbers))))
    lags |= {n: list(range(1, reach + 1)) if k != "category" else [1] for n, k in kinds.items()}
    return {
        "time": list(clock.names), "form": clock.form, "step": clock.step.json(), "target": target,
        "season": seasons[0] if seasons else 0, "seasons": seasons, "lags": lags, "kinds": kinds,
        "calendar": _cycles(clock, fit),
    }  # fmt: skip


def _cycles(clock: Clock, fit: np.ndarray) -> list[str]:
    """Return the cycles of the calendar that the rows `fit` go through twice and that steps divide."""
    if clock.times.dtype.kind != "M":
        return []
    span = (clock.times[fit[-1]] - clock.times[fit[0]]) / np.timedelta64(1, "s")
    usual = float(np.median(np.diff(clock.times[fit]) / np.timedelta64(1, "s")))
    chosen = [c for c, seconds in CYCLES.items() if usual <= seconds / 2 and span >= 2 * seconds]
    columns = calendar(clock.times[fit], chosen)
    return [c for c in chosen if columns[f"{c} sin"].std() > 1e-9]


def _said(clock: Clock, plan: dict[str, Any], cut: dict[str, str], target: str) -> Finding:
    lags, step = plan["lags"], str(clock.step)
    row = [k for k in lags[target] if k <= WIDEST + 1]
    text = f"a series, {'irregular' if clock.step.unit == 'row' else 'every ' + step}; inputs: `{target}` t-{row[0]} to t-{row[-1]}"
    text += "".join(f", t-{k}" for k in lags[target][len(row) :])
    text += f" (season {', '.join(map(str, plan['seasons']))})" if plan["season"] else ""
    if len(lags) > 1:
        most = max((len(v) for k, v in lags.items() if k != target), default=1)
        text += f", {len(lags) - 1} more of the past (up to t-{most})"
    text += f", time of {', '.join(plan['calendar'])}" if plan["calendar"] else ""
    text += f"; divided by time: valid from {day(cut['valid'])}, test from {day(cut['test'])}"
    evidence = {"time": list(clock.names), "step": step, "regular": clock.share, "lags": {k: len(v) for k, v in lags.items()},
                "season": plan["season"], **cut}  # fmt: skip
    fix = "--time none for a table" if clock.named else "--time none for a table, --time COLUMN for another"
    return Finding("SERIES", Severity.INFO, clock.name, evidence, text, fix)


def lookahead(frame: pd.DataFrame, target: str, clock: Clock | None) -> tuple[Finding, ...]:
    """Return a finding when the rows of a table that is divided by chance are in time, by `clock`, or by a date that never falls.

    >>> import pandas as pd
    >>> from whet.data.series_time import find_clock
    >>> frame = pd.DataFrame({"day": pd.date_range("2024-01-01", periods=30).astype(str), "y": range(30)})
    >>> [f.severity.value for c in (find_clock(frame, "y", None, "t.csv"), None) for f in lookahead(frame, "y", c)]
    ['WARN', 'INFO']
    """
    if clock is None:
        name = in_order(frame, target)
        if name is None:
            return ()
        text = f"the rows are in the order of `{name}` and divided by chance: scores say nothing of later rows"
        fix = "judge on later rows, kept in a file of their own; or --time COLUMN, where it is one series"
        return (Finding("LOOKAHEAD", Severity.INFO, name, {"n": len(frame)}, text, fix),)
    text = f"the rows are in time, every {clock.step}, and divided by chance: training rows lie on both sides of every "
    text += "validation and test row, so the scores say nothing of rows to come"
    fix = "leave --time out: a series is divided by time"
    if not _numeric(frame[target]) or infer_kind(frame[target])[0] == "classification":
        fix = "judge on later rows, kept in a file of their own" + (
            "; --kind regression: a series" if _numeric(frame[target]) else ""
        )
    evidence = {"time": list(clock.names), "step": str(clock.step), "n": len(clock.rows)}
    return (Finding("LOOKAHEAD", Severity.WARN, clock.name, evidence, text, fix),)
