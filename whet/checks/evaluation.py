"""MET for an evaluation of one's own: one number for the same examples, however they are batched."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from whet.checks.runner import plain
from whet.checks.source import name, place
from whet.checks.subject import examples, tensors
from whet.errors import UsageError, one_line
from whet.finding import Finding, Health, NotRun, Severity

__all__ = ["close", "metric_over"]


def metric_over(
    evaluate: Callable[[Iterable[Any]], Any], batches: Iterable[Any], *, tolerance: float = 1e-5, most: int = 1000
) -> Health:
    """Return whether your own evaluation gives one number for the same examples however they are batched.

    evaluate: takes batches as your loader gives them (tensors, or tuples or dicts of tensors) and returns the metric;
    batches: some of them, joined here to at most `most` examples, and divided anew: all in one, in halves, and
    raggedly, one example apart from the rest, which an average of batch averages counts as much as all the rest. FAIL
    when the number changes by more than `tolerance` of its size (finding MET). Not run when it is another for the same
    batches, or the examples are so alike that no batching can tell. Raises UsageError for fewer than three examples.

    >>> def evaluate(loader):
    ...     return sum(float((x - y).abs().mean()) for x, y in loader) / len(loader)
    >>> data = [(torch.arange(8.0), torch.zeros(8)), (torch.arange(3.0), torch.zeros(3))]
    >>> print(metric_over(evaluate, data).findings[0].message)
    evaluate gives 2.81818 on 11 examples at once but 1.55 in batches of 1, 10: it is the mean of the batches' means
    """
    whole = _joined(batches, most)
    n = examples(whole)
    if n < 3:
        raise UsageError(f"metric_over: got {n} examples. Give batches of 3 or more in all.")
    refused: list[str] = []

    def value(sizes: list[int], start: int = 0) -> float | None:
        try:
            return float(evaluate(_divided(whole, n, sizes, start)))
        except Exception as error:  # the user's own code may raise anything, on a batch of one above all
            refused.append(one_line(f"{type(error).__name__}: {error}")[:200])
            return None

    once = value([n])
    if once is None or not close(value([n]), once, tolerance):
        why = (
            "evaluate gives another number for the same batches"
            if once is not None
            else f"evaluate raises {refused[0]}"
        )
        return Health((), (NotRun("MET", why),))
    layouts = [[1, n - 1], [n - 1, 1], [n // 3] * 3 + [n % 3] * bool(n % 3), [n // 2, n - n // 2]]
    found = [value(sizes) for sizes in layouts]
    told = {" ".join(map(str, s)): v for s, v in zip(layouts, found, strict=True) if v is not None}
    numbers: dict[str, Any] = {"n": n, "tolerance": tolerance, "once": once, "values": told}
    wrong = next((i for i, v in enumerate(found) if v is not None and not close(v, once, tolerance)), None)
    if wrong is not None:
        parts = [value([size], sum(layouts[wrong][:i])) for i, size in enumerate(layouts[wrong])]
        return _wrong(evaluate, layouts[wrong], found[wrong], parts, numbers)
    if not told or refused:
        return Health((), (NotRun("MET", f"evaluate raises on other batches: {refused[0]}"),))
    if all(close(value([1], start), once, tolerance) for start in range(min(n, 8))):
        return Health((), (NotRun("MET", "every example scores the same, so no batching can tell: give other ones"),))
    return Health((), (), {"MET": {**plain(numbers), "text": "one number for every batching"}})


def _wrong(
    evaluate: Any, sizes: list[int], got: float | None, parts: list[float | None], numbers: dict[str, Any]
) -> Health:
    """Return the finding; `parts` are the numbers of each batch alone."""
    n, once, alone = numbers["n"], numbers["once"], [p for p in parts if p is not None]
    whole = len(alone) == len(sizes)
    mean = whole and close(sum(alone) / len(alone), got, numbers["tolerance"])
    weighted = whole and close(sum(p * s for p, s in zip(alone, sizes, strict=True)) / n, once, numbers["tolerance"])
    said = f"{name(evaluate)} gives {once:.6g} on {n} examples at once but {got:.6g} in batches of {', '.join(map(str, sizes))}"
    said += ": it is the mean of the batches' means" if mean else ""
    fix = ("weigh by size: total += value * len(targets); n += len(targets); return total / n" if mean and weighted else
           "collect outputs and targets of all batches, torch.cat them, and compute the metric once")  # fmt: skip
    evidence = plain({**numbers, "mean_of_means": mean})
    return Health((Finding("MET", Severity.FAIL, place(evaluate), evidence, said, fix),), (),
                  {"MET": {**evidence, "text": "the number depends on the batching"}})  # fmt: skip


def close(a: float | None, b: float | None, tolerance: float) -> bool:
    """Return whether two numbers agree up to a share of their size (of 1, where they are smaller); NaN agrees with NaN.

    >>> close(1.0, 1.0 + 1e-7, 1e-6), close(math.nan, math.nan, 1e-6), close(1.0, None, 1e-6)
    (True, True, False)
    """
    if a is None or b is None:
        return a is b
    return (math.isnan(a) and math.isnan(b)) or a == b or abs(a - b) <= tolerance * max(1.0, abs(a), abs(b))


def _joined(batches: Iterable[Any], most: int) -> Any:
    """Return the first `most` examples of some batches as one batch."""
    taken: list[Any] = []
    count = 0
    for batch in batches:
        taken.append(batch)
        count += examples(batch)
        if count >= most:
            break
    if not count:
        return ()
    columns = iter([torch.cat(column)[:most] for column in zip(*map(tensors, taken), strict=True)])
    return tree_map(lambda leaf: next(columns) if isinstance(leaf, Tensor) else leaf, taken[0])


def _divided(whole: Any, n: int, sizes: list[int], start: int) -> list[Any]:
    """Return consecutive batches of these sizes, the first of them beginning at `start`."""

    def cut(begin: int, size: int) -> Any:
        return tree_map(lambda t: t[begin : begin + size] if isinstance(t, Tensor) and len(t) == n else t, whole)

    return [cut(start + sum(sizes[:i]), size) for i, size in enumerate(sizes)]
