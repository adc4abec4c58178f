"""An example as lines of text: a picture in block characters, a row's fields, a sequence, the sizes of anything else."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Any

import numpy as np
from PIL import Image

from whet.data.sample import Sample
from whet.data.split import Data
from whet.errors import one_line

__all__ = ["clean_text", "described", "fields", "halves", "picture_of", "shades"]

BLOCKS, LETTERS = " ░▒▓█", " .:-=+*#%@"
WHITE = (0.299, 0.587, 0.114)  # how bright red, green and blue look (ITU-R BT.601)


def picture_of(data: Data, split: str, index: int) -> np.ndarray | None:
    """Return the example as uint8 (H, W) or (H, W, 3), or None when the data are no pictures of one or three channels.

    >>> from whet.data.bundled import digits
    >>> picture_of(digits(), "valid", 0).shape
    (8, 8)
    """
    part = (data.train if split == "train" else data.valid).parts
    x = part[0]
    if len(part) != 1 or not (
        (x.ndim == 4 and x.shape[1] in (1, 3)) or (x.ndim == 3 and str(x.dtype) == "torch.uint8")
    ):
        return None
    return Sample(index, 0, "", (x[index],)).picture


def _fit(picture: np.ndarray, width: int, height: int, largest: int) -> np.ndarray:
    """Return the picture at most (height, width): averaged down, or each pixel repeated up to `largest` times."""
    h, w = picture.shape[:2]
    times = min(width / w, height / h)
    if times >= 1:
        k = min(int(times), largest)
        return picture.repeat(k, 0).repeat(k, 1)
    size = max(1, int(w * times)), max(1, int(h * times))
    return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BOX))


def shades(picture: np.ndarray, *, width: int = 70, blocks: bool = True) -> list[str]:
    """Return a picture, uint8 (H, W) or (H, W, 3), as lines without colour: two characters a pixel, the fuller the brighter.

    The darkest and brightest pixel take the ends of the scale. blocks: block characters, else letters of ASCII.

    >>> shades(np.array([[0, 255], [128, 0]], np.uint8), blocks=False)
    ['  @@', '++']
    """
    small = _fit(picture, width // 2, width // 2, 1)
    grey = small @ np.array(WHITE) if small.ndim == 3 else small.astype(float)
    low, high = float(grey.min()), float(grey.max())
    marks = BLOCKS if blocks else LETTERS
    level = (grey - low) / (high - low) if high > low else grey / 255
    return ["".join(2 * marks[int(v * (len(marks) - 1) + 0.5)] for v in row).rstrip() for row in level]


def halves(picture: np.ndarray, *, width: int = 70) -> np.ndarray:
    """Return a picture as characters of two pixels, uint8 (lines, columns, 2, 3): the colours of upper and lower half.

    >>> halves(np.zeros((3, 2), np.uint8), width=2).shape
    (2, 2, 2, 3)
    """
    small = _fit(picture, min(width, 64), 64, 4)
    colour = np.repeat(small[..., None], 3, -1) if small.ndim == 2 else small
    if len(colour) % 2:
        colour = np.concatenate([colour, colour[-1:]])
    return np.stack([colour[::2], colour[1::2]], 2)


def clean_text(value: object) -> str:
    """Return a value on one line, nothing in it that a terminal would act on; "-" for what is missing.

    >>> clean_text("two\\n lines\\x1b[31m"), clean_text(float("nan")), clean_text(0.1 + 0.2)
    ('two lines', '-', '0.3')
    """
    if value is None or (isinstance(value, (float, np.floating)) and np.isnan(value)) or str(value) in ("NaT", "<NA>"):
        return "-"
    text = f"{value:.6g}" if isinstance(value, (float, np.floating)) else str(value)
    return one_line(text)


def fields(row: Mapping[str, Any], *, width: int = 70) -> list[str]:
    """Return the fields of a row, names and values in two columns; long values go on below.

    >>> fields({"age": 31.0, "name": "Ann"})
    ['age   31', 'name  Ann']
    """
    if not row:
        return []
    edge = min(24, max(len(clean_text(k)) for k in row)) + 2
    out = []
    for name, value in row.items():
        lines = textwrap.wrap(clean_text(value), width - edge) or [""]
        key = clean_text(name)
        if len(key) > edge - 2:
            out.append(key[:width])
            key = ""
        out += [f"{key if i == 0 else '':<{edge}}{line}".rstrip() for i, line in enumerate(lines)]
    return out


def described(data: Data, split: str, index: int, *, width: int = 70) -> list[str]:
    """Return what the model is given of an example that is no picture and was not read from a row: shape and first values.

    >>> import torch
    >>> data = Data.from_arrays(torch.arange(80).reshape(20, 4), torch.arange(20) % 2)
    >>> described(data, "train", 1)
    ['inputs (4) int64: 4 5 6 7']
    """
    out = []
    for part in (data.train if split == "train" else data.valid).parts:
        x = part[index]
        shape = "x".join(map(str, x.shape)) or "1"
        values = x.flatten()[:200].tolist()
        zeros = 0
        if x.ndim == 1 and not x.is_floating_point():  # padding, most likely
            while len(values) > 1 and values[-1] == 0:
                values.pop()
                zeros += 1
        head = f"inputs ({shape}) {str(x.dtype).removeprefix('torch.')}: "
        text = " ".join(f"{v:.4g}" if isinstance(v, float) else str(v) for v in values)
        text += f", then {zeros} zeros" if zeros > 1 else " 0" * zeros
        lines = textwrap.wrap(head + text, width, subsequent_indent="  ")
        out += lines[:6] if len(lines) <= 6 else [*lines[:5], "  ..."]
    return out
