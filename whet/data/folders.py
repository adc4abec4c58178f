"""Folders of examples, one sub-folder a class: the files of each class, given splits, and how the rest is divided."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from whet.data.divide import divide
from whet.errors import DataError
from whet.finding import Finding, Severity

__all__ = ["class_files", "given_splits", "lacking", "parts", "stated"]

SPLITS = {"train": ("train", "training"), "valid": ("valid", "val", "validation"), "test": ("test", "testing")}


def given_splits(folder: Path) -> dict[str, Path]:
    """Return the folders under `folder` that hold splits, by split; none without one of training examples.

    A split is a folder of class folders (a class may itself be called test).

    >>> given_splits(Path("whet"))
    {}
    """
    given = {split: folder / n for split, names in SPLITS.items() for n in names if _is_split(folder / n)}
    return given if "train" in given else {}


def _is_split(path: Path) -> bool:
    return path.is_dir() and any(p.is_dir() and not p.name.startswith(".") for p in path.iterdir())


def class_files(folder: Path, endings: Sequence[str], noun: str) -> dict[Path, list[Path]]:
    """Return the files with one of `endings` under each class folder of `folder`, in the order of their names.

    noun: what they are ("pictures"), for the errors. Raises DataError: no class folders, no such files in any or in one of them.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp()); (folder / "good").mkdir(); _ = (folder / "good" / "1.txt").write_text("fun")
    >>> [(k.name, [f.name for f in files]) for k, files in class_files(folder, [".txt"], "texts").items()]
    [('good', ['1.txt'])]
    """
    kinds = sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith((".", "_")))
    if not kinds:
        loose = sum(p.suffix.lower() in endings for p in folder.iterdir())
        got = f"{loose} loose {noun}" if loose else "no folder"
        raise DataError(
            f"{folder}: no class folders, got {got}. Put the {noun} of each class into a folder of its name."
        )
    found = {k: sorted(p for p in k.rglob("*") if p.suffix.lower() in endings and p.name[0] != ".") for k in kinds}
    if not any(found.values()):
        raise DataError(
            f"{folder}: no {noun} in any of its {len(kinds)} folders ({kinds[0].name}, ...). Allowed: {' '.join(endings)}."
        )
    for kind, files in found.items():
        if not files:
            other = Counter(p.suffix.lower() or "no ending" for p in kind.rglob("*") if p.is_file())
            got = ", ".join(f"{n} {s}" for s, n in other.most_common(3)) or "nothing"
            raise DataError(
                f"{kind}: class folder without {noun}, got {got}. Allowed: {' '.join(endings)}; or delete it."
            )
    return found


def parts(labels: Mapping[str, np.ndarray], seed: int) -> dict[str, tuple[str, np.ndarray]]:
    """Return for each split which given one it comes from and which of its examples; what is not given is divided off train.

    labels: (n,) class numbers of the given splits.

    >>> {s: (origin, len(at)) for s, (origin, at) in parts({"train": np.arange(20) % 2, "test": np.arange(4) % 2}, 0).items()}
    {'train': ('train', 17), 'valid': ('train', 3), 'test': ('test', 4)}
    """
    y = labels["train"]
    lack = [s for s in ("valid", "test") if s not in labels]
    pieces = divide(len(y), labels=y, seed=seed, shares=(1 - 0.15 * len(lack), *[0.15] * len(lack)))
    divided = {s: ("train", piece) for s, piece in zip(["train", *lack], pieces, strict=True)}
    return divided | {s: (s, np.arange(len(y))) for s, y in labels.items() if s != "train"}


def stated(given: Mapping[str, Path], labels: Mapping[str, np.ndarray]) -> str:
    """Return in words which splits were given and which were divided off.

    >>> stated({"train": Path("x/train"), "test": Path("x/test")}, {"train": np.zeros(1200), "test": np.zeros(9)})
    'given splits: train/ 1,200, test/ 9; valid divided off train by the seed'
    """
    text = "given splits: " + ", ".join(f"{p.name}/ {len(labels[s]):,}" for s, p in given.items())
    lacking = [s for s in ("valid", "test") if s not in given]
    return text + (f"; {' and '.join(lacking)} divided off train by the seed" if lacking else "")


def lacking(given: Mapping[str, Path], labels: Mapping[str, np.ndarray], classes: Sequence[str]) -> tuple[Finding, ...]:
    """Return a finding for each given split, but that of training examples, without a file of some of the classes.

    labels: (n,) class numbers of the given splits. The names of a test split's folders are read, not its files.

    >>> given = {"train": Path("x/train"), "test": Path("x/test")}
    >>> [f.message for f in lacking(given, {"train": np.arange(20) % 2, "test": np.zeros(9, int)}, ("bad", "good"))]
    ["test/ has no example of 1 of the 2 classes: 'good'; its score says nothing of it"]
    """
    found = []
    for split, path in given.items():
        absent = sorted(set(range(len(classes))) - set(labels[split].tolist()))
        if split == "train" or not absent:
            continue
        shown = ", ".join(repr(classes[i]) for i in absent[:5]) + (", ..." if len(absent) > 5 else "")
        name = path.name if path.is_file() else f"{path.name}/"
        text = (
            f"{name} has no example of {len(absent)} of the {len(classes)} classes: {shown}; its score says nothing of "
        )
        text += "it" if len(absent) == 1 else "them"
        evidence = {"split": split, "absent": [classes[i] for i in absent[:50]], "classes": len(classes)}
        fix = f"put examples of every class into {name}, or leave it out and let whet divide"
        found.append(Finding("SPLIT", Severity.WARN, str(path), evidence, text, fix))
    return tuple(found)
