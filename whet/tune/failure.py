"""What went wrong: an error as the journal keeps it, and what trials failed of most often."""

from __future__ import annotations

import errno
import re
import traceback
from collections import Counter
from collections.abc import Mapping
from typing import Any

from whet.errors import StudyError, one_line
from whet.execute.process import FAULTS, died_of
from whet.tune.trial import State, Trial, Trials
from whet.units import show_bytes

__all__ = ["HOPELESS", "commonest", "describe", "died", "failures", "hopeless", "insist", "out_of_memory", "winner"]

HOPELESS = 12  # trials, all failed, after which a run gives up


def describe(error: str | BaseException) -> dict[str, Any]:
    """Return what the journal keeps of an error: its type, message and traceback.

    >>> describe(MemoryError())["type"]
    'OutOfMemory'
    """
    if isinstance(error, str):
        return {"type": "Failed", "message": error, "traceback": ""}
    return {
        "type": "OutOfMemory" if out_of_memory(error) else type(error).__name__,
        "message": str(error) or type(error).__name__,
        "traceback": "".join(traceback.format_exception(error))[-8000:],
    }


def out_of_memory(error: BaseException) -> bool:
    """Return whether an error says that there was no memory left, on the CPU or a GPU.

    >>> out_of_memory(RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")), out_of_memory(ValueError("x"))
    (True, False)
    """
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
        return True
    text = str(error).lower()
    return any(t in text for t in ("out of memory", "can't allocate", "cannot allocate memory", "bad_alloc"))


def died(
    end: Mapping[str, Any], *, memory: int | None = None, stall: float | None = None
) -> tuple[dict[str, Any], bool]:
    """Return the error of a trial whose worker ended (data of its "exit" message), and whether it may be tried again.

    memory, stall: the limits it ran under. A signal that a program brings upon itself, or too much memory, is the
    configuration's fault.

    >>> error, transient = died({"code": -11, "trace": "Fatal Python error: Segmentation fault"})
    >>> error["type"], error["message"], transient
    ('Crashed', 'the interpreter died of SIGSEGV', False)
    >>> died({"code": -9})[1]
    True
    """
    code, why, trace = end.get("code"), end.get("why", ""), str(end.get("trace", "")).strip()
    fault = code is not None and -code in FAULTS
    if why == "memory":
        kind, text = "OutOfMemory", f"it took more than its limit of {show_bytes(memory or 0)}"
    elif why == "stall":
        kind, text = "Stalled", f"it did not report for {stall or 0:g} s"
    elif why:
        kind, text = "WorkerLost", why
    elif fault:
        kind, text = "Crashed", f"the interpreter died of {died_of(code)}"
    else:
        kind, text = (
            "WorkerLost",
            f"its worker died of {died_of(code)}" if code is not None else "its worker disappeared",
        )
    cost = {k: end[k] for k in ("seconds", "memory") if k in end}
    return {"type": kind, "message": text, "traceback": trace, **cost}, not (why == "memory" or (fault and not why))


def hopeless(trials: Trials) -> bool:
    """Return whether many trials failed and none ever had a value."""
    if len(trials) < HOPELESS:
        return False
    # in this order: the first trial with a value ends the question
    return all(t.value is None for t in trials) and failures(trials) >= HOPELESS


def failures(trials: Trials) -> int:
    """Return how many trials failed."""
    return sum(t.state is State.FAILED for t in trials)


def commonest(trials: Trials) -> str:
    """Return one line on what made trials fail most often, or "" when none failed. What differs in its numbers alone is the same reason.

    >>> from whet.tune.space import Space
    >>> said = [{"type": "NotFinite", "message": f"loss is nan at step {step}"} for step in (3, 7, 7)] + [{"type": "OutOfMemory", "message": "8 GB"}]
    >>> commonest(Trials([Trial(i, {}, State.FAILED, error=e) for i, e in enumerate(said)], space=Space()))
    '4 failed: most often (3 times) like NotFinite: loss is nan at step 7'
    """
    groups: dict[str, Counter[str]] = {}
    for t in trials:
        if t.state is State.FAILED:
            text = (t.error or {}).get("type", "") + ": " + one_line(str((t.error or {}).get("message", "")))[:300]
            groups.setdefault(re.sub(r"\d+", "0", text), Counter())[text] += 1
    if not groups:
        return ""
    first = max(groups.values(), key=lambda g: g.total())  # the first of equals
    times, total = first.total(), sum(g.total() for g in groups.values())
    like = "like " if len(first) > 1 else ""
    if times == total:
        often = "all " if like else ""
    else:
        often = f"most often ({times} times) " if times > 1 else "each for another reason, such as "
    return f"{total} failed: {often}{like}{first.most_common(1)[0][0]}"


def winner(name: str, trials: Trials) -> Trial:
    """Return the best trial of the study `name`; raise StudyError, with what trials fail of, when none has a value."""
    if (best := trials.best) is None:
        raise StudyError(f"study '{name}': no trial has a value yet ({len(trials)} trials). {commonest(trials)}")
    return best


def insist(name: str, trials: Trials) -> None:
    """Raise StudyError when trials of the study `name` ended and every one of them failed."""
    ended = [t for t in trials if t.state not in (State.WAITING, State.RUNNING)]
    if ended and all(t.state is State.FAILED for t in ended) and trials.best is None:
        raise StudyError(f"study '{name}': all {len(ended)} trials failed. {commonest(trials).rstrip('.')}.")
