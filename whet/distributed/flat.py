"""A model as one vector: what travels between workers and server is contiguous, and nothing is copied to make it so."""

from __future__ import annotations

import mmap
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from whet.errors import TaskError

__all__ = ["Flat"]


class Flat:
    """A model whose trained parameters are views of one vector and whose gradients are views of another.

    weights, gradient: (p,) vectors to use, in shared memory say; None makes new ones. The values of the parameters are kept when
    `weights` is None, else those of `weights` are taken. A parameter keeps its memory layout (channels-last stays so), a
    tied one stands once, a frozen one stays outside: it is the same for all who were built from one seed.

    buffers: (b,) float64, the model's floating buffers (the statistics of batch normalisation), copied in and out; whole
    numbers among them travel too, exact up to 2**53.

    Raises TaskError when there is nothing to train, or the trained parameters are of several dtypes or devices.

    >>> flat = Flat(nn.Linear(2, 1))
    >>> flat.weights.shape, flat.model.weight.data_ptr() == flat.weights.data_ptr()
    (torch.Size([3]), True)
    >>> flat.model(torch.ones(1, 2)).sum().backward(); flat.gradient
    tensor([1., 1., 1.])
    """

    def __init__(self, model: nn.Module, *, weights: Tensor | None = None, gradient: Tensor | None = None) -> None:
        self.model = model
        self.parameters = [p for p in model.parameters() if p.requires_grad]
        name = type(model).__name__
        if not self.parameters:
            raise TaskError(
                f"model: {name} has no parameters to train. Give it a layer with weights, with requires_grad."
            )
        kinds = {(str(p.dtype).removeprefix("torch."), str(p.device)) for p in self.parameters}
        if len(kinds) > 1:
            found = ", ".join(f"{d} on {where}" for d, where in sorted(kinds))
            raise TaskError(
                f"model: {name} has parameters of several kinds ({found}); workers exchange one vector. "
                "Make them one dtype on one device, e.g. model.float()."
            )
        first, self.size = self.parameters[0], sum(p.numel() for p in self.parameters)
        self.weights = self._fit(weights, first, "weights")
        self.gradient = _zeros(self.size, first) if gradient is None else self._fit(gradient, first, "gradient")
        self._layout = [
            (p.shape, _dense(p), p.numel()) for p in self.parameters
        ]  # searched once: `point` is in every step
        self._buffers = [b for b in model.buffers() if not b.is_complex()]
        self.buffer_size = sum(b.numel() for b in self._buffers)
        with torch.no_grad():
            for p, view in zip(self.parameters, self._views(self.weights), strict=True):
                if weights is None:
                    view.copy_(p)
                p.data = view
            if gradient is None:
                self.point(self.gradient)
            else:
                self.link()

    def _fit(self, vector: Tensor | None, like: Tensor, what: str) -> Tensor:
        if vector is None:
            return torch.zeros(self.size, dtype=like.dtype, device=like.device)
        if vector.shape != (self.size,) or vector.dtype != like.dtype:
            raise TaskError(
                f"{what}: needs a vector ({self.size},) of {like.dtype}, got {tuple(vector.shape)} of {vector.dtype}."
            )
        return vector

    def _views(self, vector: Tensor) -> Iterator[Tensor]:
        start = 0
        for shape, strides, n in self._layout:
            yield vector.as_strided(shape, strides, vector.storage_offset() + start)
            start += n

    def link(self) -> None:
        """Make the gradients views of `gradient` again, filled with zeros: something may have set them to None."""
        self.gradient.zero_()
        for p, view in zip(self.parameters, self._views(self.gradient), strict=True):
            p.grad = view

    def point(self, vector: Tensor) -> None:
        """Make the gradients views of another vector (p,), for an optimizer to step on without a copy."""
        for p, view in zip(self.parameters, self._views(vector), strict=True):
            p.grad = view

    def linked(self) -> bool:
        """Return whether every gradient still is its part of `gradient`."""
        start = self.gradient.data_ptr()
        for p in self.parameters:
            if p.grad is None or p.grad.data_ptr() != start:
                return False
            start += p.numel() * p.element_size()
        return True

    def read_buffers(self, out: Tensor) -> None:
        """Copy the model's buffers into `out` (b,) float64."""
        start = 0
        for b in self._buffers:
            out[start : start + b.numel()].copy_(b.reshape(-1))
            start += b.numel()

    def write_buffers(self, values: Tensor) -> None:
        """Set the model's buffers from `values` (b,) float64; whole numbers are rounded."""
        start = 0
        with torch.no_grad():
            for b in self._buffers:
                part = values[start : start + b.numel()].reshape(b.shape)
                b.copy_(part if b.is_floating_point() else part.round())
                start += b.numel()


def _zeros(size: int, like: Tensor) -> Tensor:
    """Return zeros (size,) that take memory where they are written to: who evaluates or serves computes no gradient."""
    if like.device.type != "cpu":
        return torch.zeros(size, dtype=like.dtype, device=like.device)
    return torch.frombuffer(mmap.mmap(-1, size * like.element_size()), dtype=like.dtype)


def _dense(p: Tensor) -> tuple[int, ...]:
    """Return strides that fill p.numel() elements without a gap, in the order of `p`'s own where these do."""
    order = sorted(range(p.ndim), key=lambda d: (p.stride(d), p.shape[d]))
    size, strides = 1, [0] * p.ndim
    for d in order:
        strides[d] = size
        size *= p.shape[d]
    return tuple(strides)
