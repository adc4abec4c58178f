"""A look at the data as a report: what there is, what was found, and the examples themselves to be looked at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from whet.data.column import as_numbers, kind_of
from whet.data.look import Look
from whet.data.seen.outcome import Example
from whet.data.seen.relation import relation
from whet.data.seen.typical import ENDS, groups
from whet.data.seen.view import view
from whet.data.split import Data
from whet.finding import Finding, Severity
from whet.report.block import Block, Facts, Findings, Plot, Section, Table
from whet.report.dataset import balance, spread
from whet.report.distribution import Target, category_plot, number_plot
from whet.report.document import Report
from whet.report.gallery import Gallery, cell
from whet.report.line import line_plot, moments
from whet.report.quantity import Share, clean, count, shorten, show
from whet.report.suspects import anchor, exhibits, sheets

__all__ = ["look_report"]

_WORDS = {Severity.FAIL: "failure", Severity.WARN: "warning", Severity.INFO: "note"}  # the most serious first
_LINES = 8  # columns of a series that are drawn beside its target
_PLOTS = 24  # columns that are drawn
_STRIPS = 100  # pictures of a kind on all contact sheets together
_COLUMNS = ("MISSING", "MISSING-TOGETHER", "REDUNDANT", "COUNTER", "LEAK", "NEAR-CONSTANT", "SHIFT", "FAR")
_MODES = {1: "grey", 3: "RGB"}
_CLASSES = ("IMBALANCE", "RARE")


def look_report(data: Data, look: Look) -> Report:
    """Return the report on what a look at `data` showed; the test split stays sealed.

    >>> from whet.data.bundled import digits
    >>> from whet.data.look import look as look_at
    >>> data = digits()
    >>> [s.name for s in look_report(data, look_at(data)).sections]
    ['there', 'found', 'sheets', 'columns', 'examples']
    """
    gallery = Gallery.of(data, look.examples)
    columns, strength = _columns(gallery)
    gallery = replace(gallery, strength=strength)
    odd, near, links = exhibits(gallery, look)
    alone = [e for e in look.examples if anchor(e.code) not in {b.name for b in near}]
    sections = [
        _there(data, look),
        _found(look, links, bool(strength)),
        Section("suspects", "Suspicious examples", _said(alone), tuple(odd)),
        Section("twins", "Duplicates", _twins(look), tuple(near)),
        _line(gallery, look.examples),
        _sheets(gallery, alone),
        columns,
        Section("examples", "The examples", _how(gallery), (gallery.listing(),)),
    ]
    kept = tuple(s for s in sections if s.blocks or s.name == "found")
    name = Path(data.source).name or data.source or "the data"
    return Report(f"A look at {shorten(name, 80)}", kept, "The test split stays sealed.")


def _how(gallery: Gallery) -> str:
    """Return how the table of examples is used, by a column that it has."""
    numbers = [c for c in gallery.columns if c in gallery.frame.select_dtypes("number")]
    name = max(numbers, key=lambda c: gallery.strength.get(c, 0.0), default="id")
    middle = show(cell(float(gallery.frame[name].median())))
    return f"Sort by a heading. Filter by a text, or by conditions: {shorten(name, 30)} > {middle} and split == valid."


def _there(data: Data, look: Look) -> Section:
    f, blocks = look.facts, list[Block]()
    targets = {"train": data.train.targets.numpy(), "valid": data.valid.targets.numpy()}
    sizes = f.get("splits", {})
    image, even = f.get("image") or {}, f.get("balance")
    facts: dict[str, Any] = {
        "source": data.source, "task": data.kind, "inputs": f.get("features"), "looked at as": f.get("looked_at", {}).get("kind"),
        "pictures": f"{image['height']}x{image['width']} (height x width) {_MODES.get(image['channels'], '')}" if image else None,
        "files, width x height": (f.get("files") or {}).get("sizes"), "modes": (f.get("files") or {}).get("modes"),
        "as good as": f"{even['classes']:.1f} even classes" if even and even["classes"] < 0.9 * len(f["classes"]) else None,
        "lengths": f.get("lengths"),
        "looked at closely": f["looked_at"]["n"] if f.get("looked_at", {}).get("part") else None,
    }  # fmt: skip
    blocks.append(Facts({k: v for k, v in facts.items() if v not in (None, "", {})}))
    if data.kind == "classification":
        names = data.classes or tuple(str(i) for i in range(int(max(t.max() for t in targets.values())) + 1))
        plots = [balance(targets, names)]
        what = f" in {len(names):,} classes"
    elif data.train.targets.ndim == 1:
        plots, what = [spread(targets)], ", each with a number to predict"
    else:
        k = data.train.targets.shape[1]
        plots = [number_plot(f"target {j}", targets["train"][:, j], targets["valid"][:, j]) for j in range(min(k, 8))]
        what = f", each with {count(k, 'number')} to predict"
    blocks += [p for p in plots if p is not None]
    parts = [f"{sizes.get('train', len(data.train)):,} to train, {sizes.get('valid', len(data.valid)):,} to validate"]
    parts += [f"{sizes['test']:,} to test, sealed"] if sizes.get("test") is not None else ["no test split"]
    total = f.get("examples", len(data.train) + len(data.valid))
    return Section("there", "What there is", f"{count(total, 'example')}{what}: {', '.join(parts)}.", tuple(blocks))


def _found(look: Look, links: Mapping[str, str], columns: bool) -> Section:
    found = sorted(look.findings, key=lambda f: list(_WORDS).index(f.severity))
    blocks: list[Block] = []
    if found:
        places = {f.code: "columns" for f in found if f.code in _COLUMNS and columns}
        places |= {f.code: "there" for f in found if f.code in _CLASSES}
        blocks.append(Findings(tuple(found), links={**places, **links}))
    if look.not_run:
        rows = [(clean(n.code), clean(n.why)) for n in look.not_run]
        blocks.append(Table(("code", "why"), rows, "What could not be looked at"))
    counts = [(word, sum(f.severity is s for f in found)) for s, word in _WORDS.items()]
    text = ", ".join(count(n, word) for word, n in counts if n)
    sentence = f"Looking at it found {text}." if text else "Nothing was found wrong."
    if seen := look.facts.get("looked_at", {}):
        sentence += f" A part was looked at closely: {seen['n']:,} examples." if seen.get("part") else ""
    return Section("found", "What was found", sentence, tuple(blocks))


def _said(alone: Sequence[Example]) -> str:
    if not alone:
        return ""
    return f"{count(len({(e.split, e.index) for e in alone}), 'example')} a person should look at, the most suspicious first."


def _twins(look: Look) -> str:
    told: list[Finding] = [f for f in look.findings if f.code in ("DUPLICATE", "NEAR-DUPLICATE")]
    return " ".join(f"{f.message.split(': ')[0][:1].upper()}{f.message.split(': ')[0][1:]}." for f in told)


def _line(gallery: Gallery, found: Sequence[Example]) -> Section:
    """Return the section on a series along its time; empty for other data."""
    series, frame = gallery.data.meta.get("series") or {}, gallery.frame
    names = [n if n in gallery.columns else f"{n}_" for n in series.get("time", ())]
    if not names or not set(names) <= set(gallery.columns):
        return Section("series", "Along the time")
    first = len(gallery.data.train)
    when = moments(frame.rename(columns=dict(zip(names, series["time"], strict=True))), series["time"])
    odd = sorted({gallery.row(e.split, e.index) for e in found})
    numbers = [c for c in gallery.columns if c not in names and kind_of(frame[c])[0] == "number"][:_LINES]
    blocks = [line_plot(str(series.get("target", "target")), when, frame["label"].to_numpy(float), first, odd=odd)]
    blocks += [line_plot(c, when, as_numbers(frame[c]), first, half=True) for c in numbers]
    return Section("series", "Along the time", "", tuple(blocks))


def _sheets(gallery: Gallery, found: Sequence[Example]) -> Section:
    v = view(gallery.data)
    at = [gallery.row(v.name(i)[0], int(v.index[i])) for i in range(len(v))]
    measures = {n: gallery.frame[n].to_numpy()[at] for n in ENDS if n in gallery.columns}
    several = max(1, len(v.classes)) if v.classes is not None else 4
    parts = groups(v, measures, k=max(5, min(8, _STRIPS // several)) if gallery.pictured else 3)
    blocks = sheets(gallery, v, parts, found)
    whole = "class" if v.classes is not None else "part of the target's range" if v.y.ndim == 1 else "features"
    text = f"Typical examples are nearest to the mean of their {whole}, the farthest are unlike the rest."
    return Section("sheets", "Typical and extreme", text, tuple(blocks))


def _columns(gallery: Gallery) -> tuple[Section, Mapping[str, float]]:
    """Return the section on the columns, and how strongly each is related to the target."""
    import pandas as pd

    data, first = gallery.data, len(gallery.data.train)
    y = data.train.targets.numpy()
    rows, plots, strength = [], list[tuple[float, Plot]](), dict[str, float]()
    for name in gallery.columns:
        column = gallery.frame[name]
        kind, _ = kind_of(column)
        if kind in ("number", "flag"):
            x = as_numbers(column)
            known = x[np.isfinite(x)]
            distinct, told = (
                len(np.unique(known)),
                [float(f(known)) for f in (np.min, np.median, np.max)] if len(known) else [None] * 3,
            )
            told, top = [cell(v) for v in told], None
        elif kind in ("category", "date"):
            x = column.astype(object).where(column.notna(), None).to_numpy()
            counts = column.astype(str)[column.notna()].value_counts()
            distinct, told, top = (
                len(counts),
                [None] * 3,
                shorten(counts.index[0], 40) if len(counts) and counts.iloc[0] > 1 else None,
            )
        else:
            rows.append((clean(name), kind, Share(column.isna().mean()), None, None, None, None, None, None))
            continue
        ordered = kind in ("number", "flag")
        codes = x if ordered else pd.factorize(x, use_na_sentinel=False)[0]
        s = _strength(codes[:first], y, ordered, data.kind == "classification")
        strength[name] = s
        missing = Share(float(column.isna().mean()) if not ordered else float(np.mean(~np.isfinite(x))))
        rows.append((clean(name), kind, missing, distinct, *told, top, round(s, 3)))
        if distinct < 2 or (not ordered and distinct > 0.5 * len(column)):
            continue
        target = (
            Target(y, data.classes or tuple(map(str, range(int(y.max()) + 1))), s)
            if data.kind == "classification"
            else None
        )
        if data.kind != "classification" and y.ndim == 1:
            target = Target(y, None, s)
        plot = (number_plot if ordered else category_plot)(name, x[:first], x[first:], target)
        if plot is not None:
            plots.append((s, plot))
    if not rows:
        return Section("columns", "The columns"), {}
    heads = (
        "column",
        "kind",
        "missing",
        "distinct",
        "lowest",
        "median",
        "highest",
        "commonest",
        "relation to the target",
    )
    note = "Relation: 0 none, 1 the target follows from it. Rank correlation, its like for classes, or Cramer's V."
    used = [j for j in range(len(heads)) if any(r[j] is not None for r in rows)]
    table = Table(tuple(heads[j] for j in used), [[r[j] for j in used] for r in rows], note=note, sortable=True)
    drawn = [p for _, p in sorted(plots, key=lambda p: -p[0])[:_PLOTS]]
    best = max(strength, key=lambda n: strength[n], default=None)
    text = (
        f"{count(len(rows), 'column')}; most related to the target: {shorten(best, 40)}, {strength[best]:.2f}."
        if best
        else ""
    )
    if len(plots) > len(drawn):
        text += f" Drawn: the {len(drawn)} most related."
    what = "What was measured" if gallery.pictured else "The columns"
    return Section("columns", what, text, (table, *drawn)), strength


def _strength(x: np.ndarray, y: np.ndarray, ordered: bool, classes: bool) -> float:
    if y.ndim == 1:
        return relation(x, y, ordered=ordered, classes=classes)
    return max(relation(x, y[:, j], ordered=ordered, classes=False) for j in range(min(5, y.shape[1])))
