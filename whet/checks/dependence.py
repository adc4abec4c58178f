"""DEP: the outputs of an example depend on that example, and on no other of the batch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from whet.checks.registry import Fact, Stage
from whet.checks.sequence import order
from whet.checks.state import whole_only
from whet.checks.subject import Subject, examples, mapped, reals, rows, tensors
from whet.finding import INAPPLICABLE, Finding, NotRun, Severity

__all__ = ["Dependence"]


class Dependence:
    """FAIL when an output reacts to another example's input (ratio > 1e-5), or to no input at all.

    Two ways, both in eval mode and float32: the gradient of <v, f(x)_i> with respect to x_j for a random v, never a
    sum (the outputs of a LayerNorm sum to a constant, whose gradient is 0); and exchanging input j for another
    example's, which also works for integers. Weights that hide the wiring (a last layer of zeros) get noise first.
    The batch size is chosen unlike every other dimension, so that a mixed-up axis cannot hide.

    >>> class Mixing(nn.Module):
    ...     def forward(self, x):
    ...         return x - x.mean(0)
    >>> s = Subject(Mixing(), nn.MSELoss(), (torch.randn(8, 3),), torch.randn(8, 3))
    >>> [i.code for i in Dependence().look(s) if isinstance(i, Finding)]
    ['DEP']
    """

    code, stage, passes = "DEP", Stage.WIRING, 16
    threshold = 1e-5

    def look(self, subject: Subject) -> Iterator[Finding | Fact | NotRun]:
        """Measure the reaction of every output to every input of a few examples."""
        subject = _late(subject)
        mixers = [k or type(m).__name__ for k, m in subject.model.named_modules() if _mixes(m)]
        if mixers:
            yield NotRun(
                self.code,
                f"{INAPPLICABLE}{mixers[0]} uses the statistics of the batch in eval mode, so examples mix by design",
            )
            return
        size = self._size(subject)
        if size < 2:
            yield NotRun(self.code, "needs two examples or more")
            return
        with subject.look(self.code):
            with torch.no_grad():  # batch-norm statistics that fit the inputs, so that eval mode stays in range
                subject.model.train()
                for _ in range(3 if any(True for _ in subject.model.buffers()) else 0):
                    subject.forward()
            subject.model.eval()
            part = subject.take(torch.arange(size))
            if why := whole_only(subject, part):
                yield NotRun(self.code, why)
                return
            outputs = self._outputs(part, part.copies())
            if not outputs or any(len(o) % size and size not in o.shape for o in outputs):
                yield NotRun(self.code, "the outputs have no dimension that counts the examples")
                return
            with torch.no_grad():
                apart = self._chance(part, size)
            if apart > self.threshold:
                yield NotRun(self.code, f"the same inputs twice give outputs that differ by {apart:.2g} of their size: chance of "
                             "its own, which cannot be told from a reaction")  # fmt: skip
                return
            found = self._measure(part, size)
            if max(found.values()) == 0:
                with torch.no_grad():
                    for p in subject.model.parameters():
                        if p.is_floating_point() or p.is_complex():
                            p.add_(torch.randn_like(p), alpha=0.1)
                found = self._measure(part, size)
        yield from self._judge(subject, found, size)

    def _judge(self, subject: Subject, found: dict[str, float], size: int) -> Iterator[Finding | Fact | NotRun]:
        """Turn reactions into a verdict."""
        leak = max(_ratio(found[f"cross_{way}"], found[f"own_{way}"]) for way in ("gradient", "change"))
        where = subject.at("model")
        numbers = {**found, "leak": leak, "threshold": self.threshold, "n": size}
        if max(found.values()) == 0:
            yield Fact("outputs ignore the inputs", numbers)
            yield Finding(self.code, Severity.FAIL, where, numbers, f"the outputs of {size} examples do not depend on their inputs",
                          "look for a layer of zeros, a detached or unused input, or a dead activation")  # fmt: skip
            return
        yield Fact(
            f"examples independent (leak {leak:.1g})" if leak <= self.threshold else f"examples mix (leak {leak:.2g})",
            numbers,
        )
        if leak > self.threshold:
            yield Finding(
                self.code, Severity.FAIL, where, numbers,
                f"an example's outputs react to another example's inputs ({leak:.2g} of the reaction to its own, "
                f"allowed {self.threshold:g})",
                "look for reshape or view where permute is meant, softmax or mean over dim 0, and batch_first; declare a "
                "model that mixes by design with allow=('DEP',)",
            )  # fmt: skip

    def _size(self, subject: Subject) -> int:
        """Return how many examples to use: few, and unlike the other dimensions of the inputs."""
        n = subject.n
        taken = {s for t in tensors(subject.inputs) for s in (t.shape[1:] if len(t) == n else t.shape)}
        choices = [k for k in (7, 5, 6, 3, 4, 2) if k <= n]
        return next((k for k in choices if k not in taken), choices[0] if choices else 0)

    def _outputs(self, part: Subject, inputs: Any, copy: bool = True) -> list[Tensor]:
        """Return the floating outputs that have dimensions, the same random numbers drawn each time."""
        with torch.random.fork_rng(devices=[]):
            outputs = part.forward(inputs, copy=copy)
        return [t for t in reals(outputs) if t.ndim]

    def _chance(self, part: Subject, size: int) -> float:
        """Return by how much two passes on the same inputs differ, relative to the largest output."""
        once, again = self._outputs(part, part.inputs), self._outputs(part, part.inputs)
        scale = max((float(o.abs().nan_to_num().max()) for o in once if o.numel()), default=0.0)
        return max(_apart(once, again, i, size) for i in range(size)) / scale if scale else 0.0

    def _measure(self, part: Subject, size: int) -> dict[str, float]:
        """Return the largest own and cross reactions, by gradient and by exchange."""
        found = dict.fromkeys(("own_gradient", "cross_gradient", "own_change", "cross_change"), 0.0)

        def note(way: str, i: int, j: int, reaction: float) -> None:
            slot = ("own_" if i == j else "cross_") + way
            found[slot] = max(found[slot], reaction) if reaction == reaction else float("inf")

        with torch.no_grad():
            before = self._outputs(part, part.inputs)
            for j in range(size):
                index = torch.arange(size)
                index[j] = (j + 1) % size
                after = self._outputs(part, rows(part.inputs, index, size))
                for i in range(size):
                    note("change", i, j, _apart(before, after, i, size))
        free = mapped(
            lambda t: t.clone().requires_grad_() if t.is_floating_point() or t.is_complex() else t,
            part.copies(),
        )
        leaves = [t for t in tensors(free) if t.requires_grad]
        if not leaves:
            return found
        # copy=False: gradients must reach these leaves; times 1, so that a model may still write into what it gets
        free = mapped(lambda t: t * 1 if isinstance(t, Tensor) and t.requires_grad else t, free)
        outputs = [o for o in self._outputs(part, free, copy=False) if o.requires_grad]
        if not outputs:
            return found
        cotangents = [torch.randn_like(o) for o in outputs]
        one = torch.arange(size)
        for i in range(size):
            pairs = zip(outputs, cotangents, strict=True)
            along = sum((rows(o, one[i : i + 1], size) * rows(v, one[i : i + 1], size)).sum() for o, v in pairs)
            grads = torch.autograd.grad(along, leaves, retain_graph=True, allow_unused=True)
            for j in range(size):
                parts = [rows(g, one[j : j + 1], size) for g in grads if g is not None and examples(g)]
                note("gradient", i, j, max((float(p.abs().max()) for p in parts if p.numel()), default=0.0))
        return found


class _Unfolded(nn.Module):
    """Gives outputs that are flattened over (time, examples) these two dimensions back."""

    def __init__(self, model: nn.Module, steps: int) -> None:
        super().__init__()
        self.model, self.steps = model, steps

    def forward(self, *args: Any, **named: Any) -> Any:
        n = max((t.shape[1] for t in tensors((args, named)) if t.ndim > 1 and len(t) == self.steps), default=0)
        flat = self.steps * n
        return mapped(
            lambda t: t.reshape(self.steps, n, *t.shape[1:]) if t.ndim and flat and len(t) == flat else t,
            self.model(*args, **named),
        )


def _late(subject: Subject) -> Subject:
    """Return the subject with its examples along the second dimension, where time is the first and the targets are flat."""
    found = order(subject)
    if found is None or not found.flip or subject.targets.ndim > 1:
        return subject
    n, steps = found.inputs.shape[:2]
    places = {**subject.places, "model": subject.at("model")}
    if (
        n == steps and len(tensors(subject.inputs)) == 1
    ):  # as many examples as steps: with one less, sizes tell which is which
        subject, n = found.put(subject, found.inputs[:-1], found.targets[:-1]), n - 1
    return replace(subject, model=_Unfolded(subject.model, steps), many=n, steps=0, places=places)


def _ratio(cross: float, own: float) -> float:
    """Return cross / own; infinity when only the foreign reaction is there."""
    return cross / own if own else (float("inf") if cross else 0.0)


def _apart(before: list[Tensor], after: list[Tensor], i: int, size: int) -> float:
    """Return the largest change of the outputs of example i; 0 where both are the same not-a-number."""
    at, worst = torch.tensor([i]), 0.0
    for a, b in zip(before, after, strict=True):
        x, y = rows(a, at, size), rows(b, at, size)
        if not x.numel():
            continue
        gap = torch.where((x == y) | (x.isnan() & y.isnan()), torch.zeros_like(x), (x - y).abs())
        worst = max(worst, float(gap.max())) if not bool(gap.isnan().any()) else float("inf")
    return worst


def _mixes(module: nn.Module) -> bool:
    """Whether a module computes batch statistics even in eval mode."""
    return (
        isinstance(module, nn.modules.batchnorm._BatchNorm)
        and module.running_mean is None
        and not isinstance(module, nn.modules.instancenorm._InstanceNorm)
    )
