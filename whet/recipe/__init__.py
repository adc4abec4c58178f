"""The recipe: look, check, tune, squeeze, test, export, report, each a step with a block of results.

`Job` and `recipe` bring torch, so they are imported when they are first asked for: who only shows a study's record, as
`whet study` does, waits for neither.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from whet.recipe.block import Began as Began
from whet.recipe.block import Block as Block
from whet.recipe.block import Progress as Progress

if TYPE_CHECKING:
    from whet.recipe.job import Job as Job
    from whet.recipe.steps import recipe as recipe

__all__ = ["Began", "Block", "Job", "Progress", "recipe"]

_HOME = {"Job": "whet.recipe.job", "recipe": "whet.recipe.steps"}


def __getattr__(name: str) -> object:
    """Import `Job` or `recipe` from the module it lives in (PEP 562)."""
    if name not in _HOME:
        raise AttributeError(f"module 'whet.recipe' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_HOME[name]), name)
    return value
