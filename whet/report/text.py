"""A report as plain text for a terminal: 80 columns, the answer first, no colour, nothing drawn."""

from __future__ import annotations

import textwrap
import unicodedata
from collections.abc import Sequence

from whet.finding import Finding
from whet.report.beside import Pairs, Sheet
from whet.report.block import Block, Code, Facts, Findings, Headline, Pictures, Plot, Prose, Section, Table
from whet.report.quantity import clean, count, point, show, show_column

__all__ = ["render"]

WIDTH = 80
_ROWS = 12  # of a table; the page and the JSON have them all
_BEHIND = 6  # of a table behind a plot


def wide(text: str) -> int:
    """Return how many terminal columns `text` takes: two for East Asian wide characters, none for combining ones.

    >>> wide("abc"), wide("\\u65e5\\u672c")
    (3, 4)
    """
    if text.isascii():
        return len(text)
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def cut(text: str, most: int) -> str:
    """Return `text` in at most `most` columns.

    >>> cut("abcdefgh", 6)
    'abc...'
    """
    if wide(text) <= most:
        return text
    dots = "..." if most > 3 else ""
    kept = ""
    for c in text:
        if wide(kept + c) + len(dots) > most:
            break
        kept += c
    return kept + dots


def fill(text: str, indent: int = 0) -> list[str]:
    """Return a paragraph as lines of at most 80 columns."""
    pad = " " * indent
    lines = textwrap.wrap(clean(text), WIDTH - indent, break_on_hyphens=False)
    return [pad + cut(line, WIDTH - indent) for line in lines]


def _facts(names: Sequence[str], values: Sequence[str]) -> list[str]:
    room = min(28, max((wide(clean(n)) for n in names), default=0))
    lines = []
    for name, value in zip(names, values, strict=True):
        first = cut(clean(name), room)
        wrapped = textwrap.wrap(clean(value), WIDTH - room - 4, break_on_hyphens=False) or [""]
        for i, line in enumerate(wrapped):
            head = first + " " * (room - wide(first)) if i == 0 else " " * room
            lines.append(f"  {head}  {cut(line, WIDTH - room - 4)}".rstrip())
    return lines


def _table(table: Table, behind: bool = False) -> list[str]:
    """Columns that do not fit are left out from the right, and said to be.

    Behind a plot rows are taken evenly from first to last, so that they tell what the plot does.
    """
    shown, most = list(table.rows), _BEHIND if behind else _ROWS
    if len(shown) > most:
        shown = [shown[round(k * (len(shown) - 1) / (most - 1))] for k in range(most)] if behind else shown[:most]
    columns = [show_column([row[i] for row in shown]) for i in range(len(table.columns))]
    right = [not any(isinstance(row[i], str) for row in shown) for i in range(len(table.columns))]
    cells: list[list[str]] = []
    used, kept = 2, 0
    for name, column in zip(table.columns, columns, strict=True):
        most = max([wide(clean(name)), *(wide(c) for c in column)])
        left = WIDTH - used
        if most > left and left < 20:
            break
        room = min(most, left, 44 if kept + 1 < len(columns) else left)
        texts = [cut(clean(name), room), *(cut(c, room) for c in column)]
        pad = [" " * (room - wide(t)) for t in texts]
        cells.append([p + t if right[kept] else t + p for t, p in zip(texts, pad, strict=True)])
        used += room + 2
        kept += 1
    lines = ["  " + "  ".join(row).rstrip() for row in zip(*cells, strict=True)]
    missing = []
    if kept < len(table.columns):
        missing.append(count(len(table.columns) - kept, "more column"))
    if len(shown) < len(table.rows):
        missing.append(count(len(table.rows) - len(shown), "more row"))
    if missing:
        lines.append(f"  ... {' and '.join(missing)}")
    return lines + (fill(table.note, 2) if table.note else [])


def _finding(f: Finding) -> list[str]:
    lines = fill(f"{f.severity.value} {f.code}  {f.where}: {f.message}", 2)
    return lines + (fill(f"Fix: {f.fix}", 7) if f.fix else [])


def _pairs(pairs: Pairs) -> list[str]:
    lines = []
    for p in pairs.items[:_ROWS]:
        what = f"'{p.first.label}' and '{p.second.label}'" if p.differ else f"both '{p.first.label}'"
        lines += fill(f"{p.first.name} and {p.second.name}: {what}{', ' + p.remark if p.remark else ''}", 2)
    if len(pairs.items) > _ROWS:
        lines.append(f"  ... {count(len(pairs.items) - _ROWS, 'more pair')}")
    return lines + (fill(pairs.note, 2) if pairs.note else [])


def _sheet(sheet: Sheet) -> list[str]:
    lines = []
    for name, items in sheet.strips:
        lines += fill(f"{name}: " + ", ".join(c for _, c in items[:_ROWS]), 2)
    return lines + (fill(sheet.note, 2) if sheet.note else [])


def _code(code: Code) -> list[str]:
    lines = ["".join(c if c.isprintable() else " " for c in line) for line in code.text.splitlines()]
    if code.folded:
        lines = lines[-_ROWS:]
    # A command must be copied whole, so code is the one thing that may be wider than the page.
    return ["  " + (cut(line, WIDTH - 2) if code.folded else line) for line in lines]


def block(value: Block) -> list[str]:
    """Return one block as lines."""
    match value:
        case Prose():
            return fill(value.text)
        case Headline():
            texts = [point(v) + (f" ({r})" if r else "") for _, v, r in value.items]
            return _facts([n for n, _, _ in value.items], texts)
        case Facts():
            lines = _facts(list(value.values), [show(v) for v in value.values.values()])
        case Table():
            lines = _table(value)
        case Plot():
            lines = _table(value.table, behind=True) + (fill(value.note, 2) if value.note else [])
        case Findings():
            lines = [line for f in value.findings for line in _finding(f)]
        case Pictures():
            lines = fill(f"{len(value.items)} pictures: " + "; ".join(c for _, c in value.items[:_ROWS]), 2)
        case Pairs():
            lines = _pairs(value)
        case Sheet():
            lines = _sheet(value)
        case Code():
            lines = _code(value)
    return (fill(value.title) if value.title else []) + lines


def render(title: str, subtitle: str, sections: Sequence[Section]) -> str:
    """Return a report as text that ends in a newline.

    >>> render("digits", "", [])
    'digits\\n======\\n'
    """
    head = cut(clean(title), WIDTH)
    lines = [head, "=" * wide(head), *fill(subtitle), ""]
    for section in sections:
        lines += [section.title, "-" * wide(section.title), *fill(section.sentence)]
        for b in section.blocks:
            lines += ["", *block(b)]
        lines.append("")
    return "\n".join(lines)
