"""What a verb shows: blocks of results, and one live region while something runs.

Three ways, one set of events: a terminal gets a bar that redraws itself, anything else plain lines, and `--json` one JSON
value on standard output with plain lines on standard error.
"""

from __future__ import annotations

import json
import os
import re
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, redirect_stdout
from typing import Any, TextIO

from whet.errors import harmless
from whet.recipe.block import WIDTH, Began, Block, Progress
from whet.recipe.words import BARS, count
from whet.tune.budget import duration

__all__ = ["Screen", "blocks_json", "emit_json", "only_json"]

_LABEL = 10  # columns of a block's name
_EVERY = 5.0  # seconds between plain lines of progress
_QUIET = 60.0  # seconds without anything new until a plain line says that; then twice as many, and so on
_BAR = 24  # columns of the bar
_PLAIN_BARS = str.maketrans(BARS, "_.:-=+*#")
_TICK = 0.5  # seconds between two pictures of something that does not tell by itself


def emit_json(value: Any) -> None:
    """Print one JSON value on standard output, a list of single values on one line."""
    from whet.journal.event import _plain

    ascii_only = (sys.stdout.encoding or "").lower().replace("-", "") != "utf8"
    text = json.dumps(_plain(value), indent=2, ensure_ascii=ascii_only)
    # A terminal may act on what JSON lets stand: as an escape it says the same.
    text = re.sub(
        r"[^\n -~]+", lambda found: "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in found[0]), text
    )
    # No text of JSON holds a line break, so a bracket at the end of a line is a list that begins there.
    print(
        re.sub(
            r"\[\n[^\[\]{}]*\n *\]", lambda found: re.sub(r"\n *", " ", found[0]).replace("[ ", "[", 1)[:-2] + "]", text
        )
    )


@contextmanager
def only_json(wanted: bool = True) -> Iterator[None]:
    """Keep standard output for JSON, where that is wanted: what a person's own code prints goes to standard error."""
    with redirect_stdout(sys.stderr) if wanted else nullcontext():
        yield


class Screen:
    """Where events are shown.

    plain: lines even on a terminal; quiet: standard output belongs to JSON, so lines go to standard error.
    """

    def __init__(self, *, plain: bool = False, quiet: bool = False) -> None:
        self._out = sys.stderr if quiet else sys.stdout
        self.live = not plain and self._out.isatty() and os.environ.get("TERM") != "dumb" and not os.environ.get("CI")
        self.blocks: dict[str, Block] = {}
        self._last = self._new = time.monotonic()  # when there was a line of progress, and one that said something new
        self._said, self._patience = "", _QUIET
        self._region: Any = None  # the live region, while there is one

    def line(self, text: str = "") -> None:
        """Print a line at once, with nothing in it that the terminal would act on."""
        self._print(harmless(text))

    def block(self, name: str, lines: Iterable[str], *, drawn: bool = False) -> None:
        """Print a block: its name, then its lines beside it; drawn: they hold colours of ours, and are clean already."""
        for i, text in enumerate(lines):
            whole = f"{name if i == 0 else '':<{_LABEL}}{text}"
            self._print(whole if drawn else harmless(whole))

    def _print(self, text: str) -> None:
        print(self._shown(text.rstrip()), file=self._out, flush=True)

    def _shown(self, text: str) -> str:
        """Return `text` with bars that the stream can write."""
        wide = (self._out.encoding or "").lower().replace("-", "") == "utf8"
        return text if wide else text.translate(_PLAIN_BARS)

    def notice(self, text: str) -> None:
        """Print a line above whatever is being drawn; may be called from a signal handler."""
        if self._region is not None:
            self._region.console.print(harmless(text), markup=False, highlight=False)
        else:
            os.write(2, f"\n{harmless(text)}\n".encode())  # not print(): a handler may interrupt another print

    def show(self, events: Generator[Began | Progress | Block, None, None]) -> dict[str, Block]:
        """Show events as they come; return the blocks by step."""
        try:
            for event in events:
                match event:
                    case Began(step=step, what=what):
                        self._said = ""
                        if what:
                            self._clear()
                            self.block(step, textwrap.wrap(what, WIDTH))
                        self._draw(None, step)
                    case Progress():
                        self._draw(event, event.step)
                    case Block():
                        self._clear()
                        self.blocks[event.step] = event
                        self.block(event.step, event.lines)
        finally:
            self._clear()
            events.close()  # what they hold, workers first of all, ends now and not when memory is tidied
        return self.blocks

    @contextmanager
    def watching(self, look: Callable[[], Progress]) -> Iterator[None]:
        """Show how far things are by what `look` returns, from a thread, while the body works; it leaves nothing behind."""
        done = threading.Event()

        def draw() -> None:
            while not done.wait(_TICK):
                self._draw(look(), "")

        thread = threading.Thread(target=draw, daemon=True)
        self._last, self._said = time.monotonic(), ""
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()
            self._clear()

    @contextmanager
    def telling(self, step: str) -> Iterator[Callable[[str, float], None]]:
        """Show how far something is while it runs; it calls what it gets with (what it does now, the share that is over)."""
        began = time.monotonic()

        def told(what: str, over: float) -> None:
            spent = time.monotonic() - began
            left = spent * (1 - over) / over if over > 0.05 else None
            self._draw(Progress(step, over, f"{over:.0%}", "all looks", left, best=f"now {what}"), step)

        try:
            yield told
        finally:
            self._clear()

    def _draw(self, progress: Progress | None, step: str) -> None:
        """Show how far things are: in the live region, or as a line now and then."""
        if self.live:
            if self._region is None:
                self._region = _region(self._out)
            picture = _picture(progress, step, self._region.console.width)
            picture.plain = self._shown(picture.plain)
            self._region.update(picture, refresh=True)
        elif progress is not None and (progress.told or time.monotonic() - self._last >= _EVERY):
            self._tell(progress)

    def _tell(self, progress: Progress) -> None:
        """Print a line of how far things are when it says something new, or when nothing has been new for long."""
        now, said = time.monotonic(), _facts(progress)
        if said != self._said:
            self._said, self._new, self._patience = said, now, _QUIET
        elif now - self._new >= self._patience:
            said = _facts(progress, quiet=now - self._new)
            self._patience *= 2
        else:
            return
        self._last = now
        self.line(f"{'':<{_LABEL}}{said}")

    def _clear(self) -> None:
        """Take the live region away."""
        if self._region is not None:
            region, self._region = self._region, None
            region.stop()


