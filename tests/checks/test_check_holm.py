"""Holm's correction against statsmodels' definition by brute force, and its false alarms on uniform p-values."""

from __future__ import annotations

import numpy as np
import pytest

from whet.checks.holm import ALPHA, correct
from whet.finding import Finding, Severity
from whet.metric.holm import holm


def by_definition(p, alpha):
    """Reject the k-th smallest when it and all before it are below alpha / (m - k + 1)."""
    order = np.argsort(p, kind="stable")
    passed = np.array(p)[order] <= alpha / (len(p) - np.arange(len(p)))
    kept = np.cumprod(passed).astype(bool)
    out = np.zeros(len(p), bool)
    out[order] = kept
    return out.tolist()


@pytest.mark.parametrize("seed", range(5))
def test_the_same_are_rejected_as_by_definition(seed):
    rng = np.random.default_rng(seed)
    for n in (0, 1, 2, 7, 30):
        p = (rng.random(n) ** 4).tolist()
        assert [a <= 0.05 for a in holm(p)] == by_definition(p, 0.05)


def test_equal_p_values_fall_or_stand_together_only_as_the_definition_says():
    assert [a <= 0.05 for a in holm([0.025, 0.025])] == [True, True]
    assert [a <= 0.05 for a in holm([0.03, 0.03])] == [False, False]


def test_on_healthy_programs_the_chance_of_any_alarm_is_alpha():
    rng, alpha, runs = np.random.default_rng(0), 0.05, 4000
    alarms = sum(min(holm(rng.random(8).tolist())) <= alpha for _ in range(runs))
    assert alarms / runs == pytest.approx(alpha, abs=4 * (alpha * (1 - alpha) / runs) ** 0.5)


def finding(code, severity, p):
    return Finding(code, severity, "model", {} if p is None else {"p": p}, "something.", "mend it")


def test_what_is_not_statistical_stays_and_what_does_not_survive_says_why():
    given = [
        finding("A", Severity.FAIL, 0.5), finding("B", Severity.WARN, None), finding("C", Severity.WARN, ALPHA / 2),
        finding("D", Severity.WARN, ALPHA / 100),
    ]  # fmt: skip
    found = correct(given, {"C": {"p": ALPHA / 2}, "D": {"p": ALPHA / 100}, "E": {"p": 0.7}, "F": {"n": 3}})
    assert [f.severity.value for f in found] == ["FAIL", "WARN", "WARN", "WARN"]
    assert found[:2] == tuple(given[:2])
    assert (found[3].evidence["p_adjusted"], found[3].evidence["tests"]) == (3 * (ALPHA / 100), 3)
    more = correct(given, {k: {"p": 0.5} for k in "EFGH"})
    assert [f.severity.value for f in more] == ["FAIL", "WARN", "INFO", "WARN"]
    assert more[2].message == "something (may be chance: one of 6 tests, p 0.0005)"
    assert more[2].fix == "mend it"
