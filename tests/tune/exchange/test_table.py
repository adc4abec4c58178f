"""Tables in and out: types and scales are guessed from values, and a study's own table comes back."""

from __future__ import annotations

import pandas as pd
import pytest

from whet import Choice, Const, Float, Int, Ordered, Space, State, Study, UsageError
from whet.tune.exchange import read
from whet.tune.exchange.table import guessed
from whet.tune.exchange.write import export

ROWS = """lr,layers,opt,nesterov,momentum,bias,accuracy,when
0.0001,1,sgd,True,0.9,x,0.5,monday
0.001,2,adam,,,x,0.75,tuesday
0.1,3,sgd,False,0.5,x,,monday
0.0003,2,sgd,True,0.1,x,nan,friday
"""


@pytest.fixture
def rows(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text(ROWS)
    return path


def test_types_scales_and_branches_are_guessed_and_said(rows, tmp_path):
    carried = read(str(rows), goal="max accuracy", params="lr layers opt nesterov momentum bias".split())
    assert carried.space == Space(
        lr=Float(0.0001, 0.1, log=True), layers=Int(1, 3),
        opt=Choice({"sgd": Space(nesterov=Choice([True, False]), momentum=Float(0.1, 0.9)), "adam": None}), bias=Const("x"),
    )  # fmt: skip
    said = " / ".join(carried.said)
    for part in (
        "lr: number from 0.0001 to 0.1, logarithmic", "layers: whole number from 1 to 3", "opt: one of 'sgd', 'adam'",
        "bias: always 'x'", "momentum exists only with opt 'sgd'",
    ):  # fmt: skip
        assert part in said, (part, said)
    assert carried.lost == ("the columns when",)
    study = carried.study(None, "s")
    assert [(t.state, t.value) for t in study.trials] == [
        (State.DONE, 0.5), (State.DONE, 0.75), (State.FAILED, None), (State.FAILED, None)
    ]  # fmt: skip
    assert study.trials[0].params == {
        "lr": 0.0001,
        "layers": 1,
        "opt": "sgd",
        "opt.nesterov": True,
        "opt.momentum": 0.9,
        "bias": "x",
    }
    assert study.trials[2].error["message"] == "accuracy is None in the table"
    study.space.check(study.ask().params)


def test_all_columns_are_hyperparameters_when_nobody_chooses(rows):
    carried = read(str(rows), goal="max acc", value="accuracy")
    assert list(carried.space) == ["lr", "layers", "opt", "bias", "when"]
    assert carried.said[0].startswith(
        "hyperparameters: lr, layers, opt, nesterov, momentum, bias, when (all columns but accuracy"
    )
    assert carried.goals == ("max acc",)


def test_other_kinds_of_tables(rows, tmp_path):
    table = pd.read_csv(rows)
    table.to_parquet(tmp_path / "rows.parquet")
    table.to_csv(tmp_path / "rows.tsv", sep="\t", index=False)
    known = read(str(rows), goal="max accuracy", params=["lr", "opt"])
    for name in ("rows.parquet", "rows.tsv"):
        assert read(str(tmp_path / name), goal="max accuracy", params=["lr", "opt"]).trials == known.trials


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({}, r"a table does not say what is better. Use e.g. --goal"),
        ({"goal": "max acuracy"}, r"--goal max acuracy: no column acuracy in .*rows.csv\. Did you mean 'accuracy'"),
        ({"goal": "max a", "value": "acuracy"}, r"Did you mean 'accuracy'\? Columns: lr, layers"),
        ({"goal": "max accuracy", "params": ["layrs"]}, r"--param layrs: no such column .*Did you mean 'layers'"),
        ({"goal": "max accuracy", "params": ["accuracy"]}, r"is the column of results"),
        ({"goal": "min opt"}, r"--value opt: row 1 has 'sgd', which is no number"),
    ],
)
def test_what_the_words_get_wrong(rows, words, said):
    with pytest.raises(UsageError, match=said):
        read(str(rows), **words)


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"", "cannot be read as a table"), (b"a,b\n", "has no rows"), (b"\xff\xfe\x00", "cannot be read as a table"),
     (b"v,v\n1,2\n", "no column loss")],
)  # fmt: skip
def test_tables_that_are_none(tmp_path, content, said):
    path = tmp_path / "x.csv"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=said):
        read(str(path), goal="min loss")


