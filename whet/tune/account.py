"""What the journal knows of each trial beside its result: when it was worked on, for how long, and by whom."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from whet.journal.event import Event

__all__ = ["Account", "accounts", "version"]


@dataclass(frozen=True)
class Account:
    """The work on one trial.

    began and ended: wall time in seconds since 1970 of its first and last event as work, None when nobody began it;
    seconds: what its stretches took (as far as they were reported); workers: the processes, in order of appearance;
    retries: transient failures; repeated: steps that had to be trained again.
    """

    began: float | None = None
    ended: float | None = None
    seconds: float = 0.0
    workers: tuple[str, ...] = ()
    retries: int = 0
    repeated: int = 0

    @property
    def hosts(self) -> tuple[str, ...]:
        """The machines it was worked on."""
        return tuple(dict.fromkeys(w.split("/")[0] for w in self.workers))


def accounts(events: Iterable[Event]) -> dict[int, Account]:
    """Return the account of every trial that the events name.

    >>> found = accounts([Event(1, "asked", 0, {}, 10.0, "a/b/1/2"), Event(2, "told", 0, {"value": 1.0}, 12.5, "a/b/1/2")])
    >>> found[0].seconds, found[0].hosts
    (2.5, ('a',))
    """
    found: dict[int, Account] = {}
    for event in events:
        if event.trial is None:
            continue
        a = found.get(event.trial, Account())
        match event.kind:
            case "imported":
                a = _elsewhere(event.data.get("account"))
            case "asked" | "proposed" | "resumed" | "reported" | "repeated" | "told" | "failed":
                a = _worked(a, event)
        found[event.trial] = a
    return found


def version(events: Iterable[Event]) -> str | None:
    """Return the version of whet that a study was created with."""
    return next((str(e.data.get("version")) for e in events if e.kind == "created"), None)


def _worked(a: Account, event: Event) -> Account:
    data: Mapping[str, Any] = event.data
    seconds = float(data.get("seconds", 0.0))
    if event.kind == "failed":
        seconds += float((data.get("error") or {}).get("seconds", 0.0))
    if event.kind == "told" and a.seconds == 0.0 and a.began is not None:
        seconds = max(0.0, event.at - a.began)  # it never reported: from its asking to its end
    workers = a.workers if not event.who or event.who in a.workers else (*a.workers, event.who)
    return replace(
        a, began=event.at if a.began is None else a.began, ended=event.at, seconds=a.seconds + seconds, workers=workers,
        retries=a.retries + (event.kind == "failed" and bool(data.get("transient"))),
        repeated=a.repeated + (event.kind == "repeated"),
    )  # fmt: skip


def _elsewhere(known: Mapping[str, Any] | None) -> Account:
    """Return the account that came with a trial made elsewhere."""
    return Account() if known is None else Account(**{**known, "workers": tuple(known.get("workers", ()))})
