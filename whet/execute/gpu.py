"""Which GPUs each worker may use: an even division of those that are visible, through CUDA_VISIBLE_DEVICES."""

from __future__ import annotations

import math
import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from whet.errors import UsageError

__all__ = ["check_share", "divide", "visible"]

_DRIVERS = ("/dev/nvidiactl", "/dev/dxg")  # files of a driver: Linux's own, and that of Windows' subsystem


def check_share(share: float | str) -> float:
    """Return the GPUs of one worker: 0, a fraction of one, or a whole number; raise UsageError for anything else.

    >>> check_share("0.5"), check_share(2)
    (0.5, 2.0)
    """
    try:
        found = math.nan if isinstance(share, bool) else float(share)
    except (TypeError, ValueError):
        found = math.nan
    if not math.isfinite(found) or found < 0 or (found > 1 and found != int(found)):
        raise UsageError(
            f"gpus: must be 0, a fraction of 1 or a whole number, for each worker, got {share!r}. Use e.g. 1 or 0.5."
        )
    return found


def divide(devices: Sequence[str], workers: int, share: float | None) -> list[list[str]] | None:
    """Return the devices of each worker, or None when there are none and none was asked for.

    share: GPUs for each worker: 0 for none, 0.5 for two workers on each, 2 for two each; None for one each, or an equal
    share of one when there are fewer than workers. Workers are spread over the devices before they share one. Raises
    UsageError when there are too few.

    >>> divide(["0", "1"], 3, None), divide(["0", "1"], 2, 0.5), divide(["0", "1", "2", "3"], 2, 2)
    ([['0'], ['1'], ['0']], [['0'], ['1']], [['0', '1'], ['2', '3']])
    """
    if share is None:
        return [[devices[i % len(devices)]] for i in range(workers)] if devices else None
    share = check_share(share)
    if share == 0:
        return [[] for _ in range(workers)]
    if not devices:
        raise UsageError(f"gpus={share:g}: no GPU is visible here. Leave it out, or check CUDA_VISIBLE_DEVICES.")
    each = max(1, int(share))  # devices of one worker
    sharing = 1 if share >= 1 else int(1 / share + 1e-9)  # workers on one device
    room = len(devices) // each * sharing
    if workers > room:
        need = workers * each if sharing == 1 else math.ceil(workers / sharing)
        fix = f"at most {room} workers" if room else f"gpus={len(devices)} at most"
        raise UsageError(
            f"gpus={share:g}: {workers} workers need {need} GPUs, visible are {len(devices)}. Use {fix}, or a smaller share."
        )
    if share >= 1:
        return [list(devices[i * each : (i + 1) * each]) for i in range(workers)]
    return [[devices[i % len(devices)]] for i in range(workers)]


def visible() -> list[str]:
    """Return the names of the GPUs that work started from here can see: CUDA_VISIBLE_DEVICES where it is set."""
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    if given is not None:
        return named(given)
    if not any(Path(d).exists() for d in _DRIVERS):
        return []  # no driver: without asking for one, which may take a second
    lister = shutil.which("nvidia-smi")
    if lister is not None:
        try:
            done = subprocess.run([lister, "-L"], capture_output=True, text=True, timeout=60)
        except (OSError, subprocess.TimeoutExpired):
            done = None
        if done is not None and done.returncode == 0:
            return listed(done.stdout)
    return [str(i) for i, _ in enumerate(Path("/dev").glob("nvidia[0-9]*"))]


def named(text: str) -> list[str]:
    """Return the devices that a value of CUDA_VISIBLE_DEVICES names; as CUDA does, none after the first that is invalid.

    >>> named("2,GPU-8932f937"), named("0,-1,1"), named("")
    (['2', 'GPU-8932f937'], ['0'], [])
    """
    found: list[str] = []
    for part in (p.strip() for p in text.split(",")):
        if not re.fullmatch(r"\d+|(GPU|MIG)-\S+", part):
            break
        found.append(part)
    return found


def listed(text: str) -> list[str]:
    """Return the devices that `nvidia-smi -L` lists, by UUID; the slices of one that is divided instead of itself.

    >>> listed("GPU 0: NVIDIA H100 (UUID: GPU-1a)\\n  MIG 1g.10gb Device 0: (UUID: MIG-2b)\\nGPU 1: NVIDIA H100 (UUID: GPU-3c)")
    ['MIG-2b', 'GPU-3c']
    """
    found: list[str] = []
    for device in re.findall(r"UUID: ((?:GPU|MIG)-[^)\s]+)\)", text):
        if device.startswith("MIG-") and found and found[-1].startswith("GPU-"):
            found.pop()
        found.append(device)
    return found
