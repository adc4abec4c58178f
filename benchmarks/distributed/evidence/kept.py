"""Trainings that were finished stay finished: each is a line of JSON, appended when it ends, and progress goes to stderr."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

__all__ = ["Kept"]

Setting = Mapping[str, Any]
Result = dict[str, Any]


class Kept:
    """Does what is asked once: `path` is the file of finished trainings, or None to remember them in memory only."""

    def __init__(self, path: Path | None, do: Callable[[Setting], Result]) -> None:
        self.path, self.do = path, do
        self.found: dict[str, Result] = {}
        self.spent, self.done = 0.0, 0
        if path is not None and path.exists():
            for line in path.read_text().splitlines():
                one = json.loads(line)
                self.found[one["key"]] = one["result"]

    def all(
        self, settings: Sequence[Setting], what: str, enough: Callable[[Result], bool] = lambda result: True
    ) -> list[Result]:
        """Return the result of each setting, in order, doing those that are missing, or with which it is not `enough`.

        The latter are of a file that was written when a program looked at less; it says so and appends the new ones, which count.
        """
        asked = {name(s): s for s in settings}
        old = [one for one in asked if one in self.found and not enough(self.found[one])]
        if old:
            sys.stderr.write(f"{what}: {len(old)} in {self.path} say less than is reported now, and are done again\n")
        missing = [s for one, s in asked.items() if one not in self.found or one in old]
        for i, setting in enumerate(missing):
            began = time.monotonic()
            result = self.do(setting)
            self.spent += time.monotonic() - began
            self.done += 1
            self.found[name(setting)] = result
            if self.path is not None:
                with self.path.open("a") as out:
                    out.write(json.dumps({"key": name(setting), "result": result}) + "\n")
            left = (len(missing) - i - 1) * self.spent / self.done
            sys.stderr.write(
                f"\r{what}: {i + 1}/{len(missing)}, {self.spent / self.done:.1f} s each, {left:.0f} s left   "
            )
            sys.stderr.flush()
        if missing:
            sys.stderr.write("\n")
        return [self.found[name(s)] for s in settings]


def name(setting: Setting) -> str:
    """Return a setting as text, the same for the same setting.

    >>> name({"b": 1, "a": 2.0})
    '{"a": 2.0, "b": 1}'
    """
    return json.dumps(dict(setting), sort_keys=True)
