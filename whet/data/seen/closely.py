"""Every closer look at the data, in order; one that fails says so and the others go on."""

from __future__ import annotations

from collections.abc import Callable, Collection

import numpy as np
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from whet.data.column import as_numbers
from whet.data.duplicates import visible_digests
from whet.data.prepare import CLIP
from whet.data.seen.balance import effective_classes, effective_size
from whet.data.seen.drift import drift
from whet.data.seen.labels import doubtful_labels
from whet.data.seen.nearby import near_duplicates
from whet.data.seen.null import scaled_together
from whet.data.seen.odd import odd_columns
from whet.data.seen.outcome import Outcome
from whet.data.seen.outliers import far_examples
from whet.data.seen.sequences import lengths
from whet.data.seen.series import series_look
from whet.data.seen.textleak import word_leaks
from whet.data.seen.textodd import odd_texts
from whet.data.seen.view import View, view
from whet.data.split import Data
from whet.errors import one_line
from whet.finding import Finding, NotRun, Severity

__all__ = ["Told", "closely"]

Told = Callable[[str, float], None]
SHARES = {
    "NEAR-DUPLICATE": 0.2,
    "LEAK": 0.08,
    "OUTLIER": 0.07,
    "SHIFT": 0.04,
    "LABEL": 0.6,
}  # of the time, roughly; others little


def closely(data: Data, known: Collection[str] = (), told: Told | None = None) -> Outcome:
    """Return what every closer look at the visible splits shows; `known`: columns that are reported as leaks already.

    told: called with (what is looked at next, the share of the time that is over, roughly) as they go. Of more than 60,000 examples a part is looked at; the facts say so.

    >>> from whet.data.bundled import diabetes
    >>> sorted(n.code for n in closely(diabetes()).not_run)
    ['LABEL', 'NEAR-DUPLICATE']
    """
    if "series" in data.meta:
        with threadpool_limits(1):
            return series_look(data)
    v = view(data)
    encoding = data.meta.get("encoding")
    looks: dict[str, Callable[[], Outcome]] = {
        "NEAR-DUPLICATE": lambda: near_duplicates(v, _once(data, v)),
        "LEAK": lambda: _joined(odd_columns(v, encoding, known), word_leaks(v)),
        "ODD-TEXT": lambda: odd_texts(v),
        "OUTLIER": lambda: far_examples(v, encoding, cut=_cut(data, v)),
        "SHIFT": lambda: drift(v),
        "SCALED": lambda: _scaled(data),
        "LABEL": lambda: doubtful_labels(v),
    }
    outcomes = [Outcome(_facts(v))]
    with threadpool_limits(1):  # OpenMP's threads wait by spinning: on a busy machine more of them take far longer
        over, whole = 0.0, sum(SHARES.get(code, 0.01) for code in looks)
        for code, look in looks.items():
            if told is not None:
                told(code, over / whole)
            over += SHARES.get(code, 0.01)
            try:
                outcomes.append(look())
            except Exception as e:  # odd data may raise anything, and the other looks are worth having
                outcomes.append(Outcome(not_run=(NotRun(code, one_line(f"{type(e).__name__}: {e}")[:200]),)))
    return _joined(*outcomes)


def _joined(*outcomes: Outcome) -> Outcome:
    return Outcome(
        {k: x for o in outcomes for k, x in o.facts.items()},
        tuple(f for o in outcomes for f in o.findings),
        tuple(e for o in outcomes for e in o.examples),
        tuple(n for o in outcomes for n in o.not_run),
    )


def _facts(v: View) -> dict[str, object]:
    facts: dict[str, object] = {"looked_at": {"n": len(v), "part": v.part, "kind": v.kind}}
    if v.classes is not None and (v.y >= 0).any():
        counts = np.bincount(v.y[v.y >= 0].astype(np.int64))
        facts["balance"] = {"classes": effective_classes(counts), "examples": effective_size(counts)}
    if v.texts:
        facts["texts"] = [t.facts() for t in v.texts]
    if v.kind == "sequences":
        n = lengths(v.codes)
        facts["lengths"] = {"low": int(n.min()), "median": float(np.median(n)), "high": int(n.max()),
                            "padding": 1 - float(n.mean()) / v.codes.shape[1]}  # fmt: skip
    return facts


def _cut(data: Data, v: View) -> dict[str, np.ndarray]:
    """Return the values (n,), as they were read, of the number columns in which the encoding cut some off."""
    known = {c["name"] for c in data.meta.get("encoding", {}).get("columns", ()) if c["kind"] == "number"}
    if any(len(data.raw.get(s, ())) != len(split) for s, split in (("train", data.train), ("valid", data.valid))):
        return {}
    found = {}
    for j, name in enumerate(v.names):
        if name in known and (np.abs(v.numbers[:, j]) >= CLIP).any():
            train, valid = (as_numbers(data.raw[s][name]) for s in ("train", "valid"))
            found[name] = np.concatenate([train[v.index[~v.valid]], valid[v.index[v.valid]]])
    return found


def _once(data: Data, v: View) -> np.ndarray:
    """Return (m,) positions in the view of the first of each set of exact duplicates."""
    train, valid = visible_digests(data)
    both = np.concatenate([train[v.index[~v.valid]], valid[v.index[v.valid]]])
    return np.sort(np.unique(both, return_index=True)[1])


def _scaled(data: Data) -> Outcome:
    """Return whether inputs were standardised over both splits; whether labels were used so cannot be seen in arrays."""
    if "encoding" in data.meta:
        return Outcome({"scaled": {"columns": 0, "why": "the encoding was fitted on training rows alone"}})
    why = NotRun("NULL", "what prepared the inputs is not in the data: whet.data.seen.null.null_labels(x, y, prepare)")
    a, b = data.train.parts[0], data.valid.parts[0]
    if not a.is_floating_point() or a.numel() == 0:
        return Outcome(not_run=() if a.ndim == 4 else (why,))
    if a.ndim == 4:
        a, b = (x.movedim(1, -1).reshape(-1, x.shape[1]) for x in (a, b))
    ways, of = scaled_together(a.flatten(1).numpy(), b.flatten(1).numpy()), int(a.flatten(1).shape[1])
    facts = {"scaled": {"columns": sum(len(way.columns) for way in ways), "of": of}}
    found = []
    for way in ways:
        names = [data.features[j] if j < len(data.features) else f"column {j}" for j in way.columns]
        have = "column has" if len(names) == 1 else "columns have"
        text = f"{len(names)} {have} {way.how} over training and validation together, not over training: "
        text += ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
        fix = "divide first, then scaler.fit(train) and scaler.transform(valid)"
        evidence = {"columns": len(names), "of": of, "threshold": way.threshold, "n": [len(a), len(b)]}
        found.append(Finding("SCALED", Severity.WARN, "inputs", evidence, text, fix))
    return Outcome(facts, tuple(found), not_run=(why,))
