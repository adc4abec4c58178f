from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from whet.data.target import encode_target, find_target, infer_kind
from whet.errors import DataError


def col(values, name="y"):
    return pd.Series(values, name=name)


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([0, 1] * 20, "classification"),
        (list(range(10)) * 5, "classification"),
        (list(range(10)) * 2, "regression"),  # two of each: too few to be classes
        (list(range(28)) * 9, "regression"),
        ([0.5, 1.5] * 9, "classification"),
        ([0.1 * i for i in range(50)], "regression"),
        ([1.0, 2.0, np.nan] * 20, "classification"),
        (["a", "b", "c"] * 4, "classification"),
        ([True, False] * 4, "classification"),
    ],
)
def test_the_kind_is_inferred(values, kind):
    assert infer_kind(col(values))[0] == kind


def test_the_guess_is_stated_with_the_way_to_override():
    found = encode_target(col(list(range(10)) * 5, "label"), "t.csv").findings
    assert found[0].code == "KIND"
    assert found[0].message == "classification: 10 distinct integers in `label`"
    assert "--kind regression" in found[0].fix
    assert not encode_target(col([1, 2] * 5), "t.csv", "regression").findings


def test_classes_are_numbered_in_order_and_named():
    t = encode_target(col([10, 2, 10, 2, 3, 3]), "t", "classification")
    assert t.classes == ("2", "3", "10")
    assert t.values.tolist() == [2, 0, 2, 0, 1, 1]
    assert t.values.dtype == np.int64
    t = encode_target(col(["b", "a", "b", "a"]), "t")
    assert t.classes == ("a", "b")
    assert t.values.tolist() == [1, 0, 1, 0]
    t = encode_target(col([True, False] * 3).astype("boolean"), "t")
    assert t.classes == ("False", "True")
    assert t.values.tolist() == [1, 0] * 3
    t = encode_target(col(pd.Categorical(["x", "z", "x", "z"], ["z", "y", "x"])), "t")
    assert t.classes == ("x", "z"), "categories that do not occur are no classes"


def test_close_numbers_keep_different_names():
    assert len(set(encode_target(col([1.0000001, 1.0000002] * 5), "t").classes)) == 2


def test_rows_without_target_are_left_out_and_counted():
    t = encode_target(col([1.5, None, 2.5, np.inf, 3.25]), "t")
    assert t.kept.tolist() == [0, 2, 4]
    assert t.findings[0].evidence == {"rows": 2, "of": 5}


@pytest.mark.parametrize(
    ("values", "kind", "says"),
    [
        ([None] * 5, None, "missing in all 5 rows"),
        ([3] * 5, None, "constant: all 5 rows are 3"),
        (["a"] * 5, None, "constant"),
        (["a", "a", "b"], None, "only one example ('b')"),
        ([0, 0, 1], None, "use --kind regression"),
        (["a", "a", "b", "b"], "regression", "'a', which is not a number"),
        (pd.to_datetime(["2020-01-01", "2020-01-02"]), None, "is a date"),
        ([[1], [2]], None, "lists or records"),
        ([0, 1, 0, 1], "clasification", "Did you mean 'classification'"),
    ],
)
def test_targets_that_cannot_be_used(values, kind, says):
    with pytest.raises(DataError) as e:
        encode_target(col(values), "t.csv", kind)
    assert says in str(e.value)


def test_the_target_is_found_or_the_nearest_named():
    frame = pd.DataFrame(columns=["age", "survived"])
    assert find_target(frame, "age", "t") == "age"
    assert find_target(frame, ["age"], "t") == "age"
    with pytest.raises(DataError, match=r"no column 'survivd'\. Did you mean 'survived'"):
        find_target(frame, "survivd", "t")
    with pytest.raises(DataError, match="Give --target COLUMN, one of: age, survived"):
        find_target(frame, None, "t")
    with pytest.raises(DataError, match="got 2"):
        find_target(frame, ["age", "survived"], "t")
    with pytest.raises(DataError, match="no column '1'"):
        find_target(frame, "1", "t")


def test_without_a_header_a_number_will_do():
    frame = pd.DataFrame(columns=["c1", "c2", "c3"])
    assert [find_target(frame, t, "t", header=False) for t in ("1", "3", "-1", "c2")] == ["c1", "c3", "c3", "c2"]
    with pytest.raises(DataError, match="no header row"):
        find_target(frame, "4", "t", header=False)
