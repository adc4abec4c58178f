"""The visible examples of `Data` as arrays, whatever they are: what every look at the data starts from."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from whet.data.seen.text import Texts, texts_of
from whet.data.split import Data
from whet.data.textcolumn import text_columns
from whet.seed import rng

__all__ = ["MOST", "Kind", "View", "components", "label_of", "view"]

MOST = 60_000
"""Examples looked at closely; of more an even part is."""

Kind = Literal["table", "pictures", "sequences", "text", "other"]
SIDE = 32  # pixels; larger pictures are averaged down before anything is learned from them
WIDE = 1024  # values an example; wider inputs of unknown kind are averaged down


@dataclass(frozen=True)
class View:
    """Training examples, then validation examples, at most `MOST` of them.

    kind: table (numbers and categories, perhaps texts), pictures, sequences (whole numbers, (n, t)), text (and nothing else), or other; numbers: (n, d) float32 and
    names of its columns; codes: (n, k) int64 categories and their names; pixels: (n, C, H, W) as they came; y: targets,
    class numbers or float; valid: (n,) bool, which are of the validation split; ids: (n,) their numbers in the source;
    index: (n,) their positions in their split; part: whether some were left out; texts: the columns of free text.

    >>> from whet.data.bundled import digits
    >>> v = view(digits())
    >>> v.kind, len(v), v.features.shape, int(v.valid.sum())
    ('pictures', 1527, (1527, 50), 270)
    """

    kind: Kind
    classes: tuple[str, ...] | None
    y: np.ndarray
    valid: np.ndarray
    ids: np.ndarray
    index: np.ndarray
    part: bool
    numbers: np.ndarray
    names: tuple[str, ...]
    codes: np.ndarray
    categories: tuple[str, ...]
    pixels: Tensor | None = None
    texts: tuple[Texts, ...] = ()

    def __len__(self) -> int:
        return len(self.valid)

    def name(self, i: int) -> tuple[str, int]:
        """Return (split, id) of example `i`."""
        return ("valid" if self.valid[i] else "train"), int(self.ids[i])

    def label(self, i: int) -> str:
        """Return the target of example `i` in words."""
        return _words(self.y[i], self.classes)

    @cached_property
    def features(self) -> np.ndarray:
        """(n, p) float32 to learn from: numbers and one column a common category, or the 50 main components."""
        if self.kind in ("table", "text"):
            return np.concatenate([_one_hot(self), *(t.features for t in self.texts)], 1)
        if self.kind == "sequences":
            return components(_counts(self.codes), 50)
        if self.pixels is None:
            return components(self.numbers, 50) if self.numbers.shape[1] > 50 else self.numbers
        return components(_small(self.pixels), 50)


def label_of(data: Data, split: str, index: int) -> str:
    """Return the target of one visible example in words.

    >>> from whet.data.bundled import digits
    >>> label_of(digits(), "train", 0)
    '0'
    """
    return _words((data.train if split == "train" else data.valid).targets[index].numpy(), data.classes)


def _words(y: np.ndarray, classes: tuple[str, ...] | None) -> str:
    if y.ndim:
        return ", ".join(f"{v:.4g}" for v in y.reshape(-1)[:3])
    return classes[int(y)] if classes else f"{float(y):.6g}"


def view(data: Data, *, most: int = MOST, seed: int = 0) -> View:
    """Return the visible examples as arrays; of more than `most` a part drawn by `seed`, in order.

    >>> data = Data.from_arrays(np.random.default_rng(0).normal(size=(50, 3)), np.arange(50) % 2)
    >>> view(data).kind, view(data, most=20).part
    ('table', True)
    """
    first, n = len(data.train), len(data.train) + len(data.valid)
    at = np.sort(rng(seed, "view").choice(n, most, replace=False)) if n > most else np.arange(n)
    valid = at >= first
    index = np.where(valid, at - first, at)

    def both(a: Tensor, b: Tensor) -> Tensor:
        if len(at) == n:
            return torch.cat([a, b])
        return torch.cat([a[torch.from_numpy(index[~valid])], b[torch.from_numpy(index[valid])]])

    texts = texts_of(data, valid, index, seed=seed)
    parts = [both(a, b) for a, b in zip(data.train.parts, data.valid.parts, strict=True)]
    parts = parts[:-1] if texts else parts  # the last is their words
    y = both(data.train.targets, data.valid.targets).numpy()
    ids = np.concatenate([data.train.ids[index[~valid]], data.valid.ids[index[valid]]])
    kind = _kind(data)
    classes = None
    if data.kind == "classification" and y.ndim == 1 and y.dtype.kind != "f":  # one class an example
        classes = data.classes or tuple(str(i) for i in range(int(y.max()) + 1))
    numbers, codes = np.empty((len(at), 0), np.float32), np.empty((len(at), 0), np.int64)
    if kind == "table":
        real = [p for p in parts if p.is_floating_point()]
        whole = [p for p in parts if not p.is_floating_point()]
        numbers = torch.cat(real, 1).float().numpy() if real else numbers
        codes = torch.cat(whole, 1).long().numpy() if whole else codes
    elif kind == "sequences":
        codes = parts[0].long().numpy()
    elif kind == "other":
        numbers = _flat(parts)
    d, k = numbers.shape[1], codes.shape[1] if kind == "table" else 0
    fits = len(data.features) == d + k + len(texts)
    names = tuple(data.features[: d + k]) if fits else tuple(f"column {i}" for i in range(d + k))
    return View(
        kind, classes, y, valid, ids, index, len(at) < n, numbers, names[:d], codes, names[d:],
        _channels_first(parts[0]) if kind == "pictures" else None, texts,
    )  # fmt: skip


def _kind(data: Data) -> Kind:
    parts = data.train.parts
    if text_columns(data.meta) and not any(p.shape[1] for p in parts[:-1]):
        return "text"
    if all(p.ndim == 2 for p in parts):
        alone = len(parts) == 1 and not parts[0].is_floating_point() and parts[0].dtype != torch.bool
        if alone and "encoding" not in data.meta and not data.features and parts[0].shape[1] >= 4:
            return "sequences"
        return "table"
    x = parts[0]
    if len(parts) == 1 and ((x.ndim == 4 and x.shape[1] in (1, 3)) or (x.ndim == 3 and x.dtype == torch.uint8)):
        return "pictures"
    return "other"


def _channels_first(x: Tensor) -> Tensor:
    return x[:, None] if x.ndim == 3 else x


def _flat(parts: list[Tensor]) -> np.ndarray:
    flat = torch.cat([p.reshape(len(p), -1).float() for p in parts], 1)
    if flat.shape[1] > WIDE:
        flat = torch.nn.functional.adaptive_avg_pool1d(flat[:, None], WIDE)[:, 0]
    return np.nan_to_num(flat.numpy(), posinf=0.0, neginf=0.0)


def _small(pixels: Tensor) -> np.ndarray:
    """Return (n, p) float32 pixels, colour averaged down to 16x16, grey to 32x32, where they are larger."""
    side = SIDE if pixels.shape[1] == 1 else SIDE // 2
    height, width = min(side, pixels.shape[2]), min(side, pixels.shape[3])
    out = np.empty((len(pixels), pixels.shape[1] * height * width), np.float32)
    for i in range(0, len(pixels), 4096):
        part = pixels[i : i + 4096].float()
        if part.shape[2:] != (height, width):
            part = torch.nn.functional.adaptive_avg_pool2d(part, (height, width))
        out[i : i + 4096] = part.reshape(len(part), -1).numpy()
    return np.nan_to_num(out, copy=False)


def _counts(codes: np.ndarray) -> np.ndarray:
    """Return (n, v) how often each of 512 hashed values occurs in a sequence, as logarithms."""
    width = 512
    hashed = codes % width
    out = np.zeros((len(codes), width), np.float32)
    for j in range(codes.shape[1]):
        np.add.at(out, (np.arange(len(codes)), hashed[:, j]), 1)
    return np.log1p(out)


def _one_hot(v: View, most: int = 20) -> np.ndarray:
    """Return numbers scaled by their spread, and a column for each of the commonest values of each category."""
    x = np.nan_to_num(v.numbers, posinf=0.0, neginf=0.0)
    x = (x - x.mean(0)) / np.maximum(x.std(0), 1e-9) if x.shape[1] else x
    columns = [np.clip(x, -10, 10).astype(np.float32)]
    for j in range(v.codes.shape[1]):
        values, counts = np.unique(v.codes[:, j], return_counts=True)
        for value in values[np.argsort(-counts, kind="stable")][:most]:
            columns.append((v.codes[:, j] == value).astype(np.float32)[:, None])
    return np.concatenate(columns, 1)


def components(x: np.ndarray, k: int, *, fit: int = 10_000) -> np.ndarray:
    """Return the `k` main components (n, k) of x (n, p), fitted on an even part of at most `fit` rows.

    >>> components(np.eye(5, dtype=np.float32), 2).shape
    (5, 2)
    """
    some = x[np.linspace(0, len(x) - 1, min(fit, len(x))).astype(int)].astype(np.float64)
    mean = some.mean(0)
    some -= mean
    _, vectors = np.linalg.eigh(some.T @ some / len(some))
    main = np.ascontiguousarray(vectors[:, ::-1][:, :k]).astype(np.float32)
    return (x - mean.astype(np.float32)) @ main
