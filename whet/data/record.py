"""What cleaning did to data, on record: how many examples there were before, and each step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from whet.data.split import Data
from whet.finding import Finding, Severity

__all__ = ["count", "examples_in", "recorded"]


def examples_in(data: Data) -> int:
    """Return how many examples the source has, test split and what was dropped included.

    >>> from whet.data.bundled import digits
    >>> from whet.data.clean import drop
    >>> examples_in(drop(digits(), [12], why="smudged"))
    1797
    """
    counts = {**data.meta.get("examples", {}), "train": len(data.train), "valid": len(data.valid)}
    gone = sum(r["n"] for r in data.meta.get("cleaned", ()) if r["what"] in ("drop", "drop_duplicates"))
    gone += sum(r.get("left_out", 0) for r in data.meta.get("cleaned", ()))
    return int(sum(counts.values()) + gone)


def count(n: int, what: str) -> str:
    """Return how many, in words.

    >>> count(2, "example")
    '2 examples'
    """
    return f"{n:,} {what}" + ("" if n == 1 else "s")


def recorded(data: Data, record: Mapping[str, Any], text: str, where: str = "train, valid") -> Data:
    """Return the data with a step on record: in `meta["cleaned"]`, and as a finding that says `text`.

    >>> from whet.data.bundled import digits
    >>> recorded(digits(), {"what": "drop", "n": 2}, "2 examples dropped").findings[-1].code
    'CLEANED'
    """
    meta = {**data.meta, "cleaned": [*data.meta.get("cleaned", ()), dict(record)]}
    evidence = {k: v for k, v in record.items() if k not in ("why", "ids", "labels")}
    finding = Finding("CLEANED", Severity.INFO, where, evidence, text, "none needed")
    return replace(data, meta=meta, findings=(*data.findings, finding))
