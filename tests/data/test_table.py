from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import torch

from whet.data.bundled import diabetes, digits
from whet.data.load import load
from whet.data.prepare import apply_encoding
from whet.data.split import Data
from whet.data.table import profile, table
from whet.errors import DataError


def shop(n=300, seed=0):
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({
        "price": rng.normal(10, 3, n).round(2),
        "colour": rng.choice(["red", "blue", "green"], n),
        "sold": pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 400, n), "D"),
        "new": rng.random(n) < 0.4,
    })  # fmt: skip
    frame.loc[::9, "price"] = np.nan
    frame["good"] = np.where(frame["new"] ^ (rng.random(n) < 0.1), "yes", "no")
    return frame


class Ledger:
    def __init__(self):
        self.seen = []

    def record(self, topic, data):
        self.seen.append((topic, dict(data)))
        return len(self.seen)


@pytest.mark.parametrize("seed", [0, 5])
@pytest.mark.parametrize("end", ["csv", "parquet"])
def test_a_file_with_every_kind_of_column(tmp_path, end, seed):
    frame = shop(seed=seed)
    path = tmp_path / f"shop.{end}"
    frame.to_csv(path, index=False) if end == "csv" else frame.to_parquet(path)
    data = load(path, "good", seed=seed)
    numbers, codes = data.train.parts
    assert data.kind == "classification"
    assert data.classes == ("no", "yes")
    assert codes.shape[1] == 1
    assert len(data.features) == numbers.shape[1] + codes.shape[1]
    assert "price missing" in data.features
    assert [c["kind"] for c in data.meta["columns"]] == ["number", "category", "date", "flag"]
    json.dumps(dict(data.meta), allow_nan=False)
    rows = frame.drop(columns="good").iloc[data.valid.ids]
    again = apply_encoding(data.meta["encoding"], rows)
    assert all(torch.equal(a, b) for a, b in zip(again, data.valid.parts, strict=True)), "ids lead back to the rows"
    assert [data.classes[i] for i in data.valid.targets] == frame["good"].iloc[data.valid.ids].tolist()


def test_splits_are_disjoint_and_the_test_split_is_opened_on_record_only():
    data = table(shop(), "good", seed=3)
    ledger = Ledger()
    test = data.unseal(ledger, "final score")
    assert ledger.seen == [("unsealed", {"why": "final score"})]
    assert len(test) == data.meta["examples"]["test"]
    ids = [*data.train.ids, *data.valid.ids, *test.ids]
    assert sorted(ids) == list(range(300))
    assert data.visible.sealed is None


def test_the_test_rows_do_not_touch_the_encoding():
    frame = shop()
    data = table(frame, "good", seed=1)
    test = data.sealed().ids
    frame.loc[test, "price"] = 1e9
    frame.loc[test, "colour"] = "ultraviolet"
    assert table(frame, "good", seed=1).meta["encoding"] == data.meta["encoding"]


def test_regression_knows_the_spread_of_its_target():
    frame = shop().drop(columns="good").dropna()
    data = table(frame, "price", seed=0)
    assert data.kind == "regression"
    assert data.classes is None
    assert data.train.targets.dtype == torch.float32
    assert data.meta["target"]["mean"] == pytest.approx(data.train.targets.double().mean().item(), rel=1e-6)
    assert data.meta["target"]["std"] == pytest.approx(data.train.targets.double().std(correction=0).item(), rel=1e-5)


@pytest.mark.parametrize("name", ["id", "customer_id", "unnamed1", "Index", "row"])
def test_a_column_that_numbers_the_rows_is_dropped_also_when_divided(name):
    frame = shop()
    frame[name] = np.random.default_rng(0).permutation(len(frame)) + 1000
    data = table(frame, "good")
    assert name not in data.features
    assert name in [f.where for f in data.findings if f.code == "ID"]
    frame["idea"] = frame[name]
    assert "idea" in table(frame, "good").features


