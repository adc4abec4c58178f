"""A column of text as a look at the data sees it: its words, what each text is about, how long and how strange it is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from whet.data.split import Data
from whet.data.text import words
from whet.data.textcolumn import CHARACTERS, as_strings, text_columns
from whet.seed import key

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

__all__ = ["Texts", "grams", "texts_of", "tfidf", "topics"]

READ = 3_000_000  # words of all texts together that are read closely; of longer ones the beginning
LEAST = 50  # words a text that are read in any case
TERMS = 50_000
COMPONENTS = 50


@dataclass(frozen=True)
class Texts:
    """One text column of the examples looked at.

    name: of the column; strings: (n,) the texts, "" where one is missing; missing, valid: (n,) bool; words: (n,) their
    words, of long texts the first; length: (n,) words, all of them; seed: of the projection.

    >>> t = Texts("review", ["A good film", "A good book", ""], np.array([False, False, True]), np.zeros(3, bool))
    >>> t.length.tolist(), t.words[0], t.weights.shape
    ([3, 3, 0], ['a', 'good', 'film'], (3, 3))
    """

    name: str
    strings: Sequence[str]
    missing: np.ndarray
    valid: np.ndarray
    seed: int = 0

    def __len__(self) -> int:
        return len(self.strings)

    @cached_property
    def _read(self) -> tuple[list[list[str]], np.ndarray]:
        most = max(LEAST, READ // max(1, len(self)))
        read, sizes = [], np.zeros(len(self), np.int64)
        for i, text in enumerate(self.strings):
            found = words(text[:CHARACTERS])
            sizes[i] = len(found)
            read.append(found[:most])
        return read, sizes

    @property
    def words(self) -> list[list[str]]:
        """The words of each text, of long ones the first."""
        return self._read[0]

    @property
    def length(self) -> np.ndarray:
        """(n,) number of words of each text, within its first 50,000 characters."""
        return self._read[1]

    @cached_property
    def _weighed(self) -> tuple[csr_matrix, tuple[str, ...]]:
        return tfidf(self.words)

    @property
    def weights(self) -> csr_matrix:
        """(n, p) TF-IDF of words and pairs of words, rows of length 1."""
        return self._weighed[0]

    @property
    def terms(self) -> tuple[str, ...]:
        """(p,) the words and pairs of words."""
        return self._weighed[1]

    @cached_property
    def features(self) -> np.ndarray:
        """(n, 50) float32: the main components of `weights`."""
        return topics(self.weights, seed=self.seed)

    @cached_property
    def unknown(self) -> np.ndarray:
        """(n,) share of the words that are in fewer than two training texts, the text itself left out."""
        rows = Counter(w for own, valid in zip(self.words, self.valid, strict=True) if not valid for w in set(own))
        out = np.zeros(len(self))
        for i, (own, valid) in enumerate(zip(self.words, self.valid, strict=True)):
            least = 2 if valid else 3
            out[i] = sum(rows[w] < least for w in own) / len(own) if own else 0.0
        return out

    def facts(self) -> dict[str, Any]:
        """Return the figures of the column, as JSON."""
        train, n = self.length[~self.valid], self.length
        rows = Counter(w for own, valid in zip(self.words, self.valid, strict=True) if not valid for w in set(own))
        return {
            "name": self.name, "words": len(rows), "once": sum(c == 1 for c in rows.values()),
            "low": int(n.min()), "median": float(np.median(n)), "high": int(n.max()), "mean": float(train.mean()),
            "unknown": {"train": _mean(self.unknown[~self.valid]), "valid": _mean(self.unknown[self.valid])},
        }  # fmt: skip


def _mean(x: np.ndarray) -> float:
    return float(x.mean()) if len(x) else 0.0


def texts_of(data: Data, valid: np.ndarray, index: np.ndarray, *, seed: int = 0) -> tuple[Texts, ...]:
    """Return the text columns of the visible examples: `valid` (n,) says of which split each is, `index` (n,) where there.

    The texts as they were read (`Data.raw`); where these are not at hand, the words that the encoding knows.
    """
    found = []
    for entry, at in text_columns(data.meta):
        strings: list[str | None] = []
        for name, split in (("train", data.train), ("valid", data.valid)):
            chosen = index[valid == (name == "valid")]
            raw = data.raw.get(name)
            if raw is not None and len(raw) == len(split) and entry["name"] in raw:
                strings += as_strings(raw[entry["name"]].iloc[chosen])
            else:
                said = ["", "_", *entry["values"]]
                strings += [
                    " ".join(said[c] for c in row if c) for row in split.parts[-1][chosen.tolist(), at].tolist()
                ]
        missing = np.array([s is None for s in strings], bool)
        found.append(Texts(entry["name"], [s or "" for s in strings], missing, valid, seed))
    return tuple(found)


def grams(own: Sequence[str]) -> Iterator[str]:
    """Yield the words and the pairs of neighbouring words.

    >>> list(grams(["not", "so", "good"]))
    ['not', 'so', 'good', 'not so', 'so good']
    """
    yield from own
    for a, b in pairwise(own):
        yield f"{a} {b}"


def tfidf(texts: Sequence[Sequence[str]], *, least: int = 2) -> tuple[csr_matrix, tuple[str, ...]]:
    """Return (n, p) weights of words and pairs of words, and what the columns are: those in `least` texts or more, 50,000 at most (of all with least=1).

    scikit-learn's: (1 + log count) times log((1 + n) / (1 + rows)) + 1, rows scaled to length 1. Fitted on all texts given,
    training and validation: the test of their difference needs features that treat both alike, and labels play no part.

    >>> x, terms = tfidf([["a", "b"], ["a", "b"], ["a", "c"]])
    >>> terms, x.shape
    (('a', 'a b', 'b'), (3, 3))
    """
    from scipy.sparse import csr_matrix
    from sklearn.feature_extraction.text import TfidfVectorizer

    model = TfidfVectorizer(analyzer=lambda own: list(grams(own)), min_df=least, max_features=TERMS if least > 1 else None, sublinear_tf=True,
                            dtype=np.float32)  # fmt: skip
    try:
        x = model.fit_transform(texts)
    except ValueError:  # no word is in two texts
        return csr_matrix(np.zeros((len(texts), 0), np.float32)), ()
    return x.tocsr(), tuple(model.get_feature_names_out().tolist())


def topics(x: csr_matrix, *, seed: int = 0) -> np.ndarray:
    """Return (n, 50) float32, fewer of few terms: the main components of weights (n, p) (truncated SVD, "latent semantic analysis").

    >>> x, _ = tfidf([["a", "b"], ["a", "b"], ["a", "c"]])
    >>> topics(x).shape
    (3, 2)
    """
    from sklearn.decomposition import TruncatedSVD

    k = min(COMPONENTS, x.shape[1] - 1, x.shape[0] - 1)
    if k < 1:
        return np.zeros((x.shape[0], 1), np.float32)
    found: np.ndarray = TruncatedSVD(k, n_iter=4, random_state=key(seed, "topics") % 2**31).fit_transform(x)
    return found.astype(np.float32)
