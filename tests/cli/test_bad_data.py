"""Data that cannot be used: one line that names the file, the column and the way out; exit code 2, nothing written."""

from __future__ import annotations

import gzip

import numpy as np
import pandas as pd
import pytest
from PIL import Image

SMALL = ("--budget", "2trials", "--epochs", "1", "--workers", "1")


@pytest.mark.parametrize("verb", ["run", "look", "check", "train", "tune"])
def test_a_missing_file(refused, table, tmp_path, verb):
    table().to_csv(tmp_path / "houses.csv")
    refused(
        verb, "huoses.csv", "--target", "label", needed=("huoses.csv", "no such file", "Did you mean 'houses.csv'?")
    )


@pytest.mark.parametrize(
    ("text", "needed"),
    [
        ("", ("empty", "0 bytes")),
        (" \n\n", ("empty",)),
        ("a,label\n", ("no rows",)),
        ("a,a,label\n" + "1,2,x\n3,4,y\n" * 20, ("column 'a' appears 2 times", "columns 1, 2")),
        ("a,label\n" + "1,x\n2,y,z\n" * 20, ("line 3", "3 fields")),
        ("a,label\n" + "".join(f"{i},x\n" for i in range(40)), ("target 'label' is constant", "'x'")),
        ("a,label\n" + "".join(f"{i},\n" for i in range(40)), ("target 'label' is missing in all 40 rows",)),
        (
            "a,label\n" + "".join(f"{i},{'xy'[i % 2]}\n" for i in range(40)) + "7,z\n",
            ("one example", "'z'", "at least 2"),
        ),
        ("a,label\n" + "".join(f",{'xy'[i % 2]}\n" for i in range(40)), ("no column is left", "a", "missing in all")),
    ],
    ids="empty blank header duplicated ragged constant missing lone all-missing".split(),
)
def test_a_table(refused, tmp_path, text, needed):
    (tmp_path / "t.csv").write_text(text)
    refused("run", "t.csv", "--target", "label", *SMALL, needed=("t.csv", *needed))


def test_the_target_column(refused, table, tmp_path):
    table().to_csv(tmp_path / "t.csv", index=False)
    table().to_parquet(tmp_path / "t.parquet")
    for file in ("t.csv", "t.parquet"):
        refused(
            "run",
            file,
            "--target",
            "labl",
            *SMALL,
            needed=(file, "'labl'", "Did you mean 'label'?", "a, colour, label"),
        )
        refused("run", file, *SMALL, needed=(file, "--target COLUMN", "label"))
        refused("run", file, "--target", "label", "--target", "a", *SMALL, needed=("Give --target once",))
        refused("run", file, "--target", "label", "--kind", "regression", *SMALL, needed=(file, "not a number"))
    refused("run", "t.csv", "--target", "label", "--kind", "classifcation", needed=("Did you mean 'classification'?",))


def test_a_file_that_is_no_parquet(refused, tmp_path):
    (tmp_path / "t.parquet").write_bytes(b"PAR1 not at all")
    refused("run", "t.parquet", "--target", "y", *SMALL, needed=("t.parquet",))


def test_an_all_missing_column_is_left_out_and_named(whet, table, tmp_path):
    table().assign(nothing=np.nan).to_csv(tmp_path / "t.csv", index=False)
    said = whet("look", "t.csv", "--target", "label")
    assert said.code == 0
    assert "nothing" in said.out


@pytest.mark.soak
def test_a_million_categories_stay_in_memory(python, tmp_path):
    n = 300_000  # as many as the machine of a test can be asked for; each word occurs once
    frame = pd.DataFrame({"who": [f"person-{i:07d}" for i in range(n)], "x": np.arange(n) % 7, "y": np.arange(n) % 2})
    frame.to_parquet(tmp_path / "big.parquet")
    code = (
        "import sys, resource\n"
        "from whet.cli import main\n"
        "code = main(['look', 'big.parquet', '--target', 'y'])\n"
        "print('MB', resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)\n"
        "sys.exit(code)"
    )
    done = python(code)
    assert done.returncode == 0, done.stderr
    assert "who" in done.stdout  # said, and left out or coded, never one column a word
    assert int(done.stdout.split("MB ")[1]) < 2000


@pytest.fixture
def pictures(tmp_path):
    rng = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (tmp_path / "pets" / name).mkdir(parents=True)
        for i in range(12):
            Image.fromarray(rng.integers(0, 255, (8, 8), dtype=np.uint8)).save(tmp_path / "pets" / name / f"{i}.png")
    return tmp_path / "pets"


def test_bad_pictures_among_good_ones_are_named_counted_and_skipped(whet, pictures):
    (pictures / "cat" / "zero.png").touch()
    (pictures / "dog" / "torn.jpg").write_bytes(b"\xff\xd8\xff not a picture")
    said = whet("look", "pets")
    assert said.code == 0
    flat = " ".join(said.out.split())
    assert "24 examples" in flat
    assert "zero.png" in flat
    assert "torn.jpg" in flat
    assert "2 " in flat.split("zero.png")[0]


def test_folders_without_what_they_need(refused, pictures, tmp_path):
    (tmp_path / "none").mkdir()
    refused("run", "none", *SMALL, needed=("none", "no class folders"))
    (tmp_path / "loose").mkdir()
    Image.new("L", (8, 8)).save(tmp_path / "loose" / "a.png")
    refused("run", "loose", *SMALL, needed=("loose", "no class folders", "folder of its name"))
    for file in (pictures / "dog").iterdir():
        file.write_bytes(b"")
    refused("run", "pets", *SMALL, needed=("pets", "dog"))
    refused("run", "pets", "--target", "label", *SMALL, needed=("Leave --target out",))


def test_idx_files_that_are_cut_off(refused, tmp_path):
    (tmp_path / "mnist").mkdir()
    for name in (
        "train-images-idx3-ubyte",
        "train-labels-idx1-ubyte",
        "t10k-images-idx3-ubyte",
        "t10k-labels-idx1-ubyte",
    ):
        (tmp_path / "mnist" / f"{name}.gz").write_bytes(gzip.compress(b"\x00\x00\x08")[:-4])
    refused("run", "mnist", *SMALL, needed=("mnist", "idx"))
