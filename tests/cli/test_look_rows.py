"""`whet look` at examples: seen whole, filtered, sorted, as JSON; and the task file that cleans."""

from __future__ import annotations

import io
import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image


@pytest.fixture
def messy(tmp_path):
    """Write a table with a leak, copies, missing values and odd names."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 2)).round(3)
    y = np.where(x[:, 0] + rng.normal(size=200) > 0, "yes", "no")
    frame = pd.DataFrame(
        {"age": rng.integers(18, 90, 200), "hours-per-week": rng.integers(1, 99, 200), "a": x[:, 0], "b": x[:, 1]}
    )
    frame["town"] = rng.choice(["Oslo", "Rome\x1b[31m"], 200)
    frame.loc[3:9, "a"] = np.nan
    frame["late"], frame["y"] = y == "yes", y
    pd.concat([frame, frame.iloc[:40]]).to_csv(tmp_path / "t.csv", index=False)
    return frame


def widest(text: str) -> int:
    return max(map(len, text.splitlines()))


def test_a_filter_counts_and_shows_rows(whet, messy):
    said = whet("look", "t.csv", "--target", "y", "--where", "`hours-per-week` > 50 and age < 40", "--sort", "-age")
    assert (said.code, said.err) == (0, "")
    both = pd.concat([messy, messy.iloc[:40]], ignore_index=True)
    told = json.loads(
        whet(
            "look",
            "t.csv",
            "--target",
            "y",
            "--where",
            "`hours-per-week` > 50 and age < 40",
            "--sort",
            "-age",
            "--json",
        ).out
    )
    wanted = both[(both["hours-per-week"] > 50) & (both.age < 40)]
    ids = [r["id"] for r in told["rows"]]
    assert set(ids) <= set(wanted.index)
    assert told["total"] == 204
    assert told["n"] == len(ids) == sum(told["splits"].values())
    assert [r["age"] for r in told["rows"]] == sorted((both.age[i] for i in ids), reverse=True)
    assert said.out.startswith(
        f"rows      {len(ids)} of 204: train {told['splits']['train']}, valid {told['splits']['valid']}; label "
    )
    assert "hours-per-week" in said.out
    assert f"whet look t.csv --target y --show {','.join(map(str, ids[:6]))}" in said.out
    assert widest(said.out.partition("next")[0]) <= 80
    assert "\x1b" not in said.out
    assert {"suspect", "reason"}.isdisjoint(told["rows"][0]), "nobody looked, so nothing is claimed"


def test_missing_values_are_null_and_columns_can_be_chosen(whet, messy):
    said = whet("look", "t.csv", "--target", "y", "--where", "a.isna()", "--columns", "id,a,town", "--json")
    rows = json.loads(said.out)["rows"]
    assert rows
    assert all(list(r) == ["id", "a", "town"] and r["a"] is None for r in rows)
    plain = whet("look", "t.csv", "--target", "y", "--where", "a.isna()", "--columns", "id,a")
    assert plain.out.splitlines()[1].split() == ["id", "a"]
    assert plain.out.splitlines()[2].split()[1] == "-"


def test_no_row_is_no_error(whet, messy):
    said = whet("look", "t.csv", "--target", "y", "--where", "age > 900")
    assert said.code == 0
    assert said.out.splitlines() == ["rows      0 of 204: train 0, valid 0", "          none"]
    assert json.loads(whet("look", "t.csv", "--target", "y", "--where", "age > 900", "--json").out)["rows"] == []


def test_rows_by_what_was_found_and_examples_whole(whet, messy):
    found = json.loads(
        whet("look", "t.csv", "--target", "y", "--where", "suspect.str.contains('DUPLICATE')", "--json").out
    )
    assert found["n"] > 5
    row = found["rows"][0]
    assert row["reason"].startswith("same as ")
    said = whet("look", "t.csv", "--target", "y", "--show", row["id"])
    assert said.out.startswith(f"{row['split']}     {row['id']}  label {row['label']}")
    assert f"DUPLICATE: {row['reason']}" in said.out
    assert f"hours-per-week  {row['hours-per-week']}" in said.out
    assert "\x1b" not in said.out
    assert "label" not in said.out.splitlines()[2]
    several = whet("look", "t.csv", "--target", "y", "--show", "all", "--where", "age > 20", "--sort", "age")
    assert "are not shown: narrow it with --where" in several.out
    assert widest(several.out) <= 80
    picked = json.loads(
        whet("look", "t.csv", "--target", "y", "--show", f"{row['id']}", "--where", "age < 0", "--json").out
    )
    assert picked["n"] == 0, "both must hold"


def test_examples_whole_have_the_columns_asked_for(whet, refused, messy):
    said = whet("look", "t.csv", "--target", "y", "--show", "all", "--where", "age > 60", "--columns", "age,b,reason")
    assert said.code == 0
    cards = [c for c in said.out.split("label ")[1:] if "age " in c]
    assert len(cards) == 20
    assert "town" not in said.out
    assert "hours-per-week" not in said.out
    one = whet("look", "t.csv", "--target", "y", "--show", "0-30", "--columns", "town").out
    assert "town" in one
    assert "age" not in one
    told = refused("look", "t.csv", "--target", "y", "--show", "0-30", "--columns", "agee")
    assert "no such column" in told
    assert "'age'" in told


def test_dates_are_compared_as_dates_whatever_their_format(whet, tmp_path):
    days = pd.date_range("2023-06-01", periods=300)
    order = np.random.default_rng(0).permutation(300)
    frame = pd.DataFrame({"when": days.strftime("%d.%m.%Y"), "x": np.arange(300.0), "y": ["a", "b"] * 150}).iloc[order]
    frame.to_csv(tmp_path / "t.csv", index=False)
    told = json.loads(
        whet("look", "t.csv", "--target", "y", "--where", "when > '2024-03-01'", "--sort", "-when", "--json").out
    )
    got = [pd.to_datetime(r["when"], format="%d.%m.%Y") for r in told["rows"]]
    assert len(got) > 10
    assert min(got) > pd.Timestamp("2024-03-01")
    assert got == sorted(got, reverse=True)


def test_pictures_are_drawn(whet):
    said = whet("look", "digits", "--show", "0,valid:7")
    assert said.out.count("label ") == 2
    lines = said.out.splitlines()
    assert any("██" in line for line in lines)
    assert widest(said.out) <= 80
    assert lines[0] == "train     0  label 0"
    assert "brightness 0.2872" in lines[1]


def test_a_terminal_that_knows_no_blocks_gets_letters(start, monkeypatch):
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    out, err = start("look", "digits", "--show", "0").communicate(timeout=300)
    assert not err
    assert out.isascii()
    assert "@@" in out


def test_a_terminal_with_colours_gets_them():
    from rich.console import Console

    from whet.cli.rows import _coloured
    from whet.data.seen.sketch import halves

    for system, colour, code in (
        ("truecolor", (250, 0, 0), "38;2;250;0;0"),
        ("256", (0, 255, 0), "38;5;46"),
        ("standard", (0, 0, 255), "\x1b["),
    ):
        picture = np.zeros((2, 3, 3), np.uint8)
        picture[0, 0] = colour
        console = Console(file=io.StringIO(), force_terminal=True, color_system=system, width=200, no_color=False)
        (line, *_) = _coloured(console, halves(picture, width=3))
        assert code in line
        assert line.count("▀") == 3
    assert halves(np.zeros((300, 100), np.uint8)).shape[:2] == (32, 21), "tall pictures are averaged down"


def test_a_folder_with_splits_of_its_own_has_ids_that_meet(whet, refused, tmp_path):
    rng = np.random.default_rng(0)
    for split in ("train", "valid"):
        for i in range(30):
            (tmp_path / "pets" / split / "ab"[i % 2]).mkdir(parents=True, exist_ok=True)
            Image.fromarray(rng.integers(0, 255, (8, 8, 3)).astype(np.uint8)).save(
                tmp_path / "pets" / split / "ab"[i % 2] / f"{i}.png"
            )
    refused("look", "pets", "--show", "3", needed=("--show 3: both splits have this id. Write train:3 or valid:3.",))
    said = whet("look", "pets", "--show", "valid:3,train:3")
    assert [line[:12] for line in said.out.splitlines() if "label" in line] == ["valid     3 ", "train     3 "]
    assert "file valid/a/" in said.out
    assert "--show train:0," in whet("look", "pets", "--where", "split == 'train'", "--sort", "id").out


def test_each_finding_says_how_to_see_its_examples(whet, messy):
    said = whet("look", "t.csv", "--target", "y")
    see = next(line for line in said.out.splitlines() if "see: " in line)
    words = see.partition("see: whet ")[2].split()
    shown = whet(*words)
    assert shown.code == 0
    assert "DUPLICATE: same as" in shown.out


def test_apply_writes_a_task_that_is_clean_and_says_what_to_do_next(whet, refused, messy, tmp_path):
    said = whet("look", "t.csv", "--target", "y")
    assert 'clean     drop_columns(data, ["late"]' in said.out
    assert "next      whet look t.csv --target y --apply" in said.out
    assert not (tmp_path / "t_clean.py").exists(), "proposed, not applied"
    said = whet("look", "t.csv", "--target", "y", "--apply")
    assert said.code == 0
    assert "wrote     t_clean.py" in said.out
    assert "whet run t_clean.py --budget 3m" in said.out
    text = (tmp_path / "t_clean.py").read_text()
    told = json.loads(whet("look", "t_clean.py", "--json").out)
    codes = [f["code"] for f in told["findings"]]
    assert codes.count("CLEANED") == 2
    assert not {"LEAK", "DUPLICATE"} & set(codes)
    assert [c["what"] for c in told["facts"]["cleaned"]] == ["drop_columns", "drop_duplicates"]
    refused("look", "t.csv", "--target", "y", "--apply", needed=("t_clean.py: is there already", "--yes", "--to FILE"))
    assert (tmp_path / "t_clean.py").read_text() == text
    assert whet("look", "t.csv", "--target", "y", "--apply", "--yes").code == 0
    made = json.loads(whet("look", "t.csv", "--target", "y", "--apply", "--to", "other.py", "--json").out)
    assert made["wrote"] == "other.py"
    assert (tmp_path / "other.py").read_text() == text.replace("t_clean", "other").replace("TClean", "Other")


def test_clean_data_is_left_alone(whet, tmp_path):
    rng = np.random.default_rng(1)
    frame = pd.DataFrame(rng.normal(size=(150, 3)), columns=list("abc"))
    frame["y"] = np.where(frame.a + 2 * rng.normal(size=150) > 0, "yes", "no")
    frame.to_csv(tmp_path / "t.csv", index=False)
    said = whet("look", "t.csv", "--target", "y", "--apply")
    assert said.code == 0
    assert "wrote     nothing: there is nothing to clean" in said.out
    assert [p.name for p in tmp_path.glob("*.py")] == []


@pytest.mark.parametrize(
    ("words", "needed"),
    [
        (("--show", "9999"), ("--show 9999", "no visible example has this id, of 0 to 1796", "the test split stays sealed")),
        (("--show", "three"), ("--show 'three'", "names no example", "12, 3-9, train:12")),
        (("--show", ""), ("--show 'nothing'",)),
        (("--show", "9-3"), ("Write 3-9",)),
        (("--show", "test:3"), ("'test:3'",)),
        (("--where", "lable == 3"), ("no such column 'lable'", "Did you mean 'label'?", "Columns: split, id, index, label, brightness")),
        (("--where", "label = 3"), ("--where 'label = 3'", "Write ==")),
        (("--where", "label =="), ("cannot be read",)),
        (("--where", ""), ("--where", "is empty")),
        (("--where", "label"), ("a filter gives true or false",)),
        (("--where", "@label > 3"), ("@ reads variables",)),
        (("--where", "label.to_csv('x')"), (".to_csv is not allowed",)),
        (("--where", "__import__('os').system('touch x')"), ("not allowed",)),
        (("--where", "`label > 3"), ("opened and not closed",)),
        (("--where", "label > 'x'"), ("Compare columns with values of their kind",)),
        (("--sort", "-brigthness"), ("--sort 'brigthness'", "Did you mean 'brightness'?")),
        (("--sort", ""), ("--sort ''", "no such column")),
        (("--columns", "id,lable"), ("--columns 'lable'", "Did you mean 'label'?")),
        (("--where", "label == 3", "--show", "x"), ("--show 'x'",)),
        (("--apply", "--show", "3"), ("--apply", "Leave --show")),
        (("--to", "x.py"), ("--to: belongs to --apply",)),
        (("--yes",), ("--yes: belongs to --apply",)),
        (("--show",), ("'--show' requires an argument",)),
    ],
)  # fmt: skip
def test_words(refused, words, needed):
    for more in ((), ("--json",)) if words[-1] != "--show" else ((),):
        refused("look", "digits", *words, *more, needed=needed)


def test_where_it_cannot_be_written(refused, messy, tmp_path):
    (tmp_path / "folder.py").mkdir()
    for path, needed in (
        ("x.txt", "ends in .py"),
        ("folder.py", "is a folder"),
        ("no/x.py", "its folder is not there"),
    ):
        refused("look", "t.csv", "--target", "y", "--apply", "--to", path, needed=(path, needed))


def test_a_filter_takes_no_closer_look(whet, monkeypatch):
    def never(*_):
        raise AssertionError("a filter on what was read needs no look")

    monkeypatch.setattr("whet.data.seen.closely.closely", never)
    assert whet("look", "digits", "--where", "brightness < 0.2").code == 0
    assert whet("look", "digits", "--sort", "-contrast").code == 0
