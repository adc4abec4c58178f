"""Sequences of whole numbers: how long they are, and which are nearly the same."""

from __future__ import annotations

import numpy as np

from whet.data.seen.near import Pairs
from whet.seed import rng

__all__ = ["lengths", "near_sequences"]

SHINGLE, BANDS, ROWS = 3, 16, 4
SHARED = 0.8  # of the pieces of either: near duplicates
LONG = 20  # shorter ones share pieces by chance


def lengths(codes: np.ndarray) -> np.ndarray:
    """Return (n,) the length of each of sequences (n, t): up to the zeros at its end, which are padding.

    >>> lengths(np.array([[5, 6, 0, 0], [1, 0, 2, 3]])).tolist()
    [2, 4]
    """
    filled = codes != 0
    return np.where(filled.any(1), codes.shape[1] - filled[:, ::-1].argmax(1), 0)


def near_sequences(codes: np.ndarray, *, seed: int = 0) -> Pairs | str:
    """Return near duplicates among sequences (n, t), or why short ones have none.

    Near: 80 % of the distinct pieces of three in either are in both (Jaccard index). Candidates by MinHash in 16 bands of 4
    (Broder 1997): of pairs with an index of 0.8 over 99.9 % are found.

    >>> x = np.random.default_rng(0).integers(1, 50, (100, 40)); x[9] = x[3]; x[9, 20] = 7
    >>> p = near_sequences(x)
    >>> p.first.tolist(), p.second.tolist()
    ([3], [9])
    """
    if codes.shape[1] < LONG or np.median(lengths(codes)) < LONG:
        return f"sequences are under {LONG} long: those alike are alike by chance"
    values = codes.astype(np.uint64)
    mix = np.uint64(0x9E3779B97F4A7C15)
    pieces = np.zeros((len(codes), codes.shape[1] - SHINGLE + 1), np.uint64)
    for i in range(SHINGLE):
        pieces = (pieces ^ values[:, i : i + pieces.shape[1]]) * mix
        pieces ^= pieces >> np.uint64(29)
    draw = rng(seed, "shingles")
    odd = draw.integers(0, 2**63, BANDS * ROWS, dtype=np.uint64) * np.uint64(2) + np.uint64(1)
    add = draw.integers(0, 2**63, BANDS * ROWS, dtype=np.uint64)
    pairs: set[tuple[int, int]] = set()
    for band in range(BANDS):
        key = np.zeros(len(codes), np.uint64)
        for r in range(band * ROWS, (band + 1) * ROWS):
            hashed = pieces * odd[r] + add[r]
            key = (key ^ (hashed ^ (hashed >> np.uint64(32))).min(1)) * mix
        order = np.argsort(key, kind="stable")
        same = np.flatnonzero(key[order][1:] == key[order][:-1])
        # Neighbours in a bucket are enough: a chain of copies is found link by link.
        pairs.update(
            (min(int(a), int(b)), max(int(a), int(b))) for a, b in zip(order[same], order[same + 1], strict=True)
        )
        if len(pairs) > 100_000:
            break
    rows = []
    for a, b in sorted(pairs):
        x, y = np.unique(pieces[a]), np.unique(pieces[b])
        both = len(np.intersect1d(x, y, assume_unique=True))
        index = both / (len(x) + len(y) - both)
        if index >= SHARED:
            rows.append((a, b, 1 - index))
    rows.sort(key=lambda r: r[2])
    found = np.array(rows, float).reshape(-1, 3)
    return Pairs(found[:, 0].astype(int), found[:, 1].astype(int), found[:, 2], 0.0, len(pairs) > 100_000,
                 "of the pieces not shared")  # fmt: skip
