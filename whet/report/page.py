"""A report as one HTML page: Plotly's script inlined once, the numbers once, no network, nothing a user's text can run.

What a user named (columns, classes, trials' errors) is escaped by Jinja2 in the page, as \\u003c inside the embedded
JSON, and by `whet.report.block.label` inside plots. A content security policy that names the page's own two scripts by
their hashes backs this up: nothing else runs and nothing is fetched.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import json
import math
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

from whet.errors import MissingExtra
from whet.report.block import Plot, Section, Table
from whet.report.palette import DARK, LIGHT
from whet.report.picture import data_uri
from whet.report.quantity import clean, plain, point, show, show_column, told

__all__ = ["embed", "render"]

_WHOLE, _FIRST = 1000, 200  # rows of a table that stand in the page as they are; of a longer one, the first
_THUMB = 64  # pixels, the longer side of a picture in a table


def compact(value: Any) -> Any:
    """Return JSON values with six significant digits: more cannot be seen in a plot, and the file stays small.

    >>> compact({"y": [0.123456789, float("nan"), 3]})
    {'y': [0.123457, None, 3]}
    """
    if isinstance(value, dict):
        return {k: compact(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [compact(v) for v in value]
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else None
    return value if value is None or isinstance(value, (bool, int, str)) else compact(plain(value))


def embed(value: Any) -> str:
    """Return `value` as JSON that may stand inside a script element, whatever texts it holds.

    >>> embed({"name": "</script><script>alert(1)</script>"}).count("<")
    0
    """
    text = json.dumps(compact(value), ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _table(table: Table, rest: list[Any]) -> dict[str, Any]:
    """The table's texts, column by column formatted, row by row placed.

    Of a long one that sorts, the page's script gets all rows through `rest`, and draws those that are asked for.
    """
    columns = [show_column([row[i] for row in table.rows]) for i in range(len(table.columns))]
    # A column of numbers is set flush right; a text in it other than a missing value makes it a column of texts.
    right = [bool(table.rows) and not any(isinstance(row[i], str) for row in table.rows) for i in range(len(columns))]
    rows = list(zip(*columns, strict=True))
    pictures = ["" if p is None else data_uri(p, _THUMB) for p in table.pictures]
    pictures += [""] * (len(rows) - len(pictures)) if pictures else []
    sortable, number = table.sortable or table.trials, None
    if sortable and len(rows) > _WHOLE:
        number = len(rest)
        rest.append({"rows": rows, "pictures": pictures, "right": right})
        rows, pictures = rows[:_FIRST], pictures[:_FIRST]
    head = [clean(c) for c in table.columns]
    return {"head": head, "right": right, "rows": rows, "pictures": pictures, "sortable": sortable, "rest": number}


def _style(text: str) -> str:
    def variables(palette: dict[str, str]) -> str:
        return "".join(f"--{name}:{colour};" for name, colour in palette.items())

    dark = f"@media screen and (prefers-color-scheme: dark){{:root{{{variables(DARK)}}}}}"
    return f":root{{{variables(LIGHT)}}}{dark}\n{text}"


def _hash(script: str) -> str:
    return "'sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() + "'"


@functools.cache
def _plotly() -> tuple[str, str]:
    """Plotly's script, as it may stand inside a script element, and its hash: 5 MB, so made once."""
    from plotly.offline import get_plotlyjs

    script = get_plotlyjs().replace("\r\n", "\n").replace("\r", "\n").replace("</script", "<\\/script")
    return script, _hash(script)


def render(title: str, subtitle: str, sections: Sequence[Section]) -> str:
    """Return the page; raise MissingExtra when plotly, jinja2 or pillow is not installed.

    >>> render("a < b", "", []).count("a &lt; b")
    2
    """
    try:
        import jinja2
        import plotly  # noqa: F401 - so that its absence is said here
        from markupsafe import Markup
    except ImportError as e:
        raise MissingExtra(f"report: HTML needs {e.name}, which is not installed. Run: pip install {e.name}") from e
    here = files("whet.report")
    plots = [b for s in sections for b in s.blocks if isinstance(b, Plot)]
    script = "\n".join((here / name).read_text(encoding="utf-8") for name in ("page.js", "table.js"))
    rest: list[Any] = []
    library, library_hash = _plotly() if plots else ("", _hash(""))
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    environment.globals.update(
        show=show, point=point, clean=clean, told=told, table=lambda t: _table(t, rest), picture=data_uri
    )
    template = environment.from_string((here / "page.html").read_text(encoding="utf-8"))
    return template.render(
        title=clean(title),
        subtitle=clean(subtitle),
        sections=sections,
        number={id(p): i for i, p in enumerate(plots)},
        id=id,
        kind=lambda b: type(b).__name__.lower(),
        style=Markup(_style((here / "page.css").read_text(encoding="utf-8"))),
        library=Markup(library),
        script=Markup(script),
        policy=f"default-src 'none'; img-src data: blob:; style-src 'unsafe-inline'; script-src {library_hash} {_hash(script)}",
        # Last of all, when the tables before it have been placed.
        data=lambda: Markup(
            embed({"figures": [_figure(p) for p in plots], "rows": rest, "light": LIGHT, "dark": DARK})
        ),
    )


def _figure(plot: Plot) -> dict[str, Any]:
    return {
        "data": plot.figure["data"],
        "layout": plot.figure["layout"],
        "isolate": plot.isolate,
        "square": plot.square,
    }
