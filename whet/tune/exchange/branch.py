"""From parameters that only some trials have to a space with branches.

A program that chooses its parameters as it goes ("momentum" only when it chose "sgd") leaves no space behind, only
trials. Where the presence of a parameter follows exactly from the value of another, it becomes a branch of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from whet.tune.domain import same
from whet.tune.space import Choice, Domain, Int, Ordered, Space

__all__ = ["Shape", "shape"]

_FEW = 16  # values of a whole number that may become a choice, when other parameters depend on it


@dataclass(frozen=True)
class Shape:
    """A space, the new name of every old one, and what was decided."""

    space: Space
    names: Mapping[str, str]
    said: tuple[str, ...]

    def renamed(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Return a configuration under the new names."""
        return {self.names[k]: v for k, v in params.items() if k in self.names}

    def filled(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Return a configuration without what its branches do not have, and with the middle of what they lack."""
        found: dict[str, Any] = {}

        def walk(space: Space, prefix: str) -> None:
            for name, domain in space.items():
                full = prefix + name
                found[full] = params[full] if full in params else domain.decode(0.5)
                if isinstance(domain, Choice) and domain.branches:
                    i = next((i for i, o in enumerate(domain.options) if same(o, found[full])), None)
                    branch = None if i is None else domain.branches[i]
                    if branch is not None:
                        walk(branch, full + ".")

        walk(self.space, "")
        return found


@dataclass(frozen=True)
class _Condition:
    """`name` exists only when `parent` has one of `options`."""

    name: str
    parent: str
    options: tuple[Any, ...]


def shape(params: Sequence[Mapping[str, Any]], whole: Sequence[bool], domains: Mapping[str, Domain]) -> Shape:
    """Return the space of trials with these parameters; `whole` says which trials chose all they would.

    >>> from whet.tune.space import Float
    >>> found = shape([{"opt": "sgd", "momentum": 0.9}, {"opt": "adam"}], [True, True],
    ...               {"opt": Choice(["sgd", "adam"]), "momentum": Float(0, 1)})
    >>> found.space.names, found.said
    (('opt', 'opt.momentum'), ("momentum exists only with opt 'sgd': it is opt.momentum here",))
    """
    rows = [p for p, w in zip(params, whole, strict=True) if w] or list(params)
    present = {n: frozenset(i for i, row in enumerate(rows) if n in row) for n in domains}
    everywhere = frozenset(range(len(rows)))
    conditions: dict[str, _Condition] = {}
    said: list[str] = []
    for name in domains:
        inside = any(name.startswith(p + ".") and _options(d) for p, d in domains.items())  # it says where it belongs
        if not present[name] or (present[name] == everywhere and not inside):
            continue
        condition = _condition(name, rows, present, domains)
        if condition is None and present[name] == everywhere:
            continue
        if condition is None:
            lack = len(everywhere) - len(present[name])
            said.append(
                f"{name}: {lack} of {len(everywhere)} trials have no value, and no choice explains which: the middle of "
                "its domain stands there"
            )
        else:
            conditions[name] = condition
    short = _short_names(domains, conditions)
    names = {n: _dotted(n, conditions, short) for n in domains}
    said += [f"{n} is called {names[n]} here" for n in domains if n not in conditions and names[n] != n]
    for n, c in conditions.items():
        listed = " or ".join(map(repr, c.options)) if len(c.options) < 5 else f"{len(c.options)} of its values"
        said.append(f"{n} exists only with {c.parent} {listed}: it is {names[n]} here")
    for parent in dict.fromkeys(c.parent for c in conditions.values()):
        if not isinstance(domains[parent], Choice):
            said.append(f"{parent} became a choice of its values, because others exist only with some of them")

    def build(level: Iterator[str]) -> Space:
        return Space(**{short[n]: _domain(n) for n in level})

    def _domain(name: str) -> Domain:
        inner = [c for c in conditions.values() if c.parent == name]
        if not inner:
            return domains[name]
        branches: dict[Any, Space | None] = {}
        for option in _options(domains[name]):
            members = [c.name for c in inner if any(same(o, option) for o in c.options)]
            branches[option] = build(iter(members)) if members else None
        return Choice(branches)

    space = build(n for n in domains if n not in conditions)
    return Shape(space, names, tuple(said))


def _options(domain: Domain) -> tuple[Any, ...]:
    """Return the values of a domain that may have branches, none when it cannot."""
    match domain:
        case Choice(options=options):
            # as keys of a mapping, True and 1 are one
            return options if len(set(options)) == len(options) else ()
        case Ordered(values=values) if len(values) <= _FEW:
            return values
        case Int(low=low, high=high) if domain.size <= _FEW:
            return tuple(range(low, high + 1))
    return ()


def _condition(
    name: str,
    rows: Sequence[Mapping[str, Any]],
    present: Mapping[str, frozenset[int]],
    domains: Mapping[str, Domain],
) -> _Condition | None:
    """Return the choice that explains where `name` is present: a categorical before a number, the innermost first."""
    found: list[tuple[tuple[bool, bool, int], _Condition]] = []
    here = present[name]
    for parent, domain in domains.items():
        options = _options(domain)
        dotted = name.startswith(parent + ".")
        if not options or parent == name or not (present[parent] >= here if dotted else present[parent] > here):
            continue
        inside = [rows[i][parent] for i in here]
        outside = [rows[i][parent] for i in present[parent] - here]
        if any(same(a, b) for a in inside for b in _distinct(outside)):
            continue
        chosen = tuple(o for o in options if any(same(o, v) for v in _distinct(inside)))
        if not isinstance(domain, Choice):
            if outside and min(inside) > max(outside):  # with 3 layers or more
                chosen = tuple(o for o in options if o >= min(inside))
            elif outside and max(inside) < min(outside):
                chosen = tuple(o for o in options if o <= max(inside))
        rank = (not dotted, not isinstance(domain, Choice), len(present[parent]))
        found.append((rank, _Condition(name, parent, chosen)))
    return min(found, key=lambda f: f[0])[1] if found else None


def _distinct(values: Sequence[Any]) -> list[Any]:
    found: list[Any] = []
    for v in values:
        if not any(same(v, f) for f in found):
            found.append(v)
    return found


def _short_names(domains: Mapping[str, Domain], conditions: Mapping[str, _Condition]) -> dict[str, str]:
    """Return a name that a space may have for every parameter, each once."""
    found: dict[str, str] = {}
    for name in domains:
        text = name.removeprefix(conditions[name].parent + ".") if name in conditions else name
        text = re.sub(r"\W", "_", text)
        text = text if re.fullmatch(r"[^\W\d]\w*", text) else f"p_{text}"
        siblings = {v for k, v in found.items() if _parent(k, conditions) == _parent(name, conditions)}
        number, plain = 2, text
        while text in siblings:
            text, number = f"{plain}_{number}", number + 1
        found[name] = text
    return found


def _parent(name: str, conditions: Mapping[str, _Condition]) -> str | None:
    return conditions[name].parent if name in conditions else None


def _dotted(name: str, conditions: Mapping[str, _Condition], short: Mapping[str, str]) -> str:
    parent = _parent(name, conditions)
    return short[name] if parent is None else f"{_dotted(parent, conditions, short)}.{short[name]}"
