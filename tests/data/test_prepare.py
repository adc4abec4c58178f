from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import torch

from whet.data.column import as_dates, as_numbers, kind_of
from whet.data.prepare import apply_encoding, feature_names, fit_encoding
from whet.errors import DataError


def people(n=200, seed=0):
    rng = np.random.default_rng(seed)
    age = rng.normal(40, 10, n)
    age[::7] = np.nan
    return pd.DataFrame({
        "age": age,
        "town": np.where(rng.random(n) < 0.3, "Rome", "Oslo"),
        "member": rng.random(n) < 0.5,
        "since": pd.Timestamp("2020-01-31") + pd.to_timedelta(rng.integers(0, 900, n), "D"),
    })  # fmt: skip


@pytest.mark.parametrize("seed", [0, 1])
def test_numbers_are_imputed_by_the_median_and_standardised(seed):
    frame = people(seed=seed)
    encoding, _ = fit_encoding(frame)
    numbers, codes = apply_encoding(encoding, frame)
    names = feature_names(encoding)
    x = numbers[:, names.index("age")].double()
    assert abs(x.mean()) < 1e-6
    assert abs(x.std(correction=0) - 1) < 1e-5
    part = encoding["columns"][0]["parts"][0]
    assert part["median"] == pytest.approx(frame["age"].median())
    assert numbers[0, names.index("age")].item() == pytest.approx(
        (part["median"] - part["mean"]) / part["std"], abs=1e-6
    )
    assert numbers[:, names.index("age missing")].tolist() == frame["age"].isna().astype(float).tolist()
    assert numbers.dtype == torch.float32
    assert codes.dtype == torch.int64
    assert numbers.shape[1] == encoding["numbers"]
    assert numbers.isfinite().all()


def test_the_encoding_is_json_and_applies_the_same_after_a_round_trip():
    frame = people()
    encoding, _ = fit_encoding(frame)
    again = json.loads(json.dumps(encoding, allow_nan=False))
    assert all(
        torch.equal(a, b) for a, b in zip(apply_encoding(encoding, frame), apply_encoding(again, frame), strict=True)
    )


def test_rows_are_encoded_alone_as_in_company_and_from_text():
    frame = people()
    encoding, _ = fit_encoding(frame)
    whole = apply_encoding(encoding, frame)
    one = apply_encoding(encoding, frame.iloc[[3]][["since", "town", "member", "age"]])
    text = apply_encoding(encoding, frame.iloc[[3]].astype(str))
    for a, b, c in zip(whole, one, text, strict=True):
        assert torch.equal(a[3:4], b)
        assert torch.allclose(a[3:4], c)


def test_statistics_come_from_the_rows_fitted_on_only():
    frame = people()
    encoding, _ = fit_encoding(frame.iloc[:100])
    other = frame.copy()
    other.loc[100:, "age"] = 1e6
    assert fit_encoding(other.iloc[:100])[0] == encoding
    assert apply_encoding(encoding, other)[0][150, 0] == 10.0, "far values are cut off"


def test_unseen_missing_and_rare_categories_have_codes():
    frame = pd.DataFrame({"c": ["a"] * 300 + ["b"] * 290 + ["rare1", "rare2"] + [None] * 8, "x": range(600)})
    encoding, found = fit_encoding(frame)
    assert encoding["sizes"] == [4]
    assert [f.code for f in found] == ["POOLED"]
    codes = apply_encoding(encoding, pd.DataFrame({"c": ["a", "b", "rare1", "new", None], "x": 0}))[1][:, 0]
    assert codes.tolist() == [2, 3, 1, 1, 0]
    encoding, _ = fit_encoding(frame.iloc[:590])  # nothing rare: an unseen category is as good as a missing one
    assert apply_encoding(encoding, pd.DataFrame({"c": ["new", None], "x": 0}))[1][:, 0].tolist() == [0, 0]


def test_dates_become_parts_and_days():
    days = pd.date_range("2023-12-30", periods=60, freq="D").strftime("%Y-%m-%d")
    encoding, _ = fit_encoding(pd.DataFrame({"day": days}))
    parts = [p["part"] for p in encoding["columns"][0]["parts"]]
    assert parts == ["year", "month", "day", "weekday", "days"], "the hour is constant and left out"
    x = apply_encoding(encoding, pd.DataFrame({"day": ["2023-12-31"]}))[0][0]
    part = encoding["columns"][0]["parts"][-1]
    assert x[-1].item() * part["std"] + part["mean"] == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([1, 2], "number"), ([1.5, None], "number"), (["1", "2.5"], "number"), ([True, False], "flag"),
        ([True, None], "flag"), (["true", "False"], "flag"), (["a", "b"], "category"), (["2024-01-01", None], "date"),
        (["01/31/2024", "02/01/2024"], "date"), (["31/01/2024", "02/01/2024"], "date"), (["31.1.2024 12:30"], "date"),
        (["2024-01-01T10:00:00Z"], "date"), ([None, None], "empty"), ([[1], [2]], "nested"), ([{"a": 1}], "nested"),
        (["12-a", "13-b"], "category"), ([b"ab", b"c"], "nested"), (["1"] * 99 + ["x"], "category"),
    ],
)  # fmt: skip
def test_kinds_of_columns(values, kind):
    assert kind_of(pd.Series(values))[0] == kind


