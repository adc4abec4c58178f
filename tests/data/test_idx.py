from __future__ import annotations

import gzip
import struct

import numpy as np
import pytest
import torch

from whet.data.idx import idx_folder, is_idx_folder, read_idx
from whet.data.load import load
from whet.errors import DataError


def idx(array):
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.astype(np.uint8).tobytes()


def family(folder, split, n, *, packed=True, seed=0):
    rng = np.random.default_rng(seed)
    x, y = rng.integers(0, 256, (n, 6, 5)), np.arange(n) % 4
    for what, a, rank in (("images", x, 3), ("labels", y, 1)):
        raw = idx(a)
        name = f"{split}-{what}-idx{rank}-ubyte"
        (folder / (name + ".gz" * packed)).write_bytes(gzip.compress(raw) if packed else raw)
    return x, y


@pytest.mark.parametrize("packed", [True, False])
def test_four_files_keep_their_test_split(tmp_path, packed):
    x, y = family(tmp_path, "train", 100, packed=packed)
    tx, ty = family(tmp_path, "t10k", 20, packed=packed, seed=1)
    assert is_idx_folder(tmp_path)
    data = load(tmp_path, seed=2)
    assert data.meta["examples"] == {"train": 85, "valid": 15, "test": 20}
    assert data.classes == ("0", "1", "2", "3")
    assert data.train.inputs.shape == (85, 1, 6, 5)
    assert data.train.inputs.dtype == torch.uint8
    assert np.array_equal(data.valid.inputs[:, 0].numpy(), x[data.valid.ids])
    assert np.array_equal(data.valid.targets, y[data.valid.ids])
    assert np.array_equal(data.sealed().inputs[:, 0].numpy(), tx)
    assert np.array_equal(data.sealed().targets, ty)
    assert data.findings[0].code == "SPLIT"
    assert "85/15" in data.findings[0].message


@pytest.mark.parametrize("split", ["train", "t10k"])
def test_one_pair_is_divided_in_three_and_said_so(tmp_path, split):
    family(tmp_path, split, 100)
    data = idx_folder(tmp_path)
    assert data.meta["examples"] == {"train": 70, "valid": 15, "test": 15}
    assert len(data.sealed()) == 15
    assert f"only {split}-* is there" in data.findings[0].message
    assert not set(data.sealed().ids) & {*data.train.ids, *data.valid.ids}


def test_damaged_files_are_one_clear_line(tmp_path):
    family(tmp_path, "train", 20, packed=False)
    images, labels = tmp_path / "train-images-idx3-ubyte", tmp_path / "train-labels-idx1-ubyte"
    good = images.read_bytes()
    for raw, says in (
        (good[:-1], "asks for"), (good + b"x", "asks for"), (b"PNG!" + good, "not an IDX file"), (b"", "nothing"),
        (good[:9], "cut off"), (gzip.compress(good)[:-20], "gzip file is damaged"),
    ):  # fmt: skip
        images.write_bytes(raw)
        with pytest.raises(DataError, match=says):
            idx_folder(tmp_path)
    images.write_bytes(good)
    labels.write_bytes(idx(np.arange(19)))
    with pytest.raises(DataError, match="20 images in train-images-idx3-ubyte but labels"):
        idx_folder(tmp_path)
    labels.write_bytes(idx(np.zeros(20)))
    with pytest.raises(DataError, match="all 20 labels are 0"):
        idx_folder(tmp_path)
    labels.unlink()
    with pytest.raises(DataError, match="has no labels"):
        idx_folder(tmp_path)


def test_labels_of_the_test_files_only_are_refused(tmp_path):
    family(tmp_path, "train", 40)
    family(tmp_path, "t10k", 20)
    (tmp_path / "t10k-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(np.arange(20) % 5)))
    with pytest.raises(DataError, match=r"labels \[4\]"):
        idx_folder(tmp_path)  # at once, not after all the training


def test_classes_that_the_test_files_lack_are_said(tmp_path):
    family(tmp_path, "train", 40)
    family(tmp_path, "t10k", 20)
    assert all(f.severity != "WARN" for f in idx_folder(tmp_path).findings)
    (tmp_path / "t10k-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(np.arange(20) % 3)))
    (found,) = [f for f in idx_folder(tmp_path).findings if f.severity == "WARN"]
    assert (found.code, found.evidence["absent"]) == ("SPLIT", ["3"])
    assert found.message.startswith("t10k-labels-idx1-ubyte.gz has no example of 1 of the 4 classes: '3'")


def test_types_and_ranks(tmp_path):
    path = tmp_path / "f"
    path.write_bytes(struct.pack(">HBBII", 0, 0x0D, 2, 1, 2) + struct.pack(">ff", 1.5, -2))
    assert read_idx(path).tolist() == [[1.5, -2.0]]
    assert read_idx(path).dtype == np.float32
