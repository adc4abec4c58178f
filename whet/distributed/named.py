"""Rules by name: `dc-asgd`, `bounded(s=3)`, `finite + clip(norm=1) + async`."""

from __future__ import annotations

import ast
import importlib
import inspect
import math
import re
from collections.abc import Callable
from importlib.metadata import entry_points
from typing import Any

from whet.distributed.rule import Rule, chain
from whet.errors import UsageError, nearest

__all__ = ["RULES", "made_by", "parse_rule"]

# name -> (where its function is, options it presets)
RULES: dict[str, tuple[str, dict[str, Any]]] = {
    "sync": ("whet.distributed.rules.gather:sync", {}),
    "async": ("whet.distributed.rules.gradient:asynchronous", {}),
    "bounded": ("whet.distributed.rules.gradient:bounded", {}),
    "discount": ("whet.distributed.rules.gradient:discount", {}),
    "weighted": ("whet.distributed.rules.gradient:weighted", {}),
    "dc-asgd": ("whet.distributed.rules.gradient:delay_compensated", {"adaptive": True}),
    "dc-asgd-a": ("whet.distributed.rules.gradient:delay_compensated", {"adaptive": True}),
    "dc-asgd-c": ("whet.distributed.rules.gradient:delay_compensated", {"adaptive": False}),
    "average": ("whet.distributed.rules.gather:average", {}),
    "diloco": ("whet.distributed.rules.gather:diloco", {}),
    "elastic": ("whet.distributed.rules.elastic:elastic", {}),
    "ec": ("whet.distributed.rules.ensemble:ensemble_compress", {}),
    "codistil": ("whet.distributed.rules.ensemble:codistil", {}),
    "accumulate": ("whet.distributed.rules.gradient:accumulate", {}),
    "finite": ("whet.distributed.rules.guard:finite", {}),
    "clip": ("whet.distributed.rules.guard:clip", {}),
}

_PART = re.compile(r"\s*([A-Za-z][\w-]*)\s*(?:\((.*)\))?\s*")


def parse_rule(text: str) -> Rule:
    """Return the rule that `text` names: parts joined by "+", each a name with options in brackets.

    Names of other packages come from entry points of the group "whet.rule": functions that return a `Rule`. A rule's own text is
    read back as the same rule. The first option alone may be given without its name. Raises UsageError for an unknown name, an option it
    does not have or that is given twice, or a value it refuses.

    >>> str(parse_rule("dc-asgd")), str(parse_rule("bounded(s=3)")), str(parse_rule("finite+dc-asgd-c(lambda=1)"))
    ('dc-asgd-a(lambda=2, decay=0.95)', 'bounded(s=3)', 'finite + dc-asgd-c(lambda=1)')
    """
    return chain(*(_one(part, text) for part in split(text, "+")))


def split(text: str, sign: str) -> list[str]:
    """Return the parts between signs that are in no brackets.

    >>> split("sync,elastic(alpha=.2,every=4)", ",")
    ['sync', 'elastic(alpha=.2,every=4)']
    """
    parts, depth = [""], 0
    for c in text:
        depth += (c == "(") - (c == ")")
        if c == sign and depth == 0:
            parts.append("")
        else:
            parts[-1] += c
    return parts


def _one(part: str, text: str) -> Rule:
    match = _PART.fullmatch(part)
    if match is None:
        raise UsageError(f"rule {text!r}: cannot read {part.strip()!r}. Use NAME or NAME(option=value), joined by +.")
    name, inside = match.groups()
    make, preset = made_by(name)
    options, given = dict(preset), dict[str, str]()
    known = {p.rstrip("_"): p for p in inspect.signature(make).parameters}
    for key in preset:
        known.pop(key, None)
    for at, option in enumerate(filter(None, (o.strip() for o in (inside or "").split(",")))):
        key, equals, value = (s.strip() for s in option.partition("="))
        if not equals and len(known) and key:  # bounded(3)
            if at:
                raise UsageError(
                    f"rule {name}: {key} has no name, and only the first option may stand without one ({next(iter(known))}). "
                    f"Allowed: {', '.join(f'{k}=NUMBER' for k in known)}."
                )
            key, value = next(iter(known)), key
        if key not in known:
            raise UsageError(
                f"rule {name}: no option {key!r}.{nearest(key, known)} Allowed: {', '.join(known) or 'none'}."
            )
        if key in given:
            raise UsageError(f"rule {name}: {key} is given twice, {given[key]} and {value}. Give it once.")
        given[key] = value
        try:
            number = math.inf if value == "inf" else ast.literal_eval(value)
        except (ValueError, SyntaxError):
            raise UsageError(f"rule {name}: {key}: cannot read {value!r}. Use a number.") from None
        if not isinstance(number, (int, float)) or isinstance(number, bool):
            raise UsageError(f"rule {name}: {key}: must be a number, got {value}.")
        options[known[key]] = number
    missing = [
        known[p.rstrip("_")] for p, about in inspect.signature(make).parameters.items()
        if about.default is inspect.Parameter.empty and p not in options
    ]  # fmt: skip
    if missing:
        raise UsageError(f"rule {name}: needs {missing[0]}. Use e.g. {name}({missing[0]}=3).")
    found: Rule = make(**options)
    return found


def made_by(name: str) -> tuple[Callable[..., Rule], dict[str, Any]]:
    """Return the function that makes rules of this name, and the options that the name sets; UsageError when there is none.

    >>> made_by("dc-asgd-c")[0].__name__, made_by("dc-asgd-c")[1]
    ('delay_compensated', {'adaptive': False})
    """
    if name in RULES:
        where, preset = RULES[name]
        module, _, function = where.partition(":")
        return getattr(importlib.import_module(module), function), preset
    points = {p.name: p for p in entry_points(group="whet.rule")}
    if name in points:
        return points[name].load(), {}
    listed = [*RULES, *points]
    raise UsageError(f"rule: no rule {name!r}.{nearest(name, listed)} Allowed: {', '.join(listed)}.")
