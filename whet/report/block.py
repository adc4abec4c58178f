"""What a report is made of: values that say what is shown, not how; text, JSON and HTML are made from the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from whet.finding import Finding
from whet.report.beside import Pairs, Sheet
from whet.report.quantity import clean, plain, shorten

__all__ = ["Block", "Code", "Facts", "Findings", "Headline", "Pictures", "Plot", "Prose", "Section", "Table", "label"]


def label(text: object, most: int = 24) -> str:
    """Return `text` fit to stand inside a plot: one line, cut, and inert where Plotly reads a subset of HTML.

    >>> label("<b>x</b>"), label("a" * 30, 8)
    ('&lt;b&gt;x&lt;/b&gt;', 'aaaaa...')
    """
    return shorten(text, most).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


@dataclass(frozen=True)
class Prose:
    """A paragraph.

    >>> Prose("Nothing was found.").json()
    {'kind': 'prose', 'text': 'Nothing was found.'}
    """

    text: str

    def json(self) -> dict[str, Any]:
        """Return the block as JSON values."""
        return {"kind": "prose", "text": self.text}


@dataclass(frozen=True)
class Headline:
    """The few numbers that matter, each as (what it is, its value, a remark).

    >>> Headline((("test accuracy", 0.97, "270 examples"),)).json()["items"]
    [{'name': 'test accuracy', 'value': 0.97, 'remark': '270 examples'}]
    """

    items: tuple[tuple[str, Any, str], ...]

    def json(self) -> dict[str, Any]:
        """Return the block as JSON values."""
        return {"kind": "headline", "items": [{"name": n, "value": plain(v), "remark": r} for n, v, r in self.items]}


@dataclass(frozen=True)
class Facts:
    """Names and values, one a line; values as `whet.report.quantity.show` takes them.

    >>> Facts({"examples": 1797}).json()
    {'kind': 'facts', 'title': '', 'values': {'examples': 1797}}
    """

    values: Mapping[str, Any]
    title: str = ""

    def json(self) -> dict[str, Any]:
        """Return the block as JSON values."""
        return {"kind": "facts", "title": self.title, "values": plain(self.values)}


@dataclass(frozen=True)
class Table:
    """Rows of raw values under named columns.

    title: what it shows; folded: closed until asked for; note: one line below, e.g. what was left out; trials: its first
    column holds trial ids and its cells are what plots show on hover; sortable: a click on a heading sorts the page's
    table, a box filters it; pictures: one a row, uint8 or None, for the page alone; name: an anchor within the page;
    widths of text are the renderer's business.

    >>> Table(("trial", "accuracy"), ((3, 0.98),)).json()["rows"]
    [[3, 0.98]]
    """

    columns: tuple[str, ...]
    rows: Sequence[Sequence[Any]]
    title: str = ""
    folded: bool = False
    note: str = ""
    trials: bool = False
    sortable: bool = False
    pictures: Sequence[np.ndarray | None] = field(default=(), repr=False)
    name: str = ""

    def json(self) -> dict[str, Any]:
        """Return the block as JSON values."""
        rows = [plain(list(row)) for row in self.rows]
        return {"kind": "table", "title": self.title, "columns": list(self.columns), "rows": rows, "note": self.note}


@dataclass(frozen=True)
class Plot:
    """A figure with the finding it shows as its title, and the numbers behind it as a table.

    figure: {"data": [...], "layout": {...}} as Plotly reads it; a colour "@name" is one of `whet.report.palette`;
    a trace's `meta`
    (one trial id) or `customdata` (one a point) is turned into hover texts from the table of trials. height: pixels; square: as
    high as wide; half: two beside each other where there is room; note: how to read it, where that is not plain; hint: what one can do with it on the page; isolate: a click
    on a trace dims the others.

    >>> Plot("it rises", {"data": [], "layout": {}}, Table(("x",), ((1,),))).json()["title"]
    'it rises'
    """

    title: str
    figure: Mapping[str, Any]
    table: Table
    height: int = 340
    square: bool = False
    half: bool = False
    note: str = ""
    hint: str = ""
    isolate: bool = False

    def json(self) -> dict[str, Any]:
        """Return the block as JSON values: the numbers, without the drawing."""
        return {"kind": "plot", "title": self.title, "note": self.note, "table": self.table.json()}


@dataclass(frozen=True)
class Findings:
    """What was found wrong or worth knowing; links: code -> the anchor, within the page, of what it is about.

    >>> Findings((Finding("DUP", "WARN", "train"),), "Found").json()["findings"][0]["code"]
    'DUP'
    """

    findings: tuple[Finding, ...]
    title: str = ""
    links: Mapping[str, str] = field(default_factory=dict)

    def json(self) -> dict[str, Any]:
        """Return the block as JSON values."""
        return {"kind": "findings", "title": self.title, "findings": [plain(f.json()) for f in self.findings]}


@dataclass(frozen=True)
class Pictures:
    """Pictures as uint8 arrays (H, W) or (H, W, 3), each with a caption; name: an anchor within the page.

    >>> Pictures("digits", ((np.zeros((8, 8), np.uint8), "a zero"),)).json()["items"]
    [{'caption': 'a zero', 'shape': [8, 8]}]
    """

    title: str
    items: tuple[tuple[np.ndarray, str], ...]
    note: str = ""
    name: str = ""

    def json(self) -> dict[str, Any]:
        """Return the block as JSON values: captions and sizes, without the pixels."""
        items = [{"caption": clean(c), "shape": list(np.shape(a))} for a, c in self.items]
        return {"kind": "pictures", "title": self.title, "items": items, "note": self.note}


@dataclass(frozen=True)
class Code:
    """Text to copy as it is: a command, a configuration, a traceback.

    >>> Code("whet run digits").json()["text"]
    'whet run digits'
    """

    text: str
    title: str = ""
    folded: bool = False

    def json(self) -> dict[str, Any]:
        """Return the block as JSON values."""
        return {"kind": "code", "title": self.title, "text": self.text}


Block = Prose | Headline | Facts | Findings | Table | Plot | Pictures | Pairs | Sheet | Code


@dataclass(frozen=True)
class Section:
    """One part of a report.

    name: short, unique, letters and dashes (it becomes the anchor); sentence: the part in one sentence.

    >>> Section("answer", "The answer", "It is 42.").json()["sentence"]
    'It is 42.'
    """

    name: str
    title: str
    sentence: str = ""
    blocks: tuple[Block, ...] = field(default=())

    def json(self) -> dict[str, Any]:
        """Return the section as JSON values."""
        blocks = [b.json() for b in self.blocks]
        return {"name": self.name, "title": self.title, "sentence": self.sentence, "blocks": blocks}
