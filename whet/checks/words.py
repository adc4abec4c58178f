"""A health in words, for a terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable

from whet.errors import one_line
from whet.finding import Health, NotRun, Severity

__all__ = ["lines", "verdict"]

_FIRST = ("INIT", "OF", "IIB", "DEP")  # what the recipe asks about comes first


def verdict(health: Health) -> str:
    """Return the outcome in one line.

    >>> verdict(Health(facts={"INIT": {"text": "loss at init 2.31"}})), verdict(Health())
    ('healthy: 1 check, nothing wrong', 'nothing was checked')
    """
    counts = {s: sum(f.severity is s for f in health.findings) for s in Severity}
    ran = len({*health.facts, *(f.code for f in health.findings)})
    if not ran:
        return "nothing was checked"
    of = f"{ran} check{'s' if ran != 1 else ''}"
    notes = counts[Severity.INFO]
    wrong = ", ".join(f"{n} {s}" for s, n in counts.items() if n and s is not Severity.INFO)
    if wrong:
        return f"{wrong} in {of}" + (f", {notes} INFO" if notes else "")
    return f"healthy: {of}, nothing wrong" + (f", {notes} worth knowing" if notes else "")


def lines(health: Health, width: int = 76) -> list[str]:
    """Return a health as lines of at most `width` columns: the outcome, what was found with its fix, what was measured, what did not run.

    >>> lines(Health(facts={"INIT": {"text": "loss at init 2.31"}, "OF": {"text": "one batch overfits in 143 steps"}}))
    ['healthy: 2 checks, nothing wrong', 'measured: loss at init 2.31, one batch overfits in 143 steps']
    """
    said = _wrap(verdict(health), width)
    for finding in sorted(health.findings, key=lambda f: list(Severity).index(f.severity)):
        said += _wrap(f"{finding.severity} {finding.code} {finding.where}: {finding.message}", width)
        said += _wrap(f"fix: {finding.fix}", width, "  ")
    codes = sorted(health.facts, key=lambda code: _FIRST.index(code) if code in _FIRST else len(_FIRST))
    phrases = [one_line(str(health.facts[code]["text"])) for code in codes if health.facts[code].get("text")]
    said += _wrap(f"measured: {', '.join(phrases)}", width) if phrases else []
    said += _left_out("did not run", (n for n in health.not_run if n.applies), width)
    said += _left_out("not applicable", (n for n in health.not_run if not n.applies), width)
    return said


def _left_out(what: str, skipped: Iterable[NotRun], width: int) -> list[str]:
    """Return which checks have nothing to say, by reason."""
    reasons: dict[str, list[str]] = {}
    for one in skipped:
        reasons.setdefault(one.reason, []).append(one.code)
    told = "; ".join(f"{' '.join(codes)} ({one_line(why)})" for why, codes in reasons.items())
    return _wrap(f"{what}: {told}", width) if told else []


def _wrap(text: str, width: int, indent: str = "") -> list[str]:
    """Return one paragraph with a hanging indent."""
    return textwrap.wrap(
        one_line(text), width, initial_indent=indent, subsequent_indent="  " + indent, break_on_hyphens=False
    )
