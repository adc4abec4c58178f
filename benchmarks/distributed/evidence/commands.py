"""The options that all programs here have, and what they end with."""

from __future__ import annotations

import argparse
import json
import math
import os
from pathlib import Path
from typing import Any

import torch

__all__ = ["finish", "options"]

TUNING = (1000, 1001)  # seeds of the tuning trials; reported ones begin at 0


def options(doc: str | None, *, seeds: int = 5, first: int = 0) -> argparse.ArgumentParser:
    """Return a parser with --data, --seeds, --quick, --json and --kept; one thread is enough for these small networks.

    seeds: how many, unless told; first: the first of them, for the help.
    """
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    torch.set_num_threads(1)
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--data", type=Path, help="the IDX files' folder, or one above vision/fashion_mnist (WHET_DATA)"
    )
    parser.add_argument("--seeds", type=int, default=seeds, help=f"reported, from {first} (default: {seeds})")
    parser.add_argument("--tuning", type=int, default=len(TUNING), help="seeds of tuning trials, from 1000")
    parser.add_argument("--quick", action="store_true", help="the smallest version, in seconds: shows that it works")
    parser.add_argument("--json", type=Path, help="write what was found there")
    parser.add_argument("--kept", type=Path, help="a file: finished trainings are kept in it, and not done again")
    return parser


def finish(path: Path | None, found: dict[str, Any]) -> None:
    """Write what was found, when a file was asked for; null where something is not a number."""
    if path is not None:
        path.write_text(json.dumps(_numbers(found), indent=1) + "\n")


def _numbers(node: Any) -> Any:
    if isinstance(node, dict):
        return {k: _numbers(v) for k, v in node.items()}
    if isinstance(node, list | tuple):
        return [_numbers(v) for v in node]
    return None if isinstance(node, float) and not math.isfinite(node) else node