def _region(out: TextIO) -> Any:
    """Return a started region of the terminal that redraws itself in place and leaves nothing behind."""
    from rich.console import Console
    from rich.live import Live

    live = Live(console=Console(file=out, highlight=False), transient=True, auto_refresh=False)
    live.start()
    return live


def _words(p: Progress) -> dict[str, str]:
    """Return what there is to say of how far things are, each in a few words."""
    found = {"spent": f"{p.spent} of {p.limit}"}
    if p.seconds is not None and p.done < 1:
        found["left"] = f"{duration(p.seconds)} left"
    if "trials" in p.counts:
        if not p.limit.endswith(("trial", "trials")):  # else it is said already
            found["trials"] = count(p.counts["trials"], "trial")
        found["finished"] = f"{p.counts.get('finished', 0)} finished"
        found["failed"] = f"{p.counts.get('failed', 0)} failed"
    found |= {f"{name}/s": f"{rate:.{1 if rate < 10 else 0}f} {name}/s" for name, rate in p.rates.items()}
    return found | ({"best": p.best} if p.best else {})


_DISPENSABLE = ("epochs/s", "finished", "left", "trials/s", "failed", "trials")  # the first to go comes first


def _facts(p: Progress, *, quiet: float | None = None) -> str:
    """Return one line that fits beside a block's name, the least important left out. quiet: for how many seconds nothing was new."""
    words = _words(p)
    if quiet is not None:
        words["quiet"] = f"nothing new for {duration(quiet)}"
    if p.best and p.counts:
        words["best"] = f"best {p.best}"
    for name in _DISPENSABLE:
        if len(", ".join(words.values())) <= WIDTH:
            break
        words.pop(name, None)
    return ", ".join(words.values())


def _picture(p: Progress | None, step: str, width: int) -> Any:
    from rich.text import Text

    if p is None:
        return Text(f"{step:<{_LABEL}}...", style="dim")
    full, words = int(p.done * _BAR), _words(p)
    rows = [f"[{'#' * full}{'-' * (_BAR - full)}] " + "   ".join(words.pop(k) for k in ("spent", "left") if k in words)]
    best = words.pop("best", "")
    rows += [", ".join(words.values())] if words else []
    rows += [f"best {best}" if p.counts else best] if best else []
    rows += [f"trying {p.trying}"] if p.trying else []
    rows += p.rows
    room = max(20, min(width, 120) - _LABEL - 4)  # a terminal writes ^C after the last row, which must not wrap
    rows = [row if len(row) <= room else row[: room - 3].rstrip(" ,") + "..." for row in rows]
    lines = [harmless(f"{step if i == 0 else '':<{_LABEL}}{row}") for i, row in enumerate(rows)]
    return Text("\n".join(lines), no_wrap=True, overflow="ellipsis")


def blocks_json(blocks: Mapping[str, Block]) -> dict[str, Any]:
    """Return blocks as JSON values: the data of each, and its lines."""
    return {name: {**dict(b.data), "failed": b.failed, "lines": list(b.lines)} for name, b in blocks.items()}