def test_kind_overrides_what_is_inferred():
    frame = pd.DataFrame({"x": range(100), "y": [0, 1, 2, 3, 4] * 20})
    assert table(frame, "y").kind == "classification"
    assert table(frame, "y", kind="regression").kind == "regression"


def test_a_given_frame_is_left_as_it_was():
    frame = shop()
    frame.index = frame.index + 7
    frame.columns = [*frame.columns[:-1], 5]
    table(frame, "5")
    assert frame.index[0] == 7
    assert frame.columns[-1] == 5


def test_bad_tables(tmp_path):
    with pytest.raises(DataError, match="'x' appears more than once"):
        table(pd.DataFrame([[1, 2, 3]] * 20, columns=["x", "x", "y"]), "y")
    with pytest.raises(DataError, match="no column is left"):
        table(pd.DataFrame({"y": [0, 1] * 20, "x": [None] * 40}), "y")
    with pytest.raises(DataError, match="too few"):
        table(pd.DataFrame({"y": [0.5, 1.25, 3.5], "x": [1, 2, 3]}), "y", kind="regression")
    with pytest.raises(DataError, match="no such file"):
        load(tmp_path / "nothing.csv", "y")
    with pytest.raises(DataError, match="no target column"):
        load(tmp_path, "y")
    with pytest.raises(DataError, match="for classification"):
        load(tmp_path, kind="regression")


def test_a_target_of_a_million_texts_is_one_error():
    n = 200_000
    frame = pd.DataFrame({"y": "u" + pd.Series(np.arange(n)).astype("str"), "x": np.arange(n) % 7})
    with pytest.raises(DataError) as e:
        table(frame, "y")
    assert "200000 of 200000 classes have only one example" in str(e.value)
    assert len(str(e.value)) < 400


def test_profile_of_every_kind():
    facts = {f["name"]: f for f in profile(shop())}
    assert facts["price"]["missing"] == 34
    assert facts["price"]["low"] < 5 < 15 < facts["price"]["high"]
    assert facts["colour"]["distinct"] == 3
    assert facts["sold"]["low"].startswith("2024-01")
    assert facts["new"] | {"mean": 0} == {"name": "new", "kind": "flag", "dtype": "bool", "missing": 0, "distinct": 2,
                                          "low": 0, "high": 1, "mean": 0}  # fmt: skip


@pytest.mark.parametrize("seed", [0, 1])
def test_bundled(seed):
    data = digits(seed=seed)
    assert data.train.inputs.dtype == torch.uint8
    assert int(data.train.inputs.max()) == 255
    assert len(data.classes) == 10
    assert len(data.train) + len(data.valid) + len(data.sealed()) == 1797
    data = diabetes(seed=seed)
    assert len(data.train) + len(data.valid) + len(data.sealed()) == 442
    assert data.kind == "regression"


def test_from_arrays():
    x, y = np.random.default_rng(0).normal(size=(50, 3)), np.arange(50) % 2
    data = Data.from_arrays(x, y, seed=1, classes=["no", "yes"])
    assert data.classes == ("no", "yes")
    assert data.train.inputs.dtype == torch.float32
    assert len(data.sealed()) == 8
    assert torch.equal(data.sealed().inputs, torch.from_numpy(x[data.sealed().ids]).float())
    assert Data.from_arrays(x, y.astype(float)).kind == "regression"
    assert Data.from_arrays(x, y, kind="regression").train.targets.dtype == torch.float32
    given = Data.from_arrays((x, y[:, None]), y, test=((x[:5], y[:5, None]), y[:5]))
    assert (len(given.train), len(given.valid), len(given.sealed())) == (42, 8, 5)
    assert len(given.sealed().parts) == 2
    with pytest.raises(DataError, match="50 targets but 49"):
        Data.from_arrays(x[:49], y)
    with pytest.raises(DataError, match="class number 1 but 1 classes"):
        Data.from_arrays(x, y, classes=["a"])
    with pytest.raises(DataError, match="whole"):
        Data.from_arrays(x, y - 1)
    x.flags.writeable = False
    Data.from_arrays(x, y)
