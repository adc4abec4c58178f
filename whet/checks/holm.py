"""Holm's correction: with many statistical checks in one run, how sure a finding must be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from whet.finding import Finding, Severity
from whet.metric.holm import holm

__all__ = ["ALPHA", "correct"]

ALPHA = 1e-3
"""The chance of any statistical false alarm in a run of checks on a healthy program."""


def correct(
    findings: Sequence[Finding], facts: Mapping[str, Mapping[str, Any]], alpha: float = ALPHA
) -> tuple[Finding, ...]:
    """Return the findings, statistical warnings that do not survive the correction turned into INFO.

    A statistical warning has its p-value in evidence["p"]; a check that was healthy has it among its facts, and counts as a test
    that was done. Each says in its evidence how many tests there were and what its p-value is for all of them.

    >>> weak = Finding("A", Severity.WARN, "model", {"p": 9e-4}, "odd", "look")
    >>> [f.severity.value for f in correct([weak], {"A": {"p": 9e-4}}) + correct([weak], {"A": {"p": 9e-4}, "B": {"p": 0.3}})]
    ['WARN', 'INFO']
    """
    at = [i for i, f in enumerate(findings) if f.severity is Severity.WARN and "p" in f.evidence]
    named = {f.code for f in findings if "p" in f.evidence}
    healthy = [float(fact["p"]) for code, fact in facts.items() if "p" in fact and code not in named]
    p = [float(findings[i].evidence["p"]) for i in at]
    tests = len(p) + len(healthy)
    made = list(findings)
    for i, one, adjusted in zip(at, p, holm(p + healthy)[: len(at)], strict=True):
        evidence = {**findings[i].evidence, "p_adjusted": adjusted, "alpha": alpha, "tests": tests}
        if adjusted <= alpha:
            made[i] = replace(findings[i], evidence=evidence)
        else:
            said = f"{findings[i].message.removesuffix('.')} (may be chance: one of {tests} tests, p {one:.1g})"
            made[i] = replace(findings[i], severity=Severity.INFO, evidence=evidence, message=said)
    return tuple(made)
