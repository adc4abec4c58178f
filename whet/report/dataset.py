"""The data: how much there is, how the targets are spread, what an example looks like."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from whet.finding import Finding
from whet.report.block import Block, Facts, Findings, Pictures, Plot, Section, Table, label
from whet.report.picture import drawable
from whet.report.quantity import Share, clean, count, shorten, show

__all__ = ["Look", "balance", "dataset", "spread"]

_CLASSES = 40
_PICTURES = 32
_COLUMNS = 200


@dataclass(frozen=True)
class Look:
    """What there is to show of the data.

    summary: facts by name; targets: split name -> targets (n,), class numbers or real numbers; classes: names by class
    number, None for regression; samples: (uint8 picture (H, W) or (H, W, 3), caption); columns: one mapping a column of
    a table; findings: what looking at the data found; suspects: blocks that show the examples behind it;
    links: code of a finding -> the anchor of its block.

    >>> Look({"examples": 3}, {"train": np.array([0, 1, 1])}, ("no", "yes")).classes
    ('no', 'yes')
    """

    summary: Mapping[str, Any] = field(default_factory=dict)
    targets: Mapping[str, np.ndarray] = field(default_factory=dict)
    classes: Sequence[str] | None = None
    samples: Sequence[tuple[np.ndarray, str]] = ()
    columns: Sequence[Mapping[str, Any]] = ()
    findings: Sequence[Finding] = ()
    suspects: Sequence[Block] = ()
    links: Mapping[str, str] = field(default_factory=dict)


def balance(targets: Mapping[str, np.ndarray], classes: Sequence[str]) -> Plot | None:
    """Return how many examples each class has, split by split; of many classes the largest and the smallest.

    >>> balance({"train": np.array([0, 0, 1])}, ("a", "b")).title
    'The largest class, a, has 2 times the examples of the smallest, b'
    """
    splits = {n: np.asarray(t).ravel() for n, t in targets.items() if np.size(t)}
    if not splits or not len(classes):
        return None
    counts = {
        n: np.bincount(t.astype(int)[(t >= 0) & (t < len(classes))], minlength=len(classes)) for n, t in splits.items()
    }
    total = np.sum(list(counts.values()), axis=0)
    big, small = int(total.argmax()), int(total.argmin())
    ratio = total[big] / max(total[small], 1)
    if total[small] and ratio < 1.25:
        title = f"The {len(classes)} classes are balanced: {total[small]:,} to {total[big]:,} examples each"
    else:
        times = f"{show(float(f'{ratio:.3g}'))} times the examples of" if total[small] else "examples, there is none of"
        title = (
            f"The largest class, {shorten(classes[big], 40)}, has {times} the smallest, {shorten(classes[small], 40)}"
        )
    order = list(range(len(classes)))
    note = ""
    if len(order) > _CLASSES:
        ranked = sorted(order, key=lambda c: -total[c])
        order = ranked[: _CLASSES // 2] + ranked[-_CLASSES // 2 :]
        note = f"Drawn: the {_CLASSES // 2} largest and {_CLASSES // 2} smallest of {len(classes):,} classes."
    y = list(range(len(order)))[::-1]
    colours = ["@accent", "@soft", "@faint", "@second", "@muted"]
    data = [
        {
            "type": "bar", "orientation": "h", "name": label(n), "y": y, "x": [int(c[k]) for k in order],
            "marker": {"color": colours[i % 5]}, "hovertemplate": "%{y}: %{x:,} in " + label(n).replace("%", "") + "<extra></extra>",
        }
        for i, (n, c) in enumerate(counts.items())
    ]  # fmt: skip
    layout: dict[str, Any] = {
        "barmode": "stack", "bargap": 0.35, "showlegend": len(counts) > 1,
        "legend": {"orientation": "h", "x": 0, "y": 1.0, "yanchor": "bottom", "traceorder": "normal"},
        "xaxis": {"title": {"text": "examples (count)"}, "tickformat": ",d"},
        "yaxis": {"tickmode": "array", "tickvals": y, "ticktext": [label(classes[k]) + " " for k in order], "showgrid": False, "title": {"text": "class"}},
    }  # fmt: skip
    if total.max() <= 10:
        layout["xaxis"] |= {"tick0": 0, "dtick": 1}
    rows = [
        (clean(classes[k]), *(int(c[k]) for c in counts.values()), Share(total[k] / max(total.sum(), 1)))
        for k in range(len(classes))
    ]
    table = Table(
        ("class", *map(clean, counts), "of all"),
        rows[:1000],
        note="" if len(rows) <= 1000 else "The first 1,000 classes.",
    )
    return Plot(title, {"data": data, "layout": layout}, table, 110 + 22 * len(order), note=note)


def spread(targets: Mapping[str, np.ndarray]) -> Plot | None:
    """Return the distribution of real targets, as shares so that splits of different sizes compare.

    >>> spread({"train": np.arange(101.0)}).title
    'Half of the targets lie between 25 and 75'
    """
    splits = {n: np.asarray(t, float).ravel() for n, t in targets.items()}
    splits = {n: t[np.isfinite(t)] for n, t in splits.items()}
    splits = {n: t for n, t in splits.items() if len(t)}
    if not splits:
        return None
    everything = np.concatenate(list(splits.values()))
    edges = np.histogram_bin_edges(everything, bins=min(40, max(5, int(len(everything) ** 0.5))))
    middle = (edges[:-1] + edges[1:]) / 2
    colours = ["@accent", "@second", "@muted", "@doubt"]
    data = [
        {
            "type": "scatter", "mode": "lines", "name": label(n), "x": middle.tolist(),
            "y": (np.histogram(t, edges)[0] / len(t) * 100).tolist(),
            "line": {"shape": "hvh", "color": colours[i % 4], "width": 2, "dash": ["solid", "dash", "dot"][i % 3]},
            "hovertemplate": "%{x:.4g}: %{y:.1f} %<extra></extra>",
        }
        for i, (n, t) in enumerate(splits.items())
    ]  # fmt: skip
    first = next(iter(splits.values()))
    title = f"Half of the targets lie between {show(float(np.quantile(first, 0.25)))} and {show(float(np.quantile(first, 0.75)))}"
    layout = {
        "showlegend": len(splits) > 1,
        "legend": {"orientation": "h", "x": 0, "y": 1.0, "yanchor": "bottom"},
        "xaxis": {"title": {"text": "target (in its own units)"}},
        "yaxis": {"title": {"text": "share of the split (%)"}, "rangemode": "tozero"},
    }
    rows = [
        (clean(n), len(t), *(float(f(t)) for f in (np.min, np.median, np.mean, np.max, np.std)))
        for n, t in splits.items()
    ]
    return Plot(
        title,
        {"data": data, "layout": layout},
        Table(("split", "examples", "lowest", "median", "mean", "highest", "spread (sd)"), rows),
        320,
    )


def _columns(columns: Sequence[Mapping[str, Any]]) -> Table:
    names = list(dict.fromkeys(k for c in columns for k in c))
    rows = []
    for c in columns[:_COLUMNS]:
        values = [c.get(n) for n in names]
        rows.append([v if isinstance(v, (int, float)) or v is None else shorten(show(v), 120) for v in values])
    note = "" if len(columns) <= _COLUMNS else f"The first {_COLUMNS} of {len(columns):,} columns."
    return Table(tuple(map(clean, names)), rows, count(len(columns), "column"), note=note)


def dataset(look: Look) -> Section:
    """Return the section; what is missing in `look` leaves its block out.

    >>> dataset(Look(targets={"train": np.array([0, 1]), "test": np.array([1])}, classes=("a", "b"))).sentence
    '3 examples in 2 classes: 2 to train, 1 to test.'
    """
    blocks: list[Block] = [Facts(look.summary)] if look.summary else []
    plot = balance(look.targets, look.classes) if look.classes is not None else spread(look.targets)
    if plot is not None:
        blocks.append(plot)
    samples = [s for s in look.samples if drawable(s[0])]
    if samples:
        note = "" if len(samples) <= _PICTURES else f"{_PICTURES} of {len(samples):,} given."
        blocks.append(Pictures("What an example looks like", tuple(samples[:_PICTURES]), note))
    if look.columns:
        blocks.append(_columns(look.columns))
    if look.findings:
        blocks.append(Findings(tuple(look.findings), "What looking at it found", look.links))
    blocks += look.suspects
    sizes = [f"{len(t):,} to {name}" for name, t in look.targets.items()]
    total = sum(len(t) for t in look.targets.values())
    what = f" in {len(look.classes):,} classes" if look.classes is not None else ""
    sentence = f"{count(total, 'example')}{what}: {', '.join(sizes)}." if sizes else ""
    n = len(look.findings)
    sentence += f" Looking at it found {n} thing{'s' if n > 1 else ''} worth knowing." if n else ""
    return Section("data", "The data", sentence.strip(), tuple(blocks))
