"""What a verb shows: blocks of results, and one live region while something runs.

Three ways, one set of events: a terminal gets a bar that redraws itself, anything else plain lines, and `--json` one JSON
value on standard output with plain lines on standard error.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from whet.recipe.block import Began, Block, Progress
from whet.tune.budget import duration

__all__ = ["Screen", "emit_json"]

_LABEL = 10  # columns of a block's name
_WIDTH = 80
_EVERY = 5.0  # seconds between plain lines of progress


def emit_json(value: Any) -> None:
    """Print one JSON value on standard output."""
    from whet.journal.event import _plain

    print(json.dumps(_plain(value), indent=2, ensure_ascii=False))


class Screen:
    """Where events are shown.

    plain: lines even on a terminal; quiet: standard output belongs to JSON, so lines go to standard error.
    """

    def __init__(self, *, plain: bool = False, quiet: bool = False) -> None:
        self._out = sys.stderr if quiet else sys.stdout
        self.live = not plain and self._out.isatty() and os.environ.get("TERM") != "dumb" and not os.environ.get("CI")
        self.blocks: dict[str, Block] = {}
        self._last = 0.0

    def line(self, text: str = "") -> None:
        """Print a line at once."""
        print(text.rstrip(), file=self._out, flush=True)

    def block(self, name: str, lines: Iterable[str]) -> None:
        """Print a block: its name, then its lines beside it."""
        for i, text in enumerate(lines):
            self.line(f"{name if i == 0 else '':<{_LABEL}}{text}")

    def show(self, events: Iterable[Began | Progress | Block]) -> dict[str, Block]:
        """Show events as they come; return the blocks by step."""
        with self._region() as draw:
            for event in events:
                match event:
                    case Began(step=step):
                        draw(None, step)
                    case Progress():
                        draw(event, event.step)
                    case Block():
                        draw(None, "")
                        self.blocks[event.step] = event
                        self.block(event.step, event.lines)
        return self.blocks

    @contextmanager
    def _region(self) -> Iterator[Callable[[Progress | None, str], None]]:
        if not self.live:
            yield self._plain
            return
        from rich.console import Console
        from rich.live import Live

        console = Console(file=self._out, highlight=False, soft_wrap=False)
        live: list[Live] = []

        def draw(progress: Progress | None, step: str) -> None:
            if not step:
                while live:
                    live.pop().stop()
                return
            if not live:
                live.append(Live(console=console, transient=True, auto_refresh=False))
                live[0].start()
            live[0].update(_picture(progress, step, console.width), refresh=True)

        try:
            yield draw
        finally:
            draw(None, "")

    def _plain(self, progress: Progress | None, step: str) -> None:
        if progress is None or time.monotonic() - self._last < _EVERY:
            return
        self._last = time.monotonic()
        self.line(f"{'':<{_LABEL}}" + _facts(progress))


def _facts(p: Progress) -> str:
    left = f", {duration(p.seconds)} left" if p.seconds is not None else ""
    counts = f"{p.counts.get('trials', 0)} trials, {p.counts.get('finished', 0)} finished, {p.counts.get('failed', 0)} failed"
    rates = f"{p.rates.get('trials', 0.0):.1f} trials/s, {p.rates.get('epochs', 0.0):.0f} epochs/s"
    best = f", best {p.best}" if p.best else ""
    return f"{p.spent} of {p.limit}{left}: {counts}, {rates}{best}"


def _picture(p: Progress | None, step: str, width: int) -> Any:
    from rich.text import Text

    if p is None:
        return Text(f"{step:<{_LABEL}}...", style="dim")
    bar = 24
    full = int(p.done * bar)
    left = f"   {duration(p.seconds)} left" if p.seconds is not None else ""
    counts = f"{p.counts.get('trials', 0)} trials, {p.counts.get('finished', 0)} finished, {p.counts.get('failed', 0)} failed"
    rates = f"{p.rates.get('trials', 0.0):.1f} trials/s, {p.rates.get('epochs', 0.0):.0f} epochs/s"
    rows = [f"[{'#' * full}{'-' * (bar - full)}] {p.spent} of {p.limit}{left}", f"{counts}   {rates}"]
    rows += [f"best {p.best}"] if p.best else []
    rows += [f"trying {p.trying}"] if p.trying else []
    room = max(20, min(width, 120) - _LABEL)
    lines = [f"{step if i == 0 else '':<{_LABEL}}{row[:room]}" for i, row in enumerate(rows)]
    return Text("\n".join(lines), no_wrap=True, overflow="ellipsis")


def blocks_json(blocks: Mapping[str, Block]) -> dict[str, Any]:
    """Return blocks as JSON values: the data of each, and its lines."""
    return {name: {**dict(b.data), "failed": b.failed, "lines": list(b.lines)} for name, b in blocks.items()}
