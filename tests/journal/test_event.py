from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whet.errors import StoreError
from whet.journal.event import decode, encode

TREES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(st.characters(codec=None)),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(st.text(max_size=6), TREES, max_size=5))
def test_what_is_written_comes_back(data):
    text = encode(data)
    assert "\n" not in text
    text.encode()  # a database takes UTF-8 only
    assert decode(text) == data
    assert repr(decode(text)) == repr(data)


def test_nan_comes_back():
    assert math.isnan(decode(encode({"x": [math.nan]}))["x"][0])


def test_an_object_is_refused_in_one_line():
    with pytest.raises(StoreError, match="object") as e:
        encode({"x": object()})
    assert len(str(e.value).splitlines()) == 1
