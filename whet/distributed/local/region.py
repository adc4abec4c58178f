"""Memory that processes of one machine share, as vectors with names."""

from __future__ import annotations

import mmap
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from whet.errors import StoreError

__all__ = ["Area", "Region"]

_ALIGN = 64  # bytes: a cache line, and what vector instructions like


@dataclass(frozen=True)
class Area:
    """A vector of `size` elements of `dtype` ("float32")."""

    size: int
    dtype: str = "float32"

    @property
    def bytes(self) -> int:
        """Bytes it takes, rounded up to where the next may begin."""
        size = self.size * torch.empty(0, dtype=getattr(torch, self.dtype)).element_size()
        return -(-size // _ALIGN) * _ALIGN


class Region:
    """A file of shared memory with an area for each name; who opens it must give the same areas in the same order.

    Its pages are given when they are first touched, and go when the last process that has it open ends and its file is removed.
    Raises StoreError when there is no room.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     areas = {"a": Area(3), "b": Area(2, "float64")}
    ...     one, two = Region.make(Path(folder, "m"), areas), Region(Path(folder, "m"), areas)
    ...     one["b"].fill_(7); two["b"].tolist(), two["a"].tolist()
    tensor([7., 7.], dtype=torch.float64)
    ([7.0, 7.0], [0.0, 0.0, 0.0])
    """

    def __init__(self, path: Path, areas: Mapping[str, Area]) -> None:
        with open(path, "r+b") as file:
            self._map = mmap.mmap(file.fileno(), max(_ALIGN, sum(a.bytes for a in areas.values())))
        self._vectors: dict[str, Tensor] = {}
        start = 0
        for name, area in areas.items():
            dtype = getattr(torch, area.dtype)
            self._vectors[name] = (
                torch.frombuffer(self._map, dtype=dtype, count=area.size, offset=start)
                if area.size
                else torch.empty(0, dtype=dtype)
            )
            start += area.bytes

    @classmethod
    def make(cls, path: Path, areas: Mapping[str, Area]) -> Region:
        """Make the file, readable by its owner alone, filled with zeros."""
        size = max(_ALIGN, sum(a.bytes for a in areas.values()))
        try:
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
            try:
                os.posix_fallocate(fd, 0, size)  # now, since a page that is not to be had later is a SIGBUS
            finally:
                os.close(fd)
        except OSError as e:
            path.unlink(missing_ok=True)
            raise StoreError(
                f"{path}: cannot make {size / 2**20:,.0f} MiB of shared memory: {e.strerror}. Use fewer workers, or give "
                "the container more (docker run --shm-size=4g)."
            ) from e
        return cls(path, areas)

    def __getitem__(self, name: str) -> Tensor:
        return self._vectors[name]
