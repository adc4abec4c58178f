"""Runs checks in order, and makes of whatever happens a `Health`."""

from __future__ import annotations

import contextlib
import io
import math
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from whet.checks.holm import correct
from whet.checks.registry import Check, Fact, Stage
from whet.checks.subject import Subject
from whet.errors import WhetError, one_line
from whet.finding import Finding, Health, NotRun, Severity

__all__ = ["LIMIT", "SLOW", "TOTAL", "Tell", "examine"]

LIMIT = 60.0
"""Seconds a check may be expected to take; one that would take longer does not run, and says so."""

TOTAL = 300.0
"""Seconds that all of them together may be expected to take, or have taken."""

SLOW = 10.0
"""Seconds that a step may take; of a slower program nothing more is looked at than that it runs."""

Tell = Callable[[str, int, int, float | None], None]
"""Is told which check begins, the number of it, of how many, and the seconds that it and those after it may take (None: not known)."""


def plain(value: Any) -> Any:
    """Return a value as JSON: floats that JSON has no word for become text.

    >>> plain({"loss": float("nan"), "n": 3})
    {'loss': 'nan', 'n': 3}
    """
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if isinstance(value, bool) or value is None or isinstance(value, (int, str)):
        return value
    number = float(value)
    return number if math.isfinite(number) else str(number)


def examine(
    subject: Subject, checks: Iterable[Check], *, allow: Iterable[str] = (), tell: Tell | None = None
) -> Health:
    """Run `checks` on `subject` in the order given; codes in `allow` are declared exceptions and do not run.

    A FAIL stops every check of a later stage. A check that raises did not run; the others go on. Statistical warnings
    are corrected for how many tests there were (`whet.checks.holm`): on a healthy program the chance of any is 1e-3.
    What a slow program has no time for does not run (`LIMIT`, `TOTAL`, `SLOW`). What it prints is not shown after the first check.

    >>> import torch
    >>> from whet.checks.registry import resolve
    >>> program = Subject(torch.nn.Linear(2, 1), torch.nn.MSELoss(), (torch.ones(4, 2),), torch.ones(4, 1))
    >>> examine(program, resolve(["RUN", "DEP"]), allow=("DEP",)).not_run
    (NotRun(code='DEP', why='allowed by the caller'),)
    """
    allowed, findings, skipped, facts, drawn = set(allow), [], [], {}, {}
    stopped: tuple[Stage, str] | None = None
    seconds, expected = 0.0, 0.0
    chosen, begun = list(checks), time.monotonic()
    for number, check in enumerate(chosen, 1):
        needed, expected = check.passes * seconds, max(expected, time.monotonic() - begun)  # passes are a guess
        if tell is not None:
            rest = [c for c in chosen[number - 1 :] if c.code not in allowed and not (stopped and c.stage > stopped[0])]
            tell(check.code, number, len(chosen), _left(rest, seconds, expected) if seconds else None)
        if check.code in allowed:
            skipped.append(NotRun(check.code, "allowed by the caller"))
        elif stopped and check.stage > stopped[0]:
            skipped.append(NotRun(check.code, f"{stopped[1]} failed before it"))
        elif not _fits(check.passes, seconds, expected):
            skipped.append(NotRun(check.code, _late(seconds, check.passes, needed)))
        else:
            expected += needed
            for item in _look(check, subject):
                if isinstance(item, Fact):
                    facts[check.code] = {**plain(item.numbers), "text": item.text, **plain(item.series)}
                    seconds = item.seconds or seconds
                    if item.drawn:
                        drawn[check.code] = dict(item.drawn)
                elif isinstance(item, NotRun):
                    skipped.append(item)
                elif item.code not in allowed:
                    findings.append(item)
                    if item.severity is Severity.FAIL and stopped is None:
                        stopped = (check.stage, item.code)
    return Health(correct(findings, facts), tuple(skipped), facts, drawn)


def _fits(passes: int, seconds: float, before: float) -> bool:
    """Return whether there is time for a check of so many passes of so many seconds, after what the others took before it."""
    needed = passes * seconds
    return not passes or (needed <= LIMIT and before + needed <= TOTAL and seconds <= SLOW)


def _left(checks: Iterable[Check], seconds: float, before: float) -> float:
    """Return the seconds that those of the checks may take for which there is time.

    >>> from whet.checks.registry import resolve
    >>> _left(resolve(["INIT", "MODE", "OF"]), 1.0, 0.0), _left(resolve(["INIT", "MODE"]), 30.0, 0.0)  # no time for OF
    (7.0, 0.0)
    """
    left = 0.0
    for check in checks:
        left += check.passes * seconds if _fits(check.passes, seconds, before + left) else 0.0
    return left


def _late(seconds: float, passes: int, needed: float) -> str:
    """Return why a check of so many passes has no time."""
    if seconds > SLOW:
        return f"one step takes {seconds:.1f} s, over {SLOW:.0f} s: give a smaller model or fewer examples"
    limit = f"over {LIMIT:.0f} s" if needed > LIMIT else f"with the others over {TOTAL:.0f} s"
    return f"one step takes {seconds:.2g} s and it needs about {passes}: {limit}"


def _look(check: Check, subject: Subject) -> list[Finding | Fact | NotRun]:
    """Return what a check yields, evidence as JSON; what it raises becomes a reason."""
    found: list[Finding | Fact | NotRun] = []
    silent = io.StringIO() if check.stage > Stage.RUNS else sys.stdout  # a program that prints does so in every pass
    try:
        with contextlib.redirect_stdout(silent):
            for item in check.look(subject):
                if isinstance(item, Finding):
                    item = Finding(item.code, item.severity, item.where, plain(item.evidence), item.message, item.fix)
                found.append(item)
    except (Exception, SystemExit) as error:  # a program under test may raise anything
        said = str(error) if isinstance(error, WhetError) else f"{type(error).__name__}: {error}"
        found.append(NotRun(check.code, one_line(said)[:300]))
    return found
