"""A table of configurations and results as a study: types, ranges and scales are guessed from the values, and said."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from whet.errors import UsageError, nearest
from whet.tune.account import Account
from whet.tune.exchange.carried import Carried
from whet.tune.exchange.foreign import Foreign, carry, finite
from whet.tune.space import Choice, Const, Domain, Float, Int
from whet.tune.trial import Goal, State, parse_goals
from whet.tune.wording import described

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["guessed", "tabled"]

_OWN = ("id", "state", "value", "step", "cost", "tags", "note", "error")  # the columns of Study.frame
_SPAN = 100  # a range whose ends differ by this factor, most values near the low end, is logarithmic
_OPTIONS = 50  # different words beyond which a column is no choice


def tabled(
    table: pd.DataFrame, source: str, *, goal: str, params: Sequence[str] | None = None, value: str | None = None
) -> Carried:
    """Return the study that the rows of a table make: one trial each.

    goal: "min loss" or "max accuracy"; value: the column of results (default: the goal's name, or `value`); params: the
    columns of hyperparameters (default: those called `params.NAME`, else all that are left). A table that `whet study
    export` wrote keeps its states, notes and errors. Raises UsageError for a column that is not there or cannot be one.
    """
    goals = parse_goals(goal)
    assert isinstance(goals[0], Goal)
    columns = [str(c) for c in table.columns]
    table = table.set_axis(columns, axis=1)
    if len(set(columns)) < len(columns):
        twice = next(c for c in columns if columns.count(c) > 1)
        raise UsageError(f"{source}: the column {twice!r} is there twice. Give every column its own name.")
    if not params and {"trial", "step", "value", "cost"} <= set(columns) and "id" not in columns:
        raise UsageError(
            f"{source}: has one row per report, as `whet study export --curves` writes it, and no configurations. "
            "Give the table without --curves, or the JSON; or name the hyperparameters with --param."
        )
    own = {"id", "state", "value"} <= set(columns)
    result = value or (goals[0].name if goals[0].name in columns and not own else "value")
    if value is None and result not in columns:
        name = goals[0].name
        raise UsageError(
            f"--goal {goals[0]}: no column {name} in {source}.{nearest(name, columns)} Name the column of results with "
            f"--value. Columns: {', '.join(columns)}."
        )
    _there(source, columns, "--value", result)
    dotted = [c for c in columns if c.startswith("params.")]
    said: list[str] = []
    if params:
        for p in params:
            _there(source, columns, "--param", p)
        chosen = list(dict.fromkeys(params))
    else:
        chosen = dotted or [c for c in columns if c != result and not (own and c in _OWN)]
        if not dotted:
            said.append(f"hyperparameters: {', '.join(chosen) or 'none'} (all columns but {result}; --param chooses)")
    if result in chosen:
        raise UsageError(f"--param {result}: is the column of results. Give another.")
    names = {c: c.removeprefix("params.") if c in dotted else c for c in chosen}
    cells = {names[c]: [_plain(v) for v in table[c].tolist()] for c in chosen}
    domains: dict[str, Domain] = {}
    for name, values in cells.items():
        guess, why = guessed(name, [v for v in values if v is not None], source)
        if guess is None:
            said.append(f"{name}: {why}")
            continue
        domains[name] = guess
        said.append(f"{name}: {described(guess)}")
    rows = [_row(i, table, own, result, {n: cells[n][i] for n in domains}, goals[0]) for i in range(len(table))]
    lost = []
    if own and "step" in columns:
        lost.append("the curves: a table has only the last value of each trial (the JSON export has all)")
    left = [c for c in columns if c not in chosen and c != result and not (own and c in _OWN)]
    extra = [c for c in left if c.startswith("metrics.")]
    if others := [
        c for c in left if not c.startswith("metrics.") and c not in ("began", "ended", "seconds", "workers")
    ]:
        lost.append(f"the columns {', '.join(others)}")
    for i, row in enumerate(rows):
        found = {c.removeprefix("metrics."): _number(table[c].iloc[i]) for c in extra}
        row.metrics = {k: v for k, v in found.items() if v is not None and finite(v)}
    steps = (
        max((int(s) for s in table["step"].tolist() if finite(_number(s))), default=1)
        if own and "step" in columns
        else 1
    )
    return carry(source, rows, domains, goals=[str(g) for g in goals], steps=max(1, steps), said=said, lost=lost)


def guessed(name: str, values: Sequence[Any], source: str = "table") -> tuple[Domain | None, str]:
    """Return the domain that a column's values suggest, or None and why there is none.

    >>> guessed("lr", [1e-4, 3e-4, 1e-3, 1e-1])[0]
    Float(low=0.0001, high=0.1, log=True, prior=None, live=False)
    >>> guessed("layers", [1, 2, 3])[0], guessed("opt", ["sgd", "adam"])[0].options
    (Int(low=1, high=3, log=False, prior=None, live=False), ('sgd', 'adam'))
    """
    distinct = list(dict.fromkeys((type(v).__name__, v) for v in values))
    options = [v for _, v in distinct]
    if not options:
        return None, "has no values: left out"
    if len(options) == 1:
        return Const(options[0]), ""
    if all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in options):
        low, high = min(options), max(options)
        if low == high:
            return Const(low), ""
        log = bool(low > 0 and high / low >= _SPAN and np.median(values) < low + (high - low) / 4)
        whole = all(isinstance(v, int) for v in options) and max(abs(low), abs(high)) < 2**40
        return (Int(low, high, log=log) if whole else Float(low, high, log=log)), ""
    if len(options) > _OPTIONS:
        raise UsageError(
            f"{source}: the column {name} has {len(options)} different texts, too many for a choice. Leave it out with --param."
        )
    return Choice(options), ""


def _there(source: str, columns: list[str], flag: str, name: str) -> None:
    if name not in columns:
        raise UsageError(
            f"{flag} {name}: no such column in {source}.{nearest(name, columns)} Columns: {', '.join(columns)}."
        )


def _plain(value: Any) -> Any:
    """Return a cell as a plain value, None when it is empty."""
    if hasattr(value, "item"):
        value = value.item()
    if value is None or type(value).__name__ in ("NAType", "NaTType") or value != value:
        return None
    return value if isinstance(value, (bool, int, float, str)) else str(value)


def _number(value: Any) -> float | None:
    found = _plain(value)
    try:
        return None if found is None else float(found)
    except ValueError:
        return math.nan


def _row(i: int, table: pd.DataFrame, own: bool, result: str, params: dict[str, Any], goal: Goal) -> Foreign:
    row = table.iloc[i]
    params = {k: v for k, v in params.items() if v is not None}
    value = _number(row[result])
    if (
        isinstance(_plain(row[result]), str)
        and value is not None
        and not finite(value)
        and "nan" not in str(row[result]).lower()
    ):
        raise UsageError(f"--value {result}: row {i + 1} has {row[result]!r}, which is no number.")
    origin = {"search": "table", "row": i + 1}
    if not own:
        if finite(value):
            return Foreign(i, State.DONE, params, value, origin=origin)
        unsound = {"type": "NotFinite", "message": f"{goal.name} is {value} in the table", "traceback": ""}
        return Foreign(i, State.FAILED, params, None, error=unsound, origin=origin)
    state = _state(row["state"], i)
    said = str(_plain(row.get("error")) or "Failed: no reason in the table").partition(": ")
    error = {"type": said[0], "message": said[2] or said[0], "traceback": ""} if state is State.FAILED else None
    step = _number(row.get("step")) or 0
    curve: list[tuple[int, float, Mapping[str, float]]] = []
    if finite(value) and step >= 1:
        assert value is not None
        curve = [(int(step), value, {})]
    account = Account(_number(row.get("began")), _number(row.get("ended")), _number(row.get("seconds")) or 0.0)
    return Foreign(
        i, state, params, value if finite(value) else None, curve, {}, error, origin,
        tuple(str(_plain(row.get("tags")) or "").split()), str(_plain(row.get("note")) or ""), account,
        whole=state is not State.FAILED,
    )  # fmt: skip


def _state(text: Any, i: int) -> State:
    names = [s.value for s in State]
    found = str(text).upper()
    if found not in names:
        raise UsageError(f"row {i + 1}: no state {text!r}.{nearest(found, names)} Allowed: {', '.join(names)}.")
    # whoever trained it is not here: it is waiting for nobody
    return State(found) if found != "RUNNING" else State.PAUSED
