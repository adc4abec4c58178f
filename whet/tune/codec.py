"""A person's state as a tree that can be written, and back, without importing torch until torch is there.

Plain values and NumPy arrays are handled here. The leaves of another library (torch, ...) are left to the codec that
belongs to it: a module with `pack(state)` and `unpack(tree)`, found by the leaf's top-level package.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from importlib.metadata import entry_points
from typing import Any

from whet.errors import CheckpointError

__all__ = ["pack", "unpack"]

_CODECS = {"torch": "whet.train.checkpoint", "numpy": "whet.train.checkpoint"}
_CODEC = "$codec"


def _plain(node: Any) -> bool:
    """Return whether `node` is JSON with text keys already, floats finite."""
    if node is None or isinstance(node, (str, bool, int)):
        return not isinstance(node, int) or abs(node) < 2**53
    if isinstance(node, float):
        return node - node == 0.0
    if isinstance(node, list):
        return all(map(_plain, node))
    if type(node) is dict:
        return all(isinstance(k, str) and not k.startswith("$") for k in node) and all(map(_plain, node.values()))
    return False


def _package(node: Any) -> str | None:
    """Return the first package of a leaf that is not plain Python, or None."""
    if isinstance(node, Mapping):
        return next((p for v in node.values() if (p := _package(v)) is not None), None)
    if isinstance(node, (list, tuple)):
        return next((p for v in node if (p := _package(v)) is not None), None)
    name = type(node).__module__.partition(".")[0]
    return None if name == "builtins" else name


def _codec(name: str) -> Any:
    if name in _CODECS:
        return importlib.import_module(_CODECS[name])
    for entry in entry_points(group="whet.codec", name=name):
        return entry.load()
    raise CheckpointError(
        f"checkpoint: no codec for values of `{name}`. Use numbers, text, lists, dicts, arrays or tensors, "
        "or install a package that offers one (entry point group `whet.codec`)."
    )


def pack(state: Any) -> Any:
    """Return `state` as a tree of JSON values and `whet.journal.checkpoint.Array`.

    Raises CheckpointError, naming the path, when something in it cannot be written without pickle.

    >>> unpack(pack({"epoch": 3, "best": 0.5}))
    {'epoch': 3, 'best': 0.5}
    """
    if _plain(state):
        return {"plain": state}
    name = _package(state) or "torch"
    return {_CODEC: name, "tree": _codec(name).pack(state)}


def unpack(tree: Any) -> Any:
    """Return the state that `pack` was given."""
    return tree["plain"] if "plain" in tree else _codec(tree[_CODEC]).unpack(tree["tree"])
