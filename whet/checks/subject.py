"""What a check looks at: a model, its loss, a batch, and whatever else there is, behind one way of calling them."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_map

from whet.checks.reach import reached
from whet.checks.sandbox import sandbox
from whet.checks.source import place
from whet.data.split import Data
from whet.errors import TaskError

if TYPE_CHECKING:
    from whet.task import Task

__all__ = ["Answer", "Subject", "answer", "examples", "mapped", "reals", "rows", "tensors"]


def tensors(tree: Any) -> list[Tensor]:
    """Return the tensors in nested tuples, lists, mappings and dataclasses, in order.

    >>> len(tensors({"a": torch.zeros(1), "b": (torch.ones(2), "text")}))
    2
    """
    found: list[Tensor] = []
    for leaf in tree_flatten(tree)[0]:
        if isinstance(leaf, Tensor):
            found.append(leaf)
        else:
            found += [t for _, value in _members(leaf) for t in tensors(value)]
    return found


def reals(tree: Any) -> list[Tensor]:
    """Return the floating tensors in a tree; complex ones as their real and imaginary parts, in a last dimension of 2.

    >>> [tuple(t.shape) for t in reals((torch.zeros(3), torch.zeros(3, dtype=torch.complex64), torch.arange(3)))]
    [(3,), (3, 2)]
    """
    parts = (torch.view_as_real(t.resolve_conj()) if t.is_complex() else t for t in tensors(tree))
    return [t for t in parts if t.is_floating_point()]


def mapped(function: Callable[[Tensor], Any], tree: Any) -> Any:
    """Return a tree with every tensor replaced by what `function` makes of it; mappings and dataclasses keep their class.

    >>> mapped(torch.Tensor.tolist, {"a": torch.ones(2), "b": "text"})
    {'a': [1.0, 1.0], 'b': 'text'}
    """

    def new(leaf: Any) -> Any:
        if isinstance(leaf, Tensor):
            return function(leaf)
        members = _members(leaf)
        if not members:
            return leaf
        made = copy.copy(leaf)
        for name, value in members:
            if isinstance(leaf, Mapping):
                made[name] = mapped(function, value)
            else:
                object.__setattr__(made, name, mapped(function, value))
        return made

    return tree_map(new, tree)


def _members(leaf: Any) -> list[tuple[Any, Any]]:
    """Return the members of what PyTorch takes for a leaf: a mapping of a class of its own, or a dataclass."""
    if isinstance(leaf, MutableMapping):
        return list(leaf.items())
    if is_dataclass(leaf) and not isinstance(leaf, type):
        return [(f.name, getattr(leaf, f.name)) for f in fields(leaf)]
    return []


def examples(tree: Any) -> int:
    """Return how many examples a batch holds: the size of its first tensor's first dimension; 0 without one.

    >>> examples({"x": torch.zeros(3, 2)})
    3
    """
    return next((len(t) for t in tensors(tree) if t.ndim), 0)


def rows(tree: Any, index: Tensor, n: int) -> Any:
    """Return the examples at `index` (int64) of a tree of tensors that holds `n` examples.

    The examples lie along the first dimension, n or a multiple of it long (tokens flattened to rows), else along
    the only dimension of size n (time first). A tensor without such a dimension belongs to all and stays.

    >>> rows((torch.arange(6), torch.zeros(5, 3)), torch.tensor([2]), 3)[0].tolist()
    [4, 5]
    """

    def take(leaf: Tensor) -> Tensor:
        if leaf.ndim == 0:
            return leaf
        at = index.to(leaf.device)
        if len(leaf) == n:
            return leaf[at]
        if list(leaf.shape).count(n) == 1:
            return leaf.index_select(leaf.shape.index(n), at)
        if n and len(leaf) % n == 0:
            return leaf.reshape(n, -1, *leaf.shape[1:])[at].flatten(0, 1)
        return leaf

    return mapped(take, tree)


@dataclass(frozen=True)
class Answer:
    """What the outputs and targets of a model are to each other.

    kind: "classes" (class numbers for targets, one output per class along `axis`) or "values" (a number for a number).

    >>> answer(torch.zeros(4, 10), torch.tensor([0, 3, 9, 1]))
    Answer(kind='classes', axis=1, count=10)
    """

    kind: Literal["classes", "values"]
    axis: int = 1
    count: int = 0


def answer(outputs: Any, targets: Any) -> Answer | None:
    """Return what kind of answer this is; None when it is neither kind (several outputs, masks, pairs ...).

    >>> answer(torch.zeros(4, 2), torch.zeros(4, 2)).kind, answer({"a": torch.zeros(4)}, torch.zeros(4))
    ('values', None)
    """
    if not isinstance(outputs, Tensor) or not isinstance(targets, Tensor) or not outputs.is_floating_point():
        return None
    o, t = tuple(outputs.shape), tuple(targets.shape)
    if not targets.is_floating_point() and targets.dtype is not torch.bool and len(o) == len(t) + 1 and o[:1] == t[:1]:
        if o[2:] == t[1:] and o[1] > 1:
            return Answer("classes", 1, o[1])
        if o[1:-1] == t[1:] and o[-1] > 1:
            return Answer("classes", len(o) - 1, o[-1])
    if outputs.numel() == targets.numel() and o[:1] == t[:1]:
        return Answer("values")
    return None


@dataclass(frozen=True)
class Subject:
    """A program to look at. Checks call it; only inside a `look` may they change it.

    inputs: what the model is called with, a tuple of positional or a dict of keyword arguments; targets: what the
    loss compares with; sample: a larger (inputs, targets) for statistics; data and make (seed -> fresh model and
    optimizer) are there when a whole task is looked at; places: where model and loss stand when they are a library's;
    pick: the key or index of the part of the outputs that the loss is given; step and given: the caller's own training
    step, and the batch in the form it takes; causal: the caller says that outputs must not see later inputs; task, params:
    the whole task with its full configuration, augmentation and regularisers on; many: how many examples there are, where
    the first dimension does not say so; steps: how many steps come before them, where targets are flat over (time, examples).

    >>> s = Subject(nn.Linear(2, 1), nn.MSELoss(), (torch.zeros(4, 2),), torch.zeros(4, 1))
    >>> s.n, s.take(torch.tensor([0, 3])).n, s.at("loss")
    (4, 2, 'MSELoss')
    """

    model: nn.Module
    loss: Callable[..., Any]
    inputs: Any
    targets: Any
    optimizer: torch.optim.Optimizer | None = None
    seed: int = 0
    sample: tuple[Any, Any] | None = None
    data: Data | None = None
    make: Callable[[int], tuple[nn.Module, torch.optim.Optimizer]] | None = None
    batch: int = 32
    places: Mapping[str, str] = field(default_factory=dict)
    pick: str | int | None = None
    step: Callable[[Any], Any] | None = None
    given: Any = None
    causal: bool = False
    many: int = 0
    steps: int = 0
    task: Task | None = None
    params: Mapping[str, Any] = field(default_factory=dict)

    @property
    def n(self) -> int:
        """How many examples the batch holds: the length of the targets, unless the inputs show it is flattened."""
        if self.many:
            return self.many
        n, m = examples(self.targets), examples(self.inputs)
        return m if m and n % m == 0 and n != m and n not in tensors(self.inputs)[0].shape else n

    @contextmanager
    def look(self, code: str, *more: Any) -> Iterator[None]:
        """Open a sandbox around model, loss and optimizer and what the loss can change, its randomness keyed by (seed, code)."""
        things = (self.model, self.loss, self.optimizer, *reached(self.loss), *more)
        with sandbox(*things, seed=(self.seed, "check", code)):
            for module in self.model.modules():
                if (
                    getattr(module, "_compiled_call_impl", None) is not None
                ):  # module.compile(): hooks would compile anew
                    module._compiled_call_impl = None
                if getattr(module, "sparse", None) is True and not isinstance(self.optimizer, torch.optim.SparseAdam):
                    module.__dict__["sparse"] = False  # the same gradients, in a form that every optimizer takes
            yield

    def at(self, part: Literal["model", "loss", "step"]) -> str:
        """Return where the model, the loss or the training step stands: file and line in the user's code, else its name."""
        return self.places.get(part) or place(getattr(self, part))

    def take(self, index: Tensor) -> Subject:
        """Return the same program with only the examples at `index` in its batch."""
        n = self.n
        if self.steps:
            inputs, targets = _late(self.inputs, index, self.steps, n), _late(self.targets, index, self.steps, n)
        else:
            inputs, targets = rows(self.inputs, index, n), rows(self.targets, index, n)
        return replace(self, inputs=inputs, targets=targets, sample=None, many=len(index) if self.many else 0)

    def copies(self, inputs: Any = None, model: nn.Module | None = None) -> Any:
        """Return copies of the inputs that the model may edit, in the precision it computes in."""
        chosen = model or self.model
        return mapped(lambda leaf: _fit(leaf, chosen), self.inputs if inputs is None else inputs)

    def forward(self, inputs: Any = None, model: nn.Module | None = None, *, copy: bool = True) -> Any:
        """Return the outputs the loss wants. The model gets copies, unless `copy` is off: it may edit what it is given."""
        chosen = model or self.model
        outputs = _anyway(lambda: call(chosen, self.copies(inputs, model) if copy else inputs))
        if self.pick is None:
            return outputs
        named = isinstance(self.pick, str) and not isinstance(outputs, Mapping)
        return getattr(outputs, str(self.pick)) if named else outputs[self.pick]

    def cost(self, outputs: Any, targets: Any = None) -> Tensor:
        """Return the loss as one number; the mean of a vector, the first item of a tuple, what a dict calls loss."""
        value = _anyway(lambda: self.loss(outputs, self.targets if targets is None else targets))
        value = value[0] if isinstance(value, tuple) and value else value
        value = value["loss"] if isinstance(value, Mapping) and "loss" in value else value
        if not isinstance(value, Tensor):
            raise TaskError(f"the loss returns {type(value).__name__}, not a tensor")
        return value if value.ndim == 0 else value.mean()

    def each(self, outputs: Any, targets: Any) -> Tensor:
        """Return the loss of every example by itself, shape (n,), without gradient."""
        n = examples(targets)
        with torch.no_grad():
            value = _anyway(lambda: self.loss(outputs, targets))
            if isinstance(value, Tensor) and value.ndim and len(value) == n:
                return value.reshape(n, -1).mean(1).double()
            one = torch.arange(n)
            pairs = ((rows(outputs, one[i : i + 1], n), rows(targets, one[i : i + 1], n)) for i in range(n))
            return torch.stack([self.cost(o, t) for o, t in pairs]).double()


