"""Picture files: read a header without decoding, and decode many into one uint8 array of one size and mode."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

__all__ = ["Header", "decode", "header"]

GREY = ("1", "L", "LA", "La", "I", "F", "I;16", "I;16B", "I;16L", "I;16N")


@dataclass(frozen=True)
class Header:
    """What the first bytes of a picture say: width and height in pixels, Pillow's mode.

    >>> Header(8, 6, "L").grey
    True
    """

    width: int
    height: int
    mode: str

    @property
    def grey(self) -> bool:
        """Whether the mode has no colour."""
        return self.mode in GREY


def _reason(error: Exception) -> str:
    return (
        "not a picture"
        if "cannot identify" in str(error)
        else " ".join(str(error).split())[:80] or type(error).__name__
    )


def header(path: Path) -> Header | str:
    """Return the header of a picture file, or why there is none.

    >>> header(Path("/dev/null"))
    '0 bytes'
    """
    try:
        if path.stat().st_size == 0:
            return "0 bytes"
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)  # 89 megapixels: no training picture
            warnings.filterwarnings("ignore", message=".*EXIF.*")
            with Image.open(path) as image:
                width, height = image.size
                # Only JPEG: Pillow decodes a whole PNG to look for its Exif data.
                if image.format == "JPEG" and image.getexif().get(0x0112, 1) in (5, 6, 7, 8):  # lies on its side
                    width, height = height, width
                return Header(width, height, image.mode)
    except Exception as e:  # Pillow's readers raise many kinds for damaged files
        return _reason(e)


def _pixels(path: Path, height: int, width: int, grey: bool) -> np.ndarray:
    """Return uint8 (C, height, width)."""
    with Image.open(path) as image:
        if image.format == "JPEG":
            image.draft(
                "L" if grey else "RGB", (2 * width, 2 * height)
            )  # decodes at 1/2, 1/4 or 1/8 when that is enough
        image.load()
        picture: Image.Image = ImageOps.exif_transpose(image)
        if picture.mode in ("I", "F", "I;16", "I;16B", "I;16L", "I;16N"):
            values = np.asarray(picture, dtype=np.float64)
            top = 65535.0 if values.max() > 255 else 255.0
            picture = Image.fromarray(np.clip(values * (255 / top), 0, 255).astype(np.uint8))
        if picture.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in picture.info:
            picture = picture.convert("RGBA")
            picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
        picture = picture.convert("L" if grey else "RGB")
        if picture.size != (width, height):
            picture = ImageOps.fit(picture, (width, height), Image.Resampling.BILINEAR)
    array = np.array(picture)
    return array[None] if grey else np.ascontiguousarray(array.transpose(2, 0, 1))


def decode(
    paths: Sequence[Path], height: int, width: int, grey: bool, *, threads: int = 2
) -> tuple[np.ndarray, list[int], list[tuple[Path, str]]]:
    """Return (pixels uint8 (n, C, height, width), indices of the pictures that could be read, [(path, why not)]).

    >>> decode([Path("/dev/null")], 8, 8, True)[1]
    []
    """
    pixels = np.empty((len(paths), 1 if grey else 3, height, width), np.uint8)

    def one(i: int) -> str | None:
        try:
            pixels[i] = _pixels(paths[i], height, width, grey)
        except Exception as e:  # see header
            return _reason(e)
        return None

    with warnings.catch_warnings():  # once, outside the threads: the filters are the process's
        warnings.simplefilter("ignore")
        with ThreadPoolExecutor(threads) as pool:
            why = list(pool.map(one, range(len(paths)), chunksize=64))
    kept = [i for i, w in enumerate(why) if w is None]
    bad = [(p, w) for p, w in zip(paths, why, strict=True) if w is not None]
    return (pixels[kept] if bad else pixels), kept, bad
