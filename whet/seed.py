"""Random numbers keyed by what they are for, never by the order of calls.

Everything random in whet draws from a stream named by (seed, trial, attempt, purpose). Two processes that
ask for the same stream get the same numbers, so a decision can be redone from the journal alone.
"""

from __future__ import annotations

import hashlib
import operator

import numpy as np

__all__ = ["key", "rng"]


def key(*parts: int | str) -> int:
    """Return a 63-bit integer that depends on every part and on nothing else.

    Uses BLAKE2b over the parts, so it is the same in every process, on every platform and Python version.

    >>> key(0, 3, 0, "propose") == key(0, 3, 0, "propose"), key(0, 3) == key(3, 0)
    (True, False)
    """
    # NumPy's whole numbers count as Python's
    named = (f"str:{p}" if isinstance(p, str) else f"int:{operator.index(p)}" for p in parts)
    digest = hashlib.blake2b("\x1f".join(named).encode(), digest_size=8)
    return int.from_bytes(digest.digest(), "little") >> 1


def rng(*parts: int | str) -> np.random.Generator:
    """Return the NumPy generator of the stream named by `parts`.

    >>> float(rng(0, "x").random()) == float(rng(0, "x").random())
    True
    """
    return np.random.Generator(np.random.PCG64(key(*parts)))
