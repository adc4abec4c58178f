"""Questions about a criterion's parts."""

from __future__ import annotations

from collections.abc import Iterator

from whet.stop.combine import All, Any
from whet.stop.criterion import Diverged
from whet.stop.gain import Gain
from whet.stop.point import Curve, Stop

__all__ = ["divergence", "needs_noise"]


def divergence(criterion: Stop, curve: Curve) -> str | None:
    """Return why the training failed when a `Diverged` has a part in `criterion` saying stop, else None.

    >>> from whet.stop import Patience, curve
    >>> divergence(Patience(2) | Diverged(10), curve(1, 20))
    '20 is more than 10 times the best, 1'
    >>> divergence(Patience(1) | Diverged(10), curve(1, 2)) is None
    True
    """
    if isinstance(criterion, Diverged):
        return criterion(curve)
    if isinstance(criterion, Any) or (isinstance(criterion, All) and criterion(curve)):
        return next((why for c in criterion.criteria if (why := divergence(c, curve))), None)
    return None


def parts(criterion: Stop) -> Iterator[Stop]:
    """Yield the criteria that `criterion` is made of."""
    if isinstance(criterion, (Any, All)):
        for c in criterion.criteria:
            yield from parts(c)
    else:
        yield criterion


def needs_noise(criterion: Stop) -> bool:
    """Return whether the noise of the values decides, and is not given.

    >>> needs_noise(Gain()), needs_noise(Gain(0.1))
    (True, False)
    """
    return any(isinstance(c, Gain) and c.noise is None for c in parts(criterion))
