"""A folder of pictures, one sub-folder a class, becomes `Data`: one size, one mode, uint8 tensors."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from whet.data.folders import class_files, given_splits, lacking, parts, stated
from whet.data.picture import Header, decode, header
from whet.data.split import Data, Split
from whet.errors import DataError
from whet.finding import Finding, Severity

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["ENDINGS", "image_folder"]

ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".webp")
SIDE = 64  # pixels; longer sides are scaled down unless a size is asked for


@dataclass(frozen=True)
class _Listing:
    """The readable pictures of one folder of classes: paths, headers, class names, and what could not be read."""

    paths: list[Path]
    headers: list[Header]
    names: list[str]
    bad: list[tuple[Path, str]]


def image_folder(folder: str | Path, *, seed: int = 0, size: tuple[int, int] | None = None) -> Data:
    """Return the pictures under `folder`, one sub-folder a class, or under its train/ (valid/) test/ folders.

    size: (height, width); by default the commonest size, or the median when sizes differ, at most 64 pixels a side. Pictures
    of another size are scaled and their overhang is cut off; grey if all are grey, else RGB; transparency becomes white. Inputs:
    uint8 (n, C, height, width). A file that cannot be read is skipped, with a finding that names it.
    Without given splits the pictures are divided 70/15/15 by `seed`; test pictures are decoded when the split is opened.

    Raises DataError: no such folder, no class folders, an empty class folder, fewer than two classes, nothing readable.

    >>> import tempfile
    >>> from PIL import Image
    >>> folder = Path(tempfile.mkdtemp())
    >>> for i in range(20):
    ...     (folder / "ab"[i % 2]).mkdir(exist_ok=True)
    ...     Image.new("L", (8, 6), i).save(folder / "ab"[i % 2] / f"{i}.png")
    >>> data = image_folder(folder)
    >>> data.classes, tuple(data.train.inputs.shape)
    (('a', 'b'), (14, 1, 6, 8))
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder. Give a folder with one sub-folder of pictures a class.")
    given = given_splits(folder)
    found: list[Finding] = []
    lists = {split: _list(path) for split, path in (given or {"train": folder}).items()}
    classes = sorted(set(lists["train"].names))
    for split, listing in lists.items():
        unknown = sorted(set(listing.names) - set(classes))
        if unknown:
            raise DataError(
                f"{given[split]}: class folders {', '.join(unknown)} are not under train/. Give the same classes."
            )
    if len(classes) < 2:
        raise DataError(f"{folder}: one class only ({classes[0]}). Classification needs at least two class folders.")
    labels = {s: np.array([classes.index(n) for n in x.names], dtype=np.int64) for s, x in lists.items()}
    divided = parts(labels, seed)
    if given:
        text = stated(given, labels)
        found.append(Finding("SPLIT", Severity.INFO, str(folder), {"seed": seed}, text, "none needed"))
        found += lacking(given, labels, classes)
    seen = [lists[origin].headers[i] for origin, index in (divided["train"], divided["valid"]) for i in index]
    height, width = size or _usual_size(seen)
    grey = all(h.grey for h in seen)
    found += _stated(folder, seen, height, width, grey, size is not None)

    def raw(split: str, kept: np.ndarray) -> pd.DataFrame:
        import pandas as pd

        listing = lists[divided[split][0]]
        heads = [listing.headers[i] for i in kept]
        files = [str(listing.paths[i].relative_to(folder)) for i in kept]
        return pd.DataFrame({"file": files, "width": [h.width for h in heads], "height": [h.height for h in heads],
                             "mode": [h.mode for h in heads]})  # fmt: skip

    def load(split: str) -> tuple[Split, list[tuple[Path, str]]]:
        origin, index = divided[split]
        paths = [lists[origin].paths[i] for i in index]
        pixels, kept, bad = decode(paths, height, width, grey)
        if not kept:
            raise DataError(f"{folder}: none of the {len(paths)} {split} pictures can be read ({bad[0][1]}).")
        at = np.asarray(index)[kept]
        return Split(torch.from_numpy(pixels), torch.from_numpy(labels[origin][at]), at), bad

    (train, bad_train), (valid, bad_valid) = load("train"), load("valid")
    bad = [b for x in lists.values() for b in x.bad] + bad_train + bad_valid
    if bad:
        files = [str(p.relative_to(folder)) for p, _ in bad]
        shown = ", ".join(f"{f} ({why})" for f, (_, why) in list(zip(files, bad, strict=True))[:3])
        text = f"{len(bad):,} unreadable pictures are skipped: {shown}{', ...' if len(bad) > 3 else ''}"
        evidence = {"n": len(bad), "files": files[:50]}
        found.append(Finding("UNREADABLE", Severity.WARN, str(folder), evidence, text, "restore or delete these files"))
    if (present := np.unique(train.targets.numpy())).size < len(classes):
        lost = [c for i, c in enumerate(classes) if i not in present]
        raise DataError(
            f"{folder}: no readable training picture of class {', '.join(lost)}. Restore some, or remove it."
        )
    examples = {"train": len(train), "valid": len(valid), "test": len(divided["test"][1])}
    meta: dict[str, Any] = {
        "examples": examples,
        "image": {"channels": 1 if grey else 3, "height": height, "width": width},
        "files": {
            "sizes": {f"{w}x{h}": n for (w, h), n in Counter((h.width, h.height) for h in seen).most_common(20)},
            "modes": dict(Counter(h.mode for h in seen).most_common()),
        },
    }
    return Data(
        train, valid, classes=tuple(classes), sealed=lambda: load("test")[0], source=str(folder), meta=meta,
        findings=tuple(found), raw={"train": raw("train", train.ids), "valid": raw("valid", valid.ids)},
    )  # fmt: skip


