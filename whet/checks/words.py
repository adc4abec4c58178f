"""A health in words, for a terminal."""

from __future__ import annotations

import textwrap

from whet.errors import one_line
from whet.finding import Health

__all__ = ["lines"]

_FIRST = ("INIT", "OF", "IIB", "DEP")  # what the recipe asks about comes first


def lines(health: Health, width: int = 76) -> list[str]:
    """Return a health as lines of at most `width` columns: what was measured, what was found with its fix, what did not run.

    >>> lines(Health(facts={"INIT": {"text": "loss at init 2.31"}, "OF": {"text": "one batch overfits in 143 steps"}}))
    ['loss at init 2.31, one batch overfits in 143 steps']
    """
    said: list[str] = []
    codes = sorted(health.facts, key=lambda code: _FIRST.index(code) if code in _FIRST else len(_FIRST))
    phrases = [str(health.facts[code]["text"]) for code in codes if health.facts[code].get("text")]
    for i, phrase in enumerate(phrases):
        words = one_line(phrase) + ("," if i < len(phrases) - 1 else "")
        if said and len(said[-1]) + 1 + len(words) <= width:
            said[-1] += " " + words
        else:
            said += textwrap.wrap(words, width) or [""]
    for finding in health.findings:
        said += _wrap(f"{finding.severity} {finding.code} {finding.where}: {finding.message}", width)
        said += _wrap(f"fix: {finding.fix}", width, "  ")
    reasons: dict[str, list[str]] = {}
    for skipped in health.not_run:
        reasons.setdefault(skipped.why, []).append(skipped.code)
    for why, which in reasons.items():
        said += _wrap(f"{', '.join(which)} did not run: {why}", width)
    return said


def _wrap(text: str, width: int, indent: str = "") -> list[str]:
    """Return one paragraph with a hanging indent."""
    return textwrap.wrap(
        one_line(text), width, initial_indent=indent, subsequent_indent="  " + indent, break_on_hyphens=False
    )
