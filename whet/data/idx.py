"""IDX files, the format of the MNIST family: read one, and load a folder of the four."""

from __future__ import annotations

import gzip
import struct
import zlib
from pathlib import Path

import numpy as np
import torch

from whet.data.divide import divide
from whet.data.folders import lacking
from whet.data.split import Data, Split
from whet.errors import DataError
from whet.finding import Finding, Severity

__all__ = ["idx_folder", "is_idx_folder", "read_idx"]

TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
STEMS = {"train": ("train",), "test": ("t10k", "test")}


def read_idx(path: str | Path) -> np.ndarray:
    """Return the array of an IDX file, gzipped or not: big-endian header, then the values in C order.

    Raises DataError when the file is not IDX, is cut off, or holds more than its header says.

    >>> import tempfile, pathlib
    >>> p = pathlib.Path(tempfile.mkdtemp(), "x-idx1-ubyte")
    >>> _ = p.write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 3, 7, 8, 9]))
    >>> read_idx(p).tolist()
    [7, 8, 9]
    """
    path = Path(path)
    raw = path.read_bytes()
    if raw[:2] == b"\x1f\x8b":
        try:
            raw = gzip.decompress(raw)
        except (OSError, EOFError, zlib.error) as e:
            raise DataError(f"{path}: the gzip file is damaged ({e}). Download it again.") from None
    if len(raw) < 4 or raw[:2] != b"\0\0" or raw[2] not in TYPES or raw[3] == 0:
        raise DataError(
            f"{path}: not an IDX file: it starts with {raw[:4].hex(' ') or 'nothing'}, not 00 00 type rank."
        )
    rank, kind = raw[3], np.dtype(TYPES[raw[2]])
    head = 4 + 4 * rank
    if len(raw) < head:
        raise DataError(f"{path}: the IDX header is cut off at byte {len(raw)} of {head}. Download it again.")
    shape = struct.unpack(f">{rank}I", raw[4:head])
    need = head + kind.itemsize * int(np.prod(shape, dtype=np.int64))
    if len(raw) != need:
        raise DataError(f"{path}: {len(raw)} bytes, but the header {shape} asks for {need}. Download it again.")
    return np.frombuffer(raw, kind, offset=head).reshape(shape).astype(kind.newbyteorder("="))


def _find(folder: Path, split: str, what: str) -> Path | None:
    for stem in STEMS[split]:
        for rank in ("idx3", "idx4") if what == "images" else ("idx1",):
            for name in (f"{stem}-{what}-{rank}-ubyte", f"{stem}-{what}.{rank}-ubyte"):
                for end in ("", ".gz"):
                    if (folder / (name + end)).is_file():
                        return folder / (name + end)
    return None


def is_idx_folder(folder: str | Path) -> bool:
    """Return whether `folder` holds at least one IDX file of images under a name of the MNIST family.

    >>> is_idx_folder(".")
    False
    """
    return any(_find(Path(folder), split, "images") for split in STEMS)


def _pair(folder: Path, split: str) -> tuple[Path, Path] | None:
    images, labels = _find(folder, split, "images"), _find(folder, split, "labels")
    if images and not labels:
        raise DataError(
            f"{folder}: {images.name} has no labels. Put {STEMS[split][0]}-labels-idx1-ubyte[.gz] beside it."
        )
    return (images, labels) if images and labels else None


def _load(pair: tuple[Path, Path]) -> tuple[torch.Tensor, np.ndarray]:
    x, y = read_idx(pair[0]), read_idx(pair[1])
    if x.ndim == 4 and x.shape[3] in (1, 3):
        x = x.transpose(0, 3, 1, 2)
    elif x.ndim == 3:
        x = x[:, None]
    if x.dtype != np.uint8 or x.ndim != 4:
        raise DataError(f"{pair[0]}: expected uint8 images (n, h, w), got {x.dtype} of shape {x.shape}.")
    if y.ndim != 1 or len(x) != len(y):
        raise DataError(f"{pair[0].parent}: {len(x)} images in {pair[0].name} but labels {y.shape} in {pair[1].name}.")
    return torch.from_numpy(np.ascontiguousarray(x)), y.astype(np.int64)


