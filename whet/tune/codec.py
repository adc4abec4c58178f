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

_CODECS = {"torch": "whet.train.checkpoint", "numpy": "whet.tune.tagged"}
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


def _packages(node: Any) -> set[str]:
    """Return the packages of the leaves that are not plain Python."""
    if isinstance(node, Mapping):
        return {p for pair in node.items() for v in pair for p in _packages(v)}
    if isinstance(node, (list, tuple)):
        return {p for v in node for p in _packages(v)}
    name = type(node).__module__.partition(".")[0]
    return set() if name == "builtins" else {name}


def _codec(name: str) -> Any:
    """Return the codec for values of a package, or None when nobody offers one."""
    if name in _CODECS:
        return importlib.import_module(_CODECS[name])
    return next((entry.load() for entry in entry_points(group="whet.codec", name=name)), None)


def pack(state: Any) -> Any:
    """Return `state` as a tree of JSON values and `whet.journal.checkpoint.Array`.

    Raises CheckpointError, naming the path, when something in it cannot be written without pickle.

    >>> unpack(pack({"epoch": 3, "best": 0.5}))
    {'epoch': 3, 'best': 0.5}
    """
    if _plain(state):
        return {"plain": state}
    try:
        foreign = sorted(_packages(state) - {"numpy"})
    except RecursionError:
        foreign = []
    # where nobody knows a leaf, the codec at hand says where it stands
    name = next((name for name in foreign if _codec(name) is not None), "numpy")
    return {_CODEC: name, "tree": _codec(name).pack(state)}


def unpack(tree: Any) -> Any:
    """Return the state that `pack` was given; raise CheckpointError when nobody here can."""
    if "plain" in tree:
        return tree["plain"]
    if (codec := _codec(name := tree[_CODEC])) is None:
        raise CheckpointError(
            f"checkpoint: no codec for values of `{name}`. Install the package that offers one (entry point group "
            "`whet.codec`)."
        )
    return codec.unpack(tree["tree"])
