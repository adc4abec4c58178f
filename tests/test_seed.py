from __future__ import annotations

import subprocess
import sys

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from whet.seed import key, rng

PARTS = st.lists(st.integers() | st.text(max_size=4), min_size=1, max_size=4)


@given(PARTS, PARTS)
def test_other_parts_other_key(a, b):
    assert (key(*a) == key(*b)) == (a == b)
    assert 0 <= key(*a) < 2**63


def test_keys_never_change():
    # written down: a journal of an older version must be redone with the same numbers
    assert key(0, 3, 0, "propose") == KEY
    assert key(1) != key("1")


KEY = 2854541955378073152


def test_the_same_in_every_process():
    code = "from whet.seed import key, rng; print(key(0, 'x'), rng(0, 'x').random())"
    said = {subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout for _ in range(2)}
    assert said == {f"{key(0, 'x')} {rng(0, 'x').random()}\n"}


def test_whole_numbers_of_numpy_are_whole_numbers():
    assert key(np.int64(3), "x") == key(3, "x")
    assert key(np.str_("x")) == key("x")


def test_streams_do_not_follow_each_other():
    draws = np.array([rng(s, t, "x").random() for s in range(20) for t in range(20)])
    assert len(set(draws)) == 400
    assert abs(draws.mean() - 0.5) < 0.06
    assert abs(np.corrcoef(draws[:-1], draws[1:])[0, 1]) < 0.15
