"""The visible examples as a report shows them: a picture, or the values of their columns, and tables of many."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from whet.data.seen.outcome import Example
from whet.data.seen.rows import rows
from whet.data.split import Data
from whet.report.beside import Shown
from whet.report.block import Table
from whet.report.quantity import Id, Value, clean, shorten, show

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Gallery", "cell"]

_FIXED = ("split", "id", "index", "label", "suspect", "reason")
_TEXT = 200  # characters of a text that are shown
_CELLS = 400_000  # of a table: about 4 MB
_PIXELS = 1_000_000  # bytes of the pictures beside a table's rows
_WIDE = 40  # columns of a table


@dataclass(frozen=True)
class Gallery:
    """The visible examples of `data` with what was found of them.

    frame: as `whet.data.seen.rows` gives them, training first; columns: those a person reads, the target left out; span:
    values drawn black and white; strength: of the relation of columns to the target, where it is known.

    >>> from whet.data.bundled import digits
    >>> g = Gallery.of(digits())
    >>> g.shown(3).picture.shape, g.columns
    ((8, 8), ('brightness', 'contrast'))
    """

    data: Data
    frame: pd.DataFrame
    columns: tuple[str, ...]
    span: tuple[float, float]
    strength: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, data: Data, found: Iterable[Example] = ()) -> Gallery:
        """Return the gallery; arrays without columns of their own get one a feature, named as the features are."""
        frame = rows(data, found)
        target = (data.meta.get("target") or {}).get("name")
        columns = [c for c in frame.columns if c not in _FIXED and c not in (target, f"{target}_")]
        if "missing" in columns and not frame["missing"].any():
            columns.remove("missing")
        parts = data.train.parts
        if not any(len(r) for r in data.raw.values()) and not columns and all(p.ndim == 2 for p in parts):
            frame, columns = _features(data, frame)
        x = parts[0]
        whole = np.dtype(str(x.dtype).removeprefix("torch.")) == np.uint8 if x.ndim >= 3 else False
        span = (0.0, 255.0) if whole or x.ndim < 3 or not x.numel() else (float(x.min()), float(x.max()))
        return cls(data, frame, tuple(columns), span)

    @property
    def pictured(self) -> bool:
        """Whether the examples are pictures of one or three channels."""
        parts = self.data.train.parts
        x = parts[0]
        return len(parts) == 1 and (
            (x.ndim == 4 and x.shape[1] in (1, 3)) or (x.ndim == 3 and str(x.dtype) == "torch.uint8")
        )

    def row(self, split: str, index: int) -> int:
        """Return the row of an example in `frame`."""
        return index + (len(self.data.train) if split == "valid" else 0)

    def picture(self, row: int) -> np.ndarray | None:
        """Return an example as uint8 (H, W) or (H, W, 3), all on one scale of brightness; None when it is no picture."""
        if not self.pictured:
            return None
        first = len(self.data.train)
        split, i = (self.data.train, row) if row < first else (self.data.valid, row - first)
        x = split.parts[0][i].numpy()
        if x.dtype != np.uint8:
            low, high = self.span
            x = (
                np.round((np.nan_to_num(x.astype(float)) - low) * (255 / ((high - low) or 1.0)))
                .clip(0, 255)
                .astype(np.uint8)
            )
        return x.reshape(x.shape[-2:]) if x.ndim == 2 or x.shape[0] == 1 else np.ascontiguousarray(x.transpose(1, 2, 0))

    def values(self, row: int) -> dict[str, Any]:
        """Return an example's values by column."""
        found = self.frame.iloc[row]
        return {c: cell(found[c]) for c in self.columns}

    def name(self, row: int) -> str:
        """Return where an example is, "train 12", by its number in the source."""
        return f"{self.frame['split'].iat[row]} {self.frame['id'].iat[row]}"

    def find(self, split: str, id: int) -> int | None:
        """Return the row of the example with this number in the source, None when there is none."""
        given = self.data.train if split == "train" else self.data.valid
        found = np.flatnonzero(given.ids == id)
        return self.row(split, int(found[0])) if len(found) else None

    def shown(self, row: int) -> Shown:
        """Return an example to be shown."""
        return Shown(
            self.name(row),
            show(cell(self.frame["label"].iat[row])),
            self.picture(row),
            {} if self.pictured else self.values(row),
        )

    def chosen(self, most: int = _WIDE) -> list[str]:
        """Return at most so many of the columns, in their order: those most related to the target, where that is known."""
        best = sorted(self.columns, key=lambda c: -self.strength.get(c, 0.0))[:most]
        return [c for c in self.columns if c in set(best)]

    def table(
        self, at: Sequence[int], title: str, *, first: Mapping[str, Sequence[Any]] | None = None,
        columns: Sequence[str] | None = None, last: Sequence[str] = (), note: str = "", **more: Any,
    ) -> Table:  # fmt: skip
        """Return rows of `frame` as a table that sorts.

        first: columns before all others; columns: those of the user's that are shown; last: more of `frame`'s, at the end;
        more: what `Table` takes beside.
        """
        columns = self.chosen() if columns is None else columns
        some = self.frame.iloc[list(at)]
        names = ["split", "id", "label", *columns, *last]
        cells = [list(v) for v in (first or {}).values()]
        cells += [[cell(v) for v in some[n].tolist()] for n in names]
        left = len(self.columns) - len(columns)
        notes = [note, f"{left:,} of {len(self.columns):,} columns are left out." if left > 0 else ""]
        heads = tuple(clean(n) for n in (*(first or {}), *names))
        note = " ".join(n for n in notes if n)
        return Table(heads, list(zip(*cells, strict=True)), title, note=note, sortable=True, **more)

    def listing(self) -> Table:
        """Return all examples as a table, the suspicious ones first; of very many every so manieth of the others."""
        suspect = self.frame["suspect"].to_numpy() != ""
        columns = self.chosen()
        last = ["suspect", "reason"] if suspect.any() else []
        n, most = len(self.frame), _CELLS // (len(columns) + len(last) + 3)
        worst, rest = np.flatnonzero(suspect)[:most], np.flatnonzero(~suspect)
        if len(worst) + len(rest) > most:
            rest = rest[np.linspace(0, len(rest) - 1, max(0, most - len(worst))).astype(int)]
        at = np.concatenate([worst, rest]).astype(int).tolist()
        notes = [] if len(at) == n else [f"{len(at):,} of {n:,} examples: the suspicious ones, the others evenly."]
        pictures: list[np.ndarray | None] = []
        if self.pictured:
            size = int(np.prod(self.data.train.parts[0].shape[1:]))
            pictures = [self.picture(i) for i in at[: max(20, _PIXELS // min(size, 64 * 64 * 3))]]
            notes += [f"Pictures stand beside the first {len(pictures):,}."] if len(pictures) < len(at) else []
        title = "All examples, the suspicious ones first" if last else "All examples"
        return self.table(
            at, title, columns=columns, last=last, note=" ".join(notes), pictures=pictures, name="all-examples"
        )


def cell(value: Any) -> Any:
    """Return a value of the data as a cell: None for what is missing, numbers as they are, texts cut at 200 characters.

    >>> cell(float("nan")), cell(3.0), cell("x" * 300)[-4:], cell(True)
    (None, 3.0, 'x...', True)
    """
    if value is None or (isinstance(value, float) and not np.isfinite(value)):
        return None
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    if isinstance(value, (int, np.integer)):
        return Id(value)
    if isinstance(value, (float, np.floating)):
        return Value(value)
    text = str(value)
    return None if text in ("NaT", "<NA>", "nan") else shorten(text, _TEXT)


def _features(data: Data, frame: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    import pandas as pd

    both = [np.concatenate([a.numpy(), b.numpy()]) for a, b in zip(data.train.parts, data.valid.parts, strict=True)]
    x = np.concatenate([b.astype(float) for b in both], 1)
    names = data.features if len(data.features) == x.shape[1] else [f"column {i}" for i in range(x.shape[1])]
    names = [f"{n}_" if n in _FIXED else str(n) for n in names]
    return pd.concat([frame, pd.DataFrame(x, columns=names)], axis=1), names
