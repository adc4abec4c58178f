"""Data sets that come with scikit-learn, so that a first run needs no file and no network."""

from __future__ import annotations

import numpy as np
import torch

from whet.data.divide import divide
from whet.data.split import Data, Split
from whet.data.table import table

__all__ = ["BUNDLED", "diabetes", "digits"]


def digits(*, seed: int = 0) -> Data:
    """Return the 1,797 handwritten digits as pictures, uint8 (n, 1, 8, 8) from 0 to 255, divided 70/15/15 by `seed`.

    >>> data = digits(seed=1)
    >>> len(data.train), tuple(data.train.inputs.shape[1:]), data.classes[:3]
    (1257, (1, 8, 8), ('0', '1', '2'))
    """
    from sklearn.datasets import load_digits

    bunch = load_digits()
    pixels = np.round(bunch.images * (255 / 16)).astype(np.uint8)[:, None]
    y = bunch.target.astype(np.int64)
    parts = divide(len(y), labels=y, seed=seed)

    def split(index: np.ndarray) -> Split:
        return Split(torch.from_numpy(pixels[index]), torch.from_numpy(y[index]), index)

    train, valid, test = parts
    return Data(
        split(train), split(valid), classes=tuple(map(str, range(10))), sealed=lambda: split(test), source="digits",
        meta={
            "examples": {"train": len(train), "valid": len(valid), "test": len(test)},
            "image": {"channels": 1, "height": 8, "width": 8},
        },
    )  # fmt: skip


def diabetes(*, seed: int = 0) -> Data:
    """Return the 442 patients of the diabetes study, ten numbers each, and how far the disease went in a year.

    >>> data = diabetes()
    >>> data.kind, len(data.features), round(data.meta["target"]["mean"]) > 100
    ('regression', 10, True)
    """
    from sklearn.datasets import load_diabetes

    frame = load_diabetes(as_frame=True, scaled=False).frame
    return table(frame, "target", kind="regression", seed=seed, name="diabetes")


BUNDLED = {"digits": digits, "diabetes": diabetes}
