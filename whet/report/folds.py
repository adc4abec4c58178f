"""The report of a cross-validated study: what it calls epochs are folds."""

from __future__ import annotations

import re
from dataclasses import fields, is_dataclass, replace
from typing import Any

from whet.report.block import Code
from whet.report.document import Report

__all__ = ["in_folds"]

_EPOCH = re.compile(r"(?<![-\w])(an |An )?([Ee])poch(s?)\b")  # an option --epochs stays


def in_folds(report: Report, k: int) -> Report:
    """Return the report with folds for epochs in every text but commands, and their number `k` below its title.

    >>> from whet.report.block import Prose, Section
    >>> found = in_folds(Report("d", (Section("a", "After 3 epochs", "Made with --epochs 9.", (Prose("An epoch."),)),), "min loss"), 5)
    >>> found.subtitle, found.sections[0].title, found.sections[0].blocks[0].text
    ('min loss; cross-validated in 5 folds', 'After 3 folds', 'A fold.')
    """
    made: Report = _said(report)
    below = f"cross-validated in {k} folds"
    return replace(made, subtitle=f"{made.subtitle}; {below}" if made.subtitle else below)


def _said(thing: Any) -> Any:
    if isinstance(thing, str):
        return _EPOCH.sub(
            lambda m: (m[1] or "").replace("n ", " ") + ("F" if m[2] == "E" else "f") + f"old{m[3]}", thing
        )
    if isinstance(thing, Code):
        return thing
    if is_dataclass(thing) and not isinstance(thing, type):
        return replace(thing, **{f.name: _said(getattr(thing, f.name)) for f in fields(thing) if f.init})
    if isinstance(thing, dict):
        return {k: _said(v) for k, v in thing.items()}
    if type(thing) in (list, tuple):
        return type(thing)(_said(v) for v in thing)
    return thing
