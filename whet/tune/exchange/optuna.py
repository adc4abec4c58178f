"""Optuna's studies as values, whatever storage they come from, and what whet makes of them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from whet.errors import StudyError, nearest
from whet.tune.account import Account
from whet.tune.exchange import distribution
from whet.tune.exchange.carried import Carried
from whet.tune.exchange.foreign import Foreign, carry, finite
from whet.tune.space import Domain
from whet.tune.trial import State

__all__ = ["OptunaStudy", "OptunaTrial", "chosen", "translated"]

_STATES = {
    "COMPLETE": State.DONE, "PRUNED": State.STOPPED, "FAIL": State.FAILED, "RUNNING": State.FAILED, "WAITING": State.WAITING,
}  # fmt: skip
_LARGE = 2000  # characters of a user attribute that are kept with the trial


@dataclass
class OptunaTrial:
    """A trial as Optuna stores it: params holds (internal number, distribution as JSON), times are seconds since 1970."""

    number: int
    state: str
    params: dict[str, tuple[float, str]] = field(default_factory=dict)
    values: list[float] = field(default_factory=list)
    intermediate: dict[int, float] = field(default_factory=dict)
    user: dict[str, Any] = field(default_factory=dict)
    system: dict[str, Any] = field(default_factory=dict)
    began: float | None = None
    ended: float | None = None


@dataclass
class OptunaStudy:
    """A study as Optuna stores it; directions: "MINIMIZE" or "MAXIMIZE" of each objective."""

    name: str
    directions: list[str]
    trials: list[OptunaTrial] = field(default_factory=list)
    user: dict[str, Any] = field(default_factory=dict)
    system: dict[str, Any] = field(default_factory=dict)


def chosen(names: Sequence[str], wanted: str, where: str) -> str:
    """Return which of several studies is meant; raise StudyError when that is not clear.

    >>> chosen(["only"], "", "a.db")
    'only'
    """
    listed = ", ".join(names[:20]) + (", ..." if len(names) > 20 else "")
    if wanted and wanted not in names:
        raise StudyError(f"study '{wanted}': not in {where}.{nearest(wanted, names)} Studies: {listed or 'none'}.")
    if not names:
        raise StudyError(f"{where}: holds no Optuna study.")
    if not wanted and len(names) > 1:
        raise StudyError(f"{where}: holds {len(names)} studies: {listed}. Say which with --study NAME.")
    return wanted or names[0]


def translated(study: OptunaStudy, where: str) -> Carried:
    """Return the study as whet has it, with a word on everything that is not the same."""
    said: list[str] = []
    lost: list[str] = []
    names = _objectives(study, said)
    directions = dict(zip(names, study.directions, strict=True))
    goals = [f"{'max' if d.upper() == 'MAXIMIZE' else 'min'} {n}" for n, d in directions.items()]
    bounds = max((len(t.system.get("constraints") or ()) for t in study.trials), default=0)
    if bounds:
        goals += [f"constraint{i} <= 0" for i in range(bounds)]
        said.append(f"{bounds} constraint{'s' if bounds > 1 else ''}: kept as metrics with the goal <= 0")
    domains = _domains(study, said)
    steps_seen = [s for t in study.trials for s in t.intermediate]
    shift = 1 - min(steps_seen) if steps_seen and min(steps_seen) < 1 else 0
    if shift:
        said.append(f"steps began at {1 - shift}: {shift} was added to each, so that the first is 1")
    steps = max((s + shift for s in steps_seen), default=1)
    trials = [_trial(t, study, names, domains, shift, lost) for t in study.trials]
    running = sum(t.state == "RUNNING" for t in study.trials)
    if running:
        few = "1 trial was" if running == 1 else f"{running} trials were"
        said.append(f"{few} RUNNING: FAILED here as WorkerLost, which says nothing against the configuration")
    if study.user:
        said.append(f"the study's user attributes ({', '.join(study.user)}) are on record as optuna")
    carried = carry(
        f"Optuna study '{study.name}' in {where}",
        trials,
        domains,
        goals=goals,
        steps=steps,
        said=said,
        lost=_counted(lost),
    )
    if not study.user:
        return carried
    return Carried(
        carried.source, carried.space, carried.goals, carried.steps, carried.trials, accounts=carried.accounts,
        records=(("optuna", {"user": _plain(study.user)}),), said=carried.said, lost=carried.lost,
    )  # fmt: skip


def _objectives(study: OptunaStudy, said: list[str]) -> list[str]:
    """Return a name for every objective that a goal may have."""
    told = study.system.get("study:metric_names") or study.system.get("metric_names")
    many = len(study.directions) > 1
    names = list(told) if told else [f"value{i}" if many else "value" for i in range(len(study.directions))]
    found: list[str] = []
    for i, name in enumerate(names):
        text = re.sub(r"[\s<>=]", "_", str(name)) or f"value{i}"
        found.append(text if text not in found else f"{text}_{i}")
    if told and found != names:
        said.append(f"objectives are called {', '.join(found)} here")
    return found


def _domains(study: OptunaStudy, said: list[str]) -> dict[str, Domain]:
    texts: dict[str, dict[str, None]] = {}
    values: dict[str, list[Any]] = {}
    for t in study.trials:
        for name, (internal, text) in t.params.items():
            texts.setdefault(name, {})[text] = None
            values.setdefault(name, []).append(distribution.value(internal, text))
    found: dict[str, Domain] = {}
    for name, those in texts.items():
        found[name], notes = distribution.domain(name, list(those), values[name])
        said += notes
    return found


def _trial(
    t: OptunaTrial, study: OptunaStudy, names: list[str], domains: Mapping[str, Domain], shift: int, lost: list[str]
) -> Foreign:
    state, error = _STATES.get(t.state.upper(), State.FAILED), None
    params = {n: distribution.snapped(domains[n], distribution.value(v, d)) for n, (v, d) in t.params.items()}
    if state is State.WAITING:
        for name, given in (t.system.get("fixed_params") or {}).items():
            if name in domains:
                params[name] = distribution.snapped(domains[name], distribution.scalar(given))
            else:
                lost.append(f"a waiting trial's value of {name}, which no trial has had yet")
    curve: list[tuple[int, float, Mapping[str, float]]] = [
        (s + shift, v, {}) for s, v in sorted(t.intermediate.items()) if finite(v)
    ]
    lost += ["an intermediate value that is not finite"] * (len(t.intermediate) - len(curve))
    value = t.values[0] if t.values else None
    metrics = {n: v for n, v in zip(names[1:], t.values[1:], strict=False) if finite(v)}
    metrics |= {f"constraint{i}": float(v) for i, v in enumerate(t.system.get("constraints") or ()) if finite(v)}
    if state is State.DONE and not finite(value):
        state, error = State.FAILED, _error("NotFinite", f"{names[0]} is {value}")
        value = None
    elif t.state.upper() == "RUNNING":
        error = _error("WorkerLost", "was RUNNING in Optuna when the study was imported")
    elif state is State.FAILED:
        error = _error("Failed", str(t.system.get("fail_reason") or "failed in Optuna, which keeps no reason"))
    if not finite(value):
        value = None
    origin: dict[str, Any] = {"search": "optuna", "study": study.name, "number": t.number}
    user = {}
    for k, v in _plain(t.user).items():
        if len(str(v)) <= _LARGE:
            user[k] = v
        else:
            lost.append(f"the user attribute {k}, longer than {_LARGE} characters")
    if user:
        origin["user"] = user
    seconds = max(0.0, t.ended - t.began) if t.ended is not None and t.began is not None else 0.0
    return Foreign(
        t.number, state, params, value, curve, metrics, error, origin, account=Account(t.began, t.ended, seconds),
        whole=t.state.upper() in ("COMPLETE", "PRUNED"),
    )  # fmt: skip


def _error(kind: str, message: str) -> dict[str, Any]:
    return {"type": kind, "message": message, "traceback": ""}


def _plain(data: Mapping[str, Any]) -> dict[str, Any]:
    from whet.journal.event import decode, encode

    return decode(encode(dict(data)))


def _counted(lines: Sequence[str]) -> list[str]:
    """Return each line once, with how often it came."""
    return [f"{k} ({lines.count(k)} times)" if lines.count(k) > 1 else k for k in dict.fromkeys(lines)]
