"""What went wrong: an error as the journal keeps it, and what trials failed of most often."""

from __future__ import annotations

import traceback
from collections import Counter
from typing import Any

from whet.errors import StudyError, one_line
from whet.tune.trial import State, Trials

__all__ = ["commonest", "describe", "hopeless", "insist"]

_HOPELESS = 12  # trials, all failed, after which a run gives up


def describe(error: str | BaseException) -> dict[str, Any]:
    """Return what the journal keeps of an error: its type, message and traceback.

    >>> describe(MemoryError())["type"]
    'OutOfMemory'
    """
    if isinstance(error, str):
        return {"type": "Failed", "message": error, "traceback": ""}
    text = str(error).lower()
    memory = isinstance(error, MemoryError) or "out of memory" in text or "can't allocate" in text
    return {
        "type": "OutOfMemory" if memory else type(error).__name__,
        "message": str(error) or type(error).__name__,
        "traceback": "".join(traceback.format_exception(error))[-8000:],
    }


def hopeless(trials: Trials) -> bool:
    """Return whether many trials failed and none ever had a value."""
    if len(trials) < _HOPELESS:
        return False
    # in this order: the first trial with a value ends the question
    return all(t.value is None for t in trials) and sum(t.state is State.FAILED for t in trials) >= _HOPELESS


def commonest(trials: Trials) -> str:
    """Return one line on what made trials fail most often, or "" when none failed."""
    errors = Counter(
        (t.error or {}).get("type", "") + ": " + one_line(str((t.error or {}).get("message", "")))[:300]
        for t in trials
        if t.state is State.FAILED
    )
    if not errors:
        return ""
    (text, times), total = errors.most_common(1)[0], sum(errors.values())
    often = "" if times == total else f"most often ({times} times) "
    return f"{total} failed: {often}{text}"


def insist(name: str, trials: Trials) -> None:
    """Raise StudyError when trials of the study `name` ended and every one of them failed."""
    ended = [t for t in trials if t.state not in (State.WAITING, State.RUNNING)]
    if ended and all(t.state is State.FAILED for t in ended) and all(t.value is None for t in trials):
        raise StudyError(f"study '{name}': all {len(ended)} trials failed. {commonest(trials).rstrip('.')}.")
