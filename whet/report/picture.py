"""Arrays as pictures a browser can show: PNG, inlined as data URIs."""

from __future__ import annotations

import base64
import io

import numpy as np

from whet.errors import DataError

__all__ = ["data_uri"]


def data_uri(array: np.ndarray, most: int = 192) -> str:
    """Return a uint8 picture (H, W), (H, W, 1) or (H, W, 3) as a PNG data URI, its longer side at most `most` pixels.

    Raises DataError for another shape or type.

    >>> data_uri(np.zeros((8, 8), np.uint8))[:22]
    'data:image/png;base64,'
    """
    from PIL import Image

    picture = np.asarray(array)
    if picture.ndim == 3 and picture.shape[2] == 1:
        picture = picture[:, :, 0]
    if picture.dtype != np.uint8 or not (picture.ndim == 2 or (picture.ndim == 3 and picture.shape[2] == 3)):
        raise DataError(
            f"picture: got {picture.dtype} of shape {picture.shape}, allowed uint8 of shape (H, W) or (H, W, 3). "
            "Scale it to 0..255 and convert with .astype(numpy.uint8)."
        )
    if not picture.size:
        raise DataError(f"picture: got an empty array of shape {picture.shape}. Leave it out.")
    image = Image.fromarray(picture)
    if max(image.size) > most:
        image.thumbnail((most, most))
    out = io.BytesIO()
    image.save(out, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(out.getvalue()).decode("ascii")
