"""Several criteria together: any of them, or all of them at once."""

from __future__ import annotations

from dataclasses import dataclass

from whet.errors import UsageError
from whet.stop.point import Curve, Stop

__all__ = ["All", "Any", "Joins"]


class Joins:
    """Gives criteria `|` and `&`; a criterion of one's own joins as `Any((mine,))`."""

    def __or__(self, other: Stop) -> Any:
        return Any((*_parts(self, Any), *_parts(other, Any)))

    def __and__(self, other: Stop) -> All:
        return All((*_parts(self, All), *_parts(other, All)))


def _parts(criterion: object, kind: type[Any] | type[All]) -> tuple[Stop, ...]:
    """Return the members of a combination of this kind, so that a | b | c is one of three; else the criterion alone."""
    if isinstance(criterion, kind) and criterion.criteria:
        return criterion.criteria
    return (criterion,)  # type: ignore[return-value]


def _text(criterion: Stop, *, inside: type | None = None) -> str:
    if not isinstance(criterion, Joins):
        raise UsageError(f"stop: {criterion!r} cannot be written as text. Only whet's own criteria can.")
    several = isinstance(criterion, inside) and len(criterion.criteria) > 1 if inside else False  # type: ignore[attr-defined]
    return f"({criterion})" if several else str(criterion)


@dataclass(frozen=True)
class Any(Joins):
    """Stop as soon as one of several criteria says so; written `a | b`. Without criteria it never stops.

    >>> from whet.stop import Steps, Target, curve
    >>> (Steps(2) | Target(0.1))(curve(0.5, 0.05))
    '2 steps taken; 0.05 reached the target 0.1'
    >>> str(Steps(2) | Target(0.1))
    'steps 2 | target 0.1'
    """

    criteria: tuple[Stop, ...]

    def __call__(self, curve: Curve) -> str | None:
        """Return the reasons of all that say stop, or None."""
        return "; ".join(why for c in self.criteria if (why := c(curve))) or None

    def __str__(self) -> str:
        return " | ".join(_text(c) for c in self.criteria) or "never"


@dataclass(frozen=True)
class All(Joins):
    """Stop when all of several criteria say so at once; written `a & b`. Without criteria it never stops.

    >>> from whet.stop import Steps, Target, curve
    >>> (Steps(2) & Target(0.1))(curve(0.5, 0.2)) is None
    True
    """

    criteria: tuple[Stop, ...]

    def __call__(self, curve: Curve) -> str | None:
        """Return all reasons when there is one from each, or None."""
        reasons = [c(curve) for c in self.criteria]
        return "; ".join(r for r in reasons if r) if reasons and all(reasons) else None

    def __str__(self) -> str:
        return " & ".join(_text(c, inside=Any) for c in self.criteria) or "never"
