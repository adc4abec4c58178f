"""A column of free text as numbers of words: a vocabulary fitted on the training rows, texts cut at a length."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from whet.data.text import words

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["LONGEST", "VOCABULARY", "as_strings", "fit_text", "is_text", "text_columns", "word_numbers"]

VOCABULARY = 10_000  # words kept of one column, the most frequent
LONGEST = 256  # words of a text that are read, at most
SHARE = 0.98  # of the training texts are read whole, if that takes no more
LEAST, DISTINCT, USUAL, RECURRING = 20, 0.5, 3, 0.5
CHARACTERS = 50_000  # of a text that are looked at: 256 words are in far fewer


def as_strings(column: pd.Series) -> list[str | None]:
    """Return the values of a column as texts; None where one is missing.

    >>> import pandas as pd
    >>> as_strings(pd.Series(["a b", None, 3]))
    ['a b', None, '3']
    """
    gone = column.isna().to_numpy()
    return [None if missing else str(v) for v, missing in zip(column.tolist(), gone, strict=True)]


def is_text(texts: Sequence[str]) -> bool:
    """Return whether the values (missing ones left out) are free text, not names or categories.

    Free text: 20 values or more, over half of them distinct, three words or more in the median one, and most of the words
    occur in other values as well (of names and codes they do not).

    >>> some = [f"the {a} is {b} and {c}" for a in ("cat", "dog", "fox") for b in ("old", "big") for c in ("red", "shy", "mad", "ill")]
    >>> is_text(some), is_text(["low", "high"] * 20), is_text([f"A-{i}" for i in range(50)])
    (True, False, False)
    """
    if len(texts) < LEAST or len(set(texts)) <= DISTINCT * len(texts):
        return False
    # Of many values an even part will do.
    some = [set(_real(t)) for t in texts[:: max(1, len(texts) // 5000)]]
    if np.median([len(t) for t in some]) < USUAL:
        return False
    rows = Counter(w for t in some for w in t)
    return sum(n for n in rows.values() if n > 1) >= RECURRING * rows.total()


def _real(text: str) -> list[str]:
    return [w for w in words(text[:CHARACTERS]) if w[0].isalpha()]


def fit_text(texts: Sequence[str | None], name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the encoding of a column of texts (None is missing), as JSON, and the figures behind it.

    Kept are the words in at least two rows (one, of fewer than 50 rows), the 10,000 in the most rows; number 0 is padding, 1 any
    other word, the rest count from 2 in the order of `values`. Read are the first `length` words: as many as 98 % of the texts have, at most 256.

    >>> entry, fact = fit_text(["good fun", "no fun", None], "review")
    >>> entry["values"], entry["length"], fact["unknown"]
    (['fun', 'good', 'no'], 2, 0.0)
    """
    read = [words(t[:CHARACTERS]) for t in texts if t is not None]
    rows = Counter(w for t in read for w in set(t))
    least = 1 if len(texts) < 50 else 2
    kept = sorted((w for w, n in rows.items() if n >= least), key=lambda w: (-rows[w], w))[:VOCABULARY]
    sizes = np.array([len(t) for t in read] or [0])
    length = int(np.clip(np.ceil(np.quantile(sizes, SHARE)), 1, LONGEST))
    known = set(kept)
    total = max(int(sizes.sum()), 1)
    unknown = sum(w not in known for t in read for w in t)
    entry = {"name": name, "kind": "text", "values": kept, "length": length, "missing": len(read) < len(texts)}
    fact = {"rows": len(texts), "distinct": len(rows), "kept": len(kept), "length": length, "longest": int(sizes.max()),
            "unknown": unknown / total, "cut": float((sizes > length).mean())}  # fmt: skip
    return entry, fact


def word_numbers(entry: Mapping[str, Any], texts: Sequence[str | None]) -> np.ndarray:
    """Return (n, length) int64: the numbers of the first words of each text; 0 behind its end, 1 for an unknown word.

    >>> word_numbers({"values": ["fun", "good"], "length": 3}, ["Good, fun!", None, "fun"]).tolist()
    [[3, 1, 2], [0, 0, 0], [2, 0, 0]]
    """
    at = {w: i + 2 for i, w in enumerate(entry["values"])}
    length = int(entry["length"])
    out = np.zeros((len(texts), length), np.int64)
    for row, text in zip(out, texts, strict=True):
        if text is not None:
            numbers = [at.get(w, 1) for w in words(text[:CHARACTERS])[:length]]
            row[: len(numbers)] = numbers
    return out


def text_columns(meta: Mapping[str, Any]) -> list[tuple[dict[str, Any], slice]]:
    """Return the encodings of the text columns in `meta["encoding"]`, each with its places in the tensor of words.

    >>> text_columns({"encoding": {"columns": [{"kind": "text", "length": 5}, {"kind": "date"}, {"kind": "text", "length": 3}]}})[1][1]
    slice(5, 8, None)
    """
    found, start = [], 0
    for entry in (meta.get("encoding") or {}).get("columns", ()):
        if entry["kind"] == "text":
            found.append((entry, slice(start, start + entry["length"])))
            start += entry["length"]
    return found
