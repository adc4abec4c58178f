"""Torch state as a tree of JSON values and arrays, and back: what a checkpoint file holds, without pickle.

What is plain or NumPy's is packed as `whet.tune.tagged` does. A contiguous tensor of its own stands as an `Array`; the rest is
a dict {"$": kind, ...}:

    tensor     a dtype that safetensors lacks, as bytes
    view       shape, stride and offset in a storage: tensors that share one (tied weights), or lie otherwise than row by row
    generator  a torch.Generator's state
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from whet.journal.checkpoint import Array
from whet.tune import tagged
from whet.tune.tagged import KIND, refused

__all__ = ["pack", "unpack"]

_NAMES = {
    torch.bool: "BOOL", torch.uint8: "U8", torch.int8: "I8", torch.int16: "I16", torch.int32: "I32", torch.int64: "I64",
    torch.uint16: "U16", torch.uint32: "U32", torch.uint64: "U64", torch.float16: "F16", torch.bfloat16: "BF16",
    torch.float32: "F32", torch.float64: "F64",
}  # fmt: skip
_DTYPES = {name: dtype for dtype, name in _NAMES.items()}
_ALL = {str(d).removeprefix("torch."): d for d in vars(torch).values() if isinstance(d, torch.dtype)}


def pack(state: Any) -> Any:
    """Return `state` as a tree that `whet.journal.checkpoint` writes; its bytes are copies.

    Taken: None, bool, int of any size, float, str, bytes, list, tuple, dict, OrderedDict and Counter (with keys of these), tensors of
    every dtype and device, NumPy arrays and scalars, torch.Generator. Tensors that share a storage share it again after
    `unpack`, and the memory layout is kept (channels-last stays so). Raises CheckpointError naming the path of
    anything else, such as a function or an object.

    >>> unpack(pack({"lr": float("inf"), "betas": (0.9, 0.999), 0: torch.tensor([1.5], dtype=torch.bfloat16)}))
    {'lr': inf, 'betas': (0.9, 0.999), 0: tensor([1.5000], dtype=torch.bfloat16)}
    >>> pack({"hook": print})
    Traceback (most recent call last):
    ...
    whet.errors.CheckpointError: hook: builtin_function_or_method cannot be written without pickle. Use numbers, text, ...
    """
    try:
        packer = _Packer(state)
    except RecursionError:
        return tagged.pack(state)  # says so
    return tagged.pack(state, packer.leaf)


def unpack(tree: Any) -> Any:
    """Return the state that `pack` made `tree` from; tensors are on the CPU, and writable.

    Raises CheckpointError when the tree is none of `pack`'s.
    """
    return tagged.unpack(tree, _Unpacker(tree).leaf)


def _tensors(node: Any) -> Iterator[Tensor]:
    if isinstance(node, Tensor):
        yield node
    elif isinstance(node, Mapping):
        for k, v in node.items():
            yield from _tensors(k)
            yield from _tensors(v)
    elif isinstance(node, (list, tuple)):
        for v in node:
            yield from _tensors(v)


def _storage(t: Tensor) -> tuple[str, int]:
    """Return what two tensors have in common when they share memory; 0 bytes are shared by none."""
    return str(t.device), t.untyped_storage().data_ptr()


def _supported(t: Tensor) -> bool:
    plain = t.layout is torch.strided and not t.is_quantized and not t.is_nested and t.device.type != "meta"
    return plain and type(t) in (Tensor, nn.Parameter)


def _dense(t: Tensor) -> bool:
    """Return whether `t` fills its memory without gaps, in whatever order of its dimensions."""
    order = sorted(range(t.ndim), key=lambda d: (t.stride(d), t.shape[d]))
    return t.permute(order[::-1]).is_contiguous()


class _Packer:
    def __init__(self, state: Any) -> None:
        self.users = Counter(_storage(t) for t in _tensors(state) if _supported(t) and t.numel())
        self.written: dict[tuple[str, int], int] = {}  # storages that stand in the tree already

    def leaf(self, node: Any, path: str) -> Any:
        if isinstance(node, Tensor) and _supported(node):
            return self.tensor(node.detach())
        if isinstance(node, torch.Generator):
            return {KIND: "generator", "device": node.device.type, "state": self.tensor(node.get_state())}
        raise refused(node, path)

    def tensor(self, t: Tensor) -> Any:
        t = t.resolve_conj().resolve_neg()
        if t.numel() and (self.users[_storage(t)] > 1 or (not t.is_contiguous() and _dense(t))):
            return self.view(t)
        name = _NAMES.get(t.dtype)
        if name is not None:
            return Array(name, tuple(t.shape), raw(t))
        data = raw(t)
        return {
            KIND: "tensor",
            "dtype": short(t.dtype),
            "shape": list(t.shape),
            "data": Array("U8", (len(data),), data),
        }

    def view(self, t: Tensor) -> Any:
        size, where = t.element_size(), _storage(t)
        out: dict[str, Any] = {
            KIND: "view", "dtype": short(t.dtype), "shape": list(t.shape), "stride": list(t.stride()),
            "offset": t.storage_offset(),
        }  # fmt: skip
        begin, length = t.storage_offset() * size, t.numel() * size
        if self.users[where] > 1:  # the whole storage stands where it is met first
            begin, length = 0, t.untyped_storage().nbytes()
            known = where in self.written
            out["storage"] = self.written.setdefault(where, len(self.written))
            if known:
                return out
        else:
            out["offset"] = 0
        part = torch.empty(0, dtype=torch.uint8, device=t.device)
        out["data"] = Array("U8", (length,), raw(part.set_(t.untyped_storage(), begin, (length,), (1,))))
        return out


class _Unpacker:
    def __init__(self, tree: Any) -> None:
        self.storages: dict[int, Tensor] = {}
        self.collect(tree)

    def collect(self, node: Any) -> None:
        """Take in the shared storages first: what refers to one may stand before it in a file that another wrote."""
        if isinstance(node, dict):
            if node.get(KIND) == "view" and "storage" in node and "data" in node:
                self.storages[node["storage"]] = buffer(node["data"])
            for v in node.values():
                self.collect(v)
        elif isinstance(node, list):
            for v in node:
                self.collect(v)

    def leaf(self, node: Any) -> Any:
        if isinstance(node, Array):
            return buffer(node).view(_DTYPES[node.dtype]).reshape(node.shape)
        match node[KIND]:
            case "tensor":
                return buffer(node["data"]).view(_ALL[node["dtype"]]).reshape(node["shape"])
            case "view":
                memory = self.storages[node["storage"]] if "storage" in node else buffer(node["data"])
                out = torch.empty(0, dtype=_ALL[node["dtype"]])
                return out.set_(memory.untyped_storage(), node["offset"], node["shape"], node["stride"])
            case "generator":
                state = self.leaf(node["state"])
                made = torch.Generator(node["device"])
                made.set_state(state)
                return made
        return tagged.unpack(node)  # says that it knows no such kind


def short(dtype: torch.dtype) -> str:
    """Return a dtype's name without its module."""
    return str(dtype).removeprefix("torch.")


def raw(t: Tensor) -> bytes:
    """Return the elements of `t`, row by row, as bytes."""
    return t.cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


def buffer(array: Array) -> Tensor:
    """Return the bytes of `array` as a tensor (n,) of uint8 in memory of its own, aligned as PyTorch aligns."""
    out = torch.empty(len(array.data), dtype=torch.uint8)
    out.numpy()[:] = np.frombuffer(array.data, np.uint8)
    return out
