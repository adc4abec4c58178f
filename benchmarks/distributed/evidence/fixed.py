"""Settings that a person gives in words, in place of tuned ones: `average: rate 0.02 kept; ec: rate 0.02 kept, weight 1, 512 steps`."""

from __future__ import annotations

import re
from typing import Any, NoReturn

__all__ = ["fixed"]

FORM = "RULE: rate R [kept][, E epochs][, weight W][, S steps]; ..."
WORDS = {
    "lr": (re.compile(r"rate (\S+?)( kept)?"), float),
    "epochs": (re.compile(r"(\d+) epochs"), int),
    "weight": (re.compile(r"weight (\S+)"), float),
    "compress": (re.compile(r"(\d+) steps"), int),
}


def fixed(text: str) -> dict[str, dict[str, Any]]:
    """Return the settings of each rule that is named: "lr", "falls" and, where they are given, "epochs", and of "ec" "weight" and "compress".

    `kept`: the rate does not fall. What is not like `FORM` ends the program with one line.

    >>> fixed("average: rate 0.02 kept, 64 epochs; ec: rate 0.1, weight 4, 512 steps")["average"]
    {'lr': 0.02, 'falls': False, 'epochs': 64}
    >>> fixed("ec: rate 0.1, weight 4, 512 steps")
    {'ec': {'lr': 0.1, 'falls': True, 'weight': 4.0, 'compress': 512}}
    >>> fixed("")
    {}
    """
    found: dict[str, dict[str, Any]] = {}
    for one in filter(None, (part.strip() for part in text.split(";"))):
        rule, _, words = (part.strip() for part in one.partition(":"))
        if rule not in ("average", "ec") or rule in found:
            _wrong(f"{rule!r}, allowed are average and ec, each once")
        found[rule] = {}
        for word in words.split(","):
            read = _read(" ".join(word.split()), one)
            if read.keys() & found[rule].keys():
                _wrong(f"{word.strip()!r} after another such in {one!r}")
            found[rule] |= read
        needs = {"lr"} if rule == "average" else {"lr", "weight", "compress"}
        if found[rule].keys() - {"falls", "epochs"} != needs:
            _wrong(f"{one!r}, where {rule} has {' and '.join(['rate', 'weight', 'steps'][: len(needs)])}")
    return found


def _read(word: str, one: str) -> dict[str, Any]:
    for name, (form, kind) in WORDS.items():
        match = form.fullmatch(word)
        if match:
            try:
                value = kind(match[1])
            except ValueError:
                break
            if value > 0:
                return {name: value} | ({"falls": match[2] is None} if name == "lr" else {})
    _wrong(f"{word!r} in {one!r}")


def _wrong(got: str) -> NoReturn:
    raise SystemExit(f"--settings: got {got}. Write it as: {FORM}")
