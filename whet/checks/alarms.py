"""What was found in a running training: one finding of a kind, and the one that makes going on pointless."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from whet.finding import Finding, Severity

__all__ = ["Alarms", "pointless"]

_ROW = 3  # looks in a row at which something must hold


def pointless(kind: str, finding: Finding) -> bool:
    """Return whether a training with this finding cannot come to anything.

    A FAIL is. A loss that does not fall is only where its value for the best constant outputs is known and it lies
    there: an adversary, a reward or a bootstrapped target keeps a loss level while much is learned. One that rises is
    where it is worse than those constant outputs, or, when they are not known, ten times what it was at the beginning.

    >>> flat = Finding("TREND", "WARN", "net", {"level": 2.31, "below": 2.303, "standard_error": 0.01})
    >>> pointless("flat", flat)
    False
    >>> pointless("flat", Finding("TREND", "WARN", "net", {**flat.evidence, "prior": 2.303}))
    True
    """
    if finding.severity is Severity.FAIL:
        return True
    seen = finding.evidence
    prior = seen.get("prior")
    if kind == "flat":
        return prior is not None and seen["level"] <= prior + max(4 * seen["standard_error"], 0.1 * abs(prior))
    if kind == "diverges":
        return bool(seen["loss"] > prior if prior is not None else seen["loss"] > 10 * seen["start"] > 0)
    return False


class Alarms:
    """Keeps the latest finding of each kind once it held at three looks in a row; `state` and `load` carry them over a pause.

    allow: codes not to report; a loss that is not finite is reported all the same.

    >>> alarms, seen = Alarms(()), Finding("ACT", "WARN", "net", {}, "dead", "lower the rate")
    >>> for _ in range(3): alarms.judge({"dead": seen})
    >>> later = Alarms(()); later.load(alarms.state())
    >>> later.findings == alarms.findings == (seen,), later.hopeless
    (True, None)
    """

    def __init__(self, allow: Iterable[str]) -> None:
        self.allow = frozenset((allow,) if isinstance(allow, str) else allow)
        self.hopeless: Finding | None = None
        self._found: dict[str, Finding] = {}
        self._rows: dict[str, int] = {}

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What was found, in the order in which it first was."""
        return tuple(self._found.values())

    def __contains__(self, kind: str) -> bool:
        return kind in self._found

    def judge(self, held: Mapping[str, Finding]) -> None:
        """Take what holds at a look, by kind; report what held long enough."""
        self._rows = {kind: self._rows.get(kind, 0) + 1 for kind in held}
        for kind, finding in held.items():
            if self._rows[kind] >= _ROW or kind == "all dead":
                self.report(kind, finding)

    def report(self, kind: str, finding: Finding) -> None:
        """Keep a finding, the latest of its kind."""
        if finding.code in self.allow and kind != "loss":
            return
        self._found[kind] = finding
        if self.hopeless is None and pointless(kind, finding):
            self.hopeless = finding

    def withdraw(self, kind: str) -> None:
        """Forget a finding that turned out not to hold."""
        self._found.pop(kind, None)

    def state(self) -> dict[str, Any]:
        """Return all findings, as plain values."""
        hopeless = None if self.hopeless is None else self.hopeless.json()
        return {"found": {k: f.json() for k, f in self._found.items()}, "hopeless": hopeless}

    def load(self, state: Mapping[str, Any]) -> None:
        """Take back what `state` returned; what is allowed by now stays out."""
        found = {k: Finding(**f) for k, f in state["found"].items()}
        self._found = {k: f for k, f in found.items() if f.code not in self.allow or k == "loss"}
        last = None if state["hopeless"] is None else Finding(**state["hopeless"])
        self.hopeless = last if last is not None and any(f.code == last.code for f in self._found.values()) else None
