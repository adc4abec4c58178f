"""Near duplicates of texts: by the pieces they share, confirmed by how far apart the two are beside all other texts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from whet.data.seen.near import Pairs
from whet.data.seen.text import Texts, tfidf
from whet.seed import rng

__all__ = ["near_texts", "shared", "shingles"]

BANDS, ROWS = 24, 4
SHARED = 0.7  # of the pieces of either: candidates
CLOSER = 0.5  # confirmed: at most so far apart as the nearer of the two is from its nearest other text
SHORT, LONG = 5, 30  # words in the median text: from where on texts are compared, and word by word
CHARS, WORDS = 5, 3  # a piece is so many characters, of long texts words
LISTED, OTHERS = 50_000, 4000
MIX = np.uint64(0x9E3779B97F4A7C15)


def shingles(texts: Sequence[Sequence[str]], *, by_word: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return the pieces of all texts, one behind the other, as (m,) uint64 hashes, and where each text's begin, (n,).

    texts: (n,) lists of words; pieces: 3 words, or 5 characters of the words with a space between. One piece at least a text.

    >>> pieces, starts = shingles([["the", "old", "cat", "sat"], ["the", "old", "cat"]], by_word=True)
    >>> len(pieces), starts.tolist(), bool(pieces[0] == pieces[2])
    (3, [0, 2], True)
    """
    size = WORDS if by_word else CHARS
    if by_word:
        number: dict[str, int] = {}
        units = [[number.setdefault(w, len(number) + 1) for w in own] for own in texts]
    else:
        units = [[ord(c) for c in " ".join(own)] for own in texts]
    lengths = np.array([len(u) for u in units], np.int64)
    flat = np.zeros(int(lengths.sum()) + size * len(units), np.uint64)  # zeros fill up what is short
    starts = np.concatenate([[0], np.cumsum(lengths + size)[:-1]]) if len(units) else np.zeros(0, np.int64)
    for own, at in zip(units, starts, strict=True):
        flat[at : at + len(own)] = own
    pieces = np.zeros(max(0, len(flat) - size + 1), np.uint64)
    for i in range(size):
        pieces = (pieces ^ (flat[i : i + len(pieces)] + np.uint64(1))) * MIX
        pieces ^= pieces >> np.uint64(29)
    many = np.maximum(1, lengths - size + 1)
    begin = np.concatenate([[0], np.cumsum(many)[:-1]]) if len(units) else starts
    at = np.repeat(starts - begin, many) + np.arange(int(many.sum()))
    return pieces[at], begin


def shared(a: np.ndarray, b: np.ndarray) -> float:
    """Return the Jaccard index of two sets of pieces: those in both over those in either.

    >>> shared(np.array([1, 2, 2, 3]), np.array([2, 3, 4]))
    0.5
    """
    x, y = np.unique(a), np.unique(b)
    both = len(np.intersect1d(x, y, assume_unique=True))
    return both / max(1, len(x) + len(y) - both)


def candidates(pieces: np.ndarray, starts: np.ndarray, *, seed: int = 0) -> list[tuple[int, int]]:
    """Return pairs of texts that MinHash (Broder 1997) puts into one bucket: 24 bands of 4 find 99.8 % of those that share 0.7."""
    draw = rng(seed, "shingles")
    odd = draw.integers(0, 2**63, BANDS * ROWS, dtype=np.uint64) * np.uint64(2) + np.uint64(1)
    add = draw.integers(0, 2**63, BANDS * ROWS, dtype=np.uint64)
    pairs: set[tuple[int, int]] = set()
    for band in range(BANDS):
        bucket = np.zeros(len(starts), np.uint64)
        for r in range(band * ROWS, (band + 1) * ROWS):
            hashed = pieces * odd[r] + add[r]
            least = np.minimum.reduceat(hashed ^ (hashed >> np.uint64(32)), starts)
            bucket = (bucket ^ least) * MIX
        order = np.argsort(bucket, kind="stable")
        same = np.flatnonzero(bucket[order][1:] == bucket[order][:-1])
        # Neighbours in a bucket are enough: a chain of copies is found link by link.
        pairs.update(
            (min(int(a), int(b)), max(int(a), int(b))) for a, b in zip(order[same], order[same + 1], strict=True)
        )
        if len(pairs) > LISTED:
            break
    return sorted(pairs)


def near_texts(texts: Texts, at: np.ndarray, *, seed: int = 0) -> Pairs | str:
    """Return near duplicates among the texts at `at` (m,), as positions in `at`, or why there can be none.

    Two texts are near when 70 % of the distinct pieces of either are in both (Jaccard index; pieces of 5 characters, where the
    median text has 30 words or more of 3 words), and the cosine distance of their TF-IDF weights is at most half of that between the nearer of them
    and its nearest other text (of 4,000): forms that are filled in share most pieces, and are not near.

    >>> draw = np.random.default_rng(0)
    >>> said = [" ".join(map(str, draw.integers(0, 300, 25))) for _ in range(100)]
    >>> said[9] = said[3] + " 7"
    >>> p = near_texts(Texts("t", said, np.zeros(100, bool), np.zeros(100, bool)), np.arange(100))
    >>> p.first.tolist(), p.second.tolist()
    ([3], [9])
    """
    usual = float(np.median(texts.length[at])) if len(at) else 0.0
    if usual < SHORT:
        return f"texts are under {SHORT} words: those alike are alike by chance"
    some = at[texts.length[at] > 0]
    own = [texts.words[i] for i in some]
    pieces, starts = shingles(own, by_word=usual >= LONG)
    ends = np.concatenate([starts[1:], [len(pieces)]])
    pairs = candidates(pieces, starts, seed=seed)
    part = len(pairs) > LISTED
    kept = [(a, b) for a, b in pairs
            if shared(pieces[starts[a] : ends[a]], pieces[starts[b] : ends[b]]) >= SHARED]  # fmt: skip
    none = np.empty(0, np.int64)
    if not kept:
        return Pairs(none, none, np.empty(0), 0.0, part)
    first, second = np.array(kept).T
    distance, lone = _apart(own, first, second)
    near = distance <= CLOSER * lone
    ratio = np.maximum(distance[near], 0) / lone[near]
    order = np.argsort(ratio, kind="stable")
    place = np.searchsorted(at, some)  # both are sorted
    return Pairs(place[first[near]][order], place[second[near]][order], ratio[order], 0.0, part,
                 "of the distance to the nearest other text")  # fmt: skip


def _apart(own: Sequence[Sequence[str]], first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the cosine distance of each pair, and that of the nearer of the two to the nearest text that is in no pair.

    Words of one text alone count here: what is filled into a form is what tells two apart.
    """
    involved = np.union1d(first, second)
    others = np.setdiff1d(np.arange(len(own)), involved)
    others = others[np.unique(np.linspace(0, len(others) - 1, min(OTHERS, len(others))).astype(int))]
    x, _ = tfidf([own[i] for i in (*involved, *others)], least=1)
    a, b = np.searchsorted(involved, first), np.searchsorted(involved, second)
    distance = 1 - np.asarray(x[a].multiply(x[b]).sum(1)).ravel()
    far = np.ones(len(involved))  # with hardly any other text there is none to compare with
    if len(others) >= 20:
        reference = x[len(involved) :].T.tocsc()
        for i in range(0, len(involved), 1000):
            far[i : i + 1000] = 1 - (x[i : min(i + 1000, len(involved))] @ reference).max(1).toarray().ravel()
    return distance, np.minimum(far[a], far[b])
