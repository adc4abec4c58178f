"""Trials as tables: one row per trial, or one per report."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from whet.tune.account import Account
from whet.tune.trial import Trials

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["curve_frame", "frame"]

_FIRST = ("id", "state", "value", "step", "cost", "began", "ended", "seconds", "workers", "tags", "note", "error")


def frame(trials: Trials, accounts: Mapping[int, Account] | None = None) -> pd.DataFrame:
    """Return one row per trial: id, state, value, step, cost, tags, note, error, then `params.*` and `metrics.*`.

    accounts: the work on each trial; it adds began and ended (seconds since 1970), seconds, and workers (the machines).

    >>> from whet.tune.space import Space
    >>> list(frame(Trials([], space=Space())).columns)[:4]
    ['id', 'state', 'value', 'step']
    """
    import pandas as pd

    rows: list[dict[str, Any]] = []
    for t in trials:
        error = f"{t.error['type']}: {t.error['message']}" if t.error else None
        row = {"id": t.id, "state": t.state.value, "value": t.value, "step": t.step, "cost": t.cost}
        if accounts is not None:
            a = accounts.get(t.id, Account())
            row |= {"began": a.began, "ended": a.ended, "seconds": a.seconds, "workers": " ".join(a.hosts)}
        row |= {"tags": " ".join(t.tags), "note": t.note, "error": error}
        row |= {f"params.{k}": v for k, v in t.params.items()}
        row |= {f"metrics.{k}": v for k, v in (t.curve[-1].metrics.items() if t.curve else ())}
        rows.append(row)
    work = ("began", "ended", "seconds", "workers")
    first = [n for n in _FIRST if accounts is not None or n not in work]
    first += [f"params.{n}" for n in trials.space.names]
    return _exact(pd.DataFrame(rows, columns=list(dict.fromkeys([*first, *(k for r in rows for k in r)]))), trials)


def curve_frame(trials: Trials) -> pd.DataFrame:
    """Return one row per report: trial, step, value, cost, then `metrics.*`.

    >>> from whet.tune.space import Space
    >>> from whet.tune.trial import Point, State, Trial
    >>> curve_frame(Trials([Trial(0, {}, State.DONE, (Point(1, 0.5, 1.0),), 0.5)], space=Space())).to_dict("records")
    [{'trial': 0, 'step': 1, 'value': 0.5, 'cost': 1.0}]
    """
    import pandas as pd

    rows = [
        {
            "trial": t.id,
            "step": p.step,
            "value": p.value,
            "cost": p.cost,
            **{f"metrics.{k}": v for k, v in p.metrics.items()},
        }
        for t in trials
        for p in t.curve
    ]
    columns = ["trial", "step", "value", "cost"]
    return pd.DataFrame(rows, columns=list(dict.fromkeys([*columns, *(k for r in rows for k in r)])))


def _exact(table: pd.DataFrame, trials: Trials) -> pd.DataFrame:
    """Return the table with whole numbers kept whole where some trials have none."""
    for name in trials.space.names:
        values = [t.params[name] for t in trials if name in t.params]
        if 0 < len(values) < len(trials) and all(type(v) is int for v in values):
            table[f"params.{name}"] = table[f"params.{name}"].astype("Int64")
    return table
