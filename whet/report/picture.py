"""Arrays as pictures a browser can show: PNG, inlined as data URIs."""

from __future__ import annotations

import base64
import io

import numpy as np

from whet.errors import DataError

__all__ = ["data_uri", "drawable"]


def drawable(array: object) -> bool:
    """Whether `array` is a picture: uint8 of shape (H, W), (H, W, 1) or (H, W, 3), and not empty.

    >>> drawable(np.zeros((8, 8), np.uint8)), drawable(np.zeros((8, 8)))
    (True, False)
    """
    picture = np.asarray(array)
    channels = picture.shape[2] if picture.ndim == 3 else 1
    return picture.dtype == np.uint8 and picture.ndim in (2, 3) and channels in (1, 3) and picture.size > 0


def data_uri(array: np.ndarray, most: int = 192) -> str:
    """Return a uint8 picture (H, W), (H, W, 1) or (H, W, 3) as a PNG data URI, its longer side at most `most` pixels.

    Raises DataError for another shape or type.

    >>> data_uri(np.zeros((8, 8), np.uint8))[:22]
    'data:image/png;base64,'
    """
    from PIL import Image

    picture = np.asarray(array)
    if not drawable(picture):
        raise DataError(
            f"picture: got {picture.dtype} of shape {picture.shape}, allowed uint8 of shape (H, W) or (H, W, 3), not empty. "
            "Scale it to 0..255 and convert with .astype(numpy.uint8)."
        )
    if picture.ndim == 3 and picture.shape[2] == 1:
        picture = picture[:, :, 0]
    image = Image.fromarray(picture)
    if max(image.size) > most:
        image.thumbnail((most, most))
    out = io.BytesIO()
    image.save(out, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(out.getvalue()).decode("ascii")
