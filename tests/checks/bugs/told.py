"""What was said of every bug, for the page that shows them: kept in told.json, which tests compare with what is said.

Run as a program it looks at every bug again and writes the file (`--new`: only at those that it does not hold yet):
`PYTHONPATH=.:tests/checks python tests/checks/bugs/told.py`.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

from bugs import Bug, catalogue, looked

__all__ = ["FILE", "as_told", "named", "once", "seed_of", "told", "words_of"]

FILE = Path(__file__).with_name("told.json")


def seed_of(title: str) -> int:
    """Return the seed under which a bug is looked at once."""
    return sum(map(ord, title)) % 3


def named(bug: Bug, findings: Any) -> Any:
    """Return the finding that names the bug, None where there is none."""
    for f in findings:
        if f.code in bug.code.split() and f.severity.value in bug.severity.split() and bug.words in f.message:
            return f
    return None


def once(bug: Bug) -> dict[str, str]:
    """Look at a bug once and return what names it."""
    found = named(bug, looked(bug, seed_of(bug.title)).findings)
    assert found is not None, f"{bug.title}: nothing names it"
    return as_told(found)


def as_told(found: Any) -> dict[str, str]:
    """Return what is kept of a finding."""
    return {"code": found.code, "severity": found.severity.value, "message": found.message}


def told() -> dict[str, dict[str, str]]:
    """Return what was said of every bug, keyed by title."""
    return json.loads(FILE.read_text(encoding="utf-8")) if FILE.exists() else {}


def words_of(said: dict[str, str]) -> dict[str, str]:
    """Return what was said without its numbers: the last digits are another machine's own."""
    return {k: re.sub(r"[-+]?[\d.,]*\d(e[-+]?\d+)?%?", "#", v) for k, v in said.items()}


if __name__ == "__main__":
    before = told()
    after = {}
    for bug in catalogue():
        after[bug.title] = before.get(bug.title) if "--new" in sys.argv and bug.title in before else once(bug)
        print(bug.title, flush=True)
    FILE.write_text(json.dumps(after, indent=1) + "\n", encoding="utf-8")
