"""The gradient where a training has converged, without going through it: by the implicit function theorem."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.func import functional_call

from whet.train.hypergradient.lifted import Lifted, quietly
from whet.train.hypergradient.outer import Outer
from whet.train.run import Run, generator
from whet.train.stream import stream

__all__ = ["implicit", "solved"]

_EXAMPLES = 1024  # of the training split that stand for it
_ITERATIONS = 30
_TOLERANCE = 1e-7  # of the residual, beside that at first


def implicit(run: Run, lifted: Lifted, end: Outer) -> dict[str, float]:
    """Return the gradient of `end` by the hyperparameters that the training loss depends on, at the weights of `run`.

    With L the training loss and its penalty and V the end, both at w:  dV/dx = V_x - L_xw q,  L_ww q = V_w  (Lorraine, Vicol and Duvenaud 2020, "Optimizing Millions of
    Hyperparameters by Implicit Differentiation"). q is found by conjugate gradients, at most 30 products with L_ww, which end where it curves down; in the paper by a Neumann series. L is
    that of at most 1,024 examples, drawn by the run's seed, with dropout and batch normalisation as in evaluation, and one draw of the augmentation.

    Weight decay is the penalty x/2 |w|^2 of the weights that decay. That of AdamW is decoupled: its penalty is weighted with the root of the mean square gradient, where AdamW stands still; this
    weight is taken for constant. What does not change where a training ends, a learning rate or a momentum, has no gradient here.

    Exact where the training has converged; elsewhere it is off, and `unrolled` is not.
    """
    model, n = run.model, len(run.train)
    index = torch.arange(n)
    if n > _EXAMPLES:
        index = torch.randperm(n, generator=generator("cpu", run.seed, "implicit"))[:_EXAMPLES]
    inputs, targets = run.train.batch(index.to(run.device))
    trained = {n: p for n, p in model.named_parameters() if p.requires_grad and n in lifted.group}
    weights = {n: p.detach().clone().requires_grad_() for n, p in trained.items()}
    names = list(weights)
    training = model.training
    model.eval()
    try:
        with stream(run.seed, "implicit", device=run.device), quietly():
            if lifted.augment is not None:
                inputs, targets = lifted.augment(inputs, targets, generator(run.device, run.seed, "implicit"))
            loss = lifted.loss(functional_call(model, weights, inputs), targets) + _penalty(run, lifted, weights)
            by = torch.autograd.grad(loss, list(weights.values()), create_graph=True, allow_unused=True)
    finally:
        model.train(training)
    used = [(n, g) for n, g in zip(names, by, strict=True) if g is not None]
    leaves, slopes = [weights[n] for n, _ in used], [g for _, g in used]
    wanted = [end.weights.get(n, torch.zeros_like(weights[n])) for n, _ in used]

    def product(v: list[Tensor]) -> list[Tensor]:
        found = torch.autograd.grad(slopes, leaves, v, retain_graph=True, allow_unused=True)
        return [torch.zeros_like(w) if g is None else g for w, g in zip(leaves, found, strict=True)]

    q = solved(product, wanted)
    tensors = list(lifted.values.values())
    mixed = torch.autograd.grad(slopes, tensors, q, allow_unused=True)
    out = dict(end.direct)
    for name, g in zip(lifted.values, mixed, strict=True):
        if g is not None:
            out[name] = out.get(name, 0.0) - float(g)
    return out


def _penalty(run: Run, lifted: Lifted, weights: dict[str, Tensor]) -> Tensor:
    """Return what weight decay adds to the training loss, ()."""
    total = torch.zeros((), device=run.device)
    states = {n: run.optimizer.state.get(p, {}) for n, p in run.model.named_parameters()}
    for name, w in weights.items():
        group = lifted.group[name]
        square = w * w
        if group.get("decoupled_weight_decay") and "exp_avg_sq" in states[name]:
            state = states[name]
            corrected = state["exp_avg_sq"] / (1 - group["betas"][1] ** float(state["step"]))
            square = square * (corrected.sqrt() + group["eps"]).detach()
        total = total + group.get("weight_decay", 0.0) / 2 * square.sum()
    return total


def solved(product: Callable[[list[Tensor]], list[Tensor]], right: list[Tensor]) -> list[Tensor]:
    """Return q with product(q) = right by conjugate gradients, from 0; they end where the product curves down, or after 30.

    >>> q = solved(lambda v: [torch.tensor([2.0, 8.0]) * v[0]], [torch.tensor([1.0, 1.0])])
    >>> [round(x, 4) for x in q[0].tolist()]
    [0.5, 0.125]
    """
    q = [torch.zeros_like(r) for r in right]
    rest, along = [r.clone() for r in right], [r.clone() for r in right]
    size = first = _dot(rest, rest)
    for i in range(_ITERATIONS):
        if size <= _TOLERANCE**2 * first:
            break
        ahead = product(along)
        curve = _dot(along, ahead)
        if curve <= 0:
            return along if i == 0 else q
        far = size / curve
        q = [a + far * b for a, b in zip(q, along, strict=True)]
        rest = [a - far * b for a, b in zip(rest, ahead, strict=True)]
        new = _dot(rest, rest)
        along = [r + new / size * a for r, a in zip(rest, along, strict=True)]
        size = new
    return q


def _dot(a: list[Tensor], b: list[Tensor]) -> float:
    return float(sum((x * y).sum() for x, y in zip(a, b, strict=True)))
