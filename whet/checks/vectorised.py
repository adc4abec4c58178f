"""SAME: a vectorised function gives what its plain loop gives, also for no example, for one, and for odd numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from whet.checks.sandbox import randomness
from whet.checks.source import name, place
from whet.checks.subject import tensors
from whet.errors import one_line
from whet.finding import Finding, Health, Severity

__all__ = ["same"]

SIZES = (0, 1, 2, 3, 5, 8, 17)
_ALLOWED = {torch.float64: 1e-10, torch.float32: 1e-5, torch.bfloat16: 2e-2, torch.float16: 2e-3, torch.complex64: 1e-5,
            torch.complex128: 1e-10}  # fmt: skip


def same(
    vectorised: Callable[..., Any],
    loop: Callable[..., Any],
    make_inputs: Callable[[int, torch.dtype, torch.Generator], tuple[Any, ...]],
    *,
    sizes: Sequence[int] = SIZES,
    dtypes: Sequence[torch.dtype] = (torch.float32, torch.float64),
    draws: int = 3,
    gradients: bool = False,
    tolerance: float | None = None,
    seed: int = 0,
) -> Health:
    """Return whether two versions of a function agree on generated inputs; the first that they do not is a FAIL.

    vectorised, loop: take the same arguments and return a tensor, a NumPy array, a number, or a tuple or dict of these;
    make_inputs(n, dtype, generator): the arguments for n examples, as a tuple; sizes: the n to try, none, one and odd
    ones among them; draws: inputs for each size and dtype; gradients: compare those of a random weighting of the outputs
    with respect to every floating input too; tolerance: as a share of the largest value of the loop, by dtype when None
    (1e-5 for float32, 1e-10 for float64). Shapes, dtypes, not-a-numbers and infinities must agree as well. Where both
    raise there is nothing to compare; where one does, they differ.

    In a test: `assert not same(...).findings`, or `whet.testing.assert_healthy(same(...))`.

    >>> def pairs(x):
    ...     return (x[:, None] - x[None]).abs().sum(1)
    >>> def slowly(x):
    ...     return torch.stack([sum((a - b).abs() for b in x) for a in x]) if len(x) else x.clone()
    >>> make = lambda n, dtype, generator: (torch.randn(n, generator=generator, dtype=dtype),)
    >>> same(pairs, slowly, make, gradients=True).findings
    ()
    >>> print(same(lambda x: pairs(x)[:8], slowly, make).findings[0].message)
    n=17 float32: shape (8,) in place of (17,)
    """
    tried = 0
    for dtype in dtypes:
        for n in sizes:
            for draw in range(draws if n else 1):
                generator = torch.Generator().manual_seed(seed + draw)
                inputs = make_inputs(n, dtype, generator)
                with randomness(seed, "same", draw):
                    found = _unlike(vectorised, loop, inputs, gradients, tolerance)
                tried += 1
                if found:
                    where = f"n={n} {_short(dtype)}: "
                    numbers = {"n": n, "dtype": _short(dtype), "draw": draw, "tried": tried, **found[1]}
                    finding = Finding("SAME", Severity.FAIL, place(vectorised), numbers, where + found[0],
                                      f"{name(loop)} says what {name(vectorised)} should give; look at n={n} alone")  # fmt: skip
                    return Health((finding,), (), {"SAME": {**numbers, "text": "the two versions differ"}})
    return Health((), (), {"SAME": {"tried": tried, "gradients": gradients, "text": f"the same on {tried} inputs"}})


def _unlike(
    vectorised: Callable[..., Any], loop: Callable[..., Any], inputs: tuple[Any, ...], gradients: bool, tolerance: float | None
) -> tuple[str, dict[str, Any]] | None:  # fmt: skip
    """Return the first difference in words, and its numbers; None when there is none."""
    given = [_copied(inputs, gradients), _copied(inputs, gradients)]
    results: list[Any] = []
    raised: list[str] = []
    for function, arguments in zip((vectorised, loop), given, strict=True):
        try:
            with torch.random.fork_rng(devices=[]):
                results.append(_tensors(function(*arguments)))
        except Exception as error:
            raised.append(f"{name(function)} raises {one_line(f'{type(error).__name__}: {error}')[:200]}")
    if len(raised) == 2:
        return None
    if raised:
        return f"{raised[0]}, the other does not", {}
    if len(results[0]) != len(results[1]):
        return f"{len(results[0])} outputs in place of {len(results[1])}", {}
    for i, (a, b) in enumerate(zip(*results, strict=True)):
        found = _apart(a.detach(), b.detach(), tolerance, f"output {i}" if len(results[1]) > 1 else "")
        if found:
            return found
    if gradients:
        return _steeper(results, given, tolerance)
    return None


def _steeper(results: list[list[Tensor]], given: list[tuple[Any, ...]], tolerance: float | None) -> Any:
    """Return the first difference of the gradients with respect to the inputs, under one random weighting of the outputs."""
    weights = [torch.randn(o.shape, dtype=torch.float64) for o in results[1]]
    grads = []
    for outputs, arguments in zip(results, given, strict=True):
        leaves = [t for t in tensors(arguments) if t.requires_grad]
        along = [(o.double() * w).sum() for o, w in zip(outputs, weights, strict=True) if o.requires_grad]
        if not along or not leaves:
            grads.append([torch.zeros_like(t) for t in leaves])
            continue
        found = torch.autograd.grad(sum(along[1:], along[0]), leaves, allow_unused=True)
        grads.append([torch.zeros_like(t) if g is None else g for g, t in zip(found, leaves, strict=True)])
    for i, (a, b) in enumerate(zip(*grads, strict=True)):
        unlike = _apart(a, b, tolerance, f"gradient of input {i}")
        if unlike:
            return unlike
    return None


def _apart(a: Tensor, b: Tensor, tolerance: float | None, what: str) -> tuple[str, dict[str, Any]] | None:
    """Return how a tensor differs from what it should be: its shape, its dtype, or its first element that does."""
    before = f"{what}: " if what else ""
    if a.shape != b.shape:
        return f"{before}shape {tuple(a.shape)} in place of {tuple(b.shape)}", {}
    if a.dtype != b.dtype:
        return f"{before}{_short(a.dtype)} in place of {_short(b.dtype)}", {}
    wide = torch.complex128 if a.is_complex() else torch.float64
    x, y = a.to(wide), b.to(wide)
    finite = torch.isfinite(y)
    size = float(y[finite].abs().max()) if bool(finite.any()) else 0.0
    share = _ALLOWED.get(b.dtype, 0.0) if tolerance is None else tolerance
    allowed = share * max(size, 1e-30)
    agree = (x == y) | (x.isnan() & y.isnan()) | ((x - y).abs() <= allowed)
    if bool(agree.all()):
        return None
    at = tuple(int(i) for i in torch.nonzero(~agree)[0]) if a.ndim else ()
    mine, right = x[at].item(), y[at].item()
    wrong = int((~agree).sum())
    index = f"[{', '.join(map(str, at))}] " if at else ""
    said = (
        f"{before}{index}is {mine:.6g} in place of {right:.6g} (allowed {allowed:.1g}; {wrong} of {a.numel()} differ)"
    )
    return said, {"index": list(at), "value": str(mine), "expected": str(right), "allowed": allowed, "wrong": wrong}


def _copied(inputs: tuple[Any, ...], gradients: bool) -> tuple[Any, ...]:
    """Return copies of the arguments, so that neither function sees what the other did to them."""

    def copy(leaf: Any) -> Any:
        if isinstance(leaf, np.ndarray):
            return leaf.copy()
        if not isinstance(leaf, Tensor):
            return leaf
        return leaf.detach().clone().requires_grad_(gradients and leaf.is_floating_point())

    found: tuple[Any, ...] = tree_map(copy, tuple(inputs))
    return found


def _tensors(outputs: Any) -> list[Tensor]:
    """Return outputs as tensors, arrays and numbers turned into them."""
    return tensors(
        tree_map(lambda v: torch.as_tensor(v) if isinstance(v, (np.ndarray, np.generic, int, float)) else v, outputs)
    )


def _short(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
