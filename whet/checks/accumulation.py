"""ACC: gradients accumulated over micro-batches are those of all their examples taken together."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from whet.checks.initial import quiet
from whet.checks.registry import Fact, Stage
from whet.checks.subject import Subject, rows, tensors
from whet.checks.watch import Cycle, between, cycle, flat, trial, unwatched
from whet.finding import Finding, NotRun, Severity

__all__ = ["Accumulation"]

_SOFT = 2.0**-20  # makes any gradient too short to be clipped
Parts = list[Tensor]


class Accumulation:
    """Compare what a step accumulates with the gradient of the declared loss of all its examples (relative > 1e-4).

    For a step that calls the model on parts of its batch, or that steps the optimizer every few calls. Batch norms and
    dropout are held in eval mode meanwhile. First every micro-batch holds one and the same example: a gradient k times
    too long was not divided by the number k of micro-batches (WARN). Then the batch's examples in turn: another
    direction means that micro-batches were averaged which hold unequal numbers of targets (WARN, as with padding). At
    last micro-batches of unequal sizes, as the last of an epoch may be (INFO).

    >>> net = nn.Linear(2, 1)
    >>> optimizer = torch.optim.SGD(net.parameters(), 0.1)
    >>> def step(batch):
    ...     optimizer.zero_grad()
    ...     for x, y in zip(batch[0].split(2), batch[1].split(2)):
    ...         nn.functional.mse_loss(net(x), y).backward()
    ...     optimizer.step()
    >>> batch = torch.randn(8, 2), torch.randn(8, 1)
    >>> s = Subject(net, nn.MSELoss(), batch[:1], batch[1], optimizer, step=step, given=batch)
    >>> [i.message for i in Accumulation().look(s) if isinstance(i, Finding)]
    ['the gradient of 4 micro-batches is 4 times that of their examples together']
    """

    code, stage, passes = "ACC", Stage.STEPS, 12
    threshold, rough = 1e-4, 0.05  # rough: where the step computes in lower precision

    def look(self, subject: Subject) -> Iterator[Finding | Fact | NotRun]:
        """Find out how the step accumulates, then compare."""
        reason = unwatched(subject, self.code)
        if reason is not None:
            yield reason
            return
        with trial(subject, self.code) as things:
            compare = _Comparison(subject, things, self.threshold)
            why = compare.learn(self.rough)
            if why:
                yield NotRun(self.code, why)
                return
            yield from self._judge(subject, compare)

    def _judge(self, subject: Subject, compare: _Comparison) -> Iterator[Finding | Fact | NotRun]:
        """Yield the outcome of the three comparisons."""
        k, where, allowed = compare.k, subject.at("step"), compare.threshold
        found: dict[str, Any] | str = "no example has a gradient"
        for i in range(min(4, subject.n)):  # an example whose targets are all ignored has none
            found = compare.off(compare.copies(i))
            if isinstance(found, dict):
                break
        if isinstance(found, str):
            yield NotRun(self.code, found)
            return
        factor = found["factor"]
        if found["rest"] > max(1e-3, allowed):
            yield NotRun(
                self.code,
                f"the step's gradient is not that of the loss alone ({found['rest']:.1g} of it is something else)",
            )
            return
        if abs(factor - 1) > allowed and all(abs(factor / f - 1) > 0.01 for f in (k, 1 / k)):
            yield NotRun(self.code, f"the step scales the loss by {factor:.3g}")
            return
        if abs(factor - 1) > max(allowed, 0.01):
            yield Fact(f"accumulated gradients are {factor:.3g} times too long", found)
            twice = factor < 1
            yield Finding(self.code, Severity.WARN, where, found,
                          f"the gradient of {k} micro-batches is {f'1/{k}' if twice else f'{factor:.3g} times'}"
                          f"{' of' if twice else ''} that of their examples together",
                          f"divide once only: (loss / {k}).backward()" if twice else f"(loss / {k}).backward()")  # fmt: skip
            return
        even = compare.off(compare.even())
        if isinstance(even, str):
            yield NotRun(self.code, even)
            return
        yield Fact(f"accumulates {k} micro-batches (off by {even['off']:.1g})", even)
        if even["off"] > allowed:
            yield self._weights(compare, even, where, compare.even(), Severity.WARN)
            return
        ragged = compare.ragged()
        uneven = compare.off(ragged) if ragged else ""
        if isinstance(uneven, dict) and uneven["off"] > allowed:
            yield self._weights(compare, uneven, where, ragged, Severity.INFO)

    def _weights(
        self, compare: _Comparison, found: dict[str, Any], where: str, parts: Parts, severity: Severity
    ) -> Finding | NotRun:
        """Say that micro-batches weigh the same whatever they hold, unless the loss itself compares examples."""
        rest = compare.inseparable(parts)
        if rest > max(1e-3, compare.threshold):
            return NotRun(
                self.code, f"the loss compares the examples of a batch, so micro-batches differ ({rest:.1g}) by design"
            )
        sizes = f" of {', '.join(map(str, found['sizes'][:6]))} examples" if len(set(found["sizes"])) > 1 else ""
        return Finding(self.code, severity, where, found,
                       f"the gradient of {compare.k} micro-batches{sizes} is {found['off']:.2g} of its size away from that of their "
                       f"examples together (allowed {compare.threshold:g}): each micro-batch weighs the same, whatever it holds",
                       "sum the loss over targets (reduction='sum') and divide by the number of targets in all micro-batches")  # fmt: skip


class _Comparison:
    """The step's accumulated gradient beside that of the loss of the same examples at once."""

    def __init__(self, subject: Subject, things: list[Any], threshold: float) -> None:
        self.subject, self.things, self.threshold = subject, things, threshold
        self.k, self.inner = 0, False
        self.sizes: list[int] = []

    def learn(self, rough: float) -> str:
        """Find out what the micro-batches are; return why there are none, or ""."""
        subject = self.subject
        for _ in range(2):  # the first may begin in the middle of an accumulation
            seen = cycle(subject, lambda _: subject.given, self.things)
            if seen.error is not None or not seen.stepped:
                return "the step raises, or never steps the optimizer"
        forwards = [f for f in seen.forwards if f.grad]
        if seen.calls == 1 and len(forwards) < 2:
            return "each step of the optimizer has one batch: nothing is accumulated"
        self.k, self.inner = (seen.calls, False) if seen.calls > 1 else (len(forwards), True)
        if any(f.autocast for f in forwards):
            self.threshold = rough
        if self.inner and not self._parts(seen):
            return f"the step calls the model {self.k} times, not on parts of its batch"
        self.sizes = [len(f.inputs[0]) for f in forwards] if self.inner else [subject.n // self.k] * self.k
        return ""

    def _parts(self, seen: Cycle) -> bool:
        """Whether the model was given the batch in parts, in order."""
        whole = tensors(self.subject.inputs)[0]
        parts = [f.inputs[0] for f in seen.forwards if f.grad and f.inputs and f.inputs[0].ndim]
        if (
            len(parts) != self.k
            or sum(map(len, parts)) != len(whole)
            or any(p.shape[1:] != whole.shape[1:] for p in parts)
        ):
            return False
        return torch.equal(torch.cat(parts).to(whole.dtype), whole)

    def copies(self, i: int) -> Parts:
        """Return indices that put example i everywhere."""
        n = self.subject.n
        return [torch.full((n,), i)] if self.inner else [torch.full((max(1, n // self.k),), i)] * self.k

    def even(self) -> Parts:
        """Return indices that divide the batch as the step has it."""
        n, size = self.subject.n, self.subject.n // self.k
        if self.inner:
            return [torch.arange(n)]
        return [torch.arange(i * size, (i + 1) * size) if size else torch.arange(n) for i in range(self.k)]

    def ragged(self) -> Parts:
        """Return indices that make micro-batches of unequal sizes; none where the batch is too small."""
        n, k = self.subject.n, self.k
        if self.inner:
            size = (k - 1) * self.sizes[0] + 1
            return [torch.arange(size)] if len(set(self.sizes)) == 1 and self.sizes[0] > 1 and size < n else []
        shares = [2.0 ** -min(i, 6) for i in range(k)]
        sizes = [max(1, int(n * s / sum(shares)) - 1) for s in shares]
        return list(torch.arange(sum(sizes)).split(sizes)) if sum(sizes) <= n and len(set(sizes)) > 1 else []

    def off(self, parts: Parts) -> dict[str, Any] | str:
        """Return how far the accumulated gradient is from the reference, its factor, and what of it points elsewhere."""
        subject, union = self.subject, torch.cat(parts)
        with between(self.things, subject.seed):
            pin(subject.model)
            reference, again = self._reference(union), self._reference(union)
            size = float(flat(reference).norm())
            if not 0 < size < float("inf"):
                return "the gradient of the loss is 0 or not finite"
            if float((flat(reference) - flat(again)).norm()) > self.threshold / 10 * size:
                return "the model does not repeat itself in training mode, with dropout off"
            given = [rows(subject.given, index, subject.n) for index in parts]
            seen = cycle(subject, lambda i: given[i % len(given)], self.things, scale=_SOFT)
        if seen.error is not None or not seen.stepped or (not self.inner and seen.calls != self.k):
            return "the step does not take micro-batches of other examples"
        g = flat({k: seen.grads[k] if k in seen.grads else torch.zeros_like(v) for k, v in reference.items()}) / _SOFT
        r = flat(reference)
        factor = float(g @ r) / size**2
        sizes = [len(f.inputs[0]) for f in seen.forwards if f.grad and f.inputs and f.inputs[0].ndim]
        return {"off": float((g - r).norm()) / size, "factor": factor, "threshold": self.threshold, "k": self.k,
                "rest": float((g - factor * r).norm()) / max(float(g.norm()), 1e-300), "n": len(union), "sizes": sizes}  # fmt: skip

    def inseparable(self, parts: Parts) -> float:
        """Return what part of the whole gradient no weighting of the micro-batches' gradients explains."""
        union = torch.cat(parts)
        sizes = self.sizes if self.inner and len(union) == sum(self.sizes) else [max(1, len(union) // self.k)]
        pieces = (
            list(union.split(sizes))
            if self.inner and len(sizes) > 1
            else parts
            if not self.inner
            else list(union.split(sizes[0]))
        )
        with between(self.things, self.subject.seed):
            pin(self.subject.model)
            whole = flat(self._reference(union))
            columns = torch.stack([flat(self._reference(p)) for p in pieces], 1)
        weights = torch.linalg.lstsq(columns, whole[:, None], driver="gelsd").solution
        return float((whole - (columns @ weights)[:, 0]).norm() / whole.norm())

    def _reference(self, index: Tensor) -> dict[str, Tensor]:
        """Return the gradient of the loss of the examples at `index`."""
        part = self.subject.take(index)
        names = {k: p for k, p in part.model.named_parameters() if p.requires_grad}
        part.model.train()
        grads = torch.autograd.grad(part.cost(part.forward()), list(names.values()), allow_unused=True)
        found = zip(names.items(), grads, strict=True)
        return {k: torch.zeros_like(p) if g is None else g.to_dense() if g.is_sparse else g for (k, p), g in found}


def pin(model: nn.Module) -> None:
    """Hold batch norms and dropout in eval mode, whatever mode the model is put in.

    >>> net = nn.Sequential(nn.BatchNorm1d(1), nn.Dropout(0.5))
    >>> pin(net); _ = net.train(); net[0].training, net[1].training
    (False, False)
    """

    def stay(module: nn.Module) -> Callable[..., nn.Module]:
        return lambda mode=True: module

    quiet(model)
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm) or (not module.training and module is not model):
            module.eval()
            module.train = stay(module)  # type: ignore[method-assign]