def test_mostly_numbers_count_as_numbers_with_a_finding():
    frame = pd.DataFrame({"x": [str(i) for i in range(99)] + ["unknown"]})
    encoding, found = fit_encoding(frame)
    assert encoding["columns"][0]["kind"] == "number"
    assert found[0].code == "MIXED"
    assert found[0].evidence["values"] == 1
    assert encoding["columns"][0]["missing"]


def test_infinities_count_as_missing_and_huge_values_do_not_overflow():
    frame = pd.DataFrame({"x": [1.0, np.inf, 3.0, -np.inf] * 10, "y": [1e300, -1e300, 1e200, 0.0] * 10})
    with np.errstate(all="raise"):
        encoding, found = fit_encoding(frame)
    assert apply_encoding(encoding, frame)[0].isfinite().all()
    assert found[0].code == "MIXED"


def test_columns_that_say_nothing_are_dropped_with_a_finding():
    n = 100
    frame = pd.DataFrame({
        "x": np.arange(n) % 7, "empty": [None] * n, "constant": [3] * n, "same": ["a"] * n,
        "name": [f"person {i}" for i in range(n)], "id": np.random.default_rng(0).permutation(n) + 1,
        "nested": [[i] for i in range(n)],
    })  # fmt: skip
    encoding, found = fit_encoding(frame)
    assert [c["name"] for c in encoding["columns"]] == ["x"]
    assert {f.where: f.code for f in found} == {
        "empty": "EMPTY", "constant": "CONSTANT", "same": "CONSTANT", "name": "ID", "id": "ID", "nested": "NESTED",
    }  # fmt: skip
    assert set(encoding["dropped"]) == set(frame.columns) - {"x"}


def test_a_constant_with_gaps_keeps_the_gaps():
    encoding, _ = fit_encoding(pd.DataFrame({"x": [1.0, None] * 20}))
    assert feature_names(encoding) == ("x missing",)


def test_no_column_left_and_absent_columns_are_errors():
    with pytest.raises(DataError, match="no column is left"):
        fit_encoding(pd.DataFrame({"x": [None] * 9}), "t.csv")
    encoding, _ = fit_encoding(pd.DataFrame({"height": [1.0, 2.0], "x": [1.0, 2.0]}))
    with pytest.raises(DataError, match=r"'height' are not there\. Did you mean 'hight'"):
        apply_encoding(encoding, pd.DataFrame({"hight": [1.0], "x": [2.0]}))


def test_a_million_categories_do_not_make_a_million_codes():
    n = 1_000_000
    text = pd.Series(np.arange(n)).astype("str")
    _, found = fit_encoding(pd.DataFrame({"c": "u" + text, "x": np.arange(n) % 5}))
    assert found[0].code == "ID"
    assert found[0].evidence["distinct"] == n
    half = pd.Series(np.arange(n) // 6).astype(
        "str"
    )  # each six times: categories, but only the thousand first are kept
    encoding, found = fit_encoding(pd.DataFrame({"c": "u" + half, "x": np.arange(n) % 5}))
    assert encoding["sizes"] == [1002]
    assert found[0].code == "POOLED"


def test_a_table_of_categories_only_has_an_empty_numeric_input():
    frame = pd.DataFrame({"c": ["a", "b"] * 10})
    numbers, codes = apply_encoding(fit_encoding(frame)[0], frame)
    assert numbers.shape == (20, 0)
    assert codes.shape == (20, 1)


def test_values_of_columns():
    assert as_numbers(pd.Series(pd.to_timedelta(["1h", None]))).tolist()[0] == 3600
    assert as_numbers(pd.Series([True, None], dtype="boolean")).tolist()[0] == 1
    assert as_dates(pd.Series(["2024-01-01T12:00:00+02:00"]), "ISO8601")[0] == pd.Timestamp("2024-01-01 10:00")


@pytest.mark.parametrize(("name", "numbers"), [("customer_id", True), ("CustomerID", True), ("userId", True), ("paid", False), ("humid", False), ("GRID", False)])  # fmt: skip
def test_whole_numbers_of_their_own_are_an_id_by_the_name(name: str, numbers: bool) -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({name: rng.choice(10**9, 200, replace=False), "x": rng.normal(size=200)})
    encoding, found = fit_encoding(frame)
    assert (name in encoding["dropped"]) == numbers
    assert [f.code for f in found] == ["ID"] * numbers
