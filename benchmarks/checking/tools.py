"""The tools that are compared, and the packages they need."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Any

__all__ = ["TOOLS", "Tool", "installed"]


@dataclass(frozen=True)
class Tool:
    """A tool. package: the distribution it needs; where: module:function of its adapter; reads: has figures without a verdict."""

    title: str
    package: str
    where: str
    reads: bool = False
    sample: bool = False  # minutes a program: a fixed sample of the programs is looked at, with one seed

    def adapter(self) -> Callable[..., Any]:
        module, name = self.where.split(":")
        return getattr(import_module(f"checking.{module}"), name)  # type: ignore[no-any-return]


TOOLS: dict[str, Tool] = {
    "loop": Tool("no tool: the loop's own exceptions and warnings", "torch", "loop:bare"),
    "check": Tool("whet.check", "whet", "of_whet:before"),
    "live": Tool("whet.checks.live.Live", "whet", "of_whet:live"),
    "trainproof": Tool("trainproof, of one log", "trainproof", "of_trainproof:epoch"),
    "trainproof-compare": Tool("trainproof, with the log of a good run", "trainproof", "of_trainproof:compared"),
    "lightning": Tool("PyTorch Lightning", "lightning", "of_lightning:trainer", reads=True),
    "torchtest": Tool("torchtest", "torchtest", "of_torchtest:suite"),
    "traincheck": Tool("TrainCheck", "traincheck", "of_traincheck:checked", sample=True),
}


def installed(name: str) -> str | None:
    """Return the version of a tool's package, or None where it is missing."""
    try:
        return version(TOOLS[name].package)
    except PackageNotFoundError:
        return None
