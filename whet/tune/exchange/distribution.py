"""Optuna's distributions as domains."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from typing import Any

from whet.errors import StudyError
from whet.tune.space import Choice, Const, Domain, Float, Int, Ordered

__all__ = ["domain", "value"]

_MANY = 1000  # steps beyond which a range is taken as it is, without them


def value(internal: float, text: str) -> Any:
    """Return what the number that Optuna stores stands for under the distribution `text` (JSON).

    >>> value(1.0, '{"name": "CategoricalDistribution", "attributes": {"choices": ["sgd", "adam"]}}')
    'adam'
    """
    name, attributes = _read(text)
    if "choices" in attributes:
        return scalar(attributes["choices"][int(internal)])
    if name.startswith("Int"):
        return round(internal)
    return float(internal)


def scalar(option: Any) -> Any:
    """Return an option as a value a space can hold: lists and the like become text.

    >>> scalar([1, 2]), scalar(None)
    ('[1, 2]', None)
    """
    if option is None or isinstance(option, (str, bool, int)) or (isinstance(option, float) and math.isfinite(option)):
        return option
    return json.dumps(option) if not isinstance(option, float) else str(option)


def domain(name: str, texts: Sequence[str], values: Iterable[Any]) -> tuple[Domain, list[str]]:
    """Return the domain that holds every distribution a parameter had, and what was decided.

    texts: the distributions (JSON), each once; values: those that trials have, which widen the domain when they lie outside.

    >>> domain("lr", ['{"name": "FloatDistribution", "attributes": {"low": 0.001, "high": 0.1, "log": true}}'], [0.5])
    (Float(low=0.001, high=0.5, log=True, prior=None, live=False), ['lr: a trial has 0.5, outside its distribution: the domain was widened'])
    """
    said: list[str] = []
    parts = [_one(name, text, said) for text in texts]
    found = parts[0]
    for other in parts[1:]:
        found = _union(found, other)
    if len(parts) > 1:
        said.append(f"{name}: its distribution changed {len(parts) - 1} times: {found!r} holds them all")
    for v in values:
        wider = _with(found, v)
        if wider is not found:
            found = wider
            said.append(f"{name}: a trial has {v!r}, outside its distribution: the domain was widened")
    return found, list(dict.fromkeys(said))


def snapped(found: Domain, given: Any) -> Any:
    """Return a value as the domain has it: the nearest of evenly spaced numbers, others as they are."""
    if isinstance(found, Ordered) and isinstance(given, float):
        near = min(
            (v for v in found.values if isinstance(v, (int, float))), key=lambda v: abs(v - given), default=given
        )
        return near if math.isclose(near, given, rel_tol=1e-9, abs_tol=1e-12) else given
    return given


def _read(text: str) -> tuple[str, dict[str, Any]]:
    data = json.loads(text)
    return str(data["name"]), dict(data["attributes"])


def _one(name: str, text: str, said: list[str]) -> Domain:
    kind, a = _read(text)
    if "choices" in a:
        options = list(dict.fromkeys(map(_keyed, a["choices"])))
        if any(not isinstance(c, (str, bool, int, float, type(None))) for c in a["choices"]):
            said.append(f"{name}: options that are no text, number or truth value became text")
        return Choice([o for _, o in options])
    low, high, step = a["low"], a["high"], a.get("step", a.get("q"))
    log = bool(a.get("log")) or "Log" in kind
    if not (math.isfinite(low) and math.isfinite(high)):
        raise StudyError(f"{name}: its distribution goes from {low} to {high}. Only finite ones can be carried over.")
    if low == high:
        return Const(low)
    if kind.startswith("Int"):
        if step in (None, 1) or log:
            return Int(int(low), int(high), log=log)
        values: list[Any] = list(range(int(low), int(high) + 1, int(step)))
        span: Domain = Int(int(low), int(high))
    elif step is None:
        return Float(low, high, log=log)
    else:
        n = math.floor((high - low) / step + 1e-8) + 1
        span = Float(low, high)
        values = [float(f"{low + i * step:.12g}") for i in range(n)] if n <= _MANY else []
    if len(values) == 1:
        return Const(values[0])
    if not values or len(values) > _MANY:
        said.append(f"{name}: has more than {_MANY} steps of {step:g}: taken as a range without steps")
        return span
    return Ordered(values)


def _keyed(option: Any) -> tuple[str, Any]:
    made = scalar(option)
    return f"{type(made).__name__}:{made}", made


def _values(found: Domain) -> tuple[Any, ...]:
    match found:
        case Const(value=only):
            return (only,)
        case Choice(options=those) | Ordered(values=those):
            return those
    return ()


def _number(v: Any) -> bool:
    return isinstance(v, (int, float)) and not isinstance(v, bool)


def _union(a: Domain, b: Domain) -> Domain:
    """Return the smallest domain that holds both."""
    if a == b:
        return a
    if isinstance(a, Choice) or isinstance(b, Choice):
        return Choice([o for _, o in dict.fromkeys(_keyed(v) for v in (*_values(a), *_values(b)))])
    if isinstance(a, (Float, Int)) or isinstance(b, (Float, Int)):
        ends = [v for d in (a, b) for v in ((d.low, d.high) if isinstance(d, (Float, Int)) else _values(d))]
        spans = [d for d in (a, b) if isinstance(d, (Float, Int))]
        log = all(d.log for d in spans) and min(ends) > 0
        whole = all(isinstance(d, Int) for d in spans) and all(isinstance(v, int) for v in ends)
        return Int(min(ends), max(ends), log=log) if whole else Float(min(ends), max(ends), log=log)
    return Ordered(sorted({*_values(a), *_values(b)}))


def _with(found: Domain, v: Any) -> Domain:
    """Return the domain with one more value: itself when it has it already."""
    if isinstance(found, (Float, Int)):
        if not _number(v) or found.low <= v <= found.high:
            return found
        return _union(found, Const(v))
    if any(_keyed(v) == _keyed(o) or snapped(found, v) == o for o in _values(found)):
        return found
    return _union(found, Const(v))
