"""GRAD: at the start the gradient is finite, reaches every layer at about the same strength, and tells units apart."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn

from whet.checks.registry import Fact, Stage
from whet.checks.sandbox import sandbox
from whet.checks.subject import Subject
from whet.checks.traced import rounded
from whet.finding import Finding, NotRun, Severity

__all__ = ["Gradients", "alike", "strength"]

_WITH_UNITS = (nn.Linear, nn.Bilinear, nn.modules.conv._ConvNd, nn.RNNBase, nn.RNNCellBase)
_MOST = 100  # layers whose strengths are told one by one
_SMALLEST = 2.0**-25  # half of the smallest number above 0 in half precision: anything below is rounded to 0
Named = Mapping[str, nn.Parameter]


def strength(parameters: Named, loss: float) -> dict[str, float]:
    """Return per matrix |gradient| |weight| / |loss|: by how much the loss changes, relatively, when it grows by 1 %, at most.

    It does not change when a layer is scaled up and the next one down, so that unlike the norm of the gradient it can
    be compared between layers, architectures and initialisations. Matrices of zeros or without gradient are left out.

    >>> w = nn.Parameter(torch.tensor([[3.0, 4.0]])); w.grad = torch.tensor([[0.0, 2.0]])
    >>> strength({"w": w}, 4.0)
    {'w': 2.5}
    """
    found = {}
    for name, p in parameters.items():
        if p.ndim >= 2 and p.grad is not None and p.numel():
            value = _norm(p.detach()) * _norm(_dense(p.grad)) / max(abs(loss), 1e-12)
            if value > 0:
                found[name] = value
    return found


def alike(model: nn.Module, names: Mapping[int, str]) -> list[str]:
    """Return the weights whose rows, one per unit, are all equal to the bit; only of layers that compute units.

    names: of the trainable parameters by id.

    >>> net = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 2)); nn.init.constant_(net[1].weight, 0.5).shape
    torch.Size([2, 3])
    >>> alike(net, {id(p): k for k, p in net.named_parameters()})
    ['1.weight']
    """
    found = []
    for module in model.modules():
        if isinstance(module, _WITH_UNITS):
            for p in module.parameters(recurse=False):
                if p.ndim >= 2 and id(p) in names:
                    by = _units(module, p.detach())
                    if len(by) > 1 and bool((by == by[:1]).all()):
                        found.append(names[id(p)])
    return found


class Gradients:
    """FAIL when a gradient is not finite or units that start equal can never differ; WARN when the gradient vanishes or
    explodes over the layers, or much of it is lost to half precision.

    Strength of a layer: |gradient| |weight| / |loss|. Healthy programs had 0.02 to 8, within a factor of 12 between the
    layers of one. Vanishing: below 1e-8 of the strongest layer, in a program of 4 layers or more; exploding: above 1e3
    and 100 times the weakest. A head or a branch that starts at 0 gives no gradient to what is behind it: where that
    silences half of the layers, the strengths after three steps count, and 1e-10 (a branch may be scaled by 1e-6 on
    purpose).
    Equal units: all rows of a weight equal before and after three steps of Adam, dropout on, with gradients
    that differ by less than 1e-4 between the rows. Half precision: a float16 model in which over 5 % of the gradient's
    elements are 0 that are not in float32.

    >>> net = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3))
    >>> for p in net.parameters(): _ = nn.init.constant_(p, 0.1)
    >>> s = Subject(net, nn.CrossEntropyLoss(), (torch.randn(30, 4),), torch.arange(30) % 3)
    >>> [(i.severity.value, i.evidence["layer"]) for i in Gradients().look(s) if isinstance(i, Finding)]
    [('FAIL', '0.weight')]
    """

    code, stage, passes = "GRAD", Stage.START, 6
    vanish, explode, layers, steps, lost = 1e-8, 1e3, 4, 3, 0.05

    def look(self, subject: Subject) -> Iterator[Finding | Fact | NotRun]:
        """Take the gradient, and three steps of Adam."""
        trainable = {k: p for k, p in subject.model.named_parameters() if p.requires_grad}
        if not trainable:
            yield NotRun(self.code, "the model has no trainable parameter")
            return
        half = any(p.dtype is torch.float16 for p in trainable.values())
        low = self._in_half(subject, trainable) if half else None
        with subject.look(self.code):
            loss = self._backward(subject, trainable)
            broken = [
                k for k, p in trainable.items() if p.grad is not None and not bool(_dense(p.grad).isfinite().all())
            ]
            exact = {k: _dense(p.grad).detach().clone() for k, p in trainable.items() if p.grad is not None}
            before = strength(trainable, loss)
            equal = alike(subject.model, {id(p): k for k, p in trainable.items()})
            still = not any(bool(g.any()) for k, g in exact.items() if trainable[k].ndim >= 2)
            same, after = ([], before) if broken else self._steps(subject, trainable, equal, still)
        numbers: dict[str, Any] = {"layers": len(before), "n": subject.n, **_small(exact)}
        matrices = sum(p.ndim >= 2 for p in trainable.values())
        found = before if 2 * len(before) > matrices or len(after) <= len(before) else after
        if found:
            numbers |= {
                "weakest": min(found.values()),
                "strongest": max(found.values()),
                "median": median(found.values()),
            }
        series = (
            {"strength": dict(zip(found, rounded(list(found.values())), strict=True))} if len(found) <= _MOST else {}
        )
        text = f"gradient of {len(found)} layers within a factor of {_ratio(found):.2g}" if found else ""
        yield Fact(text, numbers, series=series)
        where = subject.at("model")
        if broken:
            yield Finding(self.code, Severity.FAIL, where, {**numbers, "layer": broken[0], "broken": len(broken)},
                          f"the gradient of {broken[0]} is not finite, nor that of {len(broken) - 1} others",
                          "look for sqrt, log, norm or division at 0; torch.autograd.detect_anomaly() names the operation")  # fmt: skip
            return
        if same:
            units = len(_rows(subject.model, trainable[same[0]]))
            yield Finding(
                self.code, Severity.FAIL, where, {**numbers, "layer": same[0], "units": units, "steps": self.steps, "threshold": 1e-4},
                f"all {units} units of {same[0]} start equal and get the same gradient: they stay one unit for ever",
                "start from random weights: nn.init.kaiming_uniform_(layer.weight); only biases may start at 0",
            )  # fmt: skip
        elif len(found) >= self.layers:
            yield from self._spread(where, numbers, found, self.vanish if found is before else self.vanish / 100)
        if low is not None:
            yield from self._lost(where, numbers, low, exact)

    def _spread(
        self, where: str, numbers: dict[str, Any], found: dict[str, float], allowed: float
    ) -> Iterator[Finding]:
        """Judge how much the strengths differ."""
        weak, strong = min(found, key=found.__getitem__), max(found, key=found.__getitem__)
        if found[strong] > self.explode and found[strong] > 100 * found[weak]:
            yield Finding(
                self.code, Severity.WARN, where,
                {**numbers, "layer": strong, "strength": found[strong], "threshold": self.explode},
                f"the gradient explodes: 1 % more of {strong} changes the loss by up to {found[strong]:.2g} % "
                "(healthy: 0.02 to 8)",
                "smaller initial weights: nn.init.xavier_normal_(weight), orthogonal_ for recurrent ones; "
                "nn.utils.clip_grad_norm_(model.parameters(), 1.0)",
            )  # fmt: skip
        elif found[weak] < allowed * found[strong]:
            yield Finding(
                self.code, Severity.WARN, where,
                {**numbers, "layer": weak, "ratio": found[weak] / found[strong], "threshold": allowed},
                f"the gradient vanishes: {weak} gets {found[weak] / found[strong]:.1g} of what {strong} gets "
                "(|gradient| |weight|)",
                "nn.init.kaiming_normal_(weight) before ReLU, xavier_normal_ before tanh; ReLU for sigmoid; BatchNorm, "
                "LayerNorm or residual connections",
            )  # fmt: skip

    def _lost(
        self, where: str, numbers: dict[str, Any], low: Mapping[str, Tensor], exact: Mapping[str, Tensor]
    ) -> Iterator[Finding]:
        """Judge the gradient in float16 by that in float32."""
        there = sum(int((g != 0).sum()) for g in exact.values())
        gone = sum(int(((g != 0) & (low[k] == 0)).sum()) for k, g in exact.items() if k in low)
        if there and gone > self.lost * there:
            yield Finding(self.code, Severity.WARN, where, {**numbers, "lost": gone / there, "threshold": self.lost, "elements": there},
                          f"{gone / there:.0%} of the gradient's elements are 0 in half precision and not in float32 (allowed {self.lost:.0%})",
                          "torch.amp.GradScaler with float32 weights and autocast, or bfloat16")  # fmt: skip

    def _in_half(self, subject: Subject, trainable: Named) -> dict[str, Tensor] | None:
        """Return the gradients as the model computes them, or None where this machine cannot."""
        parts = (subject.model, subject.loss, subject.optimizer)
        try:
            with sandbox(*parts, seed=(subject.seed, "check", self.code), float32=False):
                self._backward(subject, trainable)
                return {k: _dense(p.grad).detach().clone() for k, p in trainable.items() if p.grad is not None}
        except RuntimeError:  # no such kernel in half precision
            return None

    def _backward(self, subject: Subject, trainable: Named) -> float:
        """Leave the gradient of the batch in the parameters; return the loss."""
        subject.model.train()
        for p in trainable.values():
            p.grad = None
        loss = subject.cost(subject.forward())
        loss.backward()
        return float(loss.detach())

    def _steps(
        self, subject: Subject, trainable: Named, equal: list[str], still: bool
    ) -> tuple[list[str], dict[str, float]]:
        """Return which of the equal weights stay so though they move, and the strengths at the end.

        A weight of zeros that does not move counts only where no matrix has a gradient (still): it may belong to a
        part whose share in the loss grows later.
        """
        start = {k: trainable[k].detach().clone() for k in equal}
        optimizer, loss = torch.optim.Adam(list(trainable.values()), 1e-3), 0.0
        for _ in range(self.steps):
            optimizer.step()
            loss = self._backward(subject, trainable)
        same = []
        for k in equal:
            by = _rows(subject.model, trainable[k])
            apart = float((by - by[:1]).abs().max())
            way = float((trainable[k].detach() - start[k]).abs().max())
            if apart <= 1e-4 * way and (way > 0 or still):
                same.append(k)
        return same, strength(trainable, loss)


def _dense(grad: Tensor) -> Tensor:
    """Return a gradient as a dense tensor; of a sparse one only the values that are there."""
    return grad.coalesce().values() if grad.is_sparse else grad


def _norm(values: Tensor) -> float:
    """Return the Euclidean norm, computed in double precision."""
    return float(values.to(torch.complex128 if values.is_complex() else torch.float64).norm())


def _units(module: nn.Module, weight: Tensor) -> Tensor:
    """Return a weight with one row per unit."""
    transposed = isinstance(module, nn.modules.conv._ConvTransposeNd)
    return (weight.transpose(0, 1) if transposed else weight).flatten(1)


def _rows(model: nn.Module, parameter: nn.Parameter) -> Tensor:
    """Return the weight of a layer of the model with one row per unit."""
    for module in model.modules():
        if any(p is parameter for p in module.parameters(recurse=False)):
            return _units(module, parameter.detach())
    raise KeyError("no such parameter")


def _small(grads: Mapping[str, Tensor]) -> dict[str, float]:
    """Return the share of the gradient's elements that half precision would round to 0."""
    there = sum(int((g != 0).sum()) for g in grads.values())
    gone = sum(int(((g != 0) & (g.abs() < _SMALLEST)).sum()) for g in grads.values())
    return {"half_loses": gone / there if there else 0.0}


def _ratio(found: Mapping[str, float]) -> float:
    """Return the largest over the smallest."""
    return max(found.values()) / min(found.values())
