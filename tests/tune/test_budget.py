from __future__ import annotations

import numpy as np
import pytest

from whet.errors import UsageError
from whet.tune.budget import Budget, duration


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("90s", Budget(seconds=90)), ("10m", Budget(seconds=600)), ("1h30m", Budget(seconds=5400)), ("1.5 h", Budget(seconds=5400)),
        ("2d", Budget(seconds=172800)), ("200trials", Budget(trials=200)), ("1 trial", Budget(trials=1)), ("500 epochs", Budget(steps=500)),
        ("1e3steps", Budget(steps=1000)), ("12.5cost", Budget(cost=12.5)), ("10M,200Trials", Budget(trials=200, seconds=600)),
        (90, Budget(seconds=90)), (0.5, Budget(seconds=0.5)), (np.int64(90), Budget(seconds=90)), (np.float32(0.5), Budget(seconds=0.5)),
        (None, Budget()), (Budget(trials=3), Budget(trials=3)),
    ],
)  # fmt: skip
def test_what_people_write(text, want):
    assert Budget.of(text) == want


@pytest.mark.parametrize(
    "text",
    [
        "", "0s", "-5m", "0trials", "2.5trials", "-3epochs", "inf", "nan", "1e999s", "1e999trials", "ten minutes", "10x", "10", "5m,6m",
        "5trials,6trials", ",", "5m,", True, float("nan"), float("inf"), 0, -1, "0cost", [3], "1h-30m",
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_refused_in_one_line(text):
    with pytest.raises(UsageError, match="budget") as e:
        Budget.of(text)
    assert (len(str(e.value).splitlines()) == 1 and "Use e.g." in str(e.value)) or "Give it once" in str(e.value)


def test_both_limits_hold():
    assert Budget(trials=5, cost=2.0).both(Budget(trials=3, steps=9)) == Budget(trials=3, steps=9, cost=2.0)
    assert not Budget()
    assert Budget(trials=1)


def test_shown_to_people():
    assert str(Budget(trials=1234567, seconds=75)) == "1,234,567 trials, 1:15 min"
    assert str(Budget(cost=0.5, steps=0)) == "0 epochs, 0.5 cost"
    assert str(Budget()) == "no limit"
    assert [duration(s) for s in (0, 59.4, 60, 3599, 3600, 90061)] == [
        "0 s",
        "59 s",
        "1:00 min",
        "59:59 min",
        "1:00 h",
        "25:01 h",
    ]
