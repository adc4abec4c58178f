"""State of plain Python and NumPy as a tree of JSON values and arrays, and back: what a checkpoint file holds.

Plain values stand for themselves: None, text, booleans, whole and finite real numbers, lists, dicts with text keys.
Everything else is a dict {"$": kind, ...}:

    float   nan, inf, -inf: their 8 bytes         tuple   items
    int     beyond 64 bits, in hexadecimal        dict    keys that are no plain text, as [key, value] pairs
    bytes   an Array of U8                        numpy   an array, or a scalar, of any plain dtype
    counter a collections.Counter, as a dict

The leaves of another library are left to a function; `whet.train.checkpoint` is torch's.
"""

from __future__ import annotations

import math
import struct
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from whet.errors import CheckpointError
from whet.journal.checkpoint import Array

__all__ = ["KIND", "pack", "refused", "unpack"]

KIND = "$"

Leaf = Callable[[Any, str], Any]


def pack(state: Any, leaf: Leaf | None = None) -> Any:
    """Return `state` as a tree that `whet.journal.checkpoint` writes.

    leaf: makes a tree of what is neither plain nor NumPy's, given it and its path. Raises CheckpointError naming the path
    of anything that nobody takes, and when the state contains itself.

    >>> unpack(pack({"lr": float("inf"), 0: (1, 2), "w": np.arange(2)}))
    {'lr': inf, 0: (1, 2), 'w': array([0, 1])}
    """
    try:
        return _pack(state, "", leaf or _nobody)
    except RecursionError:
        raise CheckpointError("state: it is nested without end. Take out the part that contains itself.") from None


def _nobody(node: Any, path: str) -> Any:
    raise refused(node, path)


def refused(node: Any, path: str) -> CheckpointError:
    """Return the error that says where something stands that cannot be written."""
    name = getattr(type(node), "__name__", type(node))
    return CheckpointError(
        f"{path or 'state'}: {name} cannot be written without pickle. "
        "Use numbers, text, bytes, lists, tuples, dicts, tensors or NumPy arrays."
    )


def _pack(node: Any, path: str, leaf: Leaf) -> Any:
    kind = type(node)
    if node is None or kind in (bool, str):
        return node
    if kind is int:
        return node if -(2**63) <= node < 2**64 else {KIND: "int", "value": hex(node)}
    if kind is float:
        return node if math.isfinite(node) else {KIND: "float", "bits": struct.pack("<d", node).hex()}
    if kind in (dict, OrderedDict):
        return _pack_dict(node, path, leaf)
    if kind is Counter:  # torch's MultiStepLR has one
        return {KIND: "counter", "counts": _pack_dict(node, path, leaf)}
    if kind is list:
        return [_pack(v, f"{path}.{i}" if path else str(i), leaf) for i, v in enumerate(node)]
    if kind is tuple:
        return {KIND: "tuple", "items": _pack(list(node), path, leaf)}
    if kind is bytes:
        return {KIND: "bytes", "data": Array("U8", (len(node),), node)}
    if (kind is np.ndarray or isinstance(node, np.generic)) and node.dtype.kind in "biufcSUmM":
        data = np.ascontiguousarray(node).tobytes()
        array, scalar = Array("U8", (len(data),), data), isinstance(node, np.generic)
        return {KIND: "numpy", "dtype": node.dtype.str, "shape": list(node.shape), "scalar": scalar, "data": array}
    return leaf(node, path)


def _pack_dict(node: Mapping[Any, Any], path: str, leaf: Leaf) -> Any:
    at = f"{path}." if path else ""
    if all(type(k) is str and not k.startswith(("$", "__")) for k in node):
        return {k: _pack(v, f"{at}{k}", leaf) for k, v in node.items()}
    pairs = [[_pack(k, f"{at}{k}", leaf), _pack(v, f"{at}{k}", leaf)] for k, v in node.items()]
    return {KIND: "dict", "pairs": pairs}


def unpack(tree: Any, leaf: Callable[[Any], Any] | None = None) -> Any:
    """Return the state that `pack` made `tree` from.

    leaf: makes what is not plain and not NumPy's of its tree. Raises CheckpointError when the tree is none of `pack`'s.
    """
    try:
        return _unpack(tree, leaf or _unknown)
    except (KeyError, ValueError, TypeError, RuntimeError) as e:
        if isinstance(e, CheckpointError):
            raise
        raise CheckpointError(f"checkpoint: not a tree of whet's ({type(e).__name__}: {e}).") from e


def _unknown(node: Any) -> Any:
    kind = node[KIND] if isinstance(node, dict) else type(node).__name__
    raise CheckpointError(f"checkpoint: unknown kind {kind!r}. It may be from a newer whet.")


def _unpack(node: Any, leaf: Callable[[Any], Any]) -> Any:
    if isinstance(node, list):
        return [_unpack(v, leaf) for v in node]
    if isinstance(node, Array):
        return leaf(node)
    if not isinstance(node, dict):
        return node
    if KIND not in node:
        return {k: _unpack(v, leaf) for k, v in node.items()}
    match node[KIND]:
        case "float":
            return struct.unpack("<d", bytes.fromhex(node["bits"]))[0]
        case "int":
            return int(node["value"], 16)
        case "tuple":
            return tuple(_unpack(v, leaf) for v in node["items"])
        case "dict":
            return {_unpack(k, leaf): _unpack(v, leaf) for k, v in node["pairs"]}
        case "counter":
            return Counter(_unpack(node["counts"], leaf))
        case "bytes":
            return bytes(node["data"].data)
        case "numpy":
            array = np.ndarray(node["shape"], np.dtype(node["dtype"]), bytearray(node["data"].data))
            return array[()] if node["scalar"] else array
    return leaf(node)
