from __future__ import annotations

import pytest

from whet import errors
from whet.errors import StoreError, WhetError, nearest, one_line

LEAVES = [getattr(errors, n) for n in errors.__all__ if isinstance(getattr(errors, n), type)]


@pytest.mark.parametrize("kind", LEAVES)
def test_every_error_is_ours_and_one_line(kind):
    e = kind("what:\n  got\t3")
    assert isinstance(e, WhetError)
    assert str(e) == "what: got 3"


@pytest.mark.parametrize("kind", [k for k in LEAVES if k is not WhetError])
def test_every_leaf_is_also_a_built_in(kind):
    assert any(k.__module__ == "builtins" and k not in (Exception, BaseException, object) for k in kind.__mro__)


def test_an_os_error_shows_all_it_was_given():
    assert str(StoreError("a.db", "no space")) == "a.db no space"


def test_nearest():
    assert nearest("Lr", ["lr", "momentum"]) == " Did you mean 'lr'?"
    assert nearest("momentun", ["lr", "momentum"]) == " Did you mean 'momentum'?"
    assert nearest("x", []) == ""
    assert nearest("ACCURACY", ["Accuracy", "accuracy"]) == " Did you mean 'Accuracy'?"


def test_one_line():
    assert one_line(" a\r\n\tb\u2028c ") == "a b c"
