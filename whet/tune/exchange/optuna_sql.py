"""Optuna's database, read without Optuna."""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from whet.errors import StoreError, StudyError, one_line
from whet.tune.exchange.optuna import OptunaStudy, OptunaTrial, chosen

__all__ = ["read_database"]

_SPECIAL = {"INF_POS": float("inf"), "INF_NEG": float("-inf"), "NAN": float("nan")}


def read_database(url: str, where: str, wanted: str = "") -> OptunaStudy:
    """Return one study of an Optuna database; `where` is what errors call it, `wanted` which study when there are several.

    Nothing is written. Raises StoreError when the database cannot be read, StudyError when it holds no such study.
    """
    try:
        engine = sa.create_engine(url, poolclass=sa.NullPool)
        with engine.connect() as c:
            return _study(c, where, wanted)
    except (SQLAlchemyError, ImportError) as e:
        said = one_line(str(getattr(e, "orig", None) or e))
        if "No module named" in said:
            said = "psycopg is not installed: pip install 'whet[postgres]'"
        raise StoreError(f"{where}: cannot be read ({said}).") from e


def _study(c: sa.Connection, where: str, wanted: str) -> OptunaStudy:
    tables = set(sa.inspect(c).get_table_names())
    if "whet_meta" in tables:
        raise StudyError(
            f"{where}: is a whet database. Use `whet study export STUDY --format json` there, then import that."
        )
    if not {"studies", "trials", "trial_params"} <= tables:
        few = ", ".join(sorted(tables)[:3]) or "none"
        raise StudyError(f"{where}: not an Optuna storage (its tables: {few}).")
    ids = {row["study_name"]: row["study_id"] for row in _rows(c, "studies", "study_id")}
    name = chosen(list(ids), wanted, where)
    mine = {"study_id": ids[name]}
    directions = [r["direction"] for r in _rows(c, "study_directions", "objective", **mine)]
    study = OptunaStudy(name, directions)
    for table, held in (("study_user_attributes", study.user), ("study_system_attributes", study.system)):
        held.update({r["key"]: json.loads(r["value_json"]) for r in _rows(c, table, "key", **mine)})
    trials: dict[int, OptunaTrial] = {}
    for n, r in enumerate(_rows(c, "trials", "trial_id", **mine)):
        number = n if r.get("number") is None else r["number"]
        times = [_seconds(r.get("datetime_start")), _seconds(r.get("datetime_complete"))]
        trials[r["trial_id"]] = OptunaTrial(number, r["state"], began=times[0], ended=times[1])
    for table, order, take in _PARTS:
        if table in tables:
            for r in _rows(c, table, order, study=ids[name]):
                if r["trial_id"] in trials:
                    take(trials[r["trial_id"]], r)
    study.trials = sorted(trials.values(), key=lambda t: t.number)
    return study


def _rows(
    c: sa.Connection, table: str, order: str, *, study: int | None = None, **where: Any
) -> Iterator[dict[str, Any]]:
    """Yield the rows of a table in order; with `study`, those of its trials."""
    found = sa.Table(table, sa.MetaData(), autoload_with=c)
    # enumerations and times as the text they are stored as: versions of Optuna differ in what they allow
    columns = [sa.type_coerce(k, sa.Text).label(k.name) if isinstance(k.type, sa.Enum) else k for k in found.c]
    query = sa.select(*columns).order_by(found.c[order])
    for name, value in where.items():
        query = query.where(found.c[name] == value)
    if study is not None:
        trials = sa.table("trials", sa.column("trial_id"), sa.column("study_id"))
        query = query.where(found.c.trial_id.in_(sa.select(trials.c.trial_id).where(trials.c.study_id == study)))
    yield from map(dict, c.execute(query).mappings())


def _number(value: float | None, kind: str | None) -> float:
    """Return a number that may be stored as a word beside an empty cell."""
    return _SPECIAL.get(str(kind), float("nan")) if value is None else float(value)


def _param(t: OptunaTrial, r: dict[str, Any]) -> None:
    t.params[r["param_name"]] = (r["param_value"], r["distribution_json"])


def _value(t: OptunaTrial, r: dict[str, Any]) -> None:
    t.values.append(_number(r["value"], r.get("value_type")))


def _intermediate(t: OptunaTrial, r: dict[str, Any]) -> None:
    t.intermediate[r["step"]] = _number(r["intermediate_value"], r.get("intermediate_value_type"))


def _user(t: OptunaTrial, r: dict[str, Any]) -> None:
    t.user[r["key"]] = json.loads(r["value_json"])


def _system(t: OptunaTrial, r: dict[str, Any]) -> None:
    t.system[r["key"]] = json.loads(r["value_json"])


_PARTS = (
    ("trial_params", "param_id", _param), ("trial_values", "objective", _value),
    ("trial_intermediate_values", "step", _intermediate), ("trial_user_attributes", "key", _user),
    ("trial_system_attributes", "key", _system),
)  # fmt: skip


def _seconds(at: Any) -> float | None:
    if at is None:
        return None
    when = at if isinstance(at, datetime.datetime) else datetime.datetime.fromisoformat(str(at))
    return when.timestamp()  # Optuna writes local time
