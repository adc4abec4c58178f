"""Near duplicates of pictures: perceptual hashes at most two bits apart, confirmed by the distance of what they show."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.fft import dctn
from torch import Tensor

from whet.data.seen.view import components

__all__ = ["Pairs", "hashes", "near_pictures", "near_rows"]

BITS = 2
LISTED = 100_000  # candidate pairs looked at closely


@dataclass(frozen=True)
class Pairs:
    """Pairs of examples that are nearly the same, not exactly.

    first, second: (m,) positions, first < second; distance: (m,), the nearest pair first, in units that `why` names;
    expected: how many pairs as close chance makes among that many examples, where it is known; part: some were left out.

    >>> len(Pairs(np.array([0]), np.array([5]), np.array([0.1]), 0.0))
    1
    """

    first: np.ndarray
    second: np.ndarray
    distance: np.ndarray
    expected: float
    part: bool = False
    why: str = ""

    def __len__(self) -> int:
        return len(self.first)


def hashes(pixels: Tensor) -> np.ndarray:
    """Return (n,) uint64: the perceptual hash of pictures (n, C, H, W), grey or RGB.

    The picture in grey at 32x32, its cosine transform, the 8x8 lowest frequencies, each above their median or not; the
    constant one is no part of it (Zauner 2010, "pHash").

    >>> x = torch.rand(1, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    >>> a, b, c = hashes(torch.cat([x, 0.9 * x + 0.01, 1 - x]))
    >>> int(np.bitwise_count(a ^ b)), bool(np.bitwise_count(a ^ c) > 50)
    (0, True)
    """
    out = np.empty(len(pixels), np.uint64)
    powers = 2 ** np.arange(63, dtype=np.uint64)
    for i in range(0, len(pixels), 4096):
        grey = pixels[i : i + 4096].float().mean(1, keepdim=True)
        if min(grey.shape[2:]) < 32:
            grey = torch.nn.functional.interpolate(grey, (32, 32), mode="bilinear", align_corners=False)
        grey = torch.nn.functional.adaptive_avg_pool2d(grey, (32, 32))[:, 0]
        low = dctn(grey.numpy(), axes=(1, 2), norm="ortho")[:, :8, :8].reshape(len(grey), 64)[:, 1:]
        out[i : i + 4096] = ((low > np.median(low, 1, keepdims=True)) * powers).sum(1, dtype=np.uint64)
    return out


def _close(codes: np.ndarray) -> np.ndarray:
    """Return (m, 2) pairs of `codes` (n,) uint64 at most two bits apart, at most `LISTED`.

    Two codes that differ in two bits agree in one of three thirds: only those that share a third are compared.
    """
    found: list[np.ndarray] = []
    third = [(codes >> np.uint64(s)) & np.uint64(2**21 - 1) for s in (0, 21, 42)]
    total = 0
    for t, keys in enumerate(third):
        order = np.argsort(keys, kind="stable")
        cuts = np.flatnonzero(np.diff(keys[order])) + 1
        for group in np.split(order, cuts):
            if len(group) < 2 or total > LISTED:
                continue
            size = max(1, 2**21 // len(group))
            for at in range(0, len(group), size):
                block = group[at : at + size]
                near = np.bitwise_count(codes[block][:, None] ^ codes[group][None]) <= BITS
                a, b = np.nonzero(near)
                a, b = block[a], group[b]
                keep = a < b
                for earlier in third[:t]:  # met before
                    keep &= earlier[a] != earlier[b]
                found.append(np.stack([a[keep], b[keep]], 1))
                total += int(keep.sum())
    pairs = np.concatenate(found) if found else np.empty((0, 2), int)
    return pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))][:LISTED]


def near_pictures(pixels: Tensor, small: np.ndarray) -> Pairs:
    """Return near duplicates among pictures (n, C, H, W); small: (n, p) what the confirming distance is taken of.

    Candidates' hashes differ in at most two bits. One is confirmed when the two are at most a third as far apart, in the
    50 main components, as the nearer of them is from its nearest picture that is no candidate (of 5,000): classes whose pictures all
    look alike have hashes alike as well, and that distance knows.

    >>> x = torch.rand(200, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    >>> x[9] = x[3] + 0.01 * torch.rand(8, 8)
    >>> p = near_pictures(x, x.flatten(1).numpy())
    >>> p.first.tolist(), p.second.tolist()
    ([3], [9])
    """
    pairs = _close(hashes(pixels))
    part = len(pairs) >= LISTED
    if not len(pairs):
        return Pairs(np.empty(0, int), np.empty(0, int), np.empty(0), 0.0)
    x = small if small.shape[1] <= 50 else components(small, 50)
    distance = np.linalg.norm(x[pairs[:, 0]] - x[pairs[:, 1]], axis=1)
    involved, where = np.unique(pairs, return_inverse=True)
    others = np.setdiff1d(np.arange(len(x)), involved)
    if len(others) < 20:  # nearly all of them: the involved ones themselves, the least distances left out
        others = np.arange(len(x))
    others = others[np.linspace(0, len(others) - 1, min(5000, len(others))).astype(int)]
    lone = _nearest(x[involved], x[others])[where.reshape(pairs.shape)].min(1)
    near = (distance <= lone / 3) & (distance > 0)
    order = np.argsort(distance[near] / lone[near], kind="stable")
    a, b = pairs[near][order].T
    return Pairs(a, b, (distance[near] / lone[near])[order], 0.0, part, "of the distance to the nearest other picture")


def _nearest(x: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return (n,) the distance of every row of x to the nearest row of `other` that is not itself."""
    out = np.empty(len(x))
    square = (other.astype(np.float64) ** 2).sum(1)
    for i in range(0, len(x), 1024):
        block = x[i : i + 1024].astype(np.float64)
        d = (block**2).sum(1)[:, None] + square[None] - 2 * block @ other.T.astype(np.float64)
        d[d <= 1e-9 * square.max()] = np.inf
        out[i : i + 1024] = np.sqrt(d.min(1))
    return out


def near_rows(numbers: np.ndarray, codes: np.ndarray, *, within: float = 0.01) -> Pairs | str:
    """Return near duplicates among rows of a table, or why they cannot be told from chance.

    Two rows are near when every continuous column (its values lie closer than a third of that, at least 50 of them) differs
    by at most `within` of its standard deviation, and all other columns agree. Chance makes such pairs too: among rows with equal other columns, the
    number of pairs within r grows as r to the power of the dimension; pairs from r to 8r say how many to expect.

    >>> x = np.random.default_rng(0).normal(size=(300, 5)); x[7] = x[2] + 0.001
    >>> near_rows(x, np.zeros((300, 1), int)).first.tolist()
    [2]
    """
    from scipy.spatial import cKDTree

    x = np.asarray(np.nan_to_num(numbers.astype(float)))
    spread = np.asarray(x.std(0))
    free = np.array([_fine(c, within * s) for c, s in zip(x.T, spread, strict=True)], bool)
    if free.sum() < 3:
        return "under three columns of continuous numbers: rows that are close say nothing"
    rest = np.concatenate([x[:, ~free], codes], 1)
    _, group = np.unique(rest, axis=0, return_inverse=True) if rest.shape[1] else (None, np.zeros(len(x), int))
    points = x[:, free] / spread[free]
    # Of many columns the tree searches eight; the others are compared afterwards.
    searched = np.concatenate([points[:, :8], 1e3 * group.reshape(-1, 1)], 1)
    tree = cKDTree(searched)
    counts = (np.asarray(tree.count_neighbors(tree, within * np.array([1, 8]), p=np.inf), float) - len(x)) / 2
    if counts[0] > LISTED:
        return f"{counts[0]:,.0f} pairs of rows are within {within:g} standard deviations: the table is that dense"
    pairs = tree.query_pairs(within, p=np.inf, output_type="ndarray")
    gap = np.abs(points[pairs[:, 0]] - points[pairs[:, 1]]).max(1) if len(pairs) else np.empty(0)
    near = (gap <= within) & (gap > 0)
    wider = max(float(counts[1] - counts[0]), 0.0)
    expected = (wider + 1) / (8 ** _dimension(points[:, :8]) - 1)
    order = np.argsort(gap[near], kind="stable")
    a, b = np.sort(pairs[near][order], 1).T if near.any() else (np.empty(0, int), np.empty(0, int))
    return Pairs(a, b, gap[near][order], float(expected), why="standard deviations in the farthest column")


def _fine(column: np.ndarray, within: float) -> bool:
    """Whether a column takes values far closer to each other than `within`, in its middle."""
    distinct = np.unique(column)
    low, high = np.quantile(column, [0.05, 0.95]) if len(column) else (0.0, 0.0)
    inner = distinct[(distinct >= low) & (distinct <= high)]
    return len(inner) >= 50 and (len(distinct) > 0.5 * len(column) or float(np.median(np.diff(inner))) < within / 3)


def _dimension(points: np.ndarray) -> float:
    """Return the intrinsic dimension of points (n, d) by the ratio of the distances to the two nearest neighbours.

    TwoNN (Facco et al. 2017) by the median: half of the ratios are under 2^(1/dimension).
    """
    from scipy.spatial import cKDTree

    some = np.unique(points[np.linspace(0, len(points) - 1, min(3000, len(points))).astype(int)], axis=0)
    d = np.asarray(cKDTree(some).query(some, 3)[0])
    ratio = float(np.median(np.log(d[:, 2] / np.maximum(d[:, 1], 1e-300))))
    return float(np.clip(np.log(2) / max(ratio, 1e-6), 1.0, points.shape[1]))
