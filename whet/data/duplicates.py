"""Exact duplicates: examples whose inputs are equal to the last bit, within a split and across splits."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from whet.data.split import Split

__all__ = ["Duplicates", "digests", "duplicates"]


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


def duplicates(train: Split, valid: Split, *, shown: int = 50) -> Duplicates:
    """Return the exact duplicates within and across two splits.

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
    for name, split in (("train", train), ("valid", valid)):
        own: set[int] = set()
        hashes = digests(split).tolist()
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


def _targets(split: Split) -> list[float]:
    y = split.targets
    return y.tolist() if y.ndim == 1 else [hash(tuple(r)) for r in y.tolist()]
