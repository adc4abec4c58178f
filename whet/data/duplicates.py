"""Exact duplicates: examples whose inputs are equal to the last bit, within a split and across splits."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from whet.data.split import Data, Split
from whet.data.text import text_keys
from whet.data.textcolumn import as_strings, text_columns
from whet.errors import DataError

__all__ = ["Copies", "Duplicates", "copies", "digests", "duplicates", "repeats", "visible_digests"]


def digests(split: Split) -> np.ndarray:
    """Return (n,) uint64: a 64-bit BLAKE2b digest of every example's inputs.

    >>> a, b, c = digests(Split(torch.tensor([[1.0], [2.0], [1.0]]), torch.zeros(3)))
    >>> bool(a == c), bool(a == b)
    (True, False)
    """
    out = np.zeros(len(split), np.uint64)
    rows = [_bytes(part) for part in split.parts]
    for i in range(len(split)):
        digest = hashlib.blake2b(digest_size=8)
        for row in rows:
            digest.update(row[i])
        out[i] = int.from_bytes(digest.digest(), "little")
    return out


def visible_digests(data: Data) -> tuple[np.ndarray, np.ndarray]:
    """Return the digests of the training and of the validation examples, (n,) and (m,) uint64.

    Texts count as they were written but for case and spaces: as numbers two may be equal that differ in rare words or farther on.

    >>> data = Data(Split(torch.zeros(2, 1), torch.zeros(2)), Split(torch.zeros(1, 1), torch.zeros(1)), kind="regression")
    >>> train, valid = visible_digests(data)
    >>> bool(train[0] == valid[0])
    True
    """
    columns = [entry["name"] for entry, _ in text_columns(data.meta)]
    found = []
    for name, split in (("train", data.train), ("valid", data.valid)):
        raw = data.raw.get(name)
        if not columns or raw is None or len(raw) != len(split):
            found.append(digests(split))
            continue
        keys = digests(Split(split.parts[:-1], split.targets))
        for column in columns:
            keys = keys * np.uint64(0x9E3779B97F4A7C15) ^ text_keys(s or "" for s in as_strings(raw[column]))
        found.append(keys)
    return found[0], found[1]


def _bytes(part: Tensor) -> np.ndarray:
    flat = (
        (part + 0 if part.is_floating_point() else part).reshape(len(part), -1).contiguous()
    )  # + 0 makes -0.0 into 0.0
    return flat.view(torch.uint8).numpy() if flat.numel() else np.empty((len(part), 0), np.uint8)


@dataclass(frozen=True)
class Duplicates:
    """How many examples repeat an earlier one.

    train, valid: examples of the split that repeat an earlier one of it; across: validation examples that also are in train;
    disagree: examples (both splits) whose inputs also occur with another target; pairs: some ids, (first, repeat), each with its
    split: those whose targets differ first, then those across the splits.

    >>> Duplicates(1, 0, 0, 0).any
    True
    """

    train: int
    valid: int
    across: int
    disagree: int
    pairs: tuple[tuple[str, int, str, int], ...] = ()

    @property
    def any(self) -> bool:
        """Whether there is any."""
        return bool(self.train or self.valid or self.across)


def duplicates(
    train: Split, valid: Split, *, shown: int = 50, keys: tuple[np.ndarray, np.ndarray] | None = None
) -> Duplicates:
    """Return the exact duplicates within and across two splits; keys: their digests, where they are known (`visible_digests`).

    >>> s = Split(torch.tensor([[1.0], [2.0], [1.0]]), torch.tensor([0, 1, 1]))
    >>> d = duplicates(s, s.take([1]))
    >>> d.train, d.valid, d.across, d.disagree, d.pairs[0]
    (1, 0, 1, 2, ('train', 0, 'train', 2))
    """
    first: dict[int, tuple[str, int, float]] = {}
    targets: defaultdict[int, set[float]] = defaultdict(set)
    seen: list[tuple[int, float]] = []
    count = {"train": 0, "valid": 0, "across": 0}
    # By how bad they are: other target, other split, neither; of each as many as are shown.
    pairs: tuple[list[tuple[str, int, str, int]], ...] = ([], [], [])
    keys = keys or (digests(train), digests(valid))
    for name, split, found in (("train", train, keys[0]), ("valid", valid, keys[1])):
        own: set[int] = set()
        hashes = found.tolist()
        for i, (key, y) in enumerate(zip(hashes, _targets(split), strict=True)):
            targets[key].add(y)
            seen.append((key, y))
            count[name] += key in own
            if key in first:
                count["across"] += first[key][0] != name and key not in own
                source, at, other = first[key]
                kept = pairs[0 if y != other else 1 if source != name else 2]
                if len(kept) < shown:
                    kept.append((source, at, name, int(split.ids[i])))
            else:
                first[key] = (name, int(split.ids[i]), y)
            own.add(key)
    disagree = sum(len(targets[key]) > 1 for key, _ in seen)
    return Duplicates(
        count["train"], count["valid"], count["across"], disagree, tuple(p for kept in pairs for p in kept)[:shown]
    )


@dataclass(frozen=True)
class Copies:
    """Which visible examples are copies, by position, training examples first.

    spare: those that can go: training copies of validation examples, then what repeats an earlier one of its split in input and
    target; differ: those left that equal another one left in all but the target.

    >>> Copies((3,), ()).spare
    (3,)
    """

    spare: tuple[int, ...]
    differ: tuple[int, ...]


def copies(data: Data, *, by: str = "inputs") -> Copies:
    """Return the exact copies among the visible examples: equal inputs, or (by="source") equal fields of a table's rows.

    >>> x = torch.tensor([[1.0], [1.0], [1.0], [2.0]])
    >>> copies(Data(Split(x, torch.tensor([0, 0, 1, 1])), Split(x[:1] + 8, torch.tensor([0]))))
    Copies(spare=(1,), differ=(0, 2))
    """
    n = len(data.train)
    keys = _keys(data, by)
    targets = [*_targets(data.train), *_targets(data.valid)]
    held = set(keys[n:])
    spare: list[int] = []
    seen: set[tuple[int, float, bool]] = set()
    other: defaultdict[int, set[float]] = defaultdict(set)
    for i, (key, y) in enumerate(zip(keys, targets, strict=True)):
        if (i < n and key in held) or (key, y, i < n) in seen:
            spare.append(i)
            continue
        seen.add((key, y, i < n))
        other[key].add(y)
    gone = set(spare)
    differ = tuple(i for i, key in enumerate(keys) if i not in gone and len(other[key]) > 1)
    return Copies(tuple(spare), differ)


def _keys(data: Data, by: str) -> list[int]:
    if by == "inputs":
        train, valid = visible_digests(data)
        return [*train.tolist(), *valid.tolist()]
    import pandas as pd

    frames = [data.raw.get(s) for s in ("train", "valid")]
    if any(f is None for f in frames) or [len(f) for f in frames if f is not None] != [
        len(data.train),
        len(data.valid),
    ]:
        raise DataError(f"{data.source or 'data'}: its rows as they were read are not at hand. Compare inputs instead.")
    both = pd.concat([f for f in frames if f is not None], ignore_index=True)
    names = [c["name"] for c in data.meta.get("columns", ()) if c["name"] in both]  # not the file that a text came from
    target = (data.meta.get("target") or {}).get("name")
    both = (both[names] if names else both.drop(columns=[target], errors="ignore")).astype(str)
    return pd.util.hash_pandas_object(both, index=False).tolist()


def repeats(data: Data) -> list[tuple[int, int]]:
    """Return (first, repeat) of every visible example with the inputs of an earlier one, by position, training examples first.

    >>> x = torch.tensor([[1.0], [2.0], [1.0]])
    >>> repeats(Data(Split(x, torch.tensor([0, 1, 0])), Split(x[1:2], torch.tensor([1]))))
    [(0, 2), (1, 3)]
    """
    keys = np.concatenate(visible_digests(data))
    _, first, group = np.unique(keys, return_index=True, return_inverse=True)
    again = np.flatnonzero(first[group] != np.arange(len(keys)))
    return [(int(first[group[i]]), int(i)) for i in again]


def _targets(split: Split) -> list[float]:
    y = split.targets
    return y.tolist() if y.ndim == 1 else [hash(tuple(r)) for r in y.tolist()]
