"""Text as words: how a text is cut into words and marks, and when two texts are the same but for case and spaces."""

from __future__ import annotations

import hashlib
import re
import sys
import unicodedata
from collections.abc import Iterable
from functools import cache

import numpy as np

__all__ = ["same_text", "text_keys", "words"]

# Scripts written without spaces: every sign counts as a word (Han, kana); Thai and its like stay in one piece.
SIGNS = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"


@cache
def _marks() -> str:
    """Return the combining marks as the inside of a character class: `re` does not count them to words, Hindi does."""
    at = [i for i in range(0x300, min(sys.maxunicode, 0x1FFFF)) if unicodedata.category(chr(i))[0] == "M"]
    starts = [i for i, before in zip(at, [-2, *at], strict=False) if i != before + 1]
    ends = [i for i, after in zip(at, [*at[1:], -2], strict=True) if i != after - 1]
    return "".join(f"{chr(a)}-{chr(b)}" for a, b in zip(starts, ends, strict=True))


@cache
def _pattern(plain: bool) -> re.Pattern[str]:
    letter = r"\w" if plain else rf"(?:[^\W{SIGNS}]|[{_marks()}])"
    return re.compile(rf"{letter}+(?:['\u2019]{letter}+)*" + ("" if plain else f"|[{SIGNS}]") + r"|[^\w\s]")


def words(text: str) -> list[str]:
    """Return the lower-cased words of `text` and every other mark that is no space, in order.

    A word is letters, digits and their combining marks, with apostrophes inside ("don't"); of Chinese and Japanese every
    sign is one. Composed first (NFC), so that an accent typed either way is the same.

    >>> words("It's GREAT, isn't it?"), words("Cafe\\u0301 \\u6771\\u4eac") == ["caf\\xe9", "\\u6771", "\\u4eac"]
    (["it's", 'great', ',', "isn't", 'it', '?'], True)
    """
    composed = unicodedata.normalize("NFC", text).lower()
    return _pattern(composed.isascii()).findall(composed)


def same_text(text: str) -> str:
    """Return the text without what makes no difference: case, kinds of letters (NFKC) and spaces.

    >>> same_text("  Very\\tGOOD \\n") == same_text("very good")
    True
    """
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def text_keys(texts: Iterable[str]) -> np.ndarray:
    """Return (n,) uint64: a digest of each text, equal for texts that are the same but for case and spaces.

    >>> a, b, c = text_keys(["One  two", "one two", "two"])
    >>> bool(a == b), bool(a == c)
    (True, False)
    """
    made = (hashlib.blake2b(same_text(t).encode("utf-8", "surrogatepass"), digest_size=8).digest() for t in texts)
    return np.frombuffer(b"".join(made), "<u8").astype(np.uint64)
