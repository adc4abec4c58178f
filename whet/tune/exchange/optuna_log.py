"""Optuna's journal file (`JournalFileBackend`), read without Optuna: one JSON object a line, one operation each."""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterable, Mapping
from typing import Any

from whet.errors import StudyError
from whet.tune.exchange.optuna import OptunaStudy, OptunaTrial, chosen

__all__ = ["read_log"]

_STATES = ("RUNNING", "COMPLETE", "PRUNED", "FAIL", "WAITING")
_DIRECTIONS = ("NOT_SET", "MINIMIZE", "MAXIMIZE")
_CLOSED = ("COMPLETE", "PRUNED", "FAIL")


def read_log(lines: Iterable[str], where: str, wanted: str = "") -> OptunaStudy:
    """Return one study of an Optuna journal; `wanted` says which when there are several.

    A last line that was cut off by a crash is left out. Raises StudyError when it cannot be read, or has no such study.
    """
    studies: dict[int, OptunaStudy] = {}
    trials: list[tuple[OptunaStudy | None, OptunaTrial]] = []
    texts = [line for line in lines if line.strip()]
    made = 0
    for n, line in enumerate(texts, 1):
        try:
            op = json.loads(line)
            made = _apply(op, studies, trials, made)
        except json.JSONDecodeError:
            if n == len(texts):
                break
            raise StudyError(f"{where}: line {n} is not JSON. It is no Optuna journal, or damaged.") from None
        except (KeyError, IndexError, TypeError, ValueError) as e:
            raise StudyError(f"{where}: line {n} is no operation of an Optuna journal ({e!r}).") from None
    named = {s.name: s for s in studies.values()}
    return named[chosen(list(named), wanted, where)]


def _apply(
    op: Mapping[str, Any],
    studies: dict[int, OptunaStudy],
    trials: list[tuple[OptunaStudy | None, OptunaTrial]],
    made: int,
) -> int:
    """Take in one operation; return how many studies there have been."""
    code = op["op_code"]
    if code == 0:
        if op["study_name"] not in [s.name for s in studies.values()]:
            studies[made] = OptunaStudy(op["study_name"], [_DIRECTIONS[d] for d in op["directions"]])
            made += 1
    elif code == 1:
        studies.pop(op["study_id"], None)
    elif code in (2, 3):
        if (study := studies.get(op["study_id"])) is not None:
            (study.user if code == 2 else study.system).update(op["user_attr" if code == 2 else "system_attr"])
    elif code == 4:
        if (study := studies.get(op["study_id"])) is not None:
            trial = _created(op, len(study.trials))
            study.trials.append(trial)
            trials.append((study, trial))
    elif 5 <= code <= 9:
        trial = trials[op["trial_id"]][1]
        if trial.state not in _CLOSED:
            _changed(trial, code, op)
    elif code != 10:
        raise ValueError(f"operation {code}")
    return made


def _created(op: Mapping[str, Any], number: int) -> OptunaTrial:
    distributions = op.get("distributions", {})
    params = {k: (float(v), distributions[k]) for k, v in op.get("params", {}).items()}
    values = op.get("values") or ([op["value"]] if op.get("value") is not None else [])
    intermediate = {int(k): float(v) for k, v in op.get("intermediate_values", {}).items()}
    return OptunaTrial(
        number, _STATES[op.get("state", 0)], params, list(map(float, values)), intermediate, dict(op.get("user_attrs", {})),
        dict(op.get("system_attrs", {})), _seconds(op.get("datetime_start")), _seconds(op.get("datetime_complete")),
    )  # fmt: skip


def _changed(trial: OptunaTrial, code: int, op: Mapping[str, Any]) -> None:
    if code == 5:
        trial.params[op["param_name"]] = (float(op["param_value_internal"]), op["distribution"])
    elif code == 6:
        trial.state = _STATES[op["state"]]
        if op.get("values") is not None:
            trial.values = list(map(float, op["values"]))
        trial.began = _seconds(op.get("datetime_start")) or trial.began
        trial.ended = _seconds(op.get("datetime_complete")) or trial.ended
    elif code == 7:
        trial.intermediate[int(op["step"])] = float(op["intermediate_value"])
    else:
        (trial.user if code == 8 else trial.system).update(op["user_attr" if code == 8 else "system_attr"])


def _seconds(text: str | None) -> float | None:
    return None if text is None else datetime.datetime.fromisoformat(text).timestamp()
