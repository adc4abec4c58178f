"""Every kind of input goes through the whole recipe with the same command, and ends in a model and a report."""

from __future__ import annotations

import gzip
import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image

SMALL = ("--budget", "2trials", "--epochs", "1", "--workers", "1")
STEPS = ("data", "check", "tune", "squeeze", "test", "export", "report", "made", "next")


def mixed(n: int = 240) -> pd.DataFrame:
    """Return numbers, words, truths and dates, all with holes, and a target of each kind."""
    rng = np.random.default_rng(1)
    size, day = rng.normal(size=n), pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 700, n), "D")
    frame = pd.DataFrame({
        "size": size, "rooms": rng.integers(1, 9, n), "town": rng.choice(["A", "B", "Ü"], n), "new": rng.random(n) < 0.5,
        "sold": day.strftime("%Y-%m-%d"), "price": 3 * size + rng.normal(size=n), "cheap": size + rng.normal(size=n) < 0,
    })  # fmt: skip
    for i, column in enumerate(("size", "town", "sold")):
        frame.loc[rng.random(n) < 0.05 * (i + 1), column] = None
    return frame


@pytest.fixture
def made(whet, tmp_path):
    """Run the recipe, see that it made what it says, and return what it printed."""

    def call(*words: object, name: str) -> str:
        said = whet("run", *words, *SMALL)
        assert said.code == 0, said
        assert [s for s in STEPS if f"\n{s:<10}" not in "\n" + said.out] == []
        assert max(map(len, said.out.splitlines())) <= 80, max(said.out.splitlines(), key=len)
        folder = tmp_path / "runs" / name
        assert (folder / "model" / "model.onnx").stat().st_size > 500
        assert (folder / "report.html").stat().st_size > 100_000
        for path in (f"runs/{name}/report.html", f"runs/{name}/model", f"whet study show {name}"):
            assert path in said.out
        return said.out

    return call


def test_digits_then_the_same_again_and_then_more(whet, made, tmp_path):
    first = made("digits", name="digits")
    assert "1,797 examples, 64 features, 10 classes" in first
    assert "accuracy" in first.split("\nmade")[1]
    # the same again: the result at once, and the sealed test split stays closed
    again = made("digits", name="digits")
    assert again.split("\ntune")[1].replace("report", "") == first.split("\ntune")[1].replace("report", "")
    assert "a larger one goes on, --fresh starts over" in again
    shown = json.loads(whet("study", "show", "digits", "--json").out)
    assert len(shown["records"]["unsealed"]) == len(shown["records"]["check"]) == 1
    assert shown["spent"]["trials"] == len(shown["trials"]) == 2


def test_a_csv_with_columns_of_every_kind(made, tmp_path):
    mixed().drop(columns="cheap").to_csv(tmp_path / "homes.csv", index=False)
    out = made("homes.csv", "--target", "price", name="homes")
    assert "regression" in out
    assert "missing" in out


@pytest.mark.soak
def test_a_parquet_with_columns_of_every_kind(made, tmp_path):
    frame = mixed().drop(columns="price")
    frame["sold"] = pd.to_datetime(frame["sold"])
    frame["town"] = frame["town"].astype("category")
    frame.to_parquet(tmp_path / "homes.parquet")
    out = made("homes.parquet", "--target", "cheap", name="homes")
    assert "classification" in out


def test_pictures_of_mixed_kinds_and_sizes(made, tmp_path):
    rng = np.random.default_rng(0)
    modes = ["L", "RGB", "RGBA", "P", "1"]
    for c, name in enumerate(("dark", "light")):
        (tmp_path / "sky" / name).mkdir(parents=True)
        for i in range(24):
            pixels = rng.integers(0, 120, (9 + i % 3, 8 + i % 2, 3)).astype(np.uint8) + np.uint8(120 * c)
            picture, jpeg = Image.fromarray(pixels), i % 4 == 0
            picture = picture if jpeg else picture.convert(modes[i % 5])
            picture.save(tmp_path / "sky" / name / f"{i}.{'jpg' if jpeg else 'png'}")
    assert "48 examples" in made("sky", name="sky")


def test_idx_files(made, tmp_path):
    rng = np.random.default_rng(0)
    (tmp_path / "shapes").mkdir()
    for part, n in (("train", 60), ("t10k", 20)):
        labels = (np.arange(n) % 3).astype(np.uint8)
        images = (rng.integers(0, 60, (n, 8, 8)) + 60 * labels[:, None, None]).astype(np.uint8)
        for stem, array, kind in ((f"{part}-images-idx3-ubyte", images, 3), (f"{part}-labels-idx1-ubyte", labels, 1)):
            head = bytes([0, 0, 8, kind]) + b"".join(s.to_bytes(4, "big") for s in array.shape)
            (tmp_path / "shapes" / f"{stem}.gz").write_bytes(gzip.compress(head + array.tobytes()))
    assert "3 classes" in made("shapes", name="shapes")


def test_the_task_file_that_new_writes(whet, made):
    said = whet("new", "cancer")
    assert said.code == 0
    assert "whet run cancer/task.py" in said.out
    again = whet("new", "cancer")
    assert again.code == 2
    assert "is there already" in again.err
    made("cancer/task.py", name="cancer")
