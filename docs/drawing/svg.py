"""Pictures as SVG text, in the colours of a report, which follow what the reader prefers."""

from __future__ import annotations

from whet.report.palette import DARK, LIGHT

__all__ = ["LEFT", "ORDER", "PLOT_H", "PLOT_W", "TOP", "WIDTH", "framed", "page", "words"]

WIDTH, LEFT, TOP, PLOT_W, PLOT_H = 560, 62, 44, 478, 290  # pixels of a picture, and of the plot in it
ORDER = (
    ("#f0b429", "#7a5ab8"),
    ("#ea7b2c", "#b8559f"),
    ("#cf3f5b", "#ea5f72"),
    ("#8a3690", "#f7a14e"),
    ("#35186b", "#ffe690"),
)
STYLE = {
    "b": "page",
    "i": "ink",
    "m": "muted",
    "f": "faint",
    "l": "line",
    "a": "accent",
    "s": "soft",
    "v": "bad",
    "n": "second",
}


def page(title: str, parts: list[str], height: int, more: str = "") -> str:
    """Return parts as SVG in the colours of a report, which follow what the reader prefers. Classes are a fill, and with a t a stroke."""

    def style(colours: dict[str, str], dark: int) -> str:
        some = "".join(f".{k}{{fill:{colours[of]}}}.t{k}{{stroke:{colours[of]}}}" for k, of in STYLE.items())
        return (
            f".k{{fill:{colours['muted']}}}" + some + "".join(f".o{i}{{fill:{o[dark]}}}" for i, o in enumerate(ORDER))
        )

    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" font-size="13">',
        f"<title>{title}</title>{more}",
        f"<style>{style(LIGHT, 0)}.k{{fill-opacity:.11}}@media (prefers-color-scheme:dark){{{style(DARK, 1)}}}</style>",
        f'<rect class="b" width="{WIDTH}" height="{height}" rx="6"/>', *parts, "</svg>\n",
    ])  # fmt: skip


def words(x: float, y: float, text: str, anchor: str, kind: str, *, size: int = 13) -> str:
    """Return a line of text."""
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}">{text}</text>'


def framed(x: str, y: str, title: str) -> list[str]:
    """Return the title of a plot and of its axes."""
    return [
        words(LEFT, 26, title, "start", "i", size=15),
        words(LEFT + PLOT_W / 2, TOP + PLOT_H + 34, x, "middle", "m"),
        f'<g transform="translate(16 {TOP + PLOT_H / 2}) rotate(-90)">{words(0, 0, y, "middle", "m")}</g>',
    ]
