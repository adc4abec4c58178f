"""Holm's correction: with many statistical checks in one run, how sure a finding must be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from whet.finding import Finding, Severity

__all__ = ["ALPHA", "correct", "holm"]

ALPHA = 1e-3
"""The chance of any statistical false alarm in a run of checks on a healthy program."""


def holm(p: Sequence[float], alpha: float = ALPHA) -> list[float]:
    """Return what each p-value must not exceed so that all the smaller ones hold too, in the order given.

    Holm (1979): the k-th smallest of m is held against alpha / (m - k + 1), and the first that fails ends it for all that are
    larger. The chance that any true hypothesis is rejected is at most alpha, whatever the dependence between the tests.

    >>> [f"{x:.1e}" for x in holm([0.01, 1e-5, 0.0006])]
    ['0.0e+00', '3.3e-04', '0.0e+00']
    """
    bounds, open_ = [0.0] * len(p), True
    for rank, i in enumerate(sorted(range(len(p)), key=lambda i: p[i])):
        bound = alpha / (len(p) - rank)
        open_ = open_ and p[i] <= bound
        bounds[i] = bound if open_ else 0.0
    return bounds


def correct(
    findings: Sequence[Finding], facts: Mapping[str, Mapping[str, Any]], alpha: float = ALPHA
) -> tuple[Finding, ...]:
    """Return the findings, statistical warnings that do not survive the correction turned into INFO.

    A statistical warning has its p-value in evidence["p"]; a check that was healthy has it among its facts, and counts as a test
    that was done. Every warning that is kept says what it was held against, in evidence["holm"].

    >>> weak = Finding("A", Severity.WARN, "model", {"p": 9e-4}, "odd", "look")
    >>> [f.severity.value for f in correct([weak], {"A": {"p": 9e-4}}) + correct([weak], {"A": {"p": 9e-4}, "B": {"p": 0.3}})]
    ['WARN', 'INFO']
    """
    at = [i for i, f in enumerate(findings) if f.severity is Severity.WARN and "p" in f.evidence]
    named = {f.code for f in findings if "p" in f.evidence}
    healthy = [float(fact["p"]) for code, fact in facts.items() if "p" in fact and code not in named]
    p = [float(findings[i].evidence["p"]) for i in at]
    bounds = holm(p + healthy, alpha)[: len(at)]
    made = list(findings)
    for i, bound in zip(at, bounds, strict=True):
        tests = len(p) + len(healthy)
        evidence = {**findings[i].evidence, "holm": bound, "tests": tests}
        if bound > 0:
            made[i] = replace(findings[i], evidence=evidence)
        else:
            said = (
                f"{findings[i].message.removesuffix('.')} (may be chance: one of {tests} tests, p {p[at.index(i)]:.1g})"
            )
            made[i] = replace(findings[i], severity=Severity.INFO, evidence=evidence, message=said)
    return tuple(made)
