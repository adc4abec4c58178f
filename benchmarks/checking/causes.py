"""Which words name the cause of which bug.

For whet's own findings the catalogue says it (code and words). For all others, and for exceptions of the program that every tool shows,
the table below: an alarm that matches the first pattern names the cause of the bugs whose titles match the second one. It was made by
reading every alarm of a full run, in favour of the tools where in doubt: naming the part that is wrong is enough.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from checking.programs import Program

__all__ = ["named"]

CAUSES: tuple[tuple[str, str], ...] = ()


def named(program: Program, alarms: Mapping[str, str]) -> bool:
    """Whether the words of an alarm say what is wrong with the program."""
    bug = program.bug
    assert bug is not None
    for kind, words in alarms.items():
        if kind in bug.code.split() and bug.words in words:
            return True
        text = f"{kind}: {words}"
        if any(re.search(said, text) and re.search(titles, program.name) for said, titles in CAUSES):
            return True
    return False
