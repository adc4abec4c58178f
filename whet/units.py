"""Amounts as people write them: bytes ("4GB") and durations ("1h30m"), read and shown."""

from __future__ import annotations

import math
import numbers
import re

from whet.errors import UsageError

__all__ = ["parse_bytes", "parse_duration", "show_bytes"]

_BYTES = {
    "": 1, "b": 1, "byte": 1, "bytes": 1,
    **{f"{u}{b}": 1000 ** (i + 1) for i, u in enumerate("kmgt") for b in ("", "b")},
    **{f"{u}i{b}": 1024 ** (i + 1) for i, u in enumerate("kmgt") for b in ("", "b")},
}  # fmt: skip
_SECONDS = {"s": 1, "sec": 1, "m": 60, "min": 60, "h": 3600, "d": 86400}
_NUMBER = r"(\d+(?:\.\d*)?(?:e[-+]?\d+)?|\.\d+)"


def parse_bytes(given: str | float, what: str = "bytes") -> int:
    """Return a number of bytes from a number or a text; `what` names it in errors.

    Units are decimal (kB, MB, GB, TB) or binary (KiB, MiB, GiB, TiB), in any case; "4G" means 4 GB. Raises UsageError
    when it cannot be read or is not above 0.

    >>> parse_bytes("4GB"), parse_bytes("1.5 GiB"), parse_bytes(1024)
    (4000000000, 1610612736, 1024)
    """
    text = str(given).strip()
    how = "Use e.g. 500MB, 4GB or 2GiB"
    match = re.fullmatch(rf"([-+]?){_NUMBER}\s*([a-z]*)", text, re.IGNORECASE)
    if isinstance(given, bool) or match is None or match[3].lower() not in _BYTES:
        raise UsageError(f'{what} "{text}": cannot be read. {how}.')
    amount = float(match[1] + match[2]) * _BYTES[match[3].lower()]
    if not 1 <= amount < 2**63:
        raise UsageError(f'{what} "{text}": must be above 0 and below 8 EiB. {how}.')
    return int(amount)


def show_bytes(amount: float) -> str:
    """Return a number of bytes as people read it, in decimal units.

    >>> show_bytes(512), show_bytes(1_500_000), show_bytes(4_000_000_000)
    ('512 B', '1.5 MB', '4 GB')
    """
    size = float(amount)
    for unit in ("B", "kB", "MB", "GB"):
        if abs(size) < 999.5:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} TB"


def parse_duration(given: str | float, what: str = "time") -> float:
    """Return seconds from a number (seconds) or a text; `what` names it in errors.

    Raises UsageError when it cannot be read or is not above 0.

    >>> parse_duration("1h30m"), parse_duration("90s"), parse_duration(2.5)
    (5400.0, 90.0, 2.5)
    """
    text = str(given).strip()
    how = "Use e.g. 90s, 30m or 1h30m"
    if isinstance(given, numbers.Real) and not isinstance(given, bool):
        seconds = float(given)
    elif re.fullmatch(rf"(?:{_NUMBER}\s*(?:{'|'.join(_SECONDS)})\s*)+", text, re.IGNORECASE):
        pieces = re.findall(rf"{_NUMBER}\s*([a-z]+)", text.lower())
        seconds = sum(float(amount) * _SECONDS[unit] for amount, unit in pieces)
    elif re.fullmatch(_NUMBER, text):
        raise UsageError(f'{what} "{text}": {text} of what? {how}.')
    else:
        raise UsageError(f'{what} "{text}": cannot be read. {how}.')
    if not 0 < seconds < math.inf:
        raise UsageError(f'{what} "{text}": must be above 0. {how}.')
    return seconds
