"""Near duplicates (NEAR-DUPLICATE): examples nearly the same, within a split and across splits."""

from __future__ import annotations

from typing import Any

import numpy as np

from whet.data.seen.near import Pairs, near_pictures, near_rows
from whet.data.seen.outcome import Example, Outcome
from whet.data.seen.sequences import near_sequences
from whet.data.seen.textnear import near_texts
from whet.data.seen.view import View
from whet.data.text import text_keys
from whet.finding import Finding, NotRun, Severity

__all__ = ["near_duplicates"]

ALPHA = 1e-3
ACROSS = 0.01  # of the validation examples: from here on their scores are flattered
LONG = 10  # words of the median text: from here on the texts of a table, not its numbers, say what is near
LISTED = 200


def near_duplicates(v: View, once: np.ndarray) -> Outcome:
    """Return pairs of examples that are nearly, not exactly, the same; `once` (m,) names one of each set of exact duplicates.

    Pictures by perceptual hash and distance, rows of a table by rounding (no more than chance makes: no finding), sequences and texts by the
    pieces they share. WARN when over 1 % of the validation examples have one in training, or clearly more of them than of the
    training examples do (Fisher's exact test, one-sided, p < 1e-3: chance would divide pairs evenly); else INFO.

    >>> from whet.data.split import Data
    >>> from whet.data.seen.view import view
    >>> x = np.random.default_rng(0).normal(size=(200, 6)); x[100:] = x[:100] + 1e-4
    >>> v = view(Data.from_arrays(x, x[:, 0]))
    >>> [f.severity.value for f in near_duplicates(v, np.arange(len(v))).findings]
    ['WARN']
    """
    code = "NEAR-DUPLICATE"
    found: Pairs | str
    if v.kind == "pictures" and v.pixels is not None:
        found = near_pictures(v.pixels[once.tolist()] if len(once) < len(v) else v.pixels, v.features[once])
    elif v.texts and (v.kind == "text" or max(np.median(t.length) for t in v.texts) >= LONG):
        found = near_texts(max(v.texts, key=lambda t: float(np.median(t.length))), once)
    elif v.kind == "table":
        said = [text_keys(t.strings).view(np.int64)[:, None] for t in v.texts]
        found = near_rows(v.numbers[once], np.concatenate([v.codes, *said], 1)[once])
    elif v.kind == "sequences":
        found = near_sequences(v.codes[once])
    else:
        found = "inputs of this shape have no measure of nearness"
    if isinstance(found, str):
        return Outcome(not_run=(NotRun(code, found),))
    a, b = once[found.first], once[found.second]
    facts = _facts(v, a, b) | {"expected": found.expected, "n": len(once), "part": v.part or found.part}
    if not len(found) or _by_chance(len(found), found.expected) >= ALPHA:
        return Outcome({"near": facts})
    bad = facts["across"] > ACROSS * facts["valid_n"]
    apart = facts["rates_p"] < ALPHA and facts["across"] >= 5
    examples = []
    for i, j, d in list(zip(a, b, found.distance, strict=True))[:LISTED]:
        other = v.name(i)
        reason = f"nearly {other[0]} {other[1]} ('{v.label(i)}'), {d:.2g} {found.why}"
        examples.append(Example(code, *v.name(j), int(v.index[j]), v.label(j), reason, 1 / (1 + float(d))))
    pairs = [
        [*v.name(i), *v.name(j), round(float(d), 6)] for i, j, d in zip(a[:50], b[:50], found.distance, strict=False)
    ]
    shown = ", ".join(f"{s} {i} and {t} {j}" for s, i, t, j, _ in pairs[:3])
    text = f"{facts['train']:,} training examples are nearly another one, {facts['across']:,} validation examples nearly a training one"
    text += f"; {facts['disagree']:,} pairs differ in the target" if facts["disagree"] else ""
    text += f" (chance: about {found.expected:.2g} pairs)" if found.expected else ""
    evidence = facts | {"pairs": pairs, "threshold": ACROSS} | ({"p": facts["rates_p"]} if apart and not bad else {})
    fix = "keep copies of one thing in one split: divide by groups"
    finding = Finding(
        "NEAR-DUPLICATE",
        Severity.WARN if bad or apart else Severity.INFO,
        "train, valid",
        evidence,
        f"{text}: {shown}",
        fix,
    )
    return Outcome({"near": facts}, (finding,), tuple(examples))


def _facts(v: View, a: np.ndarray, b: np.ndarray) -> dict[str, Any]:
    """Count the examples that have a near one in training, by split, and compare the two shares."""
    from scipy.stats import hypergeom

    twinned = np.zeros(len(v), bool)
    for i, j in ((a, b), (b, a)):
        twinned[i[~v.valid[j]]] = True
    n, m = int((~v.valid).sum()), int(v.valid.sum())
    train, across = int(twinned[~v.valid].sum()), int(twinned[v.valid].sum())
    p = float(hypergeom.sf(across - 1, n + m, train + across, m)) if across else 1.0
    differ = int((v.y[a] != v.y[b]).sum()) if v.classes else 0
    return {
        "pairs_n": len(a),
        "train": train,
        "across": across,
        "train_n": n,
        "valid_n": m,
        "disagree": differ,
        "rates_p": p,
    }


def _by_chance(m: int, expected: float) -> float:
    """Return how likely m or more pairs are when chance makes `expected`."""
    from scipy.stats import poisson

    return float(poisson.sf(m - 1, expected)) if expected else 0.0
