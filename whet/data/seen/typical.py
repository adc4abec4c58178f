"""Which examples show what a class is like, and which are the least like it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from whet.data.seen.view import View

__all__ = ["Group", "groups"]

QUARTERS = ("lowest", "second", "third", "highest")


ENDS = {
    "brightness": ("darkest", "brightest"),
    "contrast": ("least contrast", "most contrast"),
    "length": ("shortest", "longest"),
}


@dataclass(frozen=True)
class Group:
    """The examples of one class, or of one part of the target's range, as positions in a view.

    name: the class; n: how many; typical: nearest to their mean in the features; far: farthest from it; ends: (position,
    which end of a measure it is at).

    >>> Group("cat", 3, (0, 2), (1,), ((1, "darkest"),)).ends[0][1]
    'darkest'
    """

    name: str
    n: int
    typical: tuple[int, ...]
    far: tuple[int, ...]
    ends: tuple[tuple[int, str], ...]


def groups(v: View, measures: Mapping[str, np.ndarray] | None = None, *, k: int = 8, most: int = 40) -> list[Group]:
    """Return a group a class, those that exist; of over `most` classes the most common ones.

    Of quantities a group is a quarter of the target's range, with as many examples each; of several targets all are one.
    measures: (n,) each, whose ends are worth seeing: brightness, contrast, length.

    >>> from whet.data.bundled import digits
    >>> from whet.data.seen.view import view
    >>> v = view(digits())
    >>> found = groups(v, {"brightness": v.pixels.float().mean((1, 2, 3)).numpy()}, k=3)
    >>> found[0].name, len(found), len(found[0].typical), [what for _, what in found[0].ends]
    ('0', 10, 3, ['darkest', 'brightest'])
    """
    if v.classes is not None:
        y = v.y.astype(np.int64)
        counts = np.bincount(y[y >= 0], minlength=len(v.classes))  # below 0: labels that do not count
        chosen = np.sort(np.argsort(-counts, kind="stable")[:most])
        parts = [(v.classes[c], np.flatnonzero(y == c)) for c in chosen if counts[c]]
    elif v.y.ndim == 1:
        edges = np.quantile(v.y, [0, 0.25, 0.5, 0.75, 1])
        at = np.clip(np.searchsorted(edges, v.y, side="right") - 1, 0, 3)
        parts = [
            (f"{QUARTERS[q]} quarter of the target, {_few(edges[q])} to {_few(edges[q + 1])}", np.flatnonzero(at == q))
            for q in range(4)
        ]
        parts = [(name, part) for name, part in parts if len(part)]
    else:
        parts = [("all examples", np.arange(len(v)))]
    return [_group(v, measures or {}, name, part, k) for name, part in parts]


def _few(x: float) -> str:
    return f"{float(f'{x:.4g}'):,.6g}"


def _group(v: View, measures: Mapping[str, np.ndarray], name: str, part: np.ndarray, k: int) -> Group:
    x = v.features[part]
    order = part[np.argsort(((x - x.mean(0)) ** 2).sum(1), kind="stable")].tolist()
    typical = order[:k]
    far = order[len(typical) :][::-1][:k]
    ends: dict[int, str] = {}
    for measure, (low, high) in ENDS.items():
        if measure in measures:
            values = measures[measure][part]
            for i, what in ((int(part[values.argmin()]), low), (int(part[values.argmax()]), high)):
                ends[i] = f"{ends[i]}, {what}" if i in ends else what
    return Group(name, len(part), tuple(typical), tuple(far), tuple(ends.items()))
