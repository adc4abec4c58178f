from __future__ import annotations

import json

import pytest

from whet.finding import Finding, Health, NotRun, Severity


def test_severities_are_words_for_programs_and_people():
    f = Finding("X", "FAIL", "loss", {"n": 3}, "is bad", "mend it")
    assert f.severity == "FAIL"
    assert f.severity is Severity.FAIL
    assert str(f) == "FAIL X loss: is bad. Fix: mend it"
    assert json.loads(json.dumps(f.json()))["severity"] == "FAIL"
    with pytest.raises(ValueError, match="BAD"):
        Finding("X", "BAD", "loss")


def test_health_fails_only_with_a_fail():
    warn, fail = Finding("W", "WARN", "a"), Finding("F", "FAIL", "b")
    assert not Health().failed
    assert not Health((warn,)).failed
    assert Health((warn, fail)).failed
    health = Health((warn,), (NotRun("Z", "no data"),), {"A": {"n": 1}})
    assert str(health).splitlines() == [str(warn), "Z did not run: no data"]
    assert str(Health(facts={"A": {}})) == "healthy: A looked at"
    assert json.loads(json.dumps(health.json())) == {
        "findings": [{"code": "W", "severity": "WARN", "where": "a", "evidence": {}, "message": "", "fix": ""}],
        "not_run": [{"code": "Z", "why": "no data"}],
        "facts": {"A": {"n": 1}},
    }
