"""A folder of texts, one sub-folder of .txt files a class, becomes `Data`: a table of one text column."""

from __future__ import annotations

import codecs
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from whet.data.folders import class_files, given_splits, lacking, parts, stated
from whet.data.image import ENDINGS as PICTURES
from whet.data.prepare import apply_encoding, fit_encoding
from whet.data.split import Data, Split
from whet.data.table import profile
from whet.errors import DataError
from whet.finding import Finding, Severity

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["ENDINGS", "is_text_folder", "read_text", "text_folder"]

ENDINGS = (".txt",)
MOST = 1_000_000  # bytes of a file that are read
BOMS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))


def is_text_folder(folder: str | Path) -> bool:
    """Return whether the class folders of `folder`, or of its splits, hold .txt files and no pictures.

    A folder without any but with loose .txt files counts too: `text_folder` says what is wrong with it.

    >>> is_text_folder("nowhere")
    False
    """
    folder = Path(folder)
    if not folder.is_dir():
        return False
    texts = False
    for at in given_splits(folder).values() or [folder]:
        kinds = sorted(p for p in at.iterdir() if p.is_dir() and not p.name.startswith((".", "_")))
        for kind in kinds or [at]:
            endings = {p.suffix.lower() for p in islice(kind.rglob("*"), 10_000)}
            if endings & set(PICTURES):
                return False
            texts |= bool(endings & set(ENDINGS))
    return texts


def read_text(path: Path) -> tuple[str, str]:
    """Return (text, encoding) of a file: UTF-8, UTF-16 with its mark, else Windows-1252; at most its first million bytes.

    Raises ValueError saying why when it is no text.

    >>> import tempfile
    >>> p = Path(tempfile.mkdtemp(), "a.txt"); _ = p.write_bytes("caf\\u00e9".encode("cp1252"))
    >>> read_text(p)[1]
    'cp1252'
    """
    try:
        with path.open("rb") as file:
            data = file.read(MOST)
    except OSError as e:
        raise ValueError(e.strerror or str(e)) from None
    for mark, encoding in BOMS:
        if data.startswith(mark):
            return data.decode(encoding, "replace"), encoding
    odd = sum(data.count(bytes([b])) for b in (*range(9), *range(14, 27), *range(28, 32)))
    if b"\0" in data or odd > 0.05 * len(data):
        raise ValueError(f"binary, starts with {data[:4].hex(' ')}")
    try:
        return codecs.getincrementaldecoder("utf-8")().decode(data, final=len(data) < MOST), "utf-8"
    except UnicodeDecodeError:
        return data.decode("cp1252", "replace"), "cp1252"


def text_folder(folder: str | Path, *, seed: int = 0) -> Data:
    """Return the texts under `folder`, one sub-folder of .txt files a class, or under its train/ (valid/) test/ folders.

    Inputs as those of a table with one column, `text` (see `whet.data.table`). A file that is no text is skipped, with a finding
    that names it. Without given splits the texts are divided 70/15/15 by `seed`; test files are read when the split is opened.

    Raises DataError: no such folder, no class folders, an empty class folder, fewer than two classes, nothing readable.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> for i in range(40):
    ...     (folder / ("bad", "good")[i % 2]).mkdir(exist_ok=True)
    ...     _ = (folder / ("bad", "good")[i % 2] / f"{i}.txt").write_text(f"a {('dull', 'fine')[i % 2]} day, the {i % 5}th")
    >>> data = text_folder(folder)
    >>> data.classes, data.features, data.raw["train"]["text"][0]
    (('bad', 'good'), ('text',), 'a dull day, the 0th')
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder. Give a folder with one sub-folder of .txt files a class.")
    given = given_splits(folder)
    files = {s: class_files(p, ENDINGS, "texts") for s, p in (given or {"train": folder}).items()}
    classes = [k.name for k in files["train"]]
    for split, kinds in files.items():
        if unknown := sorted({k.name for k in kinds} - set(classes)):
            raise DataError(
                f"{given[split]}: class folders {', '.join(unknown)} are not under train/. Give the same classes."
            )
    if len(classes) < 2:
        raise DataError(f"{folder}: one class only ({classes[0]}). Classification needs at least two class folders.")
    paths = {s: [f for of in kinds.values() for f in of] for s, kinds in files.items()}
    labels = {s: np.array([classes.index(k.name) for k, of in kinds.items() for _ in of], np.int64)
              for s, kinds in files.items()}  # fmt: skip
    divided = parts(labels, seed)

    def frame(split: str) -> tuple[pd.DataFrame, np.ndarray, list[tuple[str, str]], int]:
        import pandas as pd

        origin, index = divided[split]
        texts, kept, bad, other = [], [], [], 0
        for i in index:
            path = paths[origin][i]
            try:
                text, encoding = read_text(path)
            except ValueError as e:
                bad.append((str(path.relative_to(folder)), str(e)))
                continue
            other += encoding == "cp1252"
            texts.append((text, str(path.relative_to(folder))))
            kept.append(i)
        if not kept:
            raise DataError(f"{folder}: none of the {len(index)} {split} texts can be read ({bad[0][1]}).")
        return pd.DataFrame(texts, columns=["text", "file"]), np.array(kept, np.int64), bad, other

    train, valid = frame("train"), frame("valid")
    encoding, read = fit_encoding(train[0][["text"]], str(folder), texts=("text",))

    def encoded(name: str) -> Split:
        rows, index, _, _ = {"train": train, "valid": valid}.get(name) or frame(name)
        return Split(apply_encoding(encoding, rows), torch.from_numpy(labels[divided[name][0]][index]), index)

    present = np.unique(labels["train"][train[1]])
    if lost := [c for i, c in enumerate(classes) if i not in present]:
        raise DataError(f"{folder}: no readable training text of class {', '.join(lost)}. Restore some, or remove it.")
    found = []
    if given:
        found.append(Finding("SPLIT", Severity.INFO, str(folder), {"seed": seed}, stated(given, labels), "none needed"))
        found += lacking(given, labels, classes)
    found += _skipped(folder, [*train[2], *valid[2]], train[3] + valid[3])
    column = profile(train[0][["text"]])[0] | {"kind": "text"}
    meta: dict[str, Any] = {
        "examples": {"train": len(train[0]), "valid": len(valid[0]), "test": len(divided["test"][1])},
        "encoding": encoding,
        "target": {"name": "folder", "kind": "classification"},
        "columns": [column],
    }
    return Data(
        encoded("train"), encoded("valid"), classes=tuple(classes), sealed=lambda: encoded("test"), source=str(folder),
        features=("text",), meta=meta, findings=(*found, *read), raw={"train": train[0], "valid": valid[0]},
    )  # fmt: skip


def _skipped(folder: Path, bad: list[tuple[str, str]], other: int) -> list[Finding]:
    found = []
    if bad:
        shown = ", ".join(f"{f} ({why})" for f, why in bad[:3]) + (", ..." if len(bad) > 3 else "")
        are = "file that is no text is" if len(bad) == 1 else "files that are no text are"
        text = f"{len(bad):,} {are} skipped: {shown}"
        evidence = {"n": len(bad), "files": [f for f, _ in bad[:50]]}
        found.append(Finding("UNREADABLE", Severity.WARN, str(folder), evidence, text, "restore or delete these files"))
    if other:
        are = "file is not UTF-8 and was" if other == 1 else "files are not UTF-8 and were"
        text = f"{other:,} {are} read as Windows-1252"
        found.append(Finding("DIALECT", Severity.INFO, str(folder), {"n": other}, text, "save as UTF-8 if wrong"))
    return found
