"""Domains in words, and where two spaces differ."""

from __future__ import annotations

from whet.tune.space import Choice, Const, Domain, Float, Int, Ordered, Space

__all__ = ["described", "parted"]


def described(domain: Domain) -> str:
    """Return a domain in words.

    >>> described(Float(1e-5, 0.1, log=True)), described(Choice({"sgd": Space(momentum=Float(0, 1)), "adam": None}))
    ('number from 1e-05 to 0.1, logarithmic', "one of 'sgd' (momentum), 'adam'")
    """
    match domain:
        case Float() | Int():
            kind = "number" if isinstance(domain, Float) else "whole number"
            return f"{kind} from {domain.low:g} to {domain.high:g}" + (", logarithmic" if domain.log else "")
        case Const(value=v):
            return f"always {v!r}"
        case Ordered(values=values):
            return f"one of {', '.join(map(repr, values))}, in this order"
    branches = domain.branches or (None,) * len(domain.options)
    listed = [repr(o) + ("" if not b else f" ({', '.join(b)})") for o, b in zip(domain.options, branches, strict=True)]
    return f"one of {', '.join(listed)}"


def parted(there: Space, here: Space, prefix: str = "") -> str:
    """Return the first difference of two spaces in words, "" when they have the same domains, whatever is marked live, and constraints.

    >>> parted(Space(lr=Float(1e-4, 0.1)), Space(lr=Float(1e-4, 1)))
    'lr is a number from 0.0001 to 0.1 there, from 0.0001 to 1 here'
    """
    for n in [*there, *(n for n in here if n not in there)]:
        name = prefix + n
        if n not in here:
            return f"it has {name}, {_article(there[n])}"
        if n not in there:
            return f"it has no {name}"
        if there[n] != here[n] and (found := _apart(name, there[n], here[n])):
            return found
    if there.constraints != here.constraints:
        rules = " and ".join(there.constraints) or "none"
        return f"its constraints{f' in {prefix[:-1]}' if prefix else ''}: {rules}; here {' and '.join(here.constraints) or 'none'}"
    return ""


def _apart(name: str, there: Domain, here: Domain) -> str:
    """Return how two domains differ, "" when by nothing but whether they may change during training."""
    if isinstance(there, Choice) and isinstance(here, Choice) and there.options == here.options:
        branches = zip(there.branches or [None] * there.size, here.branches or [None] * here.size, strict=True)
        for a, b in branches:
            if a != b and (inner := parted(a or Space(), b or Space(), f"{name}.")):
                return inner
        return ""
    first, second = _article(there), _article(here)
    if first == second:  # what words leave out
        mine, theirs = (f"the prior {p}" if (p := getattr(d, "prior", None)) else "no prior" for d in (there, here))
        return "" if mine == theirs else f"{name} has {mine} there, {theirs} here"
    kind = first.partition(" from ")[0]
    if second.startswith(kind + " from "):
        second = second.removeprefix(kind + " ")
    return f"{name} is {first} there, {second} here"


def _article(domain: Domain) -> str:
    text = described(domain)
    return f"a {text}" if isinstance(domain, (Float, Int)) else text
