"""STRAY: what the loss could teach is a parameter of the model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from whet.checks.reach import reached
from whet.checks.registry import Fact, Stage
from whet.checks.subject import Subject, tensors
from whet.finding import Finding, NotRun, Severity

__all__ = ["Strays"]


class Strays:
    """WARN when the loss has a gradient for a tensor that is neither a parameter of the model or the loss nor with the optimizer.

    A layer in a plain list or dict, or a tensor with requires_grad=True that is no nn.Parameter: it is used, but model.parameters()
    does not hold it, so it neither learns, nor is saved, nor moves to another device. Found by walking the graph of the loss to its
    leaves, twice. A leaf is meant to learn when it is an nn.Parameter, an attribute of a module, or there in both passes; not when
    the program takes a gradient with respect to it (points of an equation, positions that have forces, a gradient penalty), nor
    when it belongs to another model that the loss calls (the judge of a generator).

    >>> class Listed(nn.Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.layers = [nn.Linear(2, 2)]
    ...         self.head = nn.Linear(2, 1)
    ...     def forward(self, x):
    ...         return self.head(self.layers[0](x))
    >>> s = Subject(Listed(), nn.MSELoss(), (torch.randn(8, 2),), torch.randn(8, 1))
    >>> [i.evidence["strays"] for i in Strays().look(s) if isinstance(i, Finding)]
    [['layers[0].bias (2,)', 'layers[0].weight (2, 2)']]
    """

    code, stage, passes = "STRAY", Stage.WIRING, 2

    def look(self, subject: Subject) -> Iterator[Finding | Fact | NotRun]:
        """Do two forward passes and walk their graphs."""
        others = (subject.model, subject.loss, *reached(subject.loss))
        known = [p for m in others if isinstance(m, nn.Module) for p in m.parameters()]
        if subject.optimizer is not None:
            known += [p for group in subject.optimizer.param_groups for p in group["params"]]
        found: list[list[Tensor]] = []
        names: dict[int, str] = {}
        ours = {id(p) for p in subject.model.parameters()}
        held = (
            {id(p) for group in subject.optimizer.param_groups for p in group["params"]}
            if subject.optimizer is not None
            else ours
        )
        with subject.look(self.code), _Slopes() as slopes:
            subject.model.train()
            for _ in range(2):
                inputs = subject.copies()
                loss = subject.cost(subject.forward(inputs, copy=False))
                given = {id(t) for t in (*known, *tensors(inputs), *tensors(subject.targets), *slopes.along)}
                found.append([t for t in leaves(loss) if id(t) not in given])  # held, so that no id is given twice
                names |= {id(t): name for t in found[-1] if (name := _name(subject.model, t))}
        again, taught = {id(t) for t in found[1]}, {id(t) for t in leaves(loss)}
        strays = [t for t in found[0] if isinstance(t, nn.Parameter) or id(t) in names or id(t) in again]
        told = sorted(f"{names.get(id(t), 'a tensor')} {tuple(t.shape)}" for t in strays)
        numbers: dict[str, Any] = {"leaves": len(leaves(loss)), "strays": told[:8], "n": subject.n}
        beside = sorted({
            type(m).__name__ for m in others[1:] if isinstance(m, nn.Module) and m is not subject.model
            and any(id(p) in taught and id(p) not in held | ours for p in m.parameters(recurse=False))
        })  # fmt: skip
        yield Fact("" if not strays else f"{len(strays)} tensors learn nothing", numbers)
        if strays:
            more = f" and {len(told) - 3} more" if len(told) > 3 else ""
            yield Finding(self.code, Severity.WARN, subject.at("model"), numbers,
                          f"{', '.join(told[:3])}{more}: the loss has a gradient for it, but model.parameters() does not hold it",
                          "self.layers = nn.ModuleList(layers), self.token = nn.Parameter(tensor); register_buffer for a constant")  # fmt: skip
        if beside:
            yield Finding(self.code, Severity.INFO, subject.at("loss"), {**numbers, "beside": beside},
                          f"the loss has weights of its own ({', '.join(beside)}) that this optimizer does not hold",
                          "none where they are another model's (a judge, a frozen critic); else add them: "
                          "torch.optim.Adam([*model.parameters(), *loss.parameters()])")  # fmt: skip


class _Slopes(TorchFunctionMode):
    """Note with respect to what the program itself takes gradients, by whatever name it calls torch.autograd.grad."""

    def __init__(self) -> None:
        super().__init__()
        self.along: list[Tensor] = []

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function is torch.autograd.grad:
            inputs = args[1] if len(args) > 1 else (kwargs or {}).get("inputs")
            self.along += tensors(inputs if isinstance(inputs, Tensor) else tuple(inputs or ()))
        return function(*args, **(kwargs or {}))


def leaves(loss: Tensor) -> list[Tensor]:
    """Return the leaf tensors that have a gradient of the loss."""
    return [leaf for node in nodes(loss) if isinstance(leaf := getattr(node, "variable", None), Tensor)]


def nodes(loss: Tensor) -> list[Any]:
    """Return the nodes of the graph of `loss`, each once."""
    found: dict[Any, None] = {}
    todo = [loss.grad_fn]
    while todo:
        node = todo.pop()
        if node is None or node in found:
            continue
        found[node] = None
        todo += [n for n, _ in node.next_functions]
    return list(found)


def _name(model: nn.Module, tensor: Tensor) -> str:
    """Return how the model reaches a tensor that is not registered, "" when it is not among its attributes."""
    for at, module in model.named_modules():
        for attribute, value in vars(module).items():
            if attribute.startswith("_") and attribute in ("_parameters", "_buffers", "_modules"):
                continue
            if path := _within(value, tensor, 3):
                return f"{at}.{attribute}{path}".lstrip(".").removesuffix("!")
    return ""


def _within(value: Any, tensor: Tensor, depth: int) -> str:
    """Return the path to a tensor inside a value, "!" when it is the value itself, "" when it is not there."""
    if value is tensor:
        return "!"
    if isinstance(value, nn.Module):
        return next((f".{k}" for k, p in value.named_parameters() if p is tensor), "")
    if depth and isinstance(value, (list, tuple, Mapping)):
        items = value.items() if isinstance(value, Mapping) else enumerate(value)
        for key, item in items:
            if path := _within(item, tensor, depth - 1):
                return f"[{key!r}]{path}"
    return ""
