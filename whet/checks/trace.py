"""What a run computes, in order, as digests: two runs are compared by the first entry in which they differ."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Any

import torch
from torch import Tensor, nn

from whet.checks.subject import tensors
from whet.train.callback import Callback
from whet.train.run import Run

__all__ = ["Entry", "Trace", "digest", "first_difference"]


@dataclass(frozen=True)
class Entry:
    """One thing a run computed: in which epoch, what kind, of what, its digest.

    kind: "start" (a weight before the first step), "batch", "into" (a module's inputs; `owner` is the module whose code
    made them), "out" (a module's outputs), "loss", "gradient", "rate", "weight".
    """

    epoch: int
    kind: str
    name: str
    digest: bytes
    owner: str = ""


def digest(tree: Any) -> bytes:
    """Return 8 bytes that depend on every bit of the tensors in a tree, and on their shapes.

    >>> digest(torch.zeros(2)) == digest((torch.zeros(2),)), digest(torch.zeros(2)) == digest(torch.zeros(2, 1))
    (True, False)
    """
    found = hashlib.blake2b(digest_size=8)
    for tensor in tensors(tree):
        part = tensor.detach().cpu()
        part = part.to_dense() if part.is_sparse else part
        part = (torch.view_as_real(part.resolve_conj()) if part.is_complex() else part).contiguous()
        found.update(f"{part.dtype}{tuple(part.shape)}".encode())
        if part.numel():
            found.update(part.reshape(-1).view(torch.uint8).numpy().data)
    return found.digest()


@dataclass
class Trace(Callback):
    """Note what a run computes. Give it last, after the callbacks whose work it is to see.

    losses: the loss of every step, to say by how much two runs differ.
    """

    entries: list[Entry] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)

    def start(self, run: Run) -> None:
        """Note the weights, and watch the modules."""
        self._handles: list[Any] = []
        self._stack: list[str] = [""]
        self._weights(run, "start")
        for name, module in run.model.named_modules():
            self._handles.append(module.register_forward_pre_hook(self._enter(run, name), with_kwargs=True))
            self._handles.append(module.register_forward_hook(self._leave(run, name)))

    def end(self, run: Run) -> None:
        """Stop watching."""
        for handle in self._handles:
            handle.remove()

    def batch(self, run: Run, inputs: tuple[Tensor, ...], targets: Tensor) -> None:
        """Note what the step is given."""
        self._note(run, "batch", "inputs", inputs)
        self._note(run, "batch", "targets", targets)

    def loss(self, run: Run, loss: Tensor) -> None:
        """Note the loss."""
        self._note(run, "loss", "", loss)
        self.losses.append(float(loss.detach()))

    def grad(self, run: Run) -> None:
        """Note gradients and learning rates."""
        for name, p in reversed(list(run.model.named_parameters())):  # as they are computed: the last layer first
            self._note(run, "gradient", name, p.grad)
        rates = torch.tensor([float(group.get("lr", 0.0)) for group in run.optimizer.param_groups])
        self._note(run, "rate", "", rates)

    def step(self, run: Run) -> None:
        """Note the weights after the step."""
        self._weights(run, "weight")

    def _weights(self, run: Run, kind: str) -> None:
        for name, value in run.model.state_dict().items():
            self._note(run, kind, name, value)

    def _note(self, run: Run, kind: str, name: str, value: Any, owner: str = "") -> None:
        self.entries.append(Entry(run.step, kind, name, digest(value), owner))

    def _enter(self, run: Run, name: str) -> Any:
        def hook(module: nn.Module, args: Any, kwargs: Any) -> None:
            self._note(run, "into", name, (args, kwargs), self._stack[-1])
            self._stack.append(name)

        return hook

    def _leave(self, run: Run, name: str) -> Any:
        def hook(module: nn.Module, args: Any, outputs: Any) -> None:
            self._note(run, "out", name, outputs)
            if len(self._stack) > 1:
                self._stack.pop()

        return hook


def first_difference(a: list[Entry], b: list[Entry]) -> tuple[int, Entry] | None:
    """Return the first entry of `a` (or of `b`, where it is longer) that the other has otherwise, and in which step.

    Steps count from 1, 0 is before the first; None when all entries agree.

    >>> one, two = Entry(0, "loss", "", b"1"), Entry(0, "loss", "", b"2")
    >>> first_difference([one], [one]), first_difference([one, one], [one, two]) == (0, one)
    (None, True)
    """
    step = 0
    for x, y in zip_longest(a, b):
        entry = x if x is not None else y
        step += entry.kind == "batch" and entry.name == "inputs"
        if x != y:
            return step, entry
    return None
