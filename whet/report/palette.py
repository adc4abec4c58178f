"""The colours of a report, light and dark; a plot names them "@accent", "@ink" ... and the page fills them in.

One accent (blue) carries the result; vermillion marks what went wrong, ochre what is doubtful: with blue they stay apart
in every common kind of colour blindness (Okabe and Ito, 2008). No colour carries a meaning alone.
"""

from __future__ import annotations

from typing import Any

__all__ = ["DARK", "LIGHT", "paint"]

LIGHT = {
    "page": "#ffffff",
    "panel": "#f6f7f9",
    "ink": "#1a1d21",
    "muted": "#5d6670",
    "faint": "#b4bcc6",
    "line": "#dde1e7",
    "grid": "#eceff3",
    "accent": "#0a62a8",
    "soft": "#a9cbe8",
    "bad": "#b5400a",
    "badsoft": "#f3c7ae",
    "doubt": "#8a6100",
    "second": "#3f8f7a",
}

DARK = {
    "page": "#14171b",
    "panel": "#1c2026",
    "ink": "#e7eaee",
    "muted": "#9aa4b0",
    "faint": "#525c68",
    "line": "#323942",
    "grid": "#262c34",
    "accent": "#6db3f2",
    "soft": "#2c5a85",
    "bad": "#f28c5b",
    "badsoft": "#6b3a22",
    "doubt": "#e0b34c",
    "second": "#6cc5ae",
}


def paint(value: Any, colours: dict[str, str] | None = None, key: str = "") -> Any:
    """Return a figure with its "@name" colours filled in, where a key says that a colour is meant.

    >>> paint({"line": {"color": "@ink"}, "text": "@ink"})
    {'line': {'color': '#1a1d21'}, 'text': '@ink'}
    """
    colours = LIGHT if colours is None else colours
    if isinstance(value, dict):
        return {k: paint(v, colours, k) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [paint(v, colours, key) for v in value]
    if isinstance(value, str) and value.startswith("@") and "color" in key:
        return colours.get(value[1:], value)
    return value
