"""What looking at the data found suspicious, to be seen: pictures or rows by code, duplicates side by side, contact sheets."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from whet.data.look import Look
from whet.data.seen.outcome import Example
from whet.data.seen.typical import Group
from whet.data.seen.view import View
from whet.finding import Finding
from whet.report.beside import Pair, Pairs, Sheet
from whet.report.block import Block, Pictures, Table
from whet.report.gallery import Gallery
from whet.report.quantity import clean, shorten

__all__ = ["anchor", "exhibits", "pairs", "sheets", "suspects"]

_PICTURES, _ROWS, _PAIRS = 36, 100, 24
_NARROW = 12  # columns of a table of few examples


def anchor(code: str) -> str:
    """Return where on the page the examples of a finding are.

    >>> anchor("NEAR-DUPLICATE"), anchor('a" onload="x')
    ('seen-near-duplicate', 'seen-a-onload-x')
    """
    return "seen-" + "-".join(re.findall(r"[a-z0-9]+", code.lower()))


def suspects(gallery: Gallery, examples: Iterable[Example], *, most: int | None = None) -> list[Pictures | Table]:
    """Return a block of pictures or a table for each code, the most suspicious first; most: how many of each.

    >>> from whet.data.bundled import digits
    >>> found = [Example("LABEL", "train", 5, 3, "0", "looks like '8'", 0.9)]
    >>> suspects(Gallery.of(digits(), found), found)[0].title
    'LABEL: 1 example'
    """
    codes: dict[str, list[Example]] = {}
    for e in examples:
        codes.setdefault(e.code, []).append(e)
    blocks: list[Pictures | Table] = []
    for code, found in codes.items():
        found = _once(sorted(found, key=lambda e: -e.score))
        room = most or (_PICTURES if gallery.pictured else _ROWS)
        title = f"{clean(code)}: {len(found):,} example{'s' if len(found) > 1 else ''}"
        note = f"The first {room:,} of them." if len(found) > room else ""
        if gallery.pictured:
            items = []
            for e in found[:room]:
                picture = gallery.picture(gallery.row(e.split, e.index))
                if picture is not None:
                    items.append((picture, f"{e.split} {e.id} '{shorten(e.label)}': {_brief(e)}"))
            blocks.append(Pictures(title, tuple(items), note, anchor(code)))
        else:
            at = [gallery.row(e.split, e.index) for e in found[:room]]
            reasons = {"reason": [e.reason for e in found[:room]]}
            blocks.append(
                gallery.table(at, title, first=reasons, columns=gallery.chosen(_NARROW), note=note, name=anchor(code))
            )
    return blocks


def _once(found: Iterable[Example]) -> list[Example]:
    """Return each example once, with all that was said of it."""
    kept: dict[tuple[str, int], Example] = {}
    for e in found:
        at = (e.split, e.index)
        kept[at] = replace(kept[at], reason=f"{kept[at].reason}; {e.reason}") if at in kept else e
    return list(kept.values())


def exhibits(
    gallery: Gallery, look: Look, *, most: int | None = None
) -> tuple[list[Pictures | Table], list[Pairs], dict[str, str]]:
    """Return all that was found suspicious: examples by themselves, pairs, and the anchor of each finding that has some.

    >>> from whet.data.bundled import digits
    >>> exhibits(Gallery.of(digits()), Look())
    ([], [], {})
    """
    near = pairs(gallery, look, most=most)
    paired = {b.name for b in near}
    odd = suspects(gallery, [e for e in look.examples if anchor(e.code) not in paired], most=most)
    names = paired | {b.name for b in odd}
    return odd, near, {f.code: anchor(f.code) for f in look.findings if anchor(f.code) in names}


def pairs(gallery: Gallery, look: Look, *, most: int | None = None) -> list[Pairs]:
    """Return the pairs of every finding on duplicates side by side, those whose targets differ first; most: how many of each.

    >>> from whet.data.bundled import digits
    >>> same = Finding("DUPLICATE", "INFO", "train", {"pairs": [["train", 0, "train", 1]]})
    >>> data = digits(); data.train.ids[:2] = [0, 1]
    >>> pairs(Gallery.of(data), Look(findings=(same,)))[0].items[0].second.name
    'train 1'
    """
    reasons = {(e.code, e.split, e.id): e.reason for e in look.examples}
    blocks = []
    for f in look.findings:
        given = [p for p in f.evidence.get("pairs", ()) if len(p) in (4, 5) and {p[0], p[2]} <= {"train", "valid"}]
        items = [i for i in (_pair(gallery, f, p, reasons) for p in given) if i is not None]
        if not items:
            continue
        items.sort(key=lambda i: not i.differ)
        equal = "Equal to the last bit" if gallery.pictured else "Equal in all that is learned from"
        title = {"DUPLICATE": equal, "NEAR-DUPLICATE": "Nearly the same"}.get(f.code, clean(f.code))
        room = most or (_PAIRS if gallery.pictured else _PAIRS // 2)
        note = f"Shown: {room} of the first {len(items):,} pairs." if len(items) > room else ""
        blocks.append(Pairs(title, tuple(items[:room]), note, anchor(f.code)))
    return blocks


def _pair(gallery: Gallery, f: Finding, p: Sequence[Any], reasons: dict[tuple[str, str, int], str]) -> Pair | None:
    shown = []
    for split, id in ((p[0], p[1]), (p[2], p[3])):
        row = gallery.find(split, id)
        if row is None:
            return None
        shown.append(gallery.shown(row))
    reason = reasons.get((f.code, p[2], int(p[3])), "") if f.code != "DUPLICATE" else ""  # copies are not apart
    distance = reason.rpartition("), ")[2] if reason else ""  # what comes before it names the other one
    return Pair(shown[0], shown[1], f"Apart by {distance}." if distance else "")


def sheets(gallery: Gallery, v: View, groups: Sequence[Group], examples: Iterable[Example]) -> list[Block]:
    """Return one block a group: its typical, extreme and suspicious examples, as strips of pictures or rows of a table.

    >>> from whet.data.bundled import digits
    >>> from whet.data.seen.typical import groups
    >>> from whet.data.seen.view import view
    >>> data = digits(); v = view(data)
    >>> [name for name, _ in sheets(Gallery.of(data), v, groups(v), ())[0].strips]
    ['typical', 'farthest']
    """
    found = list(examples)
    blocks: list[Block] = []
    for g in groups:
        strips = {
            "typical": [(i, "") for i in g.typical],
            "farthest": [(i, "") for i in g.far],
            "at an end": list(g.ends),
        }
        rows = {
            n: [(gallery.row(v.name(i)[0], int(v.index[i])), what) for i, what in some] for n, some in strips.items()
        }
        mine = [e for e in _once(found) if v.classes is not None and e.label == g.name][: max(4, len(g.typical))]
        rows["suspicious"] = [(gallery.row(e.split, e.index), _brief(e)) for e in mine]
        title = f"{shorten(g.name, 60)}: {g.n:,} example{'s' if g.n > 1 else ''}"
        if gallery.pictured:
            blocks.append(Sheet(title, tuple((n, _strip(gallery, some)) for n, some in rows.items() if some)))
        elif gallery.columns:
            what = [w if n == "at an end" else f"{n}: {w}" if w else n for n, some in rows.items() for _, w in some]
            at = [row for some in rows.values() for row, _ in some]
            chosen = gallery.chosen(_NARROW)
            blocks.append(gallery.table(at, title, first={"what": what}, columns=chosen, folded=len(groups) > 4))
    return blocks


def _brief(e: Example) -> str:
    """Return a reason as far as it fits below a picture; tables have the whole of it."""
    return shorten(e.reason.split(", ")[0], 60)


def _strip(gallery: Gallery, some: Sequence[tuple[int, str]]) -> tuple[tuple[Any, str], ...]:
    items = []
    for row, what in some:
        picture = gallery.picture(row)
        if picture is not None:
            items.append((picture, gallery.name(row) + (f", {shorten(what, 60)}" if what else "")))
    return tuple(items)
