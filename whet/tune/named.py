"""Strategies by name: names at the edge, objects inside, and what the journal records of them.

A strategy is a frozen dataclass; its fields are its options. `{"name", "options"}` is enough to rebuild it.
"""

from __future__ import annotations

import dataclasses
import importlib
import json
from collections.abc import Mapping
from importlib.metadata import entry_points
from typing import Any

from whet.errors import StudyError, nearest

__all__ = ["Names"]


class Names:
    """The names of one kind of strategy: our own, and those that other packages add as entry points.

    kind: "search" or "schedule"; method: what marks an object of this kind; known: name -> "module:Class", imported
    when asked for. Entry points of the group "whet.<kind>" are looked up only for a name that is not known.

    >>> names = Names("schedule", "judge", {"full": "whet.tune.schedule.full:Full"})
    >>> names.describe(names.make("full"))
    {'name': 'full', 'options': {}}
    """

    def __init__(self, kind: str, method: str, known: Mapping[str, str]) -> None:
        self.kind, self.method, self.known = kind, method, dict(known)

    def make(self, name: str, options: Mapping[str, Any] | None = None, **preset: Any) -> Any:
        """Return the strategy called `name` with `options`; a `preset` is used when it has such an option.

        Raises StudyError when the name is unknown or the options do not fit.
        """
        made = self._load(name)
        fields = {f.name for f in dataclasses.fields(made)}
        given = {k: v for k, v in preset.items() if k in fields} | dict(options or {})
        if unknown := sorted(set(given) - fields):
            raise StudyError(
                f"{self.kind} {name!r}: no option {unknown[0]!r}.{nearest(unknown[0], fields)}"
                f" Allowed: {', '.join(sorted(fields)) or 'none'}."
            )
        try:
            return made(**given)
        except TypeError as e:  # an option without a default, or of the wrong type
            raise StudyError(f"{self.kind} {name!r}: the options {given} do not fit: {e}.") from None

    def ready(self, given: Any) -> Any:
        """Return the strategy object `given`; raise StudyError when it is not one of this kind that can be recorded."""
        if isinstance(given, type) or not callable(getattr(given, self.method, None)):
            raise StudyError(
                f"{self.kind}: must be a name or an object with `{self.method}`, got {given!r}."
                f" Allowed names: {self._listed()}."
            )
        self.describe(given)
        return given

    def describe(self, strategy: Any) -> dict[str, Any]:
        """Return {"name", "options"} of a strategy, as JSON values; raise StudyError when it has no such form."""
        made = type(strategy)
        if not dataclasses.is_dataclass(made):
            raise StudyError(
                f"{self.kind}: {made.__name__} must be a dataclass whose fields are its options, so that the journal"
                " can record it. Decorate it with @dataclass(frozen=True)."
            )
        options = {f.name: getattr(strategy, f.name) for f in dataclasses.fields(strategy)}
        try:
            options = json.loads(json.dumps(options, allow_nan=False))
        except (TypeError, ValueError) as e:
            raise StudyError(f"{self.kind}: the options of {made.__name__} must be JSON: {e}.") from None
        return {"name": self._name(made), "options": options}

    def rebuild(self, record: Mapping[str, Any]) -> Any:
        """Return the strategy that `describe` described; raise StudyError when it cannot be found here."""
        return self.make(record["name"], record.get("options"))

    def _name(self, made: type) -> str:
        where = f"{made.__module__}:{made.__qualname__}"
        for name, target in self.known.items():
            if target == where:
                return name
        for point in entry_points(group=f"whet.{self.kind}"):
            if point.value == where:
                return point.name
        return where

    def _load(self, name: str) -> Any:
        if not isinstance(name, str):
            raise StudyError(f"{self.kind}: a name must be text, got {name!r}. Allowed: {self._listed()}.")
        target = self.known.get(name)
        if target is None:
            points = {p.name: p.value for p in entry_points(group=f"whet.{self.kind}")}
            target = points.get(name) or (name if ":" in name else None)
            if target is None:
                listed = [*self.known, *points]
                raise StudyError(
                    f"{self.kind}: no strategy {name!r}.{nearest(name, ['auto', *listed])} Allowed: {self._listed()}."
                )
        module, _, path = target.partition(":")
        try:
            made: Any = importlib.import_module(module)
            for part in path.split("."):
                made = getattr(made, part)
        except (ImportError, AttributeError, ValueError) as e:
            if (own := self.known.get(name.partition(":")[0])) is not None:
                raise StudyError(
                    f"{self.kind} {name!r}: a name takes no options. Use {name.partition(':')[0]}, or in Python "
                    f"{own.replace(':', '.')}(...) with its options."
                ) from None
            raise StudyError(f"{self.kind} {name!r}: {target} cannot be imported: {e}.") from None
        # a journal may come from anywhere: nothing but a strategy is ever called on its word
        if not (isinstance(made, type) and dataclasses.is_dataclass(made) and hasattr(made, self.method)):
            raise StudyError(f"{self.kind} {name!r}: {target} is not a dataclass with `{self.method}`.")
        return made

    def _listed(self) -> str:
        points = (p.name for p in entry_points(group=f"whet.{self.kind}"))
        return ", ".join(sorted({"auto", *self.known, *points}))
