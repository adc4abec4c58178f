"""REDUNDANT, COUNTER, MISSING-TOGETHER, LEAK: columns that repeat another, number the rows, or know the target."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from whet.data.seen.columns import absent_beyond, absent_with, counts_rows, missing_together, same_columns
from whet.data.seen.lone import COLUMNS, lone_scores, stands_out
from whet.data.seen.outcome import Outcome
from whet.data.seen.view import View
from whet.finding import Finding, NotRun, Severity

__all__ = ["odd_columns"]


def odd_columns(v: View, encoding: Mapping[str, Any] | None = None, known: Collection[str] = ()) -> Outcome:
    """Return findings on the columns of a table; `known` columns were reported as leaks before.

    >>> from whet.data.split import Data
    >>> from whet.data.seen.view import view
    >>> x = np.random.default_rng(0).normal(size=(200, 2))
    >>> v = view(Data.from_arrays(np.c_[x, x[:, 0], np.arange(200.0)], x[:, 1] > 0, kind="classification"))
    >>> sorted(f.code for f in odd_columns(v).findings)
    ['COUNTER', 'LEAK', 'REDUNDANT']
    """
    if v.kind != "table":
        return Outcome()
    names = (*v.names, *v.categories)
    mask, masked = _missing(v, encoding)
    x = np.nan_to_num(v.numbers)
    findings = [*_redundant(x, v.codes, names), *_counters(x, v, encoding), *_together(mask, masked)]
    leaks, facts, skipped = _leaks(x, v, mask, masked, known)
    return Outcome({"alone": facts}, (*findings, *leaks), not_run=skipped)


def _missing(v: View, encoding: Mapping[str, Any] | None) -> tuple[np.ndarray, list[str]]:
    """Return (n, m) which values are missing, for the columns that have any, and their names."""
    found: dict[str, np.ndarray] = {}
    for j, name in enumerate(v.names):
        if encoding is not None and name.endswith(" missing"):
            found[name.removesuffix(" missing")] = v.numbers[:, j] > 0.5
        elif np.isnan(v.numbers[:, j]).any():
            found[name] = np.isnan(v.numbers[:, j])
    gaps = {c["name"] for c in (encoding or {}).get("columns", []) if c["kind"] == "category" and c["missing"]}
    for j, name in enumerate(v.categories):
        if name in gaps:
            found[name] = v.codes[:, j] == 0
    mask = np.stack(list(found.values()), 1) if found else np.empty((len(v), 0), bool)
    return mask, list(found)


def _redundant(x: np.ndarray, codes: np.ndarray, names: tuple[str, ...]) -> list[Finding]:
    if x.shape[1] > 2000 or codes.shape[1] > 100:
        return []
    pairs = [
        (a, b)
        for a, b in same_columns(x, codes)
        if not (names[a].endswith(" missing") and names[b].endswith(" missing"))
    ]
    if not pairs:
        return []
    shown = ", ".join(f"`{names[b]}` and `{names[a]}`" for a, b in pairs[:5]) + (", ..." if len(pairs) > 5 else "")
    evidence = {"pairs": [[names[a], names[b]] for a, b in pairs[:50]], "n": len(x)}
    text = f"columns that say the same, up to scale or names: {shown}"
    return [Finding("REDUNDANT", Severity.INFO, "columns", evidence, text, "delete one of each")]


def _counters(x: np.ndarray, v: View, encoding: Mapping[str, Any] | None) -> list[Finding]:
    scale = {c["name"]: p for c in (encoding or {}).get("columns", []) if c["kind"] == "number" for p in c["parts"]}
    found = []
    for j, name in enumerate(v.names):
        part = scale.get(name, {"mean": 0.0, "std": 1.0})
        # As float32 a standardised whole number is whole to about a millionth of the column's spread.
        column = x[:, j].astype(np.float64) * part["std"] + part["mean"]
        how = counts_rows(column, v.ids)
        if not how:
            continue
        said = {
            "steps": "grows in step with the row number",
            "rises": "every value is its own, in the order of the rows",
            "numbers": "every value is a whole number of its own, in a range hardly wider than their count",
        }[how]
        severity = Severity.WARN if how == "steps" else Severity.INFO
        evidence = {"n": len(v), "kind": how}
        fix = "delete the column if it only numbers or orders the rows"
        found.append(Finding("COUNTER", severity, name, evidence, f"{said} ({len(v):,} rows)", fix))
    return found


def _together(mask: np.ndarray, masked: list[str]) -> list[Finding]:
    groups = missing_together(mask)
    if not groups:
        return []
    shown = "; ".join(", ".join(masked[j] for j in g[:6]) + f" ({int(mask[:, g[0]].sum()):,} rows)" for g in groups[:3])
    evidence = {"groups": [[masked[j] for j in g] for g in groups], "rows": [int(mask[:, g[0]].sum()) for g in groups]}
    text = f"missing in exactly the same rows: {shown}"
    return [
        Finding("MISSING-TOGETHER", Severity.INFO, "columns", evidence, text, "find out what these rows have in common")
    ]


def _leaks(
    x: np.ndarray, v: View, mask: np.ndarray, masked: list[str], known: Collection[str]
) -> tuple[list[Finding], dict[str, Any], tuple[NotRun, ...]]:
    found: list[Finding] = []
    fix = "delete the column if it is not known when predicting"
    if v.y.ndim != 1:
        return [], {}, (NotRun("LEAK", "several targets an example"),)
    for j, name in enumerate(masked):
        said = None if name in known or f"{name} missing" in known else _absent(mask[:, j], v)
        if said is not None:
            when, evidence = said
            text = f"`{name}` is missing {when} ({evidence['missing']:,} rows)"
            found.append(Finding("LEAK", Severity.WARN, name, {"n": len(v), "threshold": 1e-6, **evidence}, text, fix))
    if len(v) < 100 or x.shape[1] + v.codes.shape[1] < 2:
        return found, {}, ()
    names = (*v.names, *v.categories)
    columns = np.concatenate([x, _by_target(v)], 1) if v.codes.shape[1] else x
    y = v.y.astype(np.int64) if v.classes is not None else v.y.astype(float)
    open_ = [j for j, n in enumerate(names) if n not in known]
    scores = np.zeros(len(names))
    scores[open_] = lone_scores(columns[:, open_], y, classes=v.classes is not None)
    best = np.argsort(-scores, kind="stable")
    what = "AUC" if v.classes is not None else "R2"
    facts = {"score": what, "best": {names[j]: float(scores[j]) for j in best[:5]}, "part": len(open_) > COLUMNS}
    for j in stands_out(scores):
        others = float(max((s for s in scores if s < 0.99), default=0.0))
        text = f"`{names[j]}` alone predicts the target with {what} {scores[j]:.4f} (out of fold), the next best column {others:.2f}"
        evidence = {"score": float(scores[j]), "next": others, "threshold": 0.99, "n": len(v)}
        found.append(Finding("LEAK", Severity.WARN, names[j], evidence, text, fix))
    return found, facts, ()


def _absent(missing: np.ndarray, v: View) -> tuple[str, dict[str, Any]] | None:
    """Return with which targets alone a column is missing, in words, and the numbers behind it."""
    if v.classes is not None:
        gone = absent_with(missing, v.y)
        if gone is None:
            return None
        when = f"{'exactly' if gone.exactly else 'only'} when the target is '{v.classes[gone.cls]}'"
        return when, {"missing": gone.n, "class": v.classes[gone.cls], "p": gone.p}
    far = absent_beyond(missing, v.y)
    if far is None:
        return None
    when = f"{'exactly' if far.exactly else 'only'} when the target is {far.bound:.6g} or {'more' if far.above else 'less'}"
    return when, {"missing": far.n, "bound": far.bound, "p": far.p}


def _by_target(v: View) -> np.ndarray:
    """Return the categories (n, k) as numbers, each value as its mean target, so that a tree can split them."""
    out = np.zeros(v.codes.shape)
    t = v.y.astype(float)
    for j in range(v.codes.shape[1]):
        values, at = np.unique(v.codes[:, j], return_inverse=True)
        sizes = np.bincount(at, minlength=len(values))
        if len(values) > len(v) / 10:  # too many to say anything by themselves, and each would know its own target
            continue
        out[:, j] = (np.bincount(at, t, minlength=len(values)) / sizes)[at]
    return out
