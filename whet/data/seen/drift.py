"""Shift (SHIFT): validation examples that do not come from where the training examples do."""

from __future__ import annotations

from whet.data.seen.outcome import Outcome
from whet.data.seen.outliers import picture_axes
from whet.data.seen.sequences import lengths
from whet.data.seen.shift import apart, column_p
from whet.data.seen.view import View
from whet.finding import Finding, NotRun, Severity
from whet.metric.holm import holm

__all__ = ["drift"]

ALPHA = 1e-3
COLUMNS = 1000
ALL = "all together (classifier)"


def drift(v: View, *, seed: int = 0) -> Outcome:
    """Return whether training and validation differ: every column, the target, and all features together.

    Kolmogorov-Smirnov for numbers, chi-squared for categories, a classifier's AUC for everything; WARN for what is below 1e-3
    after Holm's correction over all of them.

    >>> from whet.data.split import Data, Split
    >>> from whet.data.seen.view import view
    >>> import torch
    >>> x = torch.randn(400, 3, generator=torch.Generator().manual_seed(0)); y = torch.arange(400) % 2
    >>> [bool(drift(view(Data(Split(x, y), Split(x + s, y)))).findings) for s in (0, 1)]
    [False, True]
    """
    if min(v.valid.sum(), (~v.valid).sum()) < 20:
        return Outcome(not_run=(NotRun("SHIFT", "under 20 examples in a split"),))
    columns = {n: (v.numbers[:, j], True) for j, n in enumerate(v.names)} if v.kind == "table" else {}
    columns |= {n: (v.codes[:, j], False) for j, n in enumerate(v.categories)} if v.kind == "table" else {}
    columns = dict(list(columns.items())[:COLUMNS])
    columns |= {n: (x, True) for n, x in picture_axes(v).items()}
    columns |= {"length": (lengths(v.codes), True)} if v.kind == "sequences" else {}
    if v.y.ndim == 1:
        columns["target"] = (v.y, v.classes is None)
    tests = {n: column_p(x[~v.valid], x[v.valid], ordered=ordered) for n, (x, ordered) in columns.items()}
    both = apart(v.features, v.valid, seed=seed)
    if both is not None:
        tests[ALL] = (both.auc, both.p)
    p = dict(sorted(zip(tests, holm([t[1] for t in tests.values()]), strict=True), key=lambda item: item[1]))
    bad = [n for n in p if p[n] < ALPHA]
    facts = {"tests": len(tests), "least_p": min(p.values(), default=1.0), "auc": None if both is None else both.auc,
             "columns": {n: {"statistic": tests[n][0], "p": p[n]} for n in list(p)[:20]}}  # fmt: skip
    if not bad:
        return Outcome({"shift": facts})
    shown = ", ".join(
        f"{n} ({'AUC' if n == ALL else 'KS' if columns[n][1] else 'V'} {tests[n][0]:.2g})" for n in bad[:5]
    )
    text = f"training and validation differ in {shown}{', ...' if len(bad) > 5 else ''}; p {facts['least_p']:.1g} after correction"
    evidence = {"p": facts["least_p"], "threshold": ALPHA, "n": [int((~v.valid).sum()), int(v.valid.sum())], "tests": len(tests),
                "columns": {n: {"statistic": float(tests[n][0]), "p": float(p[n])} for n in bad[:20]}}  # fmt: skip
    fix = "divide by chance, or judge on what the model will meet and train on the like"
    return Outcome({"shift": facts}, (Finding("SHIFT", Severity.WARN, "train, valid", evidence, text, fix),))
