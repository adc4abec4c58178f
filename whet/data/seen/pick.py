"""Name examples by their ids, as findings print them: 12, 3-9, train:12, valid:3-9."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from whet.data.split import Data
from whet.errors import DataError

__all__ = ["Picked", "Places", "find", "ids_meet", "pick", "places_of", "spell"]

Places = Mapping[str, Mapping[int, list[int]]]

_WORD = re.compile(r"(?:(train|valid):)?(\d{1,18})(?:-(\d{1,18}))?")


@dataclass(frozen=True)
class Picked:
    """Examples that were named.

    at: their positions among the visible examples, training examples first (the rows of `rows`), in the order named, each
    once; absent: the words that name no visible example.

    >>> Picked((3,), ("12",)).absent
    ('12',)
    """

    at: tuple[int, ...]
    absent: tuple[str, ...] = ()


def ids_meet(data: Data) -> bool:
    """Return whether a training and a validation example have the same id, so that an id alone names two.

    >>> from whet.data.bundled import digits
    >>> ids_meet(digits())
    False
    """
    return not set(data.train.ids.tolist()).isdisjoint(data.valid.ids.tolist())


def spell(split: str, id: int, meet: bool) -> str:
    """Return how an example is named: by its id, with its split where ids meet.

    >>> spell("valid", 9, False), spell("valid", 9, True)
    ('9', 'valid:9')
    """
    return f"{split}:{id}" if meet else str(id)


def pick(data: Data, ids: Iterable[int | str] | str, *, what: str = "ids") -> Picked:
    """Return the positions of the examples that `ids` name: numbers, or words as in the module's line; text is split at commas.

    An id is the example's number in its source: the row of a file from 0, the picture's place in its folder's order. Of a
    range, the ids that are not visible are left out.
    Raises DataError, beginning with `what`, for a word that names nothing, and an id both splits have.

    >>> from whet.data.bundled import digits
    >>> data = digits()
    >>> pick(data, "0-2,7"), pick(data, [5000]).absent
    (Picked(at=(0, 1, 2, 1257), absent=()), ('5000',))
    """
    words = [w.strip() for w in ids.split(",")] if isinstance(ids, str) else [str(w).strip() for w in ids]
    places = places_of(data)
    at: list[int] = []
    absent: list[str] = []
    for word in words:
        here = find(places, word, what=what)
        at += here
        absent += [] if here else [word]
    return Picked(tuple(dict.fromkeys(at)), tuple(absent))


def places_of(data: Data) -> Places:
    """Return the positions of each id in each split: split -> id -> positions, as `Picked` counts them."""
    places: dict[str, dict[int, list[int]]] = {"train": {}, "valid": {}}
    for name, split, start in (("train", data.train, 0), ("valid", data.valid, len(data.train))):
        for i, own in enumerate(split.ids.tolist()):
            places[name].setdefault(own, []).append(start + i)
    return places


def find(places: Places, word: str, *, what: str = "ids") -> list[int]:
    """Return the positions of the examples that one word names, in the order of their ids; raise DataError as `pick` does.

    >>> find({"train": {4: [0], 7: [1]}, "valid": {5: [2]}}, "4-6")
    [0, 2]
    """
    found = _WORD.fullmatch(word)
    if found is None:
        raise DataError(
            f"{what} {word or 'nothing'!r}: names no example. Use ids such as 12, 3-9, train:12 or valid:3-9."
        )
    low, high = int(found[2]), int(found[3] or found[2])
    if high < low:
        raise DataError(f"{what} {word}: the range ends before it begins. Write {high}-{low}.")
    splits = [found[1]] if found[1] else ["train", "valid"]
    own = {s: _within(places[s], low, high) for s in splits}
    if len(own) == 2 and not set(own["train"]).isdisjoint(own["valid"]):
        raise DataError(f"{what} {word}: both splits have this id. Write train:{word} or valid:{word}.")
    return [p for _, p in sorted((i, p) for s in splits for i in own[s] for p in places[s][i])]


def _within(places: Mapping[int, list[int]], low: int, high: int) -> list[int]:
    """Return the ids from low to high, without walking a range wider than there are ids."""
    if high - low < len(places):
        return [i for i in range(low, high + 1) if i in places]
    return [i for i in places if low <= i <= high]
