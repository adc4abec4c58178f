"""Doubtful labels (LABEL): those that a quick model, fitted without them, contradicts."""

from __future__ import annotations

from typing import Any

import numpy as np

from whet.data.seen.confident import confident
from whet.data.seen.folds import probabilities
from whet.data.seen.outcome import Example, Outcome
from whet.data.seen.view import View
from whet.finding import Finding, NotRun, Severity
from whet.seed import rng

__all__ = ["doubtful_labels", "sure_errors"]

LEAST, CELLS, CLASSES = 100, 1_000_000, 200
SKILL = 0.5  # of the errors of always answering the commonest class, the model must avoid this share
MASTERY, MANY = 0.8, 500  # what it takes to warn: so much skill, so many examples
NOISE = 0.02  # a share of wrong labels worth a warning, where the model is sure
LISTED = 200


def sure_errors(p: np.ndarray, y: np.ndarray) -> tuple[int, int, float]:
    """Return (contradicted labels, examples, lower 95 % bound of their share) in the half where the model is surest.

    There the model's own mistakes are few, so the share is near that of wrong labels, if they fall anywhere alike.

    >>> p = np.array([[0.99, 0.01]] * 50 + [[0.6, 0.4]] * 50); y = np.zeros(100, int); y[:5] = 1; y[60:] = 1
    >>> sure_errors(p, y)[:2]
    (5, 50)
    """
    from scipy.stats import beta

    half = np.argsort(-p.max(1), kind="stable")[: max(1, len(p) // 2)]
    wrong = int((p[half].argmax(1) != y[half]).sum())
    return wrong, len(half), float(beta.ppf(0.025, wrong, len(half) - wrong + 1)) if wrong else 0.0


def doubtful_labels(v: View, *, seed: int = 0) -> Outcome:
    """Return suspected label errors, ranked for review (confident learning on out-of-fold probabilities).

    INFO; WARN when even where the model is surest (half of the examples) over 2 % of the labels contradict it, lower 95 % bound,
    if it is a good one (avoids 80 % of the errors of the commonest class, 500 examples).
    Not run for numbers, few examples, or where the quick model is hardly better than the commonest class.

    >>> from whet.data.bundled import digits
    >>> from whet.data.seen.view import view
    >>> data = digits(); data.train.targets[:40] = 9 - data.train.targets[:40]
    >>> found = doubtful_labels(view(data)).examples
    >>> len(found) > 20, all(e.index < 40 for e in found[:20])
    (True, True)
    """
    code = "LABEL"
    if v.y.ndim > 1 and v.y.dtype.kind != "f":
        return Outcome(not_run=(NotRun(code, "each position has a class: only one class an example is judged"),))
    if v.classes is None:
        return Outcome(not_run=(NotRun(code, "targets are numbers: only classes are judged"),))
    k, n = len(v.classes), len(v)
    if n < LEAST or k > CLASSES:
        return Outcome(not_run=(NotRun(code, f"{n} examples, {k} classes: at least {LEAST}, at most {CLASSES}"),))
    most = CELLS // k
    at = np.sort(rng(seed, "labels").choice(n, most, replace=False)) if n > most else np.arange(n)
    y = v.y[at].astype(np.int64)
    x = v.texts[0].weights if v.kind == "text" and len(v.texts) == 1 else v.features
    p = probabilities(x[at], y, k, table=v.kind == "table", seed=seed)
    right, common = float((p.argmax(1) == y).mean()), float(np.bincount(y).max() / len(y))
    facts: dict[str, Any] = {"n": len(y), "accuracy": right, "commonest": common}
    if right - common < SKILL * (1 - common):
        why = f"a quick model is right on {right:.1%}, always the commonest class on {common:.1%}: too weak to judge"
        return Outcome({"labels": facts}, not_run=(NotRun(code, why),))
    c = confident(p, y, seed=seed)
    wrong, sure, low = sure_errors(p, y)
    facts |= {"suspects": len(c.suspects), "rate": c.rate, "interval": list(c.interval),
              "sure": {"wrong": wrong, "n": sure, "low": low, "threshold": NOISE}}  # fmt: skip
    if not len(c.suspects):
        return Outcome({"labels": facts})
    examples = []
    for i, j, score in zip(c.suspects[:LISTED], c.suggested, c.score, strict=False):
        split, name = v.name(at[i])
        reason = f"looks like '{v.classes[j]}', given label has probability {score:.2g}"
        examples.append(Example(code, split, name, int(v.index[at[i]]), v.label(at[i]), reason, 1 - float(score)))
    shown = ", ".join(f"{e.split} {e.id} '{e.label}' ({e.reason.split(',')[0]})" for e in examples[:3])
    bad = low > NOISE and right - common >= MASTERY * (1 - common) and len(y) >= MANY
    text = f"{len(c.suspects):,} of {len(y):,} labels look wrong; estimated {c.rate:.1%} (95 %: {c.interval[0]:.1%} to "
    text += f"{c.interval[1]:.1%}), a quick model's mistakes included"
    text += f"; where it is surest {wrong / sure:.1%}" if bad else ""
    first = [
        [e.split, e.id, e.label, v.classes[j], round(1 - e.score, 6)]
        for e, j in zip(examples[:50], c.suggested, strict=False)
    ]
    finding = Finding("LABEL", Severity.WARN if bad else Severity.INFO, "labels", {**facts, "first": first},
                      f"{text}: {shown}", "look at them in this order; correct, do not delete")  # fmt: skip
    return Outcome({"labels": facts}, (finding,), tuple(examples))
