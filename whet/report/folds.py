"""The report of a cross-validated study: what it calls epochs are folds."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import fields, is_dataclass, replace
from typing import Any

from whet.report.block import Code
from whet.report.document import Report

__all__ = ["in_folds"]

_EPOCH = re.compile(r"(?<![-\w])(an |An )?([Ee])poch(s?)\b")  # an option --epochs stays
_COUNTED = re.compile(r"(?<=\d )()([e])poch(s?)\b")


def in_folds(report: Report, k: int, names: Iterable[str] = ()) -> Report:
    """Return the report with folds for epochs in every text but commands, and their number `k` below its title.

    names: the hyperparameters'; where one is called epochs itself, only counts of epochs ("3 epochs") become folds.

    >>> from whet.report.block import Prose, Section
    >>> found = in_folds(Report("d", (Section("a", "After 3 epochs", "Made with --epochs 9.", (Prose("An epoch."),)),), "min loss"), 5)
    >>> found.subtitle, found.sections[0].title, found.sections[0].blocks[0].text
    ('min loss; cross-validated in 5 folds', 'After 3 folds', 'A fold.')
    """
    taken = any(part in ("epoch", "epochs") for name in names for part in name.split("."))
    made: Report = _said(report, _COUNTED if taken else _EPOCH)
    below = f"cross-validated in {k} folds"
    return replace(made, subtitle=f"{made.subtitle}; {below}" if made.subtitle else below)


def _said(thing: Any, epoch: re.Pattern[str]) -> Any:
    if isinstance(thing, str):
        said = epoch.sub(
            lambda m: (m[1] or "").replace("n ", " ") + ("F" if m[2] == "E" else "f") + f"old{m[3]}", thing
        )
        return re.sub(r"\bon validation\b", "in cross-validation", said)
    if isinstance(thing, Code):
        return thing
    if is_dataclass(thing) and not isinstance(thing, type):
        return replace(thing, **{f.name: _said(getattr(thing, f.name), epoch) for f in fields(thing) if f.init})
    if isinstance(thing, dict):
        return {k: _said(v, epoch) for k, v in thing.items()}
    if type(thing) in (list, tuple):
        return type(thing)(_said(v, epoch) for v in thing)
    return thing
