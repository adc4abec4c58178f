"""What a state was made with: whoever goes on from it has the same, or is told what differs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from whet.errors import CheckpointError

__all__ = ["need_same"]


def need_same(made: Mapping[str, Any], own: Mapping[str, Any]) -> None:
    """Raise CheckpointError for the first thing that a state was `made` with and its reader has otherwise.

    >>> need_same({"workers": 4, "rule": "sync"}, {"workers": 8, "rule": "sync"})
    Traceback (most recent call last):
    ...
    whet.errors.CheckpointError: checkpoint: was made with workers 4, and here it is 8. Go on as it was made, or begin anew without resume.
    """
    for what in dict.fromkeys((*own, *made)):
        if made.get(what) != own.get(what):
            was = f"with {what} {made[what]}" if made.get(what) is not None else f"without {what}"
            here = "there is none" if own.get(what) is None else f"it is {own[what]}"
            raise CheckpointError(
                f"checkpoint: was made {was}, and here {here}. Go on as it was made, or begin anew without resume."
            )
