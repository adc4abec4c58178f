from __future__ import annotations

import os
import resource
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open

from whet.errors import CheckpointError
from whet.journal.checkpoint import Array, Files, load, save

ARRAYS = st.binary(max_size=12).map(lambda b: Array("U8", (len(b),), b))
LEAVES = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text() | ARRAYS
)
KEYS = st.text("ab.'$_", max_size=4) | st.just("__metadata__")
TREES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3), max_leaves=10
)


@given(TREES)
def test_a_tree_comes_back(tree):
    files = Files(None)
    back = files.read(files.write(0, 1, tree))
    assert back == tree
    assert repr(back) == repr(tree)


def test_names_that_read_alike_stay_apart():
    tree = {"a": {"b": Array("U8", (1,), b"1")}, "a.b": Array("U8", (1,), b"2"), "a.b'": Array("U8", (1,), b"3")}
    files = Files(None)
    assert files.read(files.write(0, 1, tree)) == tree


def test_other_programs_can_read_the_file(tmp_path):
    weights = np.arange(6, dtype="<f4").reshape(2, 3)
    path = tmp_path / "x.safetensors"
    save(path, {"model": {"w": Array("F32", (2, 3), weights.tobytes())}, "empty": Array("I64", (0,), b"")})
    with safe_open(path, "np") as f:
        assert sorted(f.keys()) == ["empty", "model.w"]
        np.testing.assert_array_equal(f.get_tensor("model.w"), weights)
    assert load(path)["model"]["w"].data == weights.tobytes()


@pytest.mark.parametrize(
    ("tree", "where"),
    [
        ({"a": [1, {"b": object()}]}, "a.1.b"),
        ({"a": {3: 1}}, "a: key 3"),
        ({"a": {"$array": "w"}}, "a: key '\\$array'"),
        ({"a": b"bytes"}, "a: bytes"),
        ({"a": {1, 2}}, "a: set"),
        ({"x": [float("nan")]}, "x.0: nan"),
        ({"x": np.float32(1)}, "x: float32"),
    ],
)
def test_what_cannot_be_written_is_refused_by_its_path(tree, where, tmp_path):
    for write in (lambda: Files(tmp_path).write(0, 1, tree), lambda: save(tmp_path / "x", tree)):
        with pytest.raises(CheckpointError, match=where) as e:
            write()
        assert len(str(e.value).splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def one(tmp_path):
    files = Files(tmp_path)
    name = files.write(3, 9, {"w": Array("F32", (4,), bytes(range(16))), "n": 7})
    return files, name, tmp_path / name


def test_every_flipped_bit_is_found_out(one):
    files, name, path = one
    whole = path.read_bytes()
    for at in range(0, len(whole), 7):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 4]) + whole[at + 1 :])
        with pytest.raises(CheckpointError, match="damaged"):
            files.read(name)
    path.write_bytes(whole)
    assert files.read(name)["n"] == 7


def test_every_truncation_is_found_out(one):
    files, name, path = one
    whole = path.read_bytes()
    for size in (0, 1, 7, 8, 20, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(CheckpointError, match="damaged"):
            files.read(name)
        with pytest.raises(CheckpointError, match="damaged"):
            load(path)
    path.unlink()
    with pytest.raises(CheckpointError, match="cannot be read"):
        files.read(name)


@given(st.binary(max_size=60), st.integers(0, 60))
def test_garbage_is_refused_by_name(tmp_path_factory, data, size):
    path = tmp_path_factory.getbasetemp() / "garbage"
    path.write_bytes(size.to_bytes(8, "little") + data)
    with pytest.raises(CheckpointError, match="damaged, or not a checkpoint"):
        load(path)


def test_a_pickle_is_not_unpickled(tmp_path):
    path = tmp_path / "x"
    # opcodes that would call os.mkdir when unpickled
    path.write_bytes(b"cos\nmkdir\n(V" + str(tmp_path / "made").encode() + b"\ntR.")
    with pytest.raises(CheckpointError):
        load(path)
    assert not (tmp_path / "made").exists()


def test_the_same_state_is_the_same_file(one):
    files, name, path = one
    before = path.stat().st_mtime_ns
    assert files.write(3, 9, {"w": Array("F32", (4,), bytes(range(16))), "n": 7}) == name
    assert path.stat().st_mtime_ns == before
    path.write_bytes(b"damaged")
    files.write(3, 9, {"w": Array("F32", (4,), bytes(range(16))), "n": 7})
    assert files.read(name)["n"] == 7
    assert files.write(3, 9, {"n": 8}) != name


@pytest.mark.parametrize("folder", [True, False])
def test_bytes_are_counted_and_removed(folder, tmp_path):
    files = Files(tmp_path if folder else None)
    names = [files.write(t, 1, {"w": Array("U8", (100,), bytes(100))}) for t in range(3)]
    total = files.bytes()
    assert total > 300
    files.remove(names[0])
    files.remove(names[0])
    assert files.bytes() == total * 2 // 3
    with pytest.raises(CheckpointError, match="cannot be read"):
        files.read(names[0])


FULL = """
import resource, sys
from pathlib import Path
from whet.errors import CheckpointError
from whet.journal.checkpoint import Array, Files
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
files = Files(Path(sys.argv[1]))
files.write(0, 1, {"w": Array("U8", (10_000,), bytes(10_000))})
try:
    files.write(0, 2, {"w": Array("U8", (100_000,), bytes(100_000))})
except CheckpointError as e:
    print(e)
"""


def test_a_full_disk_leaves_no_part_of_a_file(tmp_path):
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY
    said = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path)], capture_output=True, text=True, check=True
    ).stdout
    assert "cannot be written" in said
    assert len(said.splitlines()) == 1
    assert [p.name.split("-")[0] for p in (tmp_path / "0").iterdir()] == ["1"]


def test_waiting_for_the_disk_includes_the_names(tmp_path, monkeypatch):
    """A file whose name is not on the disk is gone after a power cut, however well its content was written."""
    waited = []
    fsync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda fd: (waited.append(os.readlink(f"/proc/self/fd/{fd}")), fsync(fd))[1])
    files = Files(tmp_path / "new" / "checkpoints", sync=True)
    name = files.write(0, 1, {"a": 1})
    content, *names = waited
    assert content.startswith(str(tmp_path / "new/checkpoints/0/.part-"))
    assert set(names) == {str(tmp_path / f) for f in ("new/checkpoints/0", "new/checkpoints", "new", ".")}
    waited.clear()
    files.write(0, 2, {"a": 2})
    assert len(waited) == 2
    assert waited[1] == str((tmp_path / "new/checkpoints" / name).parent)
    waited.clear()
    Files(tmp_path / "quick").write(0, 1, {"a": 1})
    assert not waited
