"""Where it ran, and how to do it again: versions, machine, seed; the command and the configuration to copy."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from whet.report.block import Block, Code, Facts, Section
from whet.report.listing import verbatim
from whet.report.quantity import plain
from whet.tune.trial import Trial

__all__ = ["again"]


def again(lead: Trial | None, environment: Mapping[str, Any], commands: Mapping[str, str]) -> Section:
    """Return the section.

    lead: the trial whose configuration to copy, or None; environment: facts by name; a mapping inside ("versions", ...) becomes a list of its own; commands: what a command
    does -> the command, to be copied as it stands.

    >>> [b.title for b in again(Trial(0, {"lr": 0.1}), {"seed": 0}, {"The same again": "whet run digits"}).blocks]
    ['The same again', 'The configuration of trial 0', 'Environment']
    """
    blocks: list[Block] = [Code(text, title) for title, text in commands.items() if text]
    if lead is not None and lead.params:
        params = plain(dict(lead.params))
        title = f"The configuration of trial {lead.id}"
        if lead.parent is not None:  # not all of how its model came to be
            title += f" after epoch {lead.parent[1]}, which it took over from trial {lead.parent[0]} (whet study schedule has all)"
        blocks.append(Code(json.dumps(params, indent=2, ensure_ascii=False), title))
    flat = {k: v for k, v in environment.items() if not isinstance(v, Mapping)}
    if flat:
        blocks.append(Facts(verbatim(flat), "Environment"))
    for name, inner in environment.items():
        if isinstance(inner, Mapping) and inner:
            blocks.append(Facts(inner, str(name).replace("_", " ").capitalize()))
    return Section("again", "How to do it again", "", tuple(blocks))
