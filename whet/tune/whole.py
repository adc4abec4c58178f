"""Whole configurations and partial ones: which are the same, and what a partial one leaves open."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from whet import seed as streams
from whet.tune.space import Const, Params, Space

__all__ = ["complete", "configuration", "covers"]


def configuration(params: Mapping[str, Any]) -> str:
    """Return a key that two configurations share when they are the same.

    >>> configuration({"a": 1, "b": 2.0}) == configuration({"b": 2.0, "a": 1})
    True
    """
    return json.dumps(dict(params), sort_keys=True, separators=(",", ":"))


def complete(space: Space, params: Params) -> dict[str, Any] | None:
    """Return the one configuration that `params` can mean, or None when they leave something open.

    >>> from whet.tune.space import Int
    >>> complete(Space(a=Int(1, 3), b=Const(2)), {"a": 3}), complete(Space(a=Int(1, 3)), {})
    ({'a': 3, 'b': 2}, None)
    """
    found = space.fill(params, streams.rng(0, "check"))
    fixed = {n for n, d in _domains(space).items() if isinstance(d, Const)}
    return found if all(n in params or n in fixed for n in found) else None


def covers(params: Mapping[str, Any], given: Params) -> bool:
    """Return whether a configuration has all the given values.

    >>> covers({"a": 1, "b": 2}, {"b": 2})
    True
    """
    return all(k in params and params[k] == v for k, v in given.items())


def _domains(space: Space, prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, domain in space.items():
        found[prefix + name] = domain
        for branch in getattr(domain, "branches", ()):
            found |= {} if branch is None else _domains(branch, f"{prefix}{name}.")
    return found