def _anyway(function: Callable[[], Any]) -> Any:
    """Call a model or a loss; where no gradient is wanted, also one that takes a gradient itself (forces, a penalty)."""
    if torch.is_grad_enabled():
        return function()
    try:
        found = function()
    except RuntimeError as error:
        if "does not require grad" not in str(error):
            raise
        with torch.enable_grad():
            found = function()
    return mapped(Tensor.detach, found) if any(t.requires_grad for t in tensors(found)) else found


def _late(tree: Any, index: Tensor, steps: int, n: int) -> Any:
    """Return the examples at `index` of tensors (steps, n, ...) or flat (steps * n, ...); by `rows` of any others."""

    def take(leaf: Tensor) -> Any:
        if leaf.shape[:2] == (steps, n):
            return leaf[:, index.to(leaf.device)]
        if leaf.ndim and len(leaf) == steps * n:
            return leaf.reshape(steps, n, *leaf.shape[1:])[:, index.to(leaf.device)].flatten(0, 1)
        return rows(leaf, index, n)

    return mapped(take, tree)


def call(model: nn.Module, inputs: Any) -> Any:
    """Call a model with a dict as keyword arguments, a tuple as positional ones."""
    return model(**inputs) if isinstance(inputs, Mapping) else model(*inputs)


def _fit(leaf: Tensor, model: nn.Module) -> Tensor:
    """Return a copy of an input, half precision turned to float32 when the model computes in that."""
    weight = next((p for p in model.parameters() if p.is_floating_point()), None)
    half = leaf.dtype in (torch.float16, torch.bfloat16) and weight is not None and weight.dtype is torch.float32
    return leaf.detach().float() if half else leaf.detach().clone()
