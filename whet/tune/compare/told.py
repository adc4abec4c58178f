"""A comparison in words and as a table for a terminal."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from whet.tune.compare.noise import enough

if TYPE_CHECKING:
    from whet.tune.compare.result import Comparison, Pair

__all__ = ["sentence", "table"]

_WIDTH = 70  # columns


def sentence(found: Comparison) -> str:
    """Return what a comparison found, see `Comparison.sentence`."""
    if len(found.seeds) < 2:
        have = "One seed is" if found.seeds else "No seed is"
        return f"{have} finished by every strategy; two are needed to tell anything."
    better, worse, same = (
        [p for r in found.rows if (p := r.against) is not None and p.verdict == v]
        for v in ("better", "worse", "not told apart")
    )
    parts = []
    for pairs, word in ((better, "better"), (worse, "worse")):
        if pairs:
            verb = "is" if len(pairs) == 1 else "are"
            listed = _listed([f"{p.second} ({_by(p)})" for p in pairs])
            parts.append(f"{listed} {verb} {word} than {found.baseline}, beyond the noise")
    if same:
        parts.append(f"{_listed([p.second for p in same])} cannot be told from {found.baseline}")
    text = "; ".join(parts) + "."
    top = found.rows[0]
    if better and top.name == better[0].second:
        if top.caught is not None and top.caught < found.end:
            text += f" {top.name} has after {top.caught:,.0f} {found.by} what {found.baseline} has after {found.end:,}."
        beaten = {p.first for p in found.pairs if p.second == top.name and p.verdict == "better"}
        if near := [p.second for p in better[1:] if p.second not in beaten]:
            text += f" That {top.name} comes before {_listed(near)} may be chance."
    most = max(x.spent for own in found.lines.values() for x in own)
    if most > 1.05 * found.end:
        text += f" They are compared after {found.end:,} {found.by}, which every study came to; the furthest came to {most:,}."
    least = enough(len(found.lines) - 1)
    if len(found.seeds) < least:
        text += f" With {len(found.seeds)} seeds no difference can pass for more than noise here: {least} are needed."
    return text


def table(found: Comparison) -> list[str]:
    """Return the table of a comparison, see `Comparison.table`."""
    cells = []
    for r in found.rows:
        a = r.against
        cells.append((
            r.name, _short(r.value), f"{r.low:.3g} to {r.high:.3g}" if math.isfinite(r.low) else "-",
            f"{r.rank:.1f}" + (f" ({r.rank_low:.1f}-{r.rank_high:.1f})" if math.isfinite(r.rank_low) else ""),
            "baseline" if a is None else _signed(a.gain), "" if a is None else f"{a.p:.2g}" if a.p >= 0.0005 else "<.0005",
        ))  # fmt: skip
    head = ("strategy", found.goal.name[:10], "95 % of mean", "rank (95 %)", "gain", "p")
    widths = [max(len(c[i]) for c in (head, *cells)) for i in range(len(head))]
    apart = 2 if 8 + sum(widths[1:]) + 2 * (len(head) - 1) <= _WIDTH else 1
    widths[0] = min(widths[0], max(8, _WIDTH - sum(widths[1:]) - apart * (len(head) - 1)))
    lines = []
    for name, *rest in (head, *cells):
        name = name if len(name) <= widths[0] else name[: widths[0] - 3] + "..."
        figures = [c.ljust(w) if i < 3 else c.rjust(w) for i, (c, w) in enumerate(zip(rest, widths[1:], strict=True))]
        lines.append((" " * apart).join([name.ljust(widths[0]), *figures]).rstrip())
    return lines


def _short(x: float) -> str:
    return f"{x:.4g}" if math.isfinite(x) else "-"


def _signed(x: float) -> str:
    return f"{x:+.2g}" if math.isfinite(x) else "-"


def _by(pair: Pair) -> str:
    won = pair.wins if pair.verdict == "better" else pair.losses
    return f"by {abs(pair.gain):.2g}, with {won} of {pair.wins + pair.losses} seeds"


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