def test_scales():
    assert guessed("a", [1, 10, 100, 1000])[0] == Int(1, 1000, log=True)
    assert guessed("a", [1, 500, 900, 1000])[0] == Int(1, 1000)  # no more at the low end than elsewhere
    assert guessed("a", [0.0, 0.1, 100.0])[0] == Float(0, 100)  # zero has no logarithm
    assert guessed("a", [-1.0, 5.0])[0] == Float(-1, 5)
    assert guessed("a", [2.5, 2.5])[0] == Const(2.5)
    assert guessed("a", [1, "1", True])[0] == Choice([1, "1", True])
    assert guessed("a", [])[0] is None
    with pytest.raises(UsageError, match="column a has 60 different texts, too many"):
        guessed("a", [f"t{i}" for i in range(60)])


# -- our own


SPACE = Space(x=Float(1e-4, 1, log=True), o=Choice({"a": Space(k=Int(1, 9)), "b": None}), w=Ordered([1, "big"]))


def lived(tmp_path):
    study = Study(SPACE, steps=3, search="random", schedule="full", seed=3, store=tmp_path / "w.db", name="s")
    for i in range(12):
        t = study.ask()
        if i == 4:
            study.fail(t, MemoryError("no"))
        elif i == 5:
            study.report(t, 1, 0.5, size=3)
        else:
            study.report(t, 1, 0.5 + i, size=3)
            study.tell(t, 0.25 + i, more=1.0)
    study.annotate(2, note="a, note", tags=["x", "y"])
    study.enqueue({"x": 0.5, "o": "b", "w": "big"})
    return study


@pytest.mark.parametrize("format", ["csv", "parquet"])
def test_a_study_s_own_table_comes_back(tmp_path, format):
    study = lived(tmp_path)
    path = tmp_path / f"s.{format}"
    assert export(study, path, format=format) == 13
    table = pd.read_csv(path) if format == "csv" else pd.read_parquet(path)
    first = table.iloc[0]
    assert (first["study"], first["seed"], first["state"]) == ("s", 3, "DONE")
    assert first["version"]
    assert first["seconds"] > 0
    assert first["ended"] >= first["began"]
    assert first["workers"]
    assert "OutOfMemory" in table["error"][4]
    carried = read(str(path), goal="min loss")
    again = carried.study(None, "again")
    names = {n for n in SPACE.names if n != "w"}
    for mine, other in zip(study.trials, again.trials, strict=True):
        assert {k: v for k, v in other.params.items() if k in names} == {
            k: v for k, v in mine.params.items() if k in names
        }
        assert (other.value, other.note, other.tags) == (mine.value, mine.note, mine.tags)
    assert [t.state for t in again.trials[:5]] == [t.state for t in study.trials[:5]]
    assert again.trials[5].state is State.PAUSED  # whoever trained it is not there
    assert again.trials[4].error["type"] == "OutOfMemory"
    assert dict(again.trials[0].curve[-1].metrics) == {"more": 1.0}
    assert any("curves" in s for s in carried.lost)
    study.close()


def test_the_long_table_has_every_report(tmp_path):
    study = lived(tmp_path)
    path = tmp_path / "curves.csv"
    n = export(study, path, format="csv", curves=True)
    table = pd.read_csv(path)
    assert n == len(table) == sum(len(t.curve) for t in study.trials)
    assert list(table.columns[:4]) == ["trial", "step", "value", "cost"]
    for t in study.trials:
        mine = table[table["trial"] == t.id]
        assert mine["value"].tolist() == [p.value for p in t.curve]
        assert mine["metrics.size"].dropna().tolist() == [p.metrics["size"] for p in t.curve if "size" in p.metrics]
    study.close()


def test_whole_numbers_stay_whole_where_some_trials_have_none(tmp_path):
    study = lived(tmp_path)
    export(study, tmp_path / "s.csv", format="csv")
    text = (tmp_path / "s.csv").read_text()
    table = pd.read_csv(tmp_path / "s.csv", dtype=str)
    assert set(table["params.o.k"].dropna()) <= {str(k) for k in range(1, 10)}, text
    study.close()


def test_a_parameter_that_every_branch_has_stays_in_them(tmp_path):
    """Its name says where it belongs, though no trial is without it."""
    space = Space(o=Choice({"a": Space(lr=Float(0, 1), m=Float(0, 1)), "b": Space(lr=Float(0, 1))}))
    with Study(space, search="random", seed=1, store=tmp_path / "w.db", name="s") as study:
        for _ in range(9):
            study.tell(study.ask(), 1.0)
        export(study, tmp_path / "s.csv", format="csv")
        carried = read(str(tmp_path / "s.csv"), goal="min loss")
        assert set(carried.space) == {"o"}
        assert [dict(t.params) for t in carried.trials] == [dict(t.params) for t in study.trials]
