"""What a check found: a value that a terminal, a report and a program can all use."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from whet.errors import one_line

__all__ = ["INAPPLICABLE", "Finding", "Health", "NotRun", "Severity"]

INAPPLICABLE = "does not apply: "
"""How the reason of a check begins that has nothing to look at."""


class Severity(enum.StrEnum):
    """How sure a finding is: FAIL is impossible in a correct program, WARN is statistical, INFO is worth knowing."""

    FAIL = "FAIL"
    WARN = "WARN"
    INFO = "INFO"


@dataclass(frozen=True)
class Finding:
    """One thing found.

    code: short and stable, e.g. "INIT"; severity: "FAIL", "WARN" or "INFO"; where: the file and line, column,
    split or module; evidence: the numbers behind it (statistic, threshold, n, ...), JSON values only;
    message: what is wrong, with the number; fix: what to do, as code where possible.

    >>> f = Finding("INIT", "WARN", "loss", {"loss": 28.8, "expected": 2.3}, "loss at init is 28.8", "scale the head down")
    >>> f.severity == "WARN", str(f)
    (True, 'WARN INIT loss: loss at init is 28.8. Fix: scale the head down')
    """

    code: str
    severity: Severity
    where: str
    evidence: Mapping[str, Any] = field(default_factory=dict)
    message: str = ""
    fix: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "severity", Severity(self.severity))

    def __str__(self) -> str:
        return one_line(f"{self.severity} {self.code} {self.where}: {self.message.removesuffix('.')}. Fix: {self.fix}")

    def json(self) -> dict[str, Any]:
        """Return the finding as JSON values."""
        return {**asdict(self), "severity": self.severity.value, "evidence": dict(self.evidence)}


@dataclass(frozen=True)
class NotRun:
    """A check that did not run, and why: what it looks at is not there ("does not apply: ..."), or it could not.

    >>> str(NotRun("OF", "the loss at init already failed"))
    'OF did not run: the loss at init already failed'
    >>> str(NotRun("PAD", "does not apply: no sequence")), NotRun("PAD", "does not apply: no sequence").applies
    ('PAD does not apply: no sequence', False)
    """

    code: str
    why: str

    @property
    def applies(self) -> bool:
        """Whether there was something to look at."""
        return not self.why.startswith(INAPPLICABLE)

    @property
    def reason(self) -> str:
        """Why, without the words that say that it does not apply."""
        return self.why.removeprefix(INAPPLICABLE)

    def __str__(self) -> str:
        return one_line(f"{self.code} did not run: {self.why}" if self.applies else f"{self.code} {self.why}")


@dataclass(frozen=True)
class Health:
    """The outcome of a series of checks: what was found, what was measured, and what did not run.

    facts: one JSON mapping a check that ran (statistic, threshold, n ...), healthy or not, keyed by code. drawn: what a
    check has to show and JSON has no words for (tensors, pictures), by code and name; only a report draws it.
    """

    findings: tuple[Finding, ...] = ()
    not_run: tuple[NotRun, ...] = ()
    facts: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    drawn: Mapping[str, Mapping[str, Any]] = field(default_factory=dict, repr=False, compare=False)

    @property
    def failed(self) -> bool:
        """Whether any finding is a FAIL."""
        return any(f.severity is Severity.FAIL for f in self.findings)

    def json(self) -> dict[str, Any]:
        """Return the health as JSON values."""
        return {
            "findings": [f.json() for f in self.findings],
            "not_run": [asdict(n) for n in self.not_run],
            "facts": {k: dict(v) for k, v in self.facts.items()},
        }

    def __str__(self) -> str:
        lines = [str(f) for f in self.findings] or [f"healthy: {', '.join(self.facts) or 'nothing'} looked at"]
        return "\n".join(lines + [str(n) for n in self.not_run])
