"""The visible examples as rows to sort and filter."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image

from whet.data import Data, image_folder, look, table
from whet.data.seen.rows import rows


def test_a_table_keeps_its_own_columns() -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"age": rng.integers(1, 90, 60).astype(float), "sex": ["m", "f"] * 30, "id": range(60), "y": ["a", "b"] * 30})  # fmt: skip
    frame.loc[5, "age"] = np.nan
    data = table(frame, "y")
    seen = rows(data)
    assert len(seen) == len(data.train) + len(data.valid) == 51
    for _, row in seen.iterrows():
        there = frame.loc[row["id"]]
        assert there["sex"] == row["sex"]
        assert there["y"] == row["label"] == row["y"]
        assert there["id"] == row["id_"]
        assert row["missing"] == int(pd.isna(there["age"]))
    assert set(seen.query("age > 60 and sex == 'm'").id) == set(frame.query("age > 60 and sex == 'm'").id) & set(
        seen.id
    )


def test_pictures_have_files_sizes_and_light(tmp_path: Path) -> None:
    for i in range(24):
        (tmp_path / "ab"[i % 2]).mkdir(exist_ok=True)
        Image.new("L", (8, 6 + i % 3), 10 * i).save(tmp_path / "ab"[i % 2] / f"{i}.png")
    seen = rows(image_folder(tmp_path))
    for _, row in seen.iterrows():
        i = int(Path(row["file"]).stem)
        assert (row["width"], row["height"], row["mode"], row["label"]) == (8, 6 + i % 3, "L", "ab"[i % 2])
        assert abs(row["brightness"] - 10 * i / 255) < 1e-3
        assert row["contrast"] == 0


def test_sequences_have_lengths_and_suspects_are_named() -> None:
    x = torch.zeros(40, 6, dtype=torch.int64)
    for i in range(40):
        x[i, : 1 + i % 6] = torch.arange(1, 2 + i % 6) + i
    data = Data.from_arrays(x, np.arange(40) % 2)
    seen = rows(data, look(data).examples)
    assert (seen.length.to_numpy() == 1 + seen.id.to_numpy() % 6).all()
    assert {"suspect", "reason"} <= set(seen.columns)
