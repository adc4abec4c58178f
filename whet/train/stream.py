"""Random numbers of a run kept apart from its owner's: global generators are lent to a block of code, then given back."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

from whet.seed import key

__all__ = ["stream"]


@contextmanager
def stream(*parts: int | str, device: torch.device | None = None) -> Iterator[None]:
    """Seed the global generators of PyTorch, NumPy and Python for the block by `parts`; restore them after it.

    A model's layers, dropout and a user's own code draw from the global generators. Inside the block these depend on
    `parts` alone, and whoever else uses them finds them as they were. device: a CUDA device has its own, treated the same.

    >>> with stream(0, "init"):
    ...     a = torch.rand(1)
    >>> with stream(0, "init"):
    ...     bool(a == torch.rand(1))
    True
    """
    cuda = device if device is not None and device.type == "cuda" else None
    saved = torch.get_rng_state(), np.random.get_state(), random.getstate()
    on_device = torch.cuda.get_rng_state(cuda) if cuda else None
    number = key(*parts)
    try:
        torch.default_generator.manual_seed(number)
        if cuda:
            with torch.cuda.device(cuda):
                torch.cuda.manual_seed(number)
        np.random.seed(number % 2**32)
        random.seed(number)
        yield
    finally:
        torch.set_rng_state(saved[0])
        np.random.set_state(saved[1])
        random.setstate(saved[2])
        if cuda is not None and on_device is not None:
            torch.cuda.set_rng_state(on_device, cuda)
