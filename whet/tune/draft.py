"""One trial while it is folded from its events: fields that change in place, and the frozen `Trial` made of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from whet.tune.trial import Curve, State, Trial

__all__ = ["Draft"]

_EMPTY = Curve()
_NOTHING: Mapping[str, Any] = {}


class Draft:
    """A trial as far as it is folded, and what is known of it beside.

    The fields of `Trial`; and seen: the event up to which its proposal looks (its own asking); proposed, reported:
    whether it was; given: its parameters that were set before the searcher was asked; again: whether a repetition was meant; checkpoints: (step, file name) of
    those that exist; strikes: transient failures since its last report. Call `changed` after a change.

    >>> draft = Draft(3)
    >>> draft.value = 0.5
    >>> draft.changed()
    >>> draft.trial.value, draft.trial is draft.trial
    (0.5, True)
    """

    __slots__ = (
        "_held", "_trial", "again", "checkpoints", "cost", "curve", "error", "given", "id", "note", "origin", "params", "parent", "proposed",
        "reported", "seen", "state", "strikes", "tags", "value",
    )  # fmt: skip

    def __init__(self, id: int) -> None:
        self.id = id
        self.params: Mapping[str, Any] = _NOTHING
        self.state = State.WAITING
        self.curve = _EMPTY
        self.value: float | None = None
        self.parent: tuple[int, int] | None = None
        self.origin: Mapping[str, Any] = _NOTHING
        self.error: Mapping[str, Any] | None = None
        self.cost = 0.0
        self.tags: tuple[str, ...] = ()
        self.note = ""
        self.seen = 0
        self.proposed = self.reported = self.again = False
        self.given: Mapping[str, Any] | None = None
        self.checkpoints: tuple[tuple[int, str], ...] = ()
        self.strikes = 0
        self._trial: Trial | None = None
        self._held: Curve = _EMPTY  # the curve of the last frozen trial, which others may have kept

    @property
    def step(self) -> int:
        """The last step reported, 0 when there is none."""
        return self.curve.last

    def changed(self) -> None:
        """Forget the frozen trial: a field was set."""
        self._trial = None

    @property
    def fresh(self) -> bool:
        """Whether no frozen trial was ever made with this curve, so that nobody else holds it."""
        return self.curve is not self._held and self.curve is not _EMPTY

    def go_on(self, step: int, value: float) -> int | None:
        """Take in a report that cost as much as it has steps; return how many these are.

        A draft that is not `fresh` takes nothing in, and None is returned.
        """
        curve = self.curve
        if curve is self._held or curve is _EMPTY:
            return None
        self._trial = None
        steps = curve.go_on(step, value)
        self.value = value
        self.cost += steps
        self.reported, self.strikes = True, 0
        return steps

    @property
    def trial(self) -> Trial:
        """The trial as it is now; the same object until a field changes."""
        if self._trial is None:
            self._held = self.curve
            self._trial = Trial(
                self.id, self.params, self.state, self.curve, self.value, self.parent, self.origin, self.error,
                self.cost, self.tags, self.note,
            )  # fmt: skip
        return self._trial
