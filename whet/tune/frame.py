"""Trials as a table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from whet.tune.trial import Trials

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["frame"]


def frame(trials: Trials) -> pd.DataFrame:
    """Return one row per trial: id, state, value, step, cost, tags, note, error, then `params.*` and `metrics.*`.

    >>> from whet.tune.space import Space
    >>> list(frame(Trials([], space=Space())).columns)[:4]
    ['id', 'state', 'value', 'step']
    """
    import pandas as pd

    rows: list[dict[str, Any]] = []
    for t in trials:
        error = f"{t.error['type']}: {t.error['message']}" if t.error else None
        row = {"id": t.id, "state": t.state.value, "value": t.value, "step": t.step, "cost": t.cost}
        row |= {"tags": " ".join(t.tags), "note": t.note, "error": error}
        row |= {f"params.{k}": v for k, v in t.params.items()}
        row |= {f"metrics.{k}": v for k, v in (t.curve[-1].metrics.items() if t.curve else ())}
        rows.append(row)
    first = [
        "id",
        "state",
        "value",
        "step",
        "cost",
        "tags",
        "note",
        "error",
        *(f"params.{n}" for n in trials.space.names),
    ]
    return pd.DataFrame(rows, columns=list(dict.fromkeys([*first, *(k for r in rows for k in r)])))
