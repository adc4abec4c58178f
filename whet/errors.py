"""The errors a user can meet: one root, and a few leaves that are also the built-in kind.

A message is one line and says what, where, got, allowed and how to fix, in that order, as far as each applies:

>>> raise SpaceError("lr: low must be > 0 when log=True, got 0.0. Use e.g. Float(1e-6, 1e-1, log=True).")
Traceback (most recent call last):
...
whet.errors.SpaceError: lr: low must be > 0 when log=True, got 0.0. Use e.g. Float(1e-6, 1e-1, log=True).
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

__all__ = [
    "CheckpointError", "DataError", "DivergedError", "ExportError", "LostConnection", "MissingExtra", "Rewound",
    "SpaceError", "StoreError", "StudyError", "TaskError", "UsageError", "UsedUp", "WhetError", "harmless",
    "nearest", "one_line",
]  # fmt: skip


class WhetError(Exception):
    """A mistake in what whet was given, or a failure it can explain; `str(error)` is one line."""

    def __str__(self) -> str:
        return one_line(super().__str__())


class SpaceError(WhetError, ValueError):
    """A search space, or a configuration of it, is not valid."""


class StudyError(WhetError, ValueError):
    """A study was asked for something that does not fit it (another space, a trial that is closed, ...)."""


class UsedUp(StudyError):
    """Every configuration there is was tried, or is about to be."""


class StoreError(WhetError, OSError):
    """The journal's database cannot be opened, read or written."""

    def __str__(self) -> str:  # OSError formats (errno, text) pairs by itself
        return one_line(" ".join(str(a) for a in self.args))


class LostConnection(StoreError):
    """The database was lost inside a transaction: nothing of it was written, and it may be done again."""


class Rewound(StoreError):
    """The journal no longer holds events this process knows (a crash undid them): fold it again from its beginning."""


class CheckpointError(WhetError, ValueError):
    """A checkpoint is damaged, or a state holds something that cannot be written without pickle."""


class DataError(WhetError, ValueError):
    """The data cannot be used as it is."""


class TaskError(WhetError, ValueError):
    """A task, or the model, loss or optimizer it makes, does not do what a task must."""


class FitError(TaskError):
    """Outputs, targets, loss and metrics of a task do not fit each other."""


class ExportError(WhetError, RuntimeError):
    """A model could not be exported, or the exported one does not equal its source."""


class DivergedError(WhetError, ArithmeticError):
    """A training diverged, by the criterion it was given."""


class UsageError(WhetError, ValueError):
    """A command or an argument is wrong."""


class MissingExtra(WhetError, ImportError):
    """An optional dependency is not installed; the message names the extra that brings it."""


# What a terminal acts on: colours, the cursor, its title (ECMA-48's control sequences and strings). Only those that begin with
# ESC are left out whole: the single characters for the same (U+0080 to U+009F) are what broken UTF-8 is full of.
_SEQUENCE = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b[\]P^_X][^\x07\x1b\x9c]*(?:\x07|\x1b\\)|\x1b[ -/]*[0-~]")
_JOINERS = "\u200c\u200d"  # invisible, and part of how Persian and many an emoji are written


def harmless(text: str) -> str:
    """Return `text` without what a terminal would act on: sequences are left out, any other character that does not print is "?".

    White space becomes blanks. What a person named (columns, classes, files) or raised may hold anything; marks that turn the
    direction of writing could make a line say something else.

    >>> harmless("\\x1b[31mred\\x1b[0m\\tand \\u202eback\\x00")
    'red and ?back?'
    """
    if text.isascii() and text.isprintable():
        return text
    shown = (c if c.isprintable() or c in _JOINERS else " " if c.isspace() else "?" for c in _SEQUENCE.sub("", text))
    return "".join(shown)


def one_line(text: str) -> str:
    """Return `text` with every run of white space, newlines included, as one blank, and `harmless`.

    >>> one_line("two\\n  \\x1b[1mlines")
    'two lines'
    """
    return " ".join(harmless(text).split())


def nearest(word: str, words: Iterable[str]) -> str:
    """Return " Did you mean 'x'?" for the word of `words` most like `word`, or "" when none is near.

    >>> nearest("targte", ["target", "age"])
    " Did you mean 'target'?"
    >>> nearest("zzz", ["target", "age"])
    ''
    """
    names = list(words)
    lower = {n.lower(): n for n in reversed(names)}
    found = difflib.get_close_matches(word, names, 1, 0.6) or [
        lower[m] for m in difflib.get_close_matches(word.lower(), list(lower), 1, 0.6)
    ]
    return f" Did you mean '{found[0]}'?" if found else ""
