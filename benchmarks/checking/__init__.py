"""The parts of `benchmarks/checks.py`: the programs, the loop they run in, one adapter a tool, and the score."""

from __future__ import annotations

from checking.causes import named
from checking.programs import Program, healthy, seeded
from checking.score import Outcome, Score, detected, interval, score
from checking.tools import TOOLS, Tool, installed

__all__ = [
    "TOOLS", "Outcome", "Program", "Score", "Tool", "detected", "healthy", "installed", "interval", "named", "score",
    "seeded",
]  # fmt: skip
