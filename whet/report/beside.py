"""Examples as blocks of a report: pairs beside each other, and contact sheets of pictures in strips."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from whet.report.quantity import clean, plain, show

__all__ = ["Pair", "Pairs", "Sheet", "Shown"]


@dataclass(frozen=True)
class Shown:
    """One example as a person sees it: a picture, or values by column.

    name: where it is, "train 12"; label: its target in words; picture: uint8 (H, W) or (H, W, 3).

    >>> Shown("train 12", "cat", values={"age": 3}).json()
    {'name': 'train 12', 'label': 'cat', 'values': {'age': 3}}
    """

    name: str
    label: str
    picture: np.ndarray | None = field(default=None, repr=False)
    values: Mapping[str, Any] = field(default_factory=dict)

    def json(self) -> dict[str, Any]:
        """Return the example as JSON values, without pixels."""
        return {"name": self.name, "label": clean(self.label), "values": plain(self.values)}


@dataclass(frozen=True)
class Pair:
    """Two examples to compare; remark: what there is to say of them.

    >>> Pair(Shown("train 1", "cat"), Shown("valid 2", "dog")).differ
    True
    """

    first: Shown
    second: Shown
    remark: str = ""

    @property
    def differ(self) -> bool:
        """Whether their targets differ."""
        return self.first.label != self.second.label

    def values(self, most: int = 10) -> tuple[list[tuple[str, str, str, bool]], int]:
        """Return ((column, first, second, whether they differ), ...) of the first columns, those that differ first, and how many are left out.

        >>> Pair(Shown("a", "", values={"x": 1, "y": 2}), Shown("b", "", values={"x": 1, "y": 3})).values(1)
        ([('y', '2', '3', True)], 1)
        """
        rows = []
        for name, value in self.first.values.items():
            a, b = show(value), show(self.second.values.get(name))
            rows.append((clean(name), a, b, a != b))
        rows.sort(key=lambda row: not row[3])
        return rows[:most], max(0, len(rows) - most)


@dataclass(frozen=True)
class Pairs:
    """Pairs of examples side by side; name: an anchor within the page.

    >>> Pairs("twins", (Pair(Shown("train 1", "cat"), Shown("valid 2", "dog"), "equal"),)).json()["items"][0]["differ"]
    True
    """

    title: str
    items: tuple[Pair, ...]
    note: str = ""
    name: str = ""

    def json(self) -> dict[str, Any]:
        """Return the block as JSON values."""
        items = [
            {"first": p.first.json(), "second": p.second.json(), "remark": clean(p.remark), "differ": p.differ}
            for p in self.items
        ]
        return {"kind": "pairs", "title": self.title, "items": items, "note": self.note}


@dataclass(frozen=True)
class Sheet:
    """A contact sheet: strips of pictures (uint8 (H, W) or (H, W, 3), caption) beside a name each.

    >>> Sheet("cats", (("typical", ((np.zeros((8, 8), np.uint8), "train 3"),)),)).json()["strips"]
    [{'name': 'typical', 'items': [{'caption': 'train 3', 'shape': [8, 8]}]}]
    """

    title: str
    strips: tuple[tuple[str, tuple[tuple[np.ndarray, str], ...]], ...]
    note: str = ""
    name: str = ""

    def json(self) -> dict[str, Any]:
        """Return the block as JSON values: captions and sizes, without the pixels."""
        strips = [
            {"name": n, "items": [{"caption": clean(c), "shape": list(np.shape(a))} for a, c in items]}
            for n, items in self.strips
        ]
        return {"kind": "sheet", "title": self.title, "strips": strips, "note": self.note}
