from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whet.errors import UsageError
from whet.units import parse_bytes, parse_duration, show_bytes


@pytest.mark.parametrize(
    ("text", "bytes_"),
    [
        ("4GB", 4 * 10**9),
        ("4 gb", 4 * 10**9),
        ("4G", 4 * 10**9),
        ("2GiB", 2 * 2**30),
        ("2gi", 2 * 2**30),
        (".5MB", 500_000),
        ("1e3kB", 1_000_000),
        ("3 TiB", 3 * 2**40),
        ("17", 17),
        ("17 bytes", 17),
        (17.9, 17),
        (2**40, 2**40),
    ],
)
def test_bytes_are_read(text, bytes_):
    assert parse_bytes(text) == bytes_


@pytest.mark.parametrize(
    "text",
    ["", "GB", "4 parsecs", "4GBit", "four GB", "nan", "inf", True, None, [], "4,5GB", "-1GB", 0, -3, "9999999TB"],
)
def test_what_are_no_bytes_is_said_in_one_line(text):
    with pytest.raises(UsageError, match=r'^memory ".*": (cannot be read|must be above 0).*Use e.g. 500MB') as e:
        parse_bytes(text, "memory")
    assert len(str(e.value).splitlines()) == 1


@given(st.integers(1, 2**62))
def test_bytes_shown_are_read_back(amount):
    assert parse_bytes(show_bytes(amount)) == pytest.approx(amount, rel=0.006)


@pytest.mark.parametrize(
    ("text", "seconds"), [("30m", 1800), ("1h 30min", 5400), ("1.5s", 1.5), ("2d", 172800), (3, 3)]
)
def test_durations_are_read(text, seconds):
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "m", "30", "30 parsecs", "-3s", 0, -1, float("nan"), float("inf"), True, None, "0s"]
)
def test_what_is_no_duration_is_said_in_one_line(text):
    with pytest.raises(UsageError, match=r'^stall ".*": .*Use e.g. 90s'):
        parse_duration(text, "stall")
