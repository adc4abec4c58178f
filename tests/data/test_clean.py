"""Cleaning: what goes, what stays, what is on record, and that the test split keeps its examples and its seal."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import torch

from whet.data import Data, Split, clean, digits, look, table
from whet.data.duplicates import copies, digests
from whet.data.prepare import apply_encoding
from whet.data.textfolder import text_folder
from whet.errors import DataError


def frame(seed: int, n: int = 200) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "a": rng.normal(size=n), "when": pd.date_range("2020-01-01", periods=n).astype(str),
            "gap": np.where(rng.random(n) < 0.2, np.nan, rng.normal(size=n)), "town": rng.choice(list("pqr"), n),
            "sex": rng.choice(["m", "f"], n), "y": rng.choice(["no", "yes"], n),
        }
    )  # fmt: skip


class Book:
    def record(self, topic, data):
        return 1


@pytest.mark.parametrize("seed", [0, 1])
def test_drop_takes_the_examples_named_and_no_others(seed):
    data = digits(seed=seed)
    wanted = [*data.train.ids[[3, 700]].tolist(), *data.valid.ids[[5]].tolist()]
    out = clean.drop(data, wanted, why="smudged")
    assert set(data.train.ids) - set(out.train.ids) == set(wanted[:2])
    assert set(data.valid.ids) - set(out.valid.ids) == set(wanted[2:])
    kept = [i for i, id in enumerate(data.train.ids) if id not in wanted]
    assert torch.equal(out.train.inputs, data.train.inputs[kept])
    assert torch.equal(out.train.targets, data.train.targets[kept])
    assert out.meta["examples"] == {"train": len(out.train), "valid": len(out.valid), "test": 270}
    assert out.meta["cleaned"] == [
        {
            "what": "drop",
            "n": 3,
            "why": "smudged",
            "ids": {"train": sorted(wanted[:2], key=list(data.train.ids).index), "valid": wanted[2:]},
        }
    ]
    assert (out.findings[-1].code, out.findings[-1].severity) == ("CLEANED", "INFO")
    assert data.meta.get("cleaned") is None, "the data it was given stays as it was"


def test_the_test_split_keeps_its_examples_and_its_seal():
    opened = []
    whole = digits()
    data = Data(whole.train, whole.valid, classes=whole.classes, sealed=lambda: opened.append(1) or whole.sealed())
    sealed = whole.sealed()
    out = clean.drop_duplicates(clean.drop(data, [0, int(sealed.ids[0])], why="x"))
    out = clean.relabel(out, {1: "7", int(sealed.ids[1]): "3"}, why="x")
    assert not opened, "cleaning never opens it"
    test = out.unseal(Book(), "now")
    assert torch.equal(test.inputs, sealed.inputs)
    assert torch.equal(test.targets, sealed.targets)
    assert out.meta["cleaned"][0]["not_visible"] == [str(sealed.ids[0])]
    assert "1 not visible" in out.findings[0].message


@pytest.mark.parametrize("name", ["a", "when", "gap", "town"])
@pytest.mark.parametrize("seed", [0, 1])
def test_dropping_a_column_is_the_same_as_never_having_had_it(seed, name):
    rows = frame(seed)
    out, never = clean.drop_columns(table(rows, "y"), name, why="x"), table(rows.drop(columns=name), "y")
    assert out.features == never.features
    for a, b in (
        (out.train, never.train),
        (out.valid, never.valid),
        (out.unseal(Book(), "x"), never.unseal(Book(), "x")),
    ):
        assert len(a.parts) == len(b.parts)
        assert all(torch.equal(p, q) for p, q in zip(a.parts, b.parts, strict=True))
    e, f = dict(out.meta["encoding"]), dict(never.meta["encoding"])
    assert e.pop("dropped") == {**f.pop("dropped"), name: "x"}
    assert e == f
    assert [c["name"] for c in out.meta["columns"]] == [c["name"] for c in never.meta["columns"]]
    new = rows.drop(columns=[name, "y"]).iloc[:3]
    assert all(
        torch.equal(p, q)
        for p, q in zip(
            apply_encoding(out.meta["encoding"], new), apply_encoding(never.meta["encoding"], new), strict=True
        )
    )


@pytest.mark.parametrize("name", ["a", "town", "note", "more", "note more", "sex town"])
def test_so_it_is_beside_columns_of_free_text(name):
    rows, rng = frame(0), np.random.default_rng(0)
    for column, some in (
        ("note", "the old red fox runs far away today"),
        ("more", "a big shy cat sleeps under that small tree"),
    ):
        rows[column] = [" ".join(rng.choice(some.split(), 6)) for _ in range(len(rows))]
    gone = name.split()
    out, never = clean.drop_columns(table(rows, "y"), gone, why="x"), table(rows.drop(columns=gone), "y")
    assert (out.features, len(out.train.parts)) == (never.features, len(never.train.parts))
    assert all(torch.equal(p, q) for p, q in zip(out.valid.parts, never.valid.parts, strict=True))
    assert {**out.meta["encoding"], "dropped": {}} == {**never.meta["encoding"], "dropped": {}}


def test_without_any_category_left_there_is_one_input():
    out = clean.drop_columns(table(frame(0), "y"), ["town", "sex"], why="x")
    assert isinstance(out.train.inputs, torch.Tensor)
    assert out.meta["encoding"]["sizes"] == []
    assert isinstance(out.unseal(Book(), "x").inputs, torch.Tensor)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_copies_against_a_plain_loop(seed):
    rng = np.random.default_rng(seed)
    n, m = 60, 9
    x, y = torch.from_numpy(rng.integers(0, 25, (n + m, 1))), torch.from_numpy(rng.integers(0, 2, n + m))
    data = Data(Split(x[:n], y[:n]), Split(x[n:], y[n:]))
    spare = []
    for i in range(n + m):
        split = range(n) if i < n else range(n, n + m)
        shared = i < n and any(x[j] == x[i] for j in range(n, n + m))
        again = any(x[j] == x[i] and y[j] == y[i] for j in split if j < i)
        spare += [i] if shared or again else []
    left = [i for i in range(n + m) if i not in spare]
    differ = [i for i in left if any(x[j] == x[i] and y[j] != y[i] for j in left)]
    assert list(copies(data).spare) == spare
    assert list(copies(data).differ) == differ
    out = clean.drop_duplicates(data)
    assert not set(digests(out.train).tolist()) & set(digests(out.valid).tolist())
    assert not copies(out).spare, "once is enough"


def test_equal_rows_of_a_table_are_not_rows_the_model_cannot_tell_apart():
    rows = frame(0, 120)
    rows["name"] = [f"n{i}" for i in range(120)]
    for column in ("a", "when", "gap"):
        rows[column] = 1
    rows = pd.concat([rows, rows.iloc[:10]], ignore_index=True)
    data = table(rows, "y")
    assert "name" not in data.features
    whole, seen = copies(data, by="source"), copies(data)
    assert 0 < len(whole.spare) <= 10 < len(seen.spare)
    out = clean.drop_duplicates(data, by="source")
    assert len(out.raw["train"]) == len(out.train)
    assert not pd.concat(out.raw.values()).duplicated().any()


def test_relabel_says_what_it_changed():
    data = digits()
    out = clean.relabel(data, {0: ("0", "8"), "valid:7": 1}, why="looked at")
    assert out.train.targets[0] == 8
    assert out.valid.targets[0] == 1
    assert int((out.train.targets != data.train.targets).sum()) == 1
    assert out.meta["cleaned"][0]["labels"] == [["train", 0, "0", "8"], ["valid", 7, "7", "1"]]


def test_nothing_to_do_is_nothing_on_record():
    data = digits()
    assert clean.drop(data, [], why="x") is data
    assert clean.relabel(data, {}, why="x") is data
    assert clean.drop_columns(data, [], why="x") is data
    assert clean.drop_duplicates(clean.drop_duplicates(data)).meta.get("cleaned", []) == []


def test_steps_compose_in_any_order_and_an_example_that_is_gone_is_no_mistake():
    x = torch.arange(40.0)[:, None] // 2
    data = Data(
        Split(x, torch.arange(40) % 4), Split(x[:4] + 99, torch.arange(4), np.arange(40, 44)), sealed=lambda: small().train
    )  # fmt: skip
    out = clean.drop(clean.drop(data, [3, "40-41"], why="x"), [3, 4, 40, 77], why="y")
    assert [r["ids"] for r in out.meta["cleaned"]] == [{"train": [3], "valid": [40, 41]}, {"train": [4], "valid": []}]
    assert out.meta["cleaned"][1]["not_visible"] == ["77"], "it may be in the test split"


def test_the_record_is_json_and_a_look_shows_it():
    data = clean.drop_columns(clean.drop_duplicates(clean.drop(table(frame(0), "y"), [0, 1, 2], why="x")), "a", why="z")
    found = look(data)
    assert json.loads(json.dumps(data.meta["cleaned"])) == data.meta["cleaned"] == found.facts["cleaned"]
    assert [f.code for f in found.findings].count("CLEANED") == len(data.meta["cleaned"])
    assert found.facts["examples"] == 200 - sum(r["n"] for r in data.meta["cleaned"] if "ids" in r)
    assert clean.examples_in(data) == 200


def test_once_cleans_each_data_once():
    calls = []
    steps = clean.once(lambda d: calls.append(1) or clean.drop(d, [0, 7], why="x"))
    a, b = digits(), digits(seed=1)
    assert steps(a) is steps(a)
    assert steps(b) is not steps(a)
    assert len(calls) == 2


def small(**more):
    x = torch.arange(6.0)[:, None]
    return Data(
        Split(x, torch.tensor([0, 0, 0, 1, 1, 1])),
        Split(x + 9, torch.tensor([0, 0, 0, 1, 1, 1])),
        classes=("a", "b"),
        **more,
    )


@pytest.mark.parametrize(
    ("step", "needed"),
    [
        (lambda d: clean.drop(d, [2], why="x"), "drop 2: both splits have this id. Write train:2 or valid:2."),
        (lambda d: clean.drop(d, ["train:9"], why="x"), "drop train:9: no example has this id"),
        (lambda d: clean.drop(d, ["2-x"], why="x"), "'2-x': names no example. Use ids such as 12, 3-9, train:12"),
        (lambda d: clean.drop(d, ["train:0-2"], why="x"), "no training example of class 'a'"),
        (lambda d: clean.drop(d, ["valid:0-5"], why="x"), "would leave no valid example"),
        (lambda d: clean.drop(d, ["train:1"], why="x", of=13), "has 12 examples, the ids are of 13. Look again."),
        (lambda d: clean.relabel(d, {"train:1": "c"}, why="x"), "no class 'c'. Classes: a, b."),
        (lambda d: clean.relabel(d, {"train:1": ("b", "a")}, why="x"), "relabel train:1: is 'a' now, not 'b'"),
        (lambda d: clean.relabel(d, {"train:0-2": "b"}, why="x"), "no training example of class 'a'"),
        (lambda d: clean.drop_duplicates(d, by="rows"), "by='rows' is not known. Allowed: 'inputs', 'source'."),
        (lambda d: clean.drop_duplicates(d, by="source"), "is for tables"),
        (lambda d: clean.drop_columns(d, "colunm 0", why="x"), "no column 'colunm 0'. Did you mean 'column 0'?"),
        (lambda d: clean.drop_columns(d, "column 0", why="x"), "no column would be left"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_in_one_line(step, needed):
    with pytest.raises(DataError) as e:
        step(small())
    assert needed in str(e.value)
    assert "\n" not in str(e.value)


def test_numbers_to_predict_have_no_labels_to_change():
    x = torch.arange(6.0)[:, None]
    with pytest.raises(DataError, match="has numbers to predict"):
        clean.relabel(Data(Split(x, x[:, 0]), Split(x, x[:, 0]), kind="regression"), {0: "a"}, why="x")
    with pytest.raises(DataError, match="no columns that can be dropped"):
        clean.drop_columns(digits(), "x", why="x")


def test_copies_among_files_of_text_are_copies_of_their_source(tmp_path):
    rng = np.random.default_rng(0)
    words = "the old red fox runs far away today with a big shy cat".split()
    texts = [" ".join(rng.choice(words, 8)) for _ in range(40)]
    for i, text in enumerate([*texts, texts[0], texts[1]]):
        (tmp_path / "ab"[i % 2]).mkdir(exist_ok=True)
        (tmp_path / "ab"[i % 2] / f"{i}.txt").write_text(text)
    data = text_folder(tmp_path)
    assert len(copies(data, by="source").spare) == len(copies(data).spare)
