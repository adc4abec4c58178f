"""What `whet simulate` shows: how far it is, and what came of it, in 70 columns."""

from __future__ import annotations

import math
import textwrap
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from whet.recipe.block import WIDTH, Progress

if TYPE_CHECKING:
    from whet.distributed.compare import Case
    from whet.distributed.rates import Rate, Tried
    from whet.distributed.summary import Reached, Summary

__all__ = ["Far", "at_equal_time", "chosen_rates", "ends"]

_RULE = 19  # columns of a rule's name; a longer one has a line of its own
_SHORT = 12  # columns of it in a line that says how far it is


class Far:
    """How far the simulations are: told of every event, asked by whoever shows it.

    total: trainings; steps: epochs of each.
    """

    def __init__(self, total: int, steps: int) -> None:
        self.total, self.steps = total, steps
        self.start = time.monotonic()
        self.done = 0.0  # epochs of the trainings that are over
        self.over = 0
        self._case: tuple[object, ...] = ()
        self._now = 0.0
        self._words = self._more = ""

    def at(self, case: Case, epochs: float, rate: float | None = None) -> None:
        """Hear that a training of a case is so many epochs far."""
        key = (*case, rate)
        if key != self._case:
            self.finish()
            rule = case.rule if len(case.rule) <= _SHORT else case.rule[: _SHORT - 3] + "..."
            self._words = f"{rule} with {case.workers}"
            self._more = f"seed {case.seed}" + (f", rate {rate:g}" if rate is not None else "")
            self._case = key
        self._now = min(epochs, float(self.steps))

    def finish(self) -> None:
        """Count the training that was begun last as over, however far it came."""
        if self._case:
            self.over, self.done = self.over + 1, self.done + self.steps
        self._case, self._now = (), 0.0

    def look(self) -> Progress:
        """Return how far it is."""
        past = time.monotonic() - self.start
        epochs = self.done + self._now
        part = min(1.0, epochs / (self.total * self.steps))
        left = past / part - past if part > 0.005 and past > 1 else None
        now = f"{self._words}, epoch {self._now:.1f}" if self._case else ""
        return Progress(
            "simulate", part, str(self.over), f"{self.total} trainings", left, best=now, trying=self._more,
        )  # fmt: skip


def _table(head: Sequence[str], rows: Iterable[Sequence[str]], widths: Sequence[int]) -> list[str]:
    """Return lines whose first column is a rule's name and whose others stand to the right."""
    lines = []
    for row in (head, *rows):
        figures = " ".join(f"{cell:>{w}}" for cell, w in zip(row[1:], widths, strict=True))
        if len(row[0]) > _RULE:
            lines.append(row[0] if len(row[0]) <= WIDTH else row[0][: WIDTH - 3] + "...")
        lines.append(f"{row[0] if len(row[0]) <= _RULE else '':<{_RULE}} {figures}")
    return lines


def _value(value: float, spread: float) -> str:
    if not math.isfinite(value):
        return "-"
    return f"{value:.4g}" + (f" +- {spread:.2g}" if math.isfinite(spread) else "")


def _whole(x: float) -> str:
    return f"{x:,.0f}" if math.isfinite(x) else "-"


def _times(x: float) -> str:
    return "-" if not math.isfinite(x) else f"{x:.3g}x" if x < 1000 else f"{x:,.0f}x"


def ends(rows: Sequence[Summary], metric: str) -> list[str]:
    """Return the table of what each rule came to after the last epoch."""
    cells = [
        (r.rule, str(r.workers), _value(r.value, r.spread) if r.ended else _no_end(r.n, r.diverged, r.died), _whole(r.seconds),
         _times(r.speedup), f"{r.staleness:.2f}" if r.staleness < 1000 else _whole(r.staleness))
        for r in rows
    ]  # fmt: skip
    seeds = max(r.n for r in rows)
    lines = (
        [f"after the last epoch; +- is the standard deviation over {seeds} seeds"]
        if seeds > 1
        else ["after the last epoch"]
    )
    lines += _table(("rule", "workers", metric[:16], "seconds", "speed-up", "stale"), cells, (7, 16, 9, 8, 6))
    for r in rows:
        for few, how in ((r.diverged, "diverged"), (r.died, "lost all workers")):
            if 0 < few < r.n:
                said = f"{few} of {r.n} seeds of {r.rule} with {r.workers} {how}" + ", left out of its mean" * bool(
                    r.ended
                )
                lines += textwrap.wrap(said, WIDTH, break_on_hyphens=False)
    return lines


def _no_end(n: int, diverged: int, died: int) -> str:
    """Return what is said of seeds none of which came to its end."""
    return "diverged" if diverged == n else "all workers died" if died == n else "none ended"


def at_equal_time(moment: str, rows: Sequence[Reached], metric: str) -> list[str]:
    """Return the table of how far each was at one moment of virtual time."""
    cells = [
        (r.rule, str(r.workers), _value(r.value, r.spread) if r.diverged < r.n else "diverged", f"{r.epochs:.1f}")
        for r in rows
    ]
    return [
        *textwrap.wrap(moment, WIDTH, break_on_hyphens=False),
        *_table(("rule", "workers", metric[:16], "epochs"), cells, (7, 16, 8)),
    ]


def chosen_rates(rates: Mapping[tuple[str, int], Rate], metric: str) -> list[str]:
    """Return the table of the rates that were chosen, and what each was worth."""
    head = f"{'rule':<{_RULE}} {'workers':>7} {'rate':>8}  {metric} by rate"
    lines = [head]
    for (rule, workers), found in rates.items():
        # a pair is one word until the line is folded
        worth = ", ".join(f"{t.rate:g}:\0{_worth(t)}" for t in found.tried)
        first, *rest = textwrap.wrap(worth, WIDTH - _RULE - 19)
        lines += [rule] if len(rule) > _RULE else []
        lines.append(f"{rule if len(rule) <= _RULE else '':<{_RULE}} {workers:>7} {found.rate:>8g}  {first}")
        lines += [" " * (_RULE + 19) + more for more in rest]
    edges = [f"{rule} with {workers}" for (rule, workers), found in rates.items() if found.edge]
    if edges:
        said = ", ".join(edges) if len(edges) < len(rates) else "every one"
        lines += textwrap.wrap(
            f"at an end of the list, so that one beyond it may be better: {said}", WIDTH, break_on_hyphens=False
        )
    marked = [t for found in rates.values() for t in found.tried if t.ended < t.n and t.ended]
    if marked:
        how = [
            said
            for said, some in (("diverged", "diverged"), ("lost all workers", "died"))
            if any(getattr(t, some) for t in marked)
        ]
        lines.append(f"! some of its seeds {' or '.join(how)}")
    return [line.replace("\0", " ") for line in lines]


def _worth(tried: Tried) -> str:
    if not tried.ended:
        return _no_end(tried.n, tried.diverged, tried.died)
    return f"{tried.value:.4g}" + "!" * (tried.ended < tried.n)
