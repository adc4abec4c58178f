"""What enters the network: the tensors and targets of a batch as they are immediately before the forward pass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from whet.report.block import Block, Pictures, Section, Table
from whet.report.quantity import Id, clean, count, shorten, show

__all__ = ["entering", "numbers", "pictured"]

_COLUMNS = 10  # of a row of numbers that get a column each
_TOLD = 14  # numbers of a longer row that are told
_SIDE = 5  # pixels from which on three dimensions may be pictures


def numbers(tensor: Any) -> np.ndarray:
    """Return a tensor as an array of NumPy, of float32 where NumPy has no such type; complex numbers as pairs.

    >>> numbers(np.arange(3)).tolist(), numbers(np.array([1 + 2j])).tolist()
    ([0, 1, 2], [[1.0, 2.0]])
    """
    if not hasattr(tensor, "detach"):
        return _real(np.asarray(tensor))
    tensor = tensor.detach().cpu()
    try:
        return _real(np.asarray(tensor.resolve_conj().numpy()))
    except (TypeError, RuntimeError):  # bfloat16, sparse
        tensor = tensor.to_dense() if tensor.is_sparse else tensor
        return np.asarray(tensor.float().numpy())


def _real(values: np.ndarray) -> np.ndarray:
    """Return complex numbers as their real and imaginary parts along a last dimension, other numbers as they are."""
    return np.stack([values.real, values.imag], -1) if np.iscomplexobj(values) else values


def pictured(values: np.ndarray) -> tuple[list[np.ndarray], float, float] | None:
    """Return a batch as uint8 pictures and the values that are black and white in all of them; None if it shows none.

    Pictures are (n, channels, height, width), (n, height, width, 1 or 3) and square (n, height, width). Channels other
    than three are shown as their mean.

    >>> pictures, low, high = pictured(np.stack([np.zeros((1, 8, 8)), np.ones((1, 8, 8))]))
    >>> pictures[1].shape, pictures[1].max(), (low, high)
    ((8, 8), np.uint8(255), (0.0, 1.0))
    >>> pictured(np.zeros((4, 30, 3))) is None
    True
    """
    x = np.asarray(values, np.float32)
    if x.ndim == 3 and x.shape[1] == x.shape[2] >= _SIDE:
        x = x[:, None]
    if x.ndim != 4 or min(x.shape) < 1:
        return None
    if x.shape[3] in (1, 3) and x.shape[1] not in (1, 3):
        x = x.transpose(0, 3, 1, 2)
    if min(x.shape[2:]) < 2:
        return None
    x = x if x.shape[1] == 3 else x.mean(1, keepdims=True)
    finite = x[np.isfinite(x)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    scaled = np.nan_to_num((x - low) / ((high - low) or 1.0), nan=0.0, posinf=1.0, neginf=0.0)
    drawn = np.rint(255 * scaled.clip(0, 1)).astype(np.uint8)
    return [p[0] if len(p) == 1 else np.ascontiguousarray(p.transpose(1, 2, 0)) for p in drawn], low, high


def targets_of(targets: Any, classes: Sequence[str] | None, n: int) -> list[str]:
    """Return the target of each of `n` examples in words."""
    if not hasattr(targets, "shape") or not np.ndim(numbers(targets)) or len(targets) != n:
        return [""] * n
    y = numbers(targets)
    if y.ndim == 1 and classes is not None and np.issubdtype(y.dtype, np.integer):
        return [clean(classes[int(v)]) if 0 <= v < len(classes) else f"{int(v)} (no class)" for v in y]
    flat = y.reshape(n, -1)
    return [", ".join(map(_value, row[:6])) + (", ..." if len(row) > 6 else "") for row in flat]


def _value(v: Any) -> str:
    return show(Id(v)) if isinstance(v, (int, np.integer)) and not isinstance(v, bool) else show(v)


def _leaves(tree: Any, name: str = "") -> list[tuple[str, Any]]:
    """Return the tensors of a tuple or a dict with their names."""
    if isinstance(tree, Mapping):
        return [leaf for k, v in tree.items() for leaf in _leaves(v, clean(k))]
    if isinstance(tree, (tuple, list)):
        several = len(tree) > 1
        return [leaf for i, v in enumerate(tree) for leaf in _leaves(v, f"input {i + 1}" if several else name)]
    return [(name, tree)] if hasattr(tree, "shape") and np.ndim(numbers(tree)) else []


def _rows(values: np.ndarray, targets: Sequence[str], title: str, pairs: bool = False) -> Table:
    """Return a batch that is no pictures as a table, one row an example; pairs: of real and imaginary parts."""
    flat = values.reshape(len(values), -1)
    whole = np.issubdtype(flat.dtype, np.integer)
    dtype = f"{show(tuple(values.shape[1:]) or 'one number')} {values.dtype}".replace(", ", " x ")
    note = f"Each example is {dtype}{', the real and imaginary parts of complex numbers' if pairs else ''}."
    if flat.shape[1] <= _COLUMNS:
        columns = ("target", *(f"column {i + 1}" for i in range(flat.shape[1])))
        cells = [[Id(v) if whole else float(v) for v in row] for row in flat]
        return Table(columns, [(t, *row) for t, row in zip(targets, cells, strict=True)], title, note=note)
    rows = []
    for target, row in zip(targets, flat, strict=True):
        told = " ".join(_value(v) if whole else f"{float(v):.3g}" for v in row[:_TOLD])
        ends = (Id(row.min()), Id(row.max())) if whole else (float(row.min()), float(row.max()))
        rows.append((target, *ends, told + (" ..." if len(row) > _TOLD else "")))
    return Table(("target", "lowest", "highest", "begins with"), rows, title, note=note)


def _shown(tree: Mapping[str, Any], title: str) -> list[Block]:
    blocks: list[Block] = []
    for name, leaf in _leaves(tree.get("inputs")):
        values = numbers(leaf)
        told = targets_of(tree.get("targets"), tree.get("classes"), len(values))
        of = f"{title}, {name}" if name else title
        pairs = "complex" in str(leaf.dtype)
        found = None if pairs else pictured(values)
        if found is None:
            blocks.append(_rows(values, told, of, pairs))
            continue
        pictures, low, high = found
        size = " x ".join(map(str, values.shape[1:]))
        mean = (
            ""
            if 3 in values.shape[1:] or 1 in values.shape[1:] or values.ndim == 3
            else " The mean of the channels is drawn."
        )
        note = f"Each is {size} {values.dtype}; black is {show(low)} and white {show(high)}, in all of them.{mean}"
        items = tuple(zip(pictures, [shorten(t, 60) or "no target" for t in told], strict=True))
        blocks.append(Pictures(of, items, note))
    return blocks


def entering(batch: Mapping[str, Any], augmented: Mapping[str, Any] | None = None) -> Section | None:
    """Return the section, or None where there is nothing to show.

    batch: "inputs" (a tensor, or a tuple or dict of them), "targets", "classes" (names or None); augmented: the same
    examples after augmentation.

    >>> batch = {"inputs": (np.zeros((2, 3)),), "targets": np.array([0, 1]), "classes": ("no", "yes")}
    >>> entering(batch).blocks[0].rows[1]
    ('yes', 0.0, 0.0, 0.0)
    """
    blocks = _shown(batch, "The first examples of a batch, with their targets")
    if augmented:
        blocks += _shown(augmented, "The same examples as training sees them, augmented")
    if not blocks:
        return None
    n = max(len(b.rows) if isinstance(b, Table) else len(b.items) for b in blocks if isinstance(b, (Table, Pictures)))
    sentence = f"The tensors and targets of {count(n, 'example')}, immediately before the forward pass: do they belong together?"
    return Section("entering", "What enters the network", sentence, tuple(blocks))
