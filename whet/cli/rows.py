"""Examples on the terminal: a table of those that pass a filter, and each one whole."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from whet.cli.screen import Screen, emit_json

if TYPE_CHECKING:
    import pandas as pd

    from whet.data.look import Look
    from whet.data.split import Data

__all__ = ["Asked", "show_rows"]

ROWS = 20  # of a table on the screen
WHOLE = 20  # examples shown whole
CELL = 28  # characters of a text in a table
OURS = ("split", "id", "index", "label", "missing", "suspect", "reason")


@dataclass(frozen=True)
class Asked:
    """Which examples, in which order, and how: the words of --show, --where, --sort and --columns."""

    show: str | None = None
    where: str | None = None
    sort: str | None = None
    columns: str | None = None

    @property
    def any(self) -> bool:
        """Whether anything was asked."""
        return any(v is not None for v in (self.show, self.where, self.sort, self.columns))


def show_rows(data: Data, asked: Asked, *, again: str, json: bool) -> None:
    """Print the examples asked for; again: the words that name the task, for commands to go on with.

    Raises WhetError leaves for ids, filters and columns that are none.
    """
    from whet.data.look import look
    from whet.data.seen.query import choose, names_in
    from whet.data.seen.rows import rows

    table = rows(data)
    names = names_in(asked.where, list(table.columns)) if asked.where is not None else set()
    names |= {(asked.sort or "").removeprefix("-"), *(w.strip() for w in (asked.columns or "").split(","))}
    chosen = _chosen(data, table, asked) if not names & {"suspect", "reason"} else None
    found = None
    if asked.show is not None or chosen is None:  # what is suspicious takes a closer look, seconds instead of none
        found = look(data)
        table = rows(data, found.examples)
        chosen = chosen if chosen is not None else _chosen(data, table, asked)
    if json:
        emit_json(_json(table, chosen, asked, found))
        return
    screen = Screen()
    if asked.show is None or asked.where is not None:
        screen.block("rows", _counted(table, chosen, data.kind == "classification"))
    if asked.show is None:
        _table(screen, table, chosen, asked, again, data)
    else:
        own = choose(asked.columns, list(table.columns)) if asked.columns is not None else None
        for at in chosen[:WHOLE]:
            screen.block(str(table["split"][at]), _card(data, table, at, own), drawn=True)
        if len(chosen) > WHOLE:
            screen.block(
                "more", [f"{len(chosen) - WHOLE:,} are not shown: narrow it with --where, or see all with --json"]
            )


def _chosen(data: Data, table: pd.DataFrame, asked: Asked) -> list[int]:
    """Return the positions of the rows asked for, in the order asked for."""
    from whet.data.seen.pick import pick
    from whet.data.seen.query import choose, order, where
    from whet.errors import UsageError

    if asked.columns is not None:
        choose(asked.columns, list(table.columns))
    at = list(range(len(table)))
    if asked.show is not None and asked.show.strip() != "all":
        picked = pick(data, asked.show, what="--show")
        if picked.absent:
            ids = table["id"]
            raise UsageError(
                f"--show {picked.absent[0]}: no visible example has this id, of {int(ids.min())} to {int(ids.max())}; "
                "the test split stays sealed. Use ids that `whet look` prints, or all."
            )
        at = list(picked.at)
    if asked.where is not None:
        passes = where(table, asked.where)
        at = [i for i in at if passes[i]]
    if asked.sort is not None:
        rank = {int(i): r for r, i in enumerate(order(table, asked.sort))}
        at.sort(key=rank.__getitem__)
    return at


def _counted(table: pd.DataFrame, chosen: Sequence[int], classes: bool) -> list[str]:
    """Return how many rows there are, by split and class."""
    import textwrap

    from whet.data.seen.sketch import clean_text
    from whet.recipe.block import WIDTH

    some = table.iloc[list(chosen)]
    splits = ", ".join(f"{s} {int((some['split'] == s).sum()):,}" for s in ("train", "valid"))
    text = f"{len(some):,} of {len(table):,}: {splits}"
    if len(some) and classes:
        counts = some["label"].value_counts(sort=True)
        shown = [f"{clean_text(label)[:CELL]} {n:,}" for label, n in list(counts.items())[:6]]
        text += "; label " + ", ".join(shown) + (", ..." if len(counts) > 6 else "")
    return textwrap.wrap(text, WIDTH, subsequent_indent="  ")


def _table(screen: Screen, table: pd.DataFrame, chosen: Sequence[int], asked: Asked, again: str, data: Data) -> None:
    from whet.data.seen.pick import ids_meet, spell
    from whet.data.seen.query import choose, names_in
    from whet.recipe.block import WIDTH

    if not chosen:
        screen.block("", ["none"])
        return
    names = choose(asked.columns, list(table.columns)) if asked.columns else None
    if names is None:
        first = names_in(asked.where, list(table.columns)) if asked.where else set()
        by = asked.sort or ""
        first |= {by if by in table.columns else by.removeprefix("-")}
        names = _wanted(table, first, (data.meta.get("target") or {}).get("name"))
    lines, left = fit(table.iloc[list(chosen[:ROWS])], names, WIDTH)
    screen.block("", lines)
    more = (
        [f"{len(chosen) - ROWS:,} more rows: --sort, another --where, or --json for all"] if len(chosen) > ROWS else []
    )
    if left:
        text = f"{len(left)} more column{'s' if len(left) > 1 else ''} (--columns): {', '.join(left)}"
        more.append(text if len(text) <= WIDTH else text[: WIDTH - 5].rpartition(",")[0] + ", ...")
    screen.block("", more)
    meet = ids_meet(data)
    ids = [spell(str(table["split"][i]), int(table["id"][i]), meet) for i in chosen[:6]]
    screen.block("next", [f"whet look {again} --show {','.join(dict.fromkeys(ids))}"])


def _wanted(table: pd.DataFrame, first: set[str], target: str | None) -> list[str]:
    """Return the columns worth showing, those that were asked about first; index and what says nothing are left out."""
    names = ["split", "id", "label", *(c for c in table.columns if c in first)]
    for name in table.columns:
        empty = name in ("suspect", "reason") and not (table[name] != "").any()
        if name not in ("index", target) and not empty and not (name == "missing" and not table[name].any()):
            names.append(str(name))
    return list(dict.fromkeys(names))


def fit(some: pd.DataFrame, names: Sequence[str], width: int) -> tuple[list[str], list[str]]:
    """Return rows as the lines of a table at most `width` wide, and the columns that did not fit; the first always does.

    >>> import pandas as pd
    >>> fit(pd.DataFrame({"id": [7, 12], "name": ["Ann", "Bo"]}), ["id", "name"], 12)
    (['id  name', ' 7  Ann', '12  Bo'], [])
    """
    import pandas as pd
    from rich.cells import cell_len, set_cell_size

    from whet.data.seen.sketch import clean_text

    shown: list[list[str]] = []
    left: list[str] = []
    used = 0
    for name in names:
        column = some[name]
        number = pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)
        cells = [clean_text(v) for v in (name, *column)]
        size = min(max(map(cell_len, cells)), CELL if shown else width)
        if shown and used + 2 + size > width:
            left.append(name)
            continue
        used += size + (2 if shown else 0)
        cells = [c if cell_len(c) <= size else set_cell_size(c, size - 3) + "..." for c in cells]
        shown.append([" " * (size - cell_len(c)) + c if number else set_cell_size(c, size) for c in cells])
    return ["  ".join(row).rstrip() for row in zip(*shown, strict=True)], left


def _card(data: Data, table: pd.DataFrame, at: int, names: Sequence[str] | None = None) -> list[str]:
    """Return an example whole: its label, what was found about it, its fields, and its picture or inputs; or the fields `names`."""
    import textwrap

    from whet.data.seen.sketch import clean_text, described, fields, picture_of
    from whet.recipe.block import WIDTH

    row = {str(k): v for k, v in table.iloc[at].items()}
    split, index = str(row["split"]), int(row["index"])
    found: list[str] = []
    codes, reasons = str(row["suspect"]), str(row["reason"])
    if codes:
        found = textwrap.wrap(f"{codes}: {clean_text(reasons)}", WIDTH, subsequent_indent="  ")
    target = (data.meta.get("target") or {}).get("name")
    own = {k: v for k, v in row.items() if k not in (*OURS, target)}
    if names is not None:
        own, found = {name: row[name] for name in names}, []
    lines = textwrap.wrap(f"{row['id']}  label {clean_text(row['label'])}", WIDTH) + found
    picture = picture_of(data, split, index)
    if picture is not None:
        facts = ", ".join(f"{k} {clean_text(v)}" for k, v in own.items())
        return [*lines, *textwrap.wrap(facts, WIDTH), *_drawn(picture)]
    return lines + (
        fields(own, width=WIDTH)
        if split in data.raw or names is not None
        else [*fields(own, width=WIDTH), *described(data, split, index)]
    )


def _drawn(picture: Any) -> list[str]:
    """Return a picture as lines: in its colours where the terminal has them, else in blocks, else in letters."""
    from rich.console import Console

    from whet.data.seen.sketch import halves, shades

    console = Console(file=sys.stdout, highlight=False, width=200)
    if console.color_system is None or console.no_color or not sys.stdout.isatty() or os.environ.get("TERM") == "dumb":
        try:
            "░▒▓█".encode(sys.stdout.encoding or "ascii")
        except (UnicodeEncodeError, LookupError):
            return shades(picture, blocks=False)
        return shades(picture)
    return list(_coloured(console, halves(picture)))


def _coloured(console: Any, cells: Any) -> Iterator[str]:
    """Yield the lines of `cells` (lines, columns, 2, 3) as half blocks with the terminal's own codes for colours."""
    from rich.color import Color
    from rich.style import Style
    from rich.text import Text

    for row in cells.tolist():
        line = Text()
        for upper, lower in row:
            line.append("▀", Style(color=Color.from_rgb(*upper), bgcolor=Color.from_rgb(*lower)))
        with console.capture() as captured:
            console.print(line, end="", soft_wrap=True)
        yield captured.get()


def _json(table: pd.DataFrame, chosen: Sequence[int], asked: Asked, found: Look | None) -> Mapping[str, Any]:
    from whet.data.seen.query import choose

    names = choose(asked.columns, list(table.columns)) if asked.columns else list(table.columns)
    some = table.iloc[list(chosen)]
    if found is None:  # nobody looked
        names = [n for n in names if n not in ("suspect", "reason")]
    return {
        "where": asked.where, "sort": asked.sort, "show": asked.show, "total": len(table), "n": len(some),
        "splits": {s: int((some["split"] == s).sum()) for s in ("train", "valid")},
        "rows": [{n: _value(v) for n, v in zip(names, row, strict=True)} for row in some[names].itertuples(index=False)],
    }  # fmt: skip


def _value(value: Any) -> Any:
    """Return a cell as JSON: null for what is missing, text for dates and the like."""
    if value is None or value != value or str(value) in ("NaT", "<NA>"):
        return None
    if isinstance(value, (str, bool, int, float)):
        return value
    value = value.item() if hasattr(value, "item") else value
    return value if isinstance(value, (str, bool, int, float)) else str(value)
