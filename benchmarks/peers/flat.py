"""A space as other tools want it: one flat list of labels, each with conditions at most."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import whet
from whet.tune.domain import Domain, Value

Labelled = tuple[str, Domain, tuple[str, int] | None]


def unconstrained(space: whet.Space) -> whet.Space:
    """Return `space`; raise ValueError when it has a constraint between values, which not every peer can be told."""
    if space.constrained:
        raise ValueError("a space with constraints cannot be played by peers")
    return space


def labels(space: whet.Space, prefix: str = "", parent: tuple[str, int] | None = None) -> Iterator[Labelled]:
    """Yield (label, domain, the choice's label and the number of its option that must be taken, or None) of everything
    that has more than one value. A member of a branch has the option in its label, so that two branches may have the
    same name.
    """
    for name, domain in space.items():
        if domain.size != 1:
            yield prefix + name, domain, parent
        for i, branch in enumerate(domain.branches if isinstance(domain, whet.Choice) else ()):
            if branch is not None:
                inner = (prefix + name, i) if domain.size != 1 else parent
                yield from labels(branch, f"{prefix}{name}={i}.", inner)


def configuration(space: whet.Space, take: Callable[[str, Domain], Value]) -> dict[str, Value]:
    """Return the configuration whose values `take` gives by label, asked only for those that exist."""
    found: dict[str, Value] = {}

    def walk(space: whet.Space, prefix: str, label: str) -> None:
        for name, domain in space.items():
            value = domain.decode(0.5) if domain.size == 1 else take(label + name, domain)
            found[prefix + name] = value
            if isinstance(domain, whet.Choice) and (branch := domain.branch(value)) is not None:
                walk(branch, f"{prefix}{name}.", f"{label}{name}={domain.index(value)}.")

    walk(space, "", "")
    return found