def _list(folder: Path) -> _Listing:
    """Return the pictures under the class folders of `folder`, in the order of their names."""
    out = _Listing([], [], [], [])
    for kind, files in class_files(folder, ENDINGS, "pictures").items():
        good = 0
        for file in files:
            head = header(file)
            if isinstance(head, str):
                out.bad.append((file, head))
                continue
            good += 1
            out.paths.append(file)
            out.headers.append(head)
            out.names.append(kind.name)
        if not good:
            raise DataError(f"{kind}: none of its {len(files)} pictures can be read ({out.bad[-1][1]}). Restore them.")
    return out


def _usual_size(headers: Sequence[Header]) -> tuple[int, int]:
    """Return (height, width): the size most pictures have, else the median; scaled so that no side is over 64."""
    (width, height), n = Counter((h.width, h.height) for h in headers).most_common(1)[0]
    if n <= len(headers) / 2:
        height = int(np.median([h.height for h in headers]))
        width = int(np.median([h.width for h in headers]))
    shrink = min(1.0, SIDE / max(height, width))
    return max(4, round(height * shrink)), max(4, round(width * shrink))


def _stated(folder: Path, seen: Sequence[Header], height: int, width: int, grey: bool, asked: bool) -> list[Finding]:
    sizes = Counter((h.width, h.height) for h in seen)
    found = []
    if set(sizes) != {(width, height)}:
        common = ", ".join(f"{w}x{h} ({n:,})" for (w, h), n in sizes.most_common(3)) + (
            ", ..." if len(sizes) > 3 else ""
        )
        text = f"{len(sizes)} sizes, width x height {common}; all become {width}x{height}"
        evidence = {"sizes": len(sizes), "height": height, "width": width}
        fix = "none needed" if asked else "ImageTask(path, size=(height, width)) to override"
        found.append(Finding("SIZE", Severity.INFO, str(folder), evidence, text, fix))
    modes = Counter(h.mode for h in seen)
    if len(modes) > 1 or next(iter(modes)) not in ("L", "RGB"):
        text = (
            f"modes {', '.join(f'{m} ({n:,})' for m, n in modes.most_common())}; all become {'grey' if grey else 'RGB'}"
        )
        found.append(Finding("IMAGE-MODE", Severity.INFO, str(folder), dict(modes), text, "none needed"))
    return found
