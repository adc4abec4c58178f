"""Clean data: functions from `Data` to `Data` that drop or relabel examples and drop columns, and record what they did.

The test split keeps its examples, labels and seal. Each step adds to `meta["cleaned"]` (JSON, which an exported model carries) and
a finding CLEANED, which reports show; what changes nothing records nothing.

>>> from whet.data.bundled import digits
>>> data = drop_duplicates(drop(digits(), [12, 3], why="smudged"))
>>> [step["n"] for step in data.meta["cleaned"]], data.findings[-1].message
([2], '2 examples dropped (1 of train, 1 of valid): smudged')
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from whet.data.duplicates import copies
from whet.data.narrow import narrowed
from whet.data.record import count, examples_in, recorded
from whet.data.seen.pick import Places, find, places_of
from whet.data.series_blank import blank
from whet.data.split import Data, Split
from whet.data.table import profile
from whet.errors import DataError, nearest

__all__ = ["blank", "drop", "drop_columns", "drop_duplicates", "examples_in", "once", "relabel"]

Ids = Iterable[int | str]


def drop(data: Data, ids: Ids, *, why: str, of: int | None = None) -> Data:
    """Return the data without the training and validation examples `ids`: numbers in the source, or "train:12", "valid:3-9".

    why: goes on record; of: how many examples the source had when the ids were written down (`examples_in`). Ids of the test
    split stay, and are counted on record, so that another division by another seed works as well.
    Raises DataError for an id nobody has, an id of both splits, another number of examples than `of`, and a class or split
    that would be left without examples.

    >>> from whet.data.bundled import digits
    >>> data = digits()
    >>> len(data.train), len(drop(data, ["train:3"], why="smudged").train)
    (1257, 1256)
    """
    places = _places(data, "drop", of)
    found = {str(word): find(places, str(word), what="drop") for word in ids}
    absent = _absent(data, [word for word, at in found.items() if not at], "drop")
    return _without(data, sorted({p for at in found.values() for p in at}), "drop", why, absent)


def drop_duplicates(data: Data, *, by: str = "inputs", why: str = "exact duplicates") -> Data:
    """Return the data without exact copies: training copies of validation examples, and repeats within a split.

    A validation example stays and its training copies go, whatever their targets. Within a split the first stays and those
    of the same target go; equal inputs with different targets stay, since nothing says which is right: they are counted.
    by: "inputs", as the model sees examples, or "source", every field of a table's row but the target.

    >>> import torch
    >>> x = torch.tensor([[1.0], [1.0], [2.0], [3.0]])
    >>> data = drop_duplicates(Data(Split(x, torch.tensor([0, 0, 1, 1])), Split(x[2:3], torch.tensor([1]))))
    >>> data.train.ids.tolist(), data.valid.ids.tolist()
    ([0, 3], [0])
    """
    if by not in ("inputs", "source"):
        raise DataError(f"drop_duplicates: by={by!r} is not known. Allowed: 'inputs', 'source'.")
    if by == "source" and "encoding" not in data.meta:
        raise DataError("drop_duplicates: by='source' is for tables that were read from rows. Leave it out.")
    found = copies(data, by=by)
    stay = len(found.differ)
    more = f"; {stay:,} equal examples differ in the target and stay" if stay else ""
    return _without(data, found.spare, "drop_duplicates", why + more, [])


def relabel(
    data: Data, labels: Mapping[int | str, str | int | tuple[str | int, str | int]], *, why: str, of: int | None = None
) -> Data:
    """Return the data with other class names for some training and validation examples.

    labels: id (as for `drop`) -> the right class, or (the class it has now, the right one): then an example that has another one
    now is refused, which a source with rows added or sorted would otherwise go through with.
    Raises DataError for ids as `drop` does, for regression, and for an unknown class.

    >>> from whet.data.bundled import digits
    >>> data = relabel(digits(), {3: ("3", "5")}, why="looked at")
    >>> data.classes[int(data.train.targets[data.train.ids == 3])]
    '5'
    """
    if data.kind != "classification":
        raise DataError(
            f"relabel: {data.source or 'the data'} has numbers to predict, no classes. Drop the example instead."
        )
    names = data.classes or tuple(str(i) for i in range(int(data.train.targets.max()) + 1))
    targets = {"train": data.train.targets.clone(), "valid": data.valid.targets.clone()}
    places = _places(data, "relabel", of)
    at: list[int] = []
    changed, absent = [], []
    for id, given in labels.items():
        old, new = given if isinstance(given, tuple) else (None, given)
        found = find(places, str(id), what="relabel")
        absent += [] if found else [str(id)]
        for p in found:
            split, i = _place(data, p)
            now = int(targets[split][i])
            if old is not None and now != _number(old, names, id):
                raise DataError(
                    f"relabel {id}: is '{names[now]}' now, not '{old}'. Has the source changed since? Look again."
                )
            targets[split][i] = _number(new, names, id)
            changed.append([split, int(_split(data, split).ids[i]), names[now], str(new)])
            at.append(p)
    absent = _absent(data, absent, "relabel")
    if not at and not absent:
        return data
    train, valid = (replace(_split(data, s), targets=targets[s]) for s in ("train", "valid"))
    _whole(data, train, valid, "relabel")
    record = _record(data, "relabel", at, why, absent) | {"labels": changed}
    return recorded(
        replace(data, train=train, valid=valid), record, f"{count(len(at), 'label')} changed{_share(record)}: {why}"
    )


def drop_columns(data: Data, columns: Sequence[str], *, why: str) -> Data:
    """Return the data without some columns of its table, in every split; the others are encoded as they were.

    A column takes all that was made of it along: the parts of a date, and whether it is missing. Rows still to come do not need it.
    Raises DataError for an unknown column, for data without columns, and when none would be left.

    >>> import pandas as pd
    >>> from whet.data.table import table
    >>> frame = pd.DataFrame({"x": range(40), "ticket": range(40), "y": [0, 1] * 20})
    >>> drop_columns(table(frame, "y"), ["ticket"], why="numbers the rows").features
    ('x',)
    """
    given = [columns] if isinstance(columns, str) else list(dict.fromkeys(columns))
    if not given:
        return data
    kept = narrowed(data, given, why)
    record = {"what": "drop_columns", "n": len(given), "why": why, "columns": given}
    text = f"{count(len(given), 'column')} dropped ({', '.join(given[:8])}{', ...' if len(given) > 8 else ''}): {why}"
    return recorded(kept, record, text, where=", ".join(given[:8]))


def once(steps: Callable[[Data], Data]) -> Callable[[Data], Data]:
    """Return the function `steps` so that it works once for each `Data` it is given: a task asks for its data again and again.

    >>> from whet.data.bundled import digits
    >>> cleaned, data = once(lambda data: drop(data, [12], why="smudged")), digits()
    >>> cleaned(data) is cleaned(data)
    True
    """
    known: list[tuple[weakref.ref[Data], Data]] = []

    def cleaned(data: Data) -> Data:
        for source, made in known:
            if source() is data:
                return made
        made = steps(data)
        known[:] = [(s, m) for s, m in known if s() is not None]
        if made is not data:
            known.append((weakref.ref(data), made))
        return made

    return cleaned


def _places(data: Data, what: str, of: int | None) -> Places:
    if of is not None and of != examples_in(data):
        raise DataError(
            f"{what}: {data.source or 'the source'} has {examples_in(data):,} examples, the ids are of {of:,}. Look again."
        )
    return places_of(data)


def _absent(data: Data, words: Sequence[str], what: str) -> list[str]:
    """Return the ids among `words`, of which none is visible, that no earlier step took; raise DataError for one nobody has."""
    gone = {f"{split}:{i}" for r in data.meta.get("cleaned", ()) if r["what"] != "relabel"
            for split, own in r.get("ids", {}).items() for i in own}  # fmt: skip
    gone |= {w.partition(":")[2] for w in gone}
    absent = [w for w in words if w not in gone]
    if absent and data.sealed is None:
        raise DataError(f"{what} {absent[0]}: no example has this id. `whet look` shows the ids there are.")
    return absent


def _number(name: str | int, names: Sequence[str], id: int | str) -> int:
    if str(name) not in names:
        raise DataError(
            f"relabel {id}: no class {str(name)!r}.{nearest(str(name), names)} Classes: {', '.join(names[:20])}."
        )
    return list(names).index(str(name))


def _split(data: Data, name: str) -> Split:
    return data.train if name == "train" else data.valid


def _place(data: Data, at: int) -> tuple[str, int]:
    n = len(data.train)
    return ("train", at) if at < n else ("valid", at - n)


def _without(data: Data, at: Sequence[int], what: str, why: str, absent: Sequence[str]) -> Data:
    """Return the data without the visible examples at these positions, recorded."""
    if not len(at) and not absent:
        return data
    if "series" in data.meta:
        raise DataError(
            f"{what}: {data.source or 'the data'} is a series: a row taken out stays in the inputs of the rows after it, and "
            'leaves a gap. Use clean.blank(data, ids, why="..."): the value is missing then.'
        )
    kept = np.ones(len(data.train) + len(data.valid), bool)
    kept[list(at)] = False
    mine = {"train": np.flatnonzero(kept[: len(data.train)]), "valid": np.flatnonzero(kept[len(data.train) :])}
    for name, index in mine.items():
        if not len(index):
            raise DataError(f"{what}: would leave no {name} example. Drop fewer.")
    train, valid = data.train.take(mine["train"]), data.valid.take(mine["valid"])
    _whole(data, train, valid, what)
    raw = {
        s: f.iloc[mine[s]].reset_index(drop=True) if len(f) == len(_split(data, s)) else f for s, f in data.raw.items()
    }
    meta = dict(data.meta)
    if "examples" in meta:
        meta["examples"] = {**meta["examples"], "train": len(train), "valid": len(valid)}
    if "columns" in meta and "train" in raw:
        target = (meta.get("target") or {}).get("name")
        meta["columns"] = profile(raw["train"].drop(columns=[target], errors="ignore"))
    record = _record(data, what, at, why, absent)
    text = f"{count(len(at), 'example')} dropped{_share(record)}: {why}"
    return recorded(replace(data, train=train, valid=valid, raw=raw, meta=meta), record, text)


def _whole(data: Data, train: Split, valid: Split, what: str) -> None:
    """Raise DataError when a class that had training examples has none left."""
    if data.kind != "classification":
        return
    lost = set(np.unique(data.train.targets.numpy()).tolist()) - set(np.unique(train.targets.numpy()).tolist())
    if lost:
        c = int(min(lost))
        name = data.classes[c] if data.classes else str(c)
        raise DataError(f"{what}: would leave no training example of class '{name}'. Change fewer.")


def _record(data: Data, what: str, at: Sequence[int], why: str, absent: Sequence[str]) -> dict[str, Any]:
    ids: dict[str, list[int]] = {"train": [], "valid": []}
    for p in at:
        split, i = _place(data, p)
        ids[split].append(int(_split(data, split).ids[i]))
    record: dict[str, Any] = {"what": what, "n": len(at), "why": why, "ids": ids}
    return record | ({"not_visible": list(absent)} if absent else {})


def _share(record: Mapping[str, Any]) -> str:
    parts = [f"{len(own):,} of {split}" for split, own in record["ids"].items() if own]
    hidden = len(record.get("not_visible", ()))
    parts += [f"{hidden:,} not visible"] if hidden else []
    return f" ({', '.join(parts)})" if parts else ""
