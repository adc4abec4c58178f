"""OUTLIER, BLANK: examples far from all others, on one axis or in all features together, and pictures of nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from whet.data.prepare import CLIP
from whet.data.seen.outcome import Example, Outcome
from whet.data.seen.tails import Tail, tails
from whet.data.seen.view import View
from whet.finding import Finding, Severity
from whet.seed import rng

__all__ = ["far_examples", "lone_distance", "picture_axes", "text_axes"]

ALPHA = 1e-3
AXES = 1000
LISTED = 100
REFERENCE = 2000
ROUNDING = 4 * float(np.finfo(np.float32).eps)  # of |a|^2 + |b|^2: a squared distance below it is what rounding left
BLANK = 1 / 255  # of the range of values: a picture whose pixels vary less shows nothing


def lone_distance(x: np.ndarray, *, k: int = 3, seed: int = 0) -> np.ndarray:
    """Return (n,) the distance of each row of x (n, p) to its k-th nearest among 2,000 rows (itself left out), 0 where it is lost in rounding.

    >>> lone_distance(np.array([[0.0], [1.0], [2.0], [3.0], [100.0]])).round(2).tolist()
    [3.0, 2.0, 2.0, 3.0, 99.0]
    """
    n = len(x)
    at = rng(seed, "lone distance").choice(n, min(n, REFERENCE), replace=False)
    some = x[at].astype(np.float32)
    square = (some**2).sum(1)
    column = np.full(n, -1)
    column[at] = np.arange(len(at))
    out = np.empty(n, np.float32)
    k = min(k, len(at) - 1)
    for i in range(0, n, 2048):
        block = x[i : i + 2048].astype(np.float32)
        size = (block**2).sum(1)[:, None] + square[None]
        d = size - 2 * block @ some.T
        d[d < ROUNDING * size] = 0
        own = column[i : i + len(block)]
        d[np.flatnonzero(own >= 0), own[own >= 0]] = np.inf
        out[i : i + len(block)] = np.sqrt(np.partition(d, k - 1, axis=1)[:, k - 1])
    return out


def picture_axes(v: View) -> dict[str, np.ndarray]:
    """Return brightness (mean) and contrast (standard deviation) of every picture, (n,) each; nothing when there are none.

    >>> from whet.data.bundled import digits
    >>> from whet.data.seen.view import view
    >>> sorted(picture_axes(view(digits())))
    ['brightness', 'contrast']
    """
    if v.pixels is None:
        return {}
    mean, std = np.empty(len(v)), np.empty(len(v))
    for i in range(0, len(v), 4096):
        part = v.pixels[i : i + 4096].float().flatten(1)
        mean[i : i + 4096], std[i : i + 4096] = part.mean(1).numpy(), part.std(1, correction=0).numpy()
    return {"brightness": mean, "contrast": std}


def text_axes(v: View) -> dict[str, np.ndarray]:
    """Return the length in words of every text, (n,) a column; missing texts are NaN.

    >>> from whet.data.bundled import digits
    >>> from whet.data.seen.view import view
    >>> text_axes(view(digits()))
    {}
    """
    alone = v.kind == "text" and len(v.texts) == 1
    return {"length" if alone else f"length of {t.name}": np.where(t.missing, np.nan, t.length) for t in v.texts}


def far_examples(
    v: View, encoding: Mapping[str, Any] | None = None, *, cut: Mapping[str, np.ndarray] | None = None, seed: int = 0
) -> Outcome:
    """Return outlying examples: per numeric column, brightness, contrast, and by the distance to the nearest others.

        An axis has outliers where its tail has a gap (see `tails`), at 1e-3 over all axes; WARN when even a power law rules the gap
        out, else INFO. Values of a table that was encoded are given as they were before; cut: (n,) values as they were of those columns
    that the encoding cut off.

        >>> from whet.data.split import Data
        >>> x = np.random.default_rng(0).normal(size=(300, 2)); x[7, 1] = 90
        >>> far_examples(__import__("whet.data.seen.view", fromlist=["view"]).view(Data.from_arrays(x, x[:, 0]))).findings[0].code
        'OUTLIER'
    """
    axes = picture_axes(v) | text_axes(v)
    if v.kind == "table":
        axes |= {name: v.numbers[:, j] for j, name in enumerate(v.names[:AXES]) if not name.endswith(" missing")}
    if v.features.shape[1] > 1 and len(v) >= 100:
        axes["distance"] = lone_distance(v.features, seed=seed)
    raw = _scales(encoding)
    for name, values in (cut or {}).items():
        if name in axes:  # no value where one was imputed
            mean, std = raw[name]
            axes[name] = np.where(np.isnan(values), axes[name], (values - mean) / std)
    found: dict[str, list[Tail]] = {}
    for name, x in axes.items():
        side = "upper" if name == "distance" else "both"
        if ends := tails(x, alpha=ALPHA / max(1, len(axes)), sides=side, seed=seed):
            found[name] = ends
    examples = _examples(v, axes, found, raw, set(cut or {}))
    findings = [_finding(axes, found, examples)] if found else []
    blank = _blank(v, axes)
    facts: dict[str, Any] = {"axes": len(axes), "outliers": {k: sum(len(t.index) for t in ends) for k, ends in found.items()},
                             "part": v.part or len(v.names) > AXES}  # fmt: skip
    if "brightness" in axes:
        facts["brightness"] = [float(q) for q in np.quantile(axes["brightness"], [0, 0.01, 0.5, 0.99, 1])]
        facts["contrast"] = [float(q) for q in np.quantile(axes["contrast"], [0, 0.01, 0.5, 0.99, 1])]
        facts["blank"] = len(blank)
    if len(blank):
        shown = [Example("BLANK", *v.name(i), int(v.index[i]), v.label(i), "one colour", 1.0) for i in blank[:LISTED]]
        examples += shown
        ids = [[e.split, e.id] for e in shown[:20]]
        text = f"{len(blank):,} of {len(v):,} pictures show nothing, all pixels alike: " + ", ".join(
            f"{s} {i}" for s, i in ids[:5]
        )
        severity = Severity.WARN if len(blank) < 0.2 * len(v) else Severity.INFO
        evidence = {"n": len(blank), "of": len(v), "threshold": BLANK, "ids": ids}
        findings.append(
            Finding("BLANK", severity, "pictures", evidence, text, "look at the files; delete them or their labels")
        )
    return Outcome({"outliers": facts}, tuple(findings), tuple(examples))


def _blank(v: View, axes: Mapping[str, np.ndarray]) -> np.ndarray:
    if v.pixels is None:
        return np.empty(0, int)
    span = float(v.pixels.max()) - float(v.pixels.min()) if v.pixels.dtype.is_floating_point else 255.0
    return np.flatnonzero(axes["contrast"] < BLANK * span)


def _scales(encoding: Mapping[str, Any] | None) -> dict[str, tuple[float, float]]:
    """Return (mean, std) of the columns of numbers of an encoded table."""
    columns = (encoding or {}).get("columns", [])
    return {c["name"]: (p["mean"], p["std"]) for c in columns if c["kind"] == "number" for p in c["parts"]}


def _examples(
    v: View,
    axes: Mapping[str, np.ndarray],
    found: Mapping[str, list[Tail]],
    raw: Mapping[str, tuple[float, float]],
    known: set[str],
) -> list[Example]:
    out = []
    for name, ends in found.items():
        mean, std = raw.get(name, (0.0, 1.0))
        for end in ends:
            # Of a crowd at one place, as of a placeholder, the first few will do.
            for i, z in list(zip(end.index, end.z, strict=True))[: max(3, LISTED // len(found))]:
                value = float(axes[name][i]) * std + mean
                cut = " or beyond" if name in raw and name not in known and abs(axes[name][i]) >= CLIP else ""
                reason = "far from every other example" if name == "distance" else f"{name} {value:.6g}{cut}"
                score = min(abs(float(z)), 1e9)
                out.append(Example("OUTLIER", *v.name(i), int(v.index[i]), v.label(i), reason, score))
    return sorted(out, key=lambda e: -e.score)[:LISTED]


def _finding(axes: Mapping[str, np.ndarray], found: Mapping[str, list[Tail]], examples: list[Example]) -> Finding:
    p = min(1.0, len(axes) * min(t.p for ends in found.values() for t in ends))
    own = min(1.0, len(axes) * min(t.shape for ends in found.values() for t in ends))
    counts = {k: sum(len(t.index) for t in ends) for k, ends in found.items()}
    worst = {k: max(abs(float(z)) for t in ends for z in t.z[:1]) for k, ends in found.items()}
    where = ", ".join(f"{k} ({n:,}, robust z {min(worst[k], 1e9):.3g})" for k, n in list(counts.items())[:5])
    shown = ", ".join(f"{e.split} {e.id} ({e.reason})" for e in examples[:3])
    evidence = {
        "axes": counts, "z": {k: min(z, 1e9) for k, z in worst.items()}, "gap": {k: max(t.gap for t in e) for k, e in found.items()},
        "shape_p": own, "threshold": ALPHA, "n": len(next(iter(axes.values()))), "ids": [[e.split, e.id] for e in examples[:20]],
    }  # fmt: skip
    sure = p < ALPHA
    evidence |= {"p": p} if sure else {"power_law_p": p}
    text = f"far beyond all others on {where}{', ...' if len(counts) > 5 else ''}: {shown}"
    return Finding("OUTLIER", Severity.WARN if sure else Severity.INFO, "examples", evidence, text,
                   "look at them: a placeholder such as 9999, a unit, a typing error?")  # fmt: skip
