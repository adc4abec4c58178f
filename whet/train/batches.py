"""Batches of a split in a given order, by direct indexing: no loader, no worker processes, no copies but the one."""

from __future__ import annotations

from collections.abc import Iterator

import torch  # noqa: F401  (the doctest)
from torch import Tensor

from whet.data.split import Split

__all__ = ["batches", "sizes"]

_BLOCK = 2**22  # bytes gathered at once; a batch is then a slice, which costs less than an index operation each


def sizes(n: int, batch: int, *, alone: bool = True) -> list[int]:
    """Return the sizes of the batches of n examples; the last one is what is left over.

    alone: whether a last batch of one example may stand alone; batch normalisation cannot train on one, so it then joins
    the batch before.

    >>> sizes(7, 3), sizes(7, 3, alone=False)
    ([3, 3, 1], [3, 4])
    """
    found = [min(batch, n - i) for i in range(0, n, batch)]
    if not alone and len(found) > 1 and found[-1] == 1:
        found[-2:] = [found[-2] + 1]
    return found


def batches(split: Split, order: Tensor, each: list[int]) -> Iterator[tuple[tuple[Tensor, ...], Tensor]]:
    """Yield (inputs, targets) of batches of the sizes `each`, taking the examples in `order` (n,) int64.

    The tensors are copies, so a step may change them in place.

    >>> split = Split(torch.arange(4.0), torch.arange(4))
    >>> [y.tolist() for _, y in batches(split, torch.tensor([3, 1, 0, 2]), [3, 1])]
    [[3, 1, 0], [2]]
    """
    row = sum(p[0].numel() * p.element_size() for p in split.parts) or 1
    step = max(1, _BLOCK // (row * max(each)))  # batches a block
    start = 0
    for i in range(0, len(each), step):
        block = each[i : i + step]
        end = start + sum(block)
        inputs, targets = split.batch(order[start:end])
        start = end
        yield from zip(zip(*(p.split(block) for p in inputs), strict=True), targets.split(block), strict=True)
