"""Checkpoint files: a tree of JSON values and arrays in one safetensors file, atomic, checked, never pickled.

The arrays are the file's tensors; the tree, with a reference where an array was, is JSON in its header. The name of a
file holds the checksum of its content, and the event that names it is written after the file is on the disk: so a
checkpoint that the journal knows is whole, or is found out. This module knows bytes, not torch: `whet.train.checkpoint`
maps torch's state onto `Array`.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import tempfile
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from whet.errors import CheckpointError, StoreError

__all__ = ["Array", "Files", "load", "outline", "save"]

_REF = "$array"
_TREE = "whet"
_MARK = "study"  # the file that says whose folder it is


@dataclass(frozen=True)
class Array:
    """A tensor as bytes: dtype by safetensors' name ("F32", "BF16", "I64", ...), shape, little-endian data.

    >>> Array("F32", (2,), b"\\0" * 8).shape
    (2,)
    """

    dtype: str
    shape: tuple[int, ...]
    data: bytes


def _split(node: Any, path: str, arrays: dict[str, Array]) -> Any:
    """Return `node` with every array replaced by a reference; the arrays are collected by their path."""
    if isinstance(node, Array):
        name = path or "$"
        # {"a": {"b.c": ...}, "a.b": {"c": ...}}: two paths may read alike; one name is the format's own
        while name in arrays or name == "__metadata__":
            name += "'"
        arrays[name] = node
        return {_REF: name}
    if isinstance(node, Mapping):
        for k in node:
            if not isinstance(k, str) or k == _REF:
                why = "reserved" if k == _REF else "not text"
                raise CheckpointError(f"checkpoint: {path or 'state'}: key {k!r} is {why}. Use other text keys.")
        return {k: _split(v, f"{path}.{k}" if path else k, arrays) for k, v in node.items()}
    if isinstance(node, (list, tuple)):
        return [_split(v, f"{path}.{i}" if path else str(i), arrays) for i, v in enumerate(node)]
    if isinstance(node, float) and not math.isfinite(node):
        raise CheckpointError(f"checkpoint: {path or 'state'}: {node} is not JSON. Pack the state first.")
    if node is None or isinstance(node, (str, bool, int, float)):
        return node
    raise CheckpointError(
        f"checkpoint: {path or 'state'}: {type(node).__name__} cannot be written without pickle. "
        "Use numbers, text, lists, dicts, arrays or tensors."
    )


def _join(node: Any, arrays: Mapping[str, Array]) -> Any:
    if isinstance(node, dict):
        if len(node) == 1 and _REF in node:
            return arrays[node[_REF]]
        return {k: _join(v, arrays) for k, v in node.items()}
    return [_join(v, arrays) for v in node] if isinstance(node, list) else node


def _bytes(tree: Any) -> bytes:
    """Return `tree` in the safetensors format: length of the header (8 bytes), header (JSON), data.

    Written here because the library's own `serialize` takes raw memory addresses; the library reads it back.
    """
    arrays: dict[str, Array] = {}
    text = json.dumps(_split(tree, "", arrays), separators=(",", ":"), allow_nan=False)
    header: dict[str, Any] = {"__metadata__": {_TREE: text}}
    end = 0
    for name, a in arrays.items():
        header[name] = {"dtype": a.dtype, "shape": list(a.shape), "data_offsets": [end, end + len(a.data)]}
        end += len(a.data)
    head = json.dumps(header, separators=(",", ":")).encode()
    head += b" " * (-len(head) % 8)
    return b"".join([len(head).to_bytes(8, "little"), head, *(a.data for a in arrays.values())])


def save(path: Path, tree: Any, *, sync: bool = False, part: Path | None = None) -> None:
    """Write `tree` to `path`: the file is whole or not there; raise CheckpointError when it cannot be written.

    sync: wait until it is on the disk, so that it survives a power cut; part: where it is until it is whole, in the same folder, when nobody else
    writes there: what a killed process left is written over (None: a name that nobody else has).
    """
    _place(path, _bytes(tree), sync, part)


def _place(path: Path, data: bytes, sync: bool, part: Path | None = None) -> None:
    temporary = ""
    try:
        new = [] if path.parent.exists() else [p for p in (path.parent, *path.parent.parents) if not p.exists()]
        path.parent.mkdir(parents=True, exist_ok=True)
        if part is None:
            handle, temporary = tempfile.mkstemp(prefix=".part-", dir=path.parent)
        else:
            temporary = str(part)
            handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "wb") as f:
            f.write(data)
            f.flush()
            if sync:
                os.fsync(f.fileno())
        os.replace(temporary, path)
        if sync:  # its name too, and those of the folders that were made for it
            for folder in (path.parent, *(p.parent for p in new)):
                _sync(folder)
    except OSError as e:
        if temporary:
            Path(temporary).unlink(missing_ok=True)
        raise CheckpointError(
            f"{path}: cannot be written ({e.strerror or e}). Nothing was lost; make room or change --runs, and run again."
        ) from e


def _sync(folder: Path) -> None:
    """Wait until the names in `folder` are on the disk."""
    if os.name == "nt":
        return  # a folder cannot be opened there, and NTFS keeps a journal of names
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def load(path: Path) -> Any:
    """Return the tree at `path`; raise CheckpointError when the file is missing, damaged, or not one of ours."""
    try:
        return _read(path.read_bytes(), path)
    except OSError as e:
        raise CheckpointError(f"{path}: cannot be read ({e.strerror or e}).") from e


def outline(path: Path) -> Any:
    """Return the tree at `path` with {"$array": its name} in place of each array, of which it reads none; raise as `load` does."""
    try:
        with open(path, "rb") as f:
            size = int.from_bytes(f.read(8), "little")
            if size > path.stat().st_size:
                raise ValueError("it ends within its header")
            return json.loads(json.loads(f.read(size))["__metadata__"][_TREE])
    except OSError as e:
        raise CheckpointError(f"{path}: cannot be read ({e.strerror or e}).") from e
    except (ValueError, LookupError, TypeError, RecursionError) as e:
        raise CheckpointError(f"{path}: damaged, or not a checkpoint of whet ({e}).") from e


def _read(data: bytes, path: Path) -> Any:
    from safetensors import SafetensorError, deserialize

    try:
        size = int.from_bytes(data[:8], "little")
        header = json.loads(data[8 : 8 + size])
        text = header["__metadata__"][_TREE]
        arrays = {n: Array(a["dtype"], tuple(a["shape"]), bytes(a["data"])) for n, a in deserialize(data)}
        return _join(json.loads(text), arrays)
    except (SafetensorError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as e:
        raise CheckpointError(f"{path}: damaged, or not a checkpoint of whet ({e}).") from e


class Files:
    """The checkpoints of one study: in its folder, or in memory when there is none.

    sync: wait for the disk at every write, so that a power cut loses nothing (a killed process never does); uid: the
    study's, written into the folder, so that a worker that sees another folder under the same name finds out.

    >>> files = Files(None)
    >>> name = files.write(3, 9, {"w": Array("U8", (2,), b"ab")})
    >>> files.read(name)["w"].data
    b'ab'
    """

    def __init__(self, folder: Path | None, *, sync: bool = False, uid: str = "") -> None:
        self.folder = folder
        self._sync = sync
        self._uid = uid
        self._claimed = not uid
        self._memory: dict[str, bytes] = {}

    def pack(self, tree: Any) -> bytes:
        """Return the content of a checkpoint file; raise CheckpointError when `tree` holds what cannot be written."""
        return _bytes(tree)

    def put(self, trial: int, step: int, data: bytes) -> str:
        """Write what `pack` gave for `trial` after `step`; return its name, which holds the content's checksum."""
        name = f"{trial}/{step}-{hashlib.blake2b(data, digest_size=8).hexdigest()}.safetensors"
        if self.folder is None:
            self._memory[name] = data
        elif not (path := self.folder / name).exists() or path.read_bytes() != data:
            _place(path, data, self._sync)
        return name

    def write(self, trial: int, step: int, tree: Any) -> str:
        """Write a checkpoint of `trial` after `step`; return its name."""
        return self.put(trial, step, self.pack(tree))

    def claim(self, used: bool, *, write: bool = True) -> None:
        """Make sure that the folder is this study's; used: whether checkpoints were written already, by anybody.

        write: mark a folder that is nobody's.

        Raises StoreError when it is another's, or when others wrote checkpoints that are not here.
        """
        if self._claimed or self.folder is None:
            return
        mark = self.folder / _MARK
        try:
            found = mark.read_text().strip() if mark.exists() else ""
            if not found and not write and not used:
                return
            if not found and (not used or any(self.folder.glob("*/*.safetensors"))):
                self.folder.mkdir(parents=True, exist_ok=True)
                mark.write_text(self._uid + "\n")
                found = self._uid
        except OSError as e:
            raise StoreError(f"{mark}: cannot be read or written ({e.strerror or e}). Check the folder.") from e
        if found != self._uid:
            if found:
                raise StoreError(
                    f"{self.folder}: belongs to another study of this name, in another database or one that was deleted."
                    " Delete the folder if nothing in it is wanted, or give another --name or Store(folder=...)."
                )
            raise StoreError(
                f"{self.folder}: the study's files are not here, though other workers wrote checkpoints. Keep them on a "
                "disk that all workers share, and give the same --runs or Store(folder=...)."
            )
        self._claimed = True

    def read(self, name: str) -> Any:
        """Return the tree of the checkpoint `name`; raise CheckpointError when it is missing or damaged."""
        path = (self.folder or Path("memory")) / name
        return _read(self._content(name, path), path)

    def verify(self, name: str) -> int:
        """Return the bytes of the checkpoint `name`; raise CheckpointError when it is missing or damaged."""
        return len(self._content(name, (self.folder or Path("memory")) / name))

    def _content(self, name: str, path: Path) -> bytes:
        try:
            data = self._memory[name] if self.folder is None else path.read_bytes()
        except (KeyError, OSError) as e:
            raise CheckpointError(f"{path}: cannot be read ({e}).") from e
        if hashlib.blake2b(data, digest_size=8).hexdigest() not in name:
            raise CheckpointError(f"{path}: damaged: its content is not what was written.")
        return data

    def remove(self, name: str) -> None:
        """Delete the checkpoint `name`; nothing happens when it is gone."""
        self._memory.pop(name, None)
        if self.folder is not None:
            (self.folder / name).unlink(missing_ok=True)

    def sweep(self, trial: int, named: Collection[str]) -> None:
        """Delete the files of `trial` that are not among those `named`, half-written ones included."""
        if self.folder is None:
            return
        try:
            with os.scandir(self.folder / str(trial)) as found:
                names = [e.name for e in found if e.is_file(follow_symlinks=False)]
        except OSError:
            return  # nothing was ever written for it
        for name in names:
            if f"{trial}/{name}" not in named and (name.endswith(".safetensors") or name.startswith(".part-")):
                (self.folder / str(trial) / name).unlink(missing_ok=True)

    def bytes(self) -> int:
        """Return how many bytes all checkpoints take."""
        if self.folder is None:
            return sum(map(len, self._memory.values()))
        return sum(p.stat().st_size for p in self.folder.glob("*/*.safetensors"))