def idx_folder(folder: str | Path, *, seed: int = 0) -> Data:
    """Return the images of a folder of IDX files; given splits are kept, and what is missing is divided off by `seed`.

    With all four files, t10k is the sealed test split (read when it is opened) and 15 % of train is validation. With
    one pair only, that pair is divided 70/15/15 and a finding says so. Inputs: uint8 (n, C, H, W).

    Raises DataError for a missing or damaged file, and for images without labels.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> head = bytes([0, 0, 8, 3, 0, 0, 0, 20, 0, 0, 0, 2, 0, 0, 0, 2])
    >>> _ = (folder / "train-images-idx3-ubyte").write_bytes(head + bytes(range(80)))
    >>> _ = (folder / "train-labels-idx1-ubyte").write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 20]) + bytes([3, 7] * 10))
    >>> idx_folder(folder).classes
    ('3', '7')
    """
    folder = Path(folder)
    train, test = _pair(folder, "train"), _pair(folder, "test")
    given = train or test
    if given is None:
        raise DataError(
            f"{folder}: no IDX files. Expected train-images-idx3-ubyte[.gz] and train-labels-idx1-ubyte[.gz]."
        )
    x, y = _load(given)
    names = np.unique(y)
    findings = []
    parts = divide(len(y), labels=y, seed=seed, shares=(0.85, 0.15) if train and test else (0.7, 0.15, 0.15))
    if train and test:
        with_test, text = test, "train-* is divided 85/15 into training and validation; t10k-* is the sealed test split"
        labels = read_idx(test[1])
        count = len(labels)
    else:
        there, absent = ("train-*", "t10k-*") if train else ("t10k-*", "train-*")
        with_test, count = None, len(parts[2])
        text = f"only {there} is there, {absent} is not: {len(y):,} images are divided 70/15/15 by the seed"
    findings.append(
        Finding(
            "SPLIT",
            Severity.INFO,
            str(folder),
            {"seed": seed},
            text,
            "none needed" if train and test else "put the other files beside them",
        )
    )
    if len(names) < 2:
        raise DataError(f"{given[1]}: all {len(y)} labels are {names[0]}. Classification needs at least two classes.")
    if train and test:
        findings += _same_classes(names, np.unique(labels), test[1])

    def split(images: torch.Tensor, labels: np.ndarray, index: np.ndarray) -> Split:
        codes = np.searchsorted(names, labels[index])
        return Split(images[torch.from_numpy(index)], torch.from_numpy(codes), index)

    def sealed() -> Split:
        images, labels = _load(with_test) if with_test else _load(given)
        return split(images, labels, np.arange(len(labels)) if with_test else parts[2])

    return Data(
        split(x, y, parts[0]), split(x, y, parts[1]), kind="classification", classes=tuple(str(v) for v in names),
        sealed=sealed, source=str(folder), findings=tuple(findings),
        meta={
            "examples": {"train": len(parts[0]), "valid": len(parts[1]), "test": count},
            "image": {"channels": x.shape[1], "height": x.shape[2], "width": x.shape[3]},
        },
    )  # fmt: skip


def _same_classes(names: np.ndarray, tested: np.ndarray, file: Path) -> tuple[Finding, ...]:
    """Return a finding when the test labels lack some of the classes `names`; raise DataError when they have others.

    At once, not when the split is opened, which is after all the training.
    """
    if unknown := sorted(set(tested.tolist()) - set(names.tolist())):
        raise DataError(
            f"{file.parent}: labels {unknown} are in {file.name} but not in the training files. Give the same classes."
        )
    return lacking({"test": file}, {"test": np.searchsorted(names, tested)}, [str(v) for v in names])
