"""What could be done about findings: lines of code on the steps of `whet.data.clean`, proposed and never applied here."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from whet.data.clean import examples_in
from whet.data.duplicates import Copies, copies
from whet.data.look import Look
from whet.data.narrow import columns_of
from whet.data.seen.outcome import Example
from whet.data.seen.outliers import BLANK
from whet.data.seen.pick import spell
from whet.data.seen.rows import rows
from whet.data.seen.view import label_of
from whet.data.split import Data
from whet.finding import Finding, Severity

__all__ = ["Proposal", "proposals", "quoted"]

_ORDER = ("BLANK", "OUTLIER", "LABEL", "LEAK", "COUNTER", "REDUNDANT", "NEAR-CONSTANT", "NEAR-DUPLICATE", "DUPLICATE")


@dataclass(frozen=True)
class Proposal:
    """A step that would clean the data.

    code: the finding it is about; step: a function of `whet.data.clean`; items: what it is done to, each as Python with a remark
    ("" for none); live: applied when asked, else written down for a person to go through first; options: the step's keyword
    arguments, as Python; left: items that were found and are not listed.

    >>> Proposal("LEAK", "drop_columns", (('"ticket"', ""),), options={"why": '"known too late"'}).text()
    'data = clean.drop_columns(data, ["ticket"], why="known too late")'
    """

    code: str
    step: str
    items: tuple[tuple[str, str], ...] = ()
    live: bool = True
    options: dict[str, str] = field(default_factory=dict)
    left: int = 0

    def text(self, most: int = 1000) -> str:
        """Return the step as one line of Python, with at most so many items written out."""
        names = [literal for literal, _ in self.items[:most]] + (["..."] if len(self.items) > most else [])
        open_, close = "{}" if self.step == "relabel" else "[]"
        given = [f"{open_}{', '.join(names)}{close}"] if self.items else []
        return (
            f"data = clean.{self.step}({', '.join(['data', *given, *(f'{k}={v}' for k, v in self.options.items())])})"
        )

    def json(self) -> dict[str, Any]:
        """Return the proposal as JSON values."""
        return {"code": self.code, "step": self.step, "live": self.live, "n": len(self.items), "left": self.left,
                "text": self.text()}  # fmt: skip


def quoted(text: str) -> str:
    """Return a text as Python, in double quotes.

    >>> quoted('an "odd" name')
    '"an \\\\"odd\\\\" name"'
    """
    return json.dumps(text, ensure_ascii=False)


def proposals(data: Data, look: Look) -> list[Proposal]:
    """Return what the findings of `look` propose, in the order to do it.

    Live: exact duplicates, blank pictures, and columns that give the target away or number the rows, where they are warnings. To be
    gone through first: doubtful labels, outliers, near and contradicting duplicates, redundant and nearly constant columns,
    and the former where they may well be right (INFO).

    >>> import pandas as pd
    >>> from whet.data.look import look
    >>> from whet.data.table import table
    >>> frame = pd.DataFrame({"x": [0.1 * (i % 37) for i in range(99)], "late": [i % 2 for i in range(99)], "y": ["a", "b", "a"] * 33})
    >>> frame["late"] = frame.y == "a"
    >>> data = table(frame, "y")
    >>> [p.text() for p in proposals(data, look(data)) if p.code == "LEAK"]
    ['data = clean.drop_columns(data, ["late"], why="gives the target away")']
    """
    found: list[Proposal] = []
    for finding in look.findings:
        make = _MAKERS.get(finding.code)
        if make is not None:
            found += make(data, look, finding)
    blank = {literal for p in found if p.code == "BLANK" and p.live for literal, _ in p.items}  # gone by then
    found = [p if p.code == "BLANK" else _less(p, blank) for p in _joined(found)]
    kept = [p for p in found if p.items or p.step == "drop_duplicates"]
    return sorted(kept, key=lambda p: (_ORDER.index(p.code), not p.live))


def _less(p: Proposal, gone: set[str]) -> Proposal:
    """Return the proposal with the examples in `gone` left out, and each other one once, its remarks together."""
    items: dict[str, str] = {}
    for literal, remark in p.items:
        if literal.partition(": (")[0] not in gone:
            items[literal] = f"{items[literal]}, {remark}" if items.get(literal) else remark
    return replace(p, items=tuple(items.items()))


def _joined(found: Iterable[Proposal]) -> list[Proposal]:
    """Return proposals with those of one step and reason as one."""
    out: dict[tuple[Any, ...], Proposal] = {}
    for p in found:
        key = (p.code, p.step, p.live, *sorted(p.options.items()))
        if key in out and p.items:
            items = tuple(dict.fromkeys((*out[key].items, *p.items)))
            out[key] = replace(p, items=items, left=out[key].left + p.left)
        else:
            out[key] = p
    return list(out.values())


def _ids(data: Data, why: str) -> dict[str, str]:
    """Return the options of a step on ids; that they are of so many examples is checked, unless pictures that cannot be read vary it."""
    stable = not any(getattr(f, "code", "") == "UNREADABLE" for f in data.findings)
    return {"why": quoted(why)} | ({"of": str(examples_in(data))} if stable else {})


def _id(split: str, id: int, look: Look) -> str:
    word = spell(split, id, bool(look.facts.get("ids_meet")))
    return word if word.isdigit() else quoted(word)


def _examples(look: Look, finding: Finding) -> list[Example]:
    return [e for e in look.examples if e.code == finding.code]


def _blank(data: Data, look: Look, finding: Finding) -> list[Proposal]:
    table = rows(data)
    if "contrast" not in table:
        return []
    dark = table[table["contrast"] < BLANK]
    items = tuple((_id(s, int(i), look), "") for s, i in zip(dark["split"], dark["id"], strict=True))
    live = finding.severity is Severity.WARN
    return [Proposal("BLANK", "drop", items, live, _ids(data, "shows nothing"))] if items else []


def _outlier(data: Data, look: Look, finding: Finding) -> list[Proposal]:
    if "series" in data.meta:
        return _values(data, finding)
    own = _examples(look, finding)
    items = tuple((_id(e.split, e.id, look), e.reason) for e in own)
    left = max(0, sum(finding.evidence.get("axes", {}).values()) - len(own))
    return [Proposal("OUTLIER", "drop", items, False, _ids(data, "looked at: no example of its kind"), left)]


def _values(data: Data, finding: Finding) -> list[Proposal]:
    """Return the blanking of single values of a series: a row taken out would stay in the inputs of those after it."""
    e, target = finding.evidence, data.meta["series"]["target"]
    items = tuple((str(i), f"{v:.6g} at {t}") for i, v, t in zip(e["ids"], e["values"], e["times"], strict=True))
    column = {} if finding.where == target else {"column": quoted(finding.where)}
    left = max(0, int(e["count"]) - len(items))
    return [Proposal("OUTLIER", "blank", items, False, column | _ids(data, "looked at: no value of its kind"), left)]


def _label(data: Data, look: Look, finding: Finding) -> list[Proposal]:
    first = finding.evidence.get("first", [])
    items = tuple((f"{_id(s, i, look)}: ({quoted(old)}, {quoted(new)})", "") for s, i, old, new, _ in first)
    left = max(0, int(finding.evidence.get("suspects", len(first))) - len(first))
    return [Proposal("LABEL", "relabel", items, False, _ids(data, "looked at"), left)]


def _columns(why: str) -> Callable[[Data, Look, Finding], list[Proposal]]:
    def make(data: Data, look: Look, finding: Finding) -> list[Proposal]:
        known = columns_of(data)
        e = finding.evidence
        if finding.code == "REDUNDANT":
            named = [(pair[1], f"says what `{pair[0]}` says") for pair in e.get("pairs", ())]
        elif finding.code == "NEAR-CONSTANT":
            named = [(name, f"{share:.1%} one value") for name, share in e.items()]
        else:
            named = [(finding.where, "")]
        items = []
        for name, remark in named:
            # What was looked at may be a part of a column: the month of a date, or whether it is missing.
            whole = next((c for c in known if name == c or name.startswith(f"{c} ")), None)
            if whole is not None:
                items.append((quoted(whole), remark))
        live = finding.severity is Severity.WARN
        return [Proposal(finding.code, "drop_columns", tuple(items), live, {"why": quoted(why)})] if items else []

    return make


def _near(data: Data, look: Look, finding: Finding) -> list[Proposal]:
    """Return the training side of each pair across the splits."""
    items = []
    pairs = finding.evidence.get("pairs", [])
    for s, i, t, j, *_ in pairs:
        if s != t:
            (id, other) = (i, j) if s == "train" else (j, i)
            items.append((_id("train", id, look), f"nearly valid {other}"))
    left = max(0, int(finding.evidence.get("pairs_n", len(pairs))) - len(pairs))
    return [Proposal("NEAR-DUPLICATE", "drop", tuple(dict.fromkeys(items)), False, _ids(data, "nearly a validation example"), left)] if items else []  # fmt: skip


def _duplicate(data: Data, look: Look, finding: Finding) -> list[Proposal]:
    """Return the dropping of copies, and of what contradicts itself; rows of a table are copies when the whole row is."""
    live, options = finding.severity is Severity.WARN, {}
    found = copies(data)
    if "encoding" in data.meta and data.raw:
        whole = copies(data, by="source")
        if whole.spare:
            found, options = whole, {"by": quoted("source")}
        else:
            live, options = False, {"why": quoted("the model cannot tell them apart")}
    out = [Proposal("DUPLICATE", "drop_duplicates", (), live, options)] if found.spare else []
    return out + _contradicting(data, look, found)


def _contradicting(data: Data, look: Look, found: Copies) -> list[Proposal]:
    n, items = len(data.train), []
    for at in found.differ[:200]:
        split, i = ("train", at) if at < n else ("valid", at - n)
        id = int((data.train if split == "train" else data.valid).ids[i])
        items.append((_id(split, id, look), f"'{label_of(data, split, i)}'"))
    left = max(0, len(found.differ) - 200)
    options = _ids(data, "equal inputs, different targets")
    return [Proposal("DUPLICATE", "drop", tuple(items), False, options, left)] if items else []


_MAKERS: dict[str, Callable[[Data, Look, Finding], list[Proposal]]] = {
    "BLANK": _blank, "OUTLIER": _outlier, "LABEL": _label, "DUPLICATE": _duplicate, "NEAR-DUPLICATE": _near,
    "LEAK": _columns("gives the target away"), "COUNTER": _columns("numbers the rows"),
    "REDUNDANT": _columns("says what another says"), "NEAR-CONSTANT": _columns("nearly constant"),
}  # fmt: skip
