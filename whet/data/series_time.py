"""The time column of a table: named by a person, or found because its values rise regularly with the rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from whet.data.column import as_dates, as_numbers, kind_of
from whet.data.series_step import Step, find_step
from whet.errors import DataError, nearest
from whet.finding import Finding, Severity

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["LEAST", "NONE", "Clock", "day", "find_clock", "in_order", "moments"]

LEAST = 20  # rows; fewer are no series
LONG = 20_000  # rows; of more a part is read first
NONE = "none"
CLEAN = 0.99  # of the steps must go forward for a time column to be found without being named
PARTS = ("year", "month", "day", "hour", "minute")
REPEATED = 0.2  # from this share of repeated times on the table holds several series


@dataclass(frozen=True)
class Clock:
    """When each row of a series is.

    names: the columns it is read from; form: their format; rows: (m,) rows of the table in the order of time, one a time;
    times: (m,) datetime64[us] or float; step and share: as `find_step` gives them; named: whether a person named it.

    >>> Clock(("t",), "number", np.arange(3), np.arange(3.0), Step("number"), 1.0, True).places.tolist()
    [0, 1, 2]
    """

    names: tuple[str, ...]
    form: str
    rows: np.ndarray
    times: np.ndarray
    step: Step
    share: float
    named: bool
    findings: tuple[Finding, ...] = ()

    @property
    def places(self) -> np.ndarray:
        """(m,) int64 place of each row on the grid of steps."""
        return self.step.places(self.times)

    @property
    def name(self) -> str:
        """The column, or columns, in words."""
        return ", ".join(self.names)


def find_clock(frame: pd.DataFrame, target: str, time: str | None, source: str) -> Clock | None:
    """Return the clock of a table: of the column `time`, of columns "year,month,day", or the first that is found.

    Found is a column of dates, or columns named year, month, day, hour and minute, whose values rise with the rows (or fall; 99 %
    of them) in equal steps (80 %), in 20 rows or more. None when there is none.

    Raises DataError when `time` is no such column or cannot be read.

    >>> import pandas as pd
    >>> frame = pd.DataFrame({"when": pd.date_range("2024-01-01", periods=30).astype(str), "y": range(30)})
    >>> clock = find_clock(frame, "y", None, "t.csv")
    >>> clock.names, str(clock.step)
    (('when',), 'day')
    """
    if time is not None:
        names = _named(frame, time, target, source)
        found = moments(frame, names, _form(frame, names))
        return _clock(frame, names, found, source)
    for names in _candidates(frame, target):
        form = _form(frame, names)
        if _mixed(frame, names, form):
            continue
        when = moments(frame, names, form)
        known = when[~_missing(when)]
        if len(known) < LEAST or len(known) < CLEAN * len(when):
            continue
        ahead = np.diff(known)
        zero = ahead.dtype.type(0)
        back = bool((ahead < zero).mean() > 0.5)
        if ((ahead < zero) if back else (ahead > zero)).mean() < CLEAN:
            continue
        rising = np.unique(known)
        if len(rising) >= LEAST and find_step(rising)[1] >= 0.8:
            return _clock(frame, names, when, source, named=False)
    return None


def in_order(frame: pd.DataFrame, target: str) -> str | None:
    """Return the first column of dates whose known values never fall, or never rise, in 99 % of the rows; None without one.

    Times may repeat and steps be unequal: a log, or several series one below the other in time.

    >>> import pandas as pd
    >>> days = pd.date_range("2024-01-01", periods=30).repeat(3).astype(str)
    >>> in_order(pd.DataFrame({"day": days, "y": range(90)}), "y"), in_order(pd.DataFrame({"day": days[::7], "y": 1}).sample(frac=1, random_state=0), "y")
    ('day', None)
    """
    for names in _candidates(frame, target):
        form = _form(frame, names)
        if _mixed(frame, names, form):
            continue
        when = moments(frame, names, form)
        known = when[~_missing(when)]
        if len(known) < LEAST or len(known) < 0.9 * len(when) or len(np.unique(known)) < LEAST:
            continue
        ahead = np.diff(known)
        zero = ahead.dtype.type(0)
        if max((ahead >= zero).mean(), (ahead <= zero).mean()) >= CLEAN:
            return ", ".join(names)
    return None


def _mixed(frame: pd.DataFrame, names: tuple[str, ...], form: str) -> bool:
    """Return whether 40 stretches of 50 rows show that the times of a long table neither rise nor fall: reading all dates is slow."""
    if len(frame) <= LONG:
        return False
    at = np.linspace(0, len(frame) - 50, 40).astype(int)[:, None] + np.arange(50)
    when = moments(frame[list(names)].iloc[at.ravel()], names, form).reshape(at.shape)
    ahead = np.diff(when, axis=1)
    zero = ahead.dtype.type(0)
    known = max(1, int((~_missing(ahead)).sum()))
    return bool(max((ahead >= zero).sum(), (ahead <= zero).sum()) < 0.9 * known)


def moments(frame: pd.DataFrame, names: tuple[str, ...], form: str) -> np.ndarray:
    """Return (n,) datetime64[us], or float for a column of numbers; NaT or NaN where it cannot be read.

    >>> import pandas as pd
    >>> moments(pd.DataFrame({"year": [2024], "month": [3]}), ("year", "month"), "parts").tolist()
    [datetime.datetime(2024, 3, 1, 0, 0)]
    """
    import pandas as pd

    if form == "parts":
        given = {PARTS[i]: as_numbers(frame[n]) for i, n in enumerate(names)}
        given = {"month": np.ones(len(frame)), "day": np.ones(len(frame))} | given
        when = pd.to_datetime(pd.DataFrame(given), errors="coerce")
    elif form == "number":
        return as_numbers(frame[names[0]])
    else:
        when = as_dates(frame[names[0]], form)
    return np.asarray(when.to_numpy(), dtype="datetime64[us]")


def _missing(when: np.ndarray) -> np.ndarray:
    return np.isnat(when) if when.dtype.kind == "M" else np.isnan(when)


def _form(frame: pd.DataFrame, names: tuple[str, ...]) -> str:
    if len(names) > 1 or names[0].lower() == "year":
        return "parts"
    kind, form = kind_of(frame[names[0]])
    return form if kind == "date" else "number"


def _candidates(frame: pd.DataFrame, target: str) -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = [(n,) for n in frame.columns if n != target and kind_of(frame[n])[0] == "date"]
    lower = {n.lower(): n for n in reversed(frame.columns) if n != target}
    parts: list[str] = []
    for part in PARTS:
        if part not in lower or kind_of(frame[lower[part]])[0] != "number":
            break
        parts.append(lower[part])
    return [*found, tuple(parts)] if parts else found


def _named(frame: pd.DataFrame, time: str, target: str, source: str) -> tuple[str, ...]:
    columns = list(frame.columns)
    names = (time,) if time in columns else tuple(n.strip() for n in time.split(","))
    for i, name in enumerate(names):
        if name not in columns:
            raise DataError(
                f"{source}: time: no column '{name}'.{nearest(name, columns)} Give --time COLUMN, or --time none."
            )
        if name == target:
            raise DataError(f"{source}: time: column '{name}' is the target. Give --time another, or --time none.")
        if len(names) > 1 and (i >= len(PARTS) or name.lower() != PARTS[i]):
            raise DataError(
                f"{source}: time: '{time}' are not {', '.join(PARTS)} in this order. Give one column, or e.g. year,month,day."
            )
        kind = kind_of(frame[name])[0]
        if kind not in ("date", "number") or (len(names) > 1 and kind != "number"):
            known = frame[name].dropna()
            shown = repr(str(known.iloc[0]))[:40] if len(known) else "nothing"
            raise DataError(
                f"{source}: time: column '{name}' holds {shown}, no dates or numbers. Give --time another column, or --time none."
            )
    return names


def _clock(
    frame: pd.DataFrame, names: tuple[str, ...], when: np.ndarray, source: str, named: bool = True
) -> Clock | None:
    """Return the clock with what had to be done: rows without a time left out, sorted, repeats dropped."""
    where = ", ".join(names)
    gone = _missing(when)
    known = np.flatnonzero(~gone)
    findings: list[Finding] = []
    if gone.any():
        text = f"{int(gone.sum()):,} of {len(when):,} rows have no time that can be read and are left out"
        evidence: dict[str, Any] = {"rows": int(gone.sum()), "of": len(when)}
        findings.append(Finding("NO-TIME", Severity.WARN, where, evidence, text, "write the time, or delete the rows"))
    if len(known) == 0 or (when[known] == when[known[0]]).all():
        what = f"the same in all {len(known)} rows" if len(known) else "missing in all rows"
        raise DataError(f"{source}: time: column '{where}' is {what}. Give --time another column, or --time none.")
    ahead = np.diff(when[known])
    back = int((ahead < ahead.dtype.type(0)).sum())
    if back == len(ahead):
        text = "the newest row comes first: turned round"
        findings.append(Finding("UNSORTED", Severity.INFO, where, {"rows": back}, text, "none needed"))
    elif back:
        text = f"{back:,} of {len(when):,} rows are earlier than the row above them: sorted by time"
        evidence = {"rows": back, "of": len(when), "first": int(known[1:][ahead < ahead.dtype.type(0)][0])}
        findings.append(Finding("UNSORTED", Severity.WARN, where, evidence, text, "sort the file; find out why"))
    if back == len(ahead):
        known = known[::-1]
    order = known[np.argsort(when[known], kind="stable")]
    last = np.append(when[order][1:] != when[order][:-1], True)  # of one time the last row counts: a correction
    twice = len(order) - int(last.sum())
    if twice > REPEATED * len(order):
        raise DataError(
            f"{source}: time: {twice:,} of {len(order):,} rows repeat the time of another in '{where}': several series? "
            "Give the rows of one, or --time none."
        )
    if twice:
        first = str(when[order][~last][0])
        text = f"{twice:,} rows have the time of another, e.g. {first}: the last one in the file is kept"
        evidence = {"rows": twice, "of": len(order), "first": first}
        findings.append(Finding("SAME-TIME", Severity.WARN, where, evidence, text, "keep one row a time"))
    rows = order[last]
    step, share = find_step(when[rows])
    form = _form(frame, names)
    if step.unit == "row":
        text = f"irregular: only {share:.0%} of the rows come one usual step after the one before; lags count rows"
        evidence = {"share": share, "threshold": 0.8, "n": len(rows)}
        findings.append(Finding("IRREGULAR", Severity.WARN, where, evidence, text, "resample it to equal steps"))
    return Clock(names, form, rows, when[rows], step, share, named, tuple(findings))


def day(time: str) -> str:
    """Return a time without the zeros at its end.

    >>> day("2024-01-31T00:00:00.000000"), day("2024-01-31T06:30:00.000000"), day("17.0")
    ('2024-01-31', '2024-01-31 06:30', '17')
    """
    text = time.removesuffix(".000000").removesuffix(".0").removesuffix(":00")
    return text.removesuffix("T00:00").replace("T", " ")
