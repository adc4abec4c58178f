"""One thread for linear algebra: the same numbers whatever the number of cores, and no threads beside the workers'."""

from __future__ import annotations

from contextlib import AbstractContextManager
from functools import cache
from typing import Any

__all__ = ["one_thread"]


@cache
def _controller() -> Any:
    from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]

    return ThreadpoolController()


def one_thread() -> AbstractContextManager[object]:
    """Return a context in which NumPy and SciPy use one thread.

    With several, sums are added up in another order, and a proposal could not be made again from the journal by a process
    that has another number of them.

    >>> with one_thread():
    ...     pass
    """
    limit: AbstractContextManager[object] = _controller().limit(limits=1, user_api="blas")
    return limit
