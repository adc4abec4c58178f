"""PC: three steps change every parameter that is meant to learn, and by a sensible amount."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from whet.checks.initial import quiet
from whet.checks.registry import Fact, Stage
from whet.checks.subject import Subject
from whet.finding import Finding, NotRun, Severity

__all__ = ["Updates"]


class Updates:
    """FAIL when no parameter of the model would change in three steps; WARN when some are left out.

    Left out: trainable but not with the optimizer (declare frozen ones by requires_grad=False), or reached by no
    gradient, or by one that is 0 in all three steps (vectors such as biases may have that). Three steps, because a
    residual branch of zeros learns from the second on. INFO when the median of |update| / |weight| at the third step
    is outside 1e-6 to 1: wider than the usual 1e-5 to 1e-1, which holds after warm-up, for weights of unit gain.

    >>> net = nn.Linear(2, 1)
    >>> s = Subject(net, nn.MSELoss(), (torch.randn(8, 2),), torch.randn(8, 1), torch.optim.Adam(nn.Linear(2, 1).parameters()))
    >>> [i.message for i in Updates().look(s) if isinstance(i, Finding)]
    ["the optimizer holds none of the model's 2 trainable parameters"]
    """

    code, stage, passes = "PC", Stage.STEPS, 3
    steps, low, high = 3, 1e-6, 1.0

    def look(self, subject: Subject) -> Iterator[Finding | Fact | NotRun]:
        """Take three steps on the batch and compare."""
        trainable = {k: p for k, p in subject.model.named_parameters() if p.requires_grad}
        held = None
        if subject.optimizer is not None:
            held = {id(p) for group in subject.optimizer.param_groups for p in group["params"]}
        with subject.look(self.code):
            optimizer = subject.optimizer or torch.optim.Adam(list(trainable.values()), 1e-3)
            with _called(subject.model) as called:
                seen, ratios, changed = self._steps(subject, optimizer, trainable)
            constants = _constants(called, trainable, seen)
        searches = isinstance(optimizer, torch.optim.LBFGS)  # each of its steps is a whole descent
        numbers: dict[str, Any] = {
            "parameters": len(trainable),
            "changed": changed,
            "steps": self.steps,
            "n": subject.n,
        }
        if ratios:
            numbers["update_to_weight"] = ratios[len(ratios) // 2]
        yield Fact(f"{changed} of {len(trainable)} parameters learn", numbers)
        where = subject.at("model")
        if held is not None and trainable and not held & {id(p) for p in trainable.values()}:
            yield Finding(self.code, Severity.FAIL, where, numbers,
                          f"the optimizer holds none of the model's {len(trainable)} trainable parameters",
                          "make it from this very model: torch.optim.Adam(model.parameters(), lr=3e-4)")  # fmt: skip
            return
        outside = [k for k, p in trainable.items() if held is not None and id(p) not in held]
        cut = [k for k in trainable if seen[k] is None and k not in outside and k not in constants]
        dead = [k for k, p in trainable.items() if seen[k] == 0.0 and p.ndim >= 2 and k not in outside]
        if changed == 0:
            yield Finding(self.code, Severity.FAIL, where, {**numbers, "cut": cut[:8], "dead": dead[:8]},
                          f"{self.steps} steps change none of {len(trainable)} parameters",
                          "look for a gradient of 0 (clamped loss, dead activation), a detach, or a learning rate of 0")  # fmt: skip
        elif outside:
            yield Finding(self.code, Severity.WARN, where, {**numbers, "outside": outside[:8]},
                          f"{len(outside)} of {len(trainable)} trainable parameters are not with the optimizer: {_some(outside)}",
                          "give it model.parameters(), or freeze them: p.requires_grad_(False)")  # fmt: skip
        elif cut or dead:
            which, what = (cut, "no gradient reaches") if cut else (dead, "the gradient is 0 for")
            yield Finding(self.code, Severity.WARN, where, {**numbers, "cut": cut[:8], "dead": dead[:8]},
                          f"{what} {len(which)} of {len(trainable)} parameters: {_some(which)}",
                          "look for detach or an unused layer" if cut else
                          "look for dead ReLUs (bias far below 0), all-zero weights or a saturated activation")  # fmt: skip
        elif ratios and not self.low <= numbers["update_to_weight"] <= self.high and held is not None and not searches:
            yield Finding(self.code, Severity.INFO, where, {**numbers, "low": self.low, "high": self.high},
                          f"a step changes weights by {numbers['update_to_weight']:.1g} of their size (usual {self.low:g} to {self.high:g})",
                          "raise the learning rate" if numbers["update_to_weight"] < self.low else "lower the learning rate")  # fmt: skip

    def _steps(
        self, subject: Subject, optimizer: torch.optim.Optimizer, trainable: dict[str, nn.Parameter]
    ) -> tuple[dict[str, float | None], list[float], int]:
        """Return per parameter its largest gradient (None: never any), update/weight sorted, and how many changed."""
        quiet(subject.model)
        start = {k: p.detach().clone() for k, p in trainable.items()}
        last, seen = start, dict.fromkeys(trainable, None)
        largest: dict[str, float | None] = dict(seen)

        def closure() -> Tensor:
            optimizer.zero_grad()
            for p in trainable.values():
                p.grad = None
            loss = subject.cost(subject.forward())
            loss.backward()
            for k, p in trainable.items():
                if p.grad is not None:
                    grad = p.grad.coalesce().values() if p.grad.is_sparse else p.grad
                    largest[k] = max(largest[k] or 0.0, float(grad.abs().max()) if grad.numel() else 0.0)
            return loss

        for _ in range(self.steps):
            last = {k: p.detach().clone() for k, p in trainable.items()}
            optimizer.step(closure)  # type: ignore[arg-type]
        ratios = sorted(
            float((p.detach() - last[k]).norm() / last[k].norm())
            for k, p in trainable.items()
            if p.ndim >= 2 and float(last[k].norm()) > 0
        )
        changed = sum(not torch.equal(p.detach(), start[k]) for k, p in trainable.items())
        return largest, ratios, changed


@contextmanager
def _called(model: nn.Module) -> Iterator[set[nn.Module]]:
    """Give the modules that are called."""
    called: set[nn.Module] = set()
    handles = [m.register_forward_hook(lambda m, *_: called.add(m)) for m in model.modules()]
    try:
        yield called
    finally:
        for handle in handles:
            handle.remove()


def _constants(called: set[nn.Module], trainable: dict[str, nn.Parameter], seen: dict[str, float | None]) -> list[str]:
    """Return the biases of layers that were called, whose weight learns, and that no gradient reaches: they drop out of a
    derivative, as what an energy begins with has no part in forces."""
    names = {id(p): k for k, p in trainable.items()}
    found = []
    for module in called:
        if type(module).__module__.startswith("torch.nn") and {"weight", "bias"} <= set(
            dict(module.named_parameters(recurse=False))
        ):
            weight, bias = names.get(id(module.weight)), names.get(id(module.bias))
            if weight is not None and bias is not None and seen[weight] and seen[bias] is None:
                found.append(bias)
    return found


def _some(names: list[str]) -> str:
    """Return the first three names, and how many more there are."""
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
