"""Numbers as a reader wants them: few digits, a unit, an interval; the same wherever a report is rendered."""

from __future__ import annotations

import math
import numbers
from collections.abc import Mapping, Sequence
from typing import Any

from whet.errors import one_line

__all__ = [
    "Bytes",
    "Id",
    "Seconds",
    "Share",
    "Value",
    "clean",
    "count",
    "plain",
    "point",
    "shorten",
    "show",
    "show_column",
    "told",
]


class Seconds(float):
    """A duration in seconds, shown in the unit that fits.

    >>> show(Seconds(0.0042)), show(Seconds(75)), show(Seconds(7260))
    ('4.2 ms', '1 min 15 s', '2 h 1 min')
    """


class Bytes(int):
    """A size in bytes, shown in decimal units.

    >>> show(Bytes(1_234_567))
    '1.23 MB'
    """


class Id(int):
    """A whole number that names something rather than counts it, shown without commas.

    >>> show(Id(1453)), show(1453)
    ('1453', '1,453')
    """


class Share(float):
    """A fraction of a whole, shown in percent.

    >>> show(Share(0.1234))
    '12.3 %'
    """


class Value(float):
    """A number of the data itself, shown as it is: whole, or to six significant digits.

    >>> show(Value(512.3292)), show(Value(1455435.0)), show(512.3292)
    ('512.329', '1455435', '512.3')
    """


def clean(text: object) -> str:
    """Return `text` on one line, without what could drive a terminal.

    >>> clean("two\\nlines \\x1b[31m")
    'two lines'
    """
    return one_line(str(text))


def shorten(text: object, most: int = 24) -> str:
    """Return `text` cleaned and cut to at most `most` characters, the cut marked by three dots.

    >>> shorten("a rather long category name", 12)
    'a rather ...'
    """
    line = clean(text)
    return line if len(line) <= most else line[: max(most - 3, 1)] + "..."


def _seconds(value: float) -> str:
    if value < 0.9995:
        return f"{value * 1e3:.3g} ms"
    if value < 59.5:
        return f"{value:.3g} s"
    whole = round(value)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s" if whole % 60 else f"{whole // 60} min"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def _bytes(value: int) -> str:
    size = float(value)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 999.5:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} TB"


def _float(value: float) -> str:
    if not math.isfinite(value):
        return "nan" if math.isnan(value) else "inf" if value > 0 else "-inf"
    if value and not 1e-3 <= abs(value) < 1e6:
        mantissa, _, exponent = f"{value:.3g}".partition("e")
        return f"{mantissa}e{int(exponent)}" if exponent else mantissa
    digits = max(0, 3 - math.floor(math.log10(abs(value)))) if value else 0
    text = f"{value:,.{digits}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _decimals(half: float) -> int | None:
    """How many decimals an interval of this half-width deserves: two digits of its width."""
    return min(8, max(0, 1 - math.floor(math.log10(half)))) if math.isfinite(half) and half > 0 else None


def _interval(value: float, low: float, high: float, level: float) -> str:
    digits = _decimals((high - low) / 2)
    a, b, c = (_float(x) if digits is None else f"{x:,.{digits}f}" for x in (value, low, high))
    return f"{a} ({level * 100:g} %: {b} to {c})"


def _is_interval(value: Any) -> bool:
    return all(hasattr(value, name) for name in ("value", "low", "high", "level"))


def show(value: Any) -> str:
    """Return `value` as text on one line: a number with the digits it deserves, "-" for nothing.

    >>> show(0.98333333), show(1797), show(1.25e-5), show(None), show(True), show([1, 0.5]), show({"lr": 0.1})
    ('0.9833', '1,797', '1.25e-5', '-', 'yes', '1, 0.5', 'lr 0.1')
    """
    if value is None:
        return "-"
    if hasattr(value, "item") and getattr(value, "ndim", 1) == 0:
        value = value.item()  # NumPy's scalars are read as Python's
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Bytes):
        return _bytes(value)
    if isinstance(value, Id):
        return str(int(value))
    if isinstance(value, numbers.Integral):
        return f"{int(value):,}"
    if isinstance(value, numbers.Real):
        number = float(value)
        if isinstance(value, Value) and math.isfinite(number):
            return f"{number:.0f}" if number.is_integer() and abs(number) < 1e15 else f"{number:.6g}"
        if isinstance(value, (Seconds, Share)) and math.isfinite(number):
            return _seconds(number) if isinstance(value, Seconds) else f"{number * 100:.3g} %"
        return _float(number)
    if _is_interval(value):
        return _interval(float(value.value), float(value.low), float(value.high), float(value.level))
    if isinstance(value, Mapping):
        return ", ".join(f"{clean(k)} {show(v)}" for k, v in value.items()) or "-"
    if isinstance(value, (Sequence, set, frozenset)) and not isinstance(value, (str, bytes)):
        return ", ".join(show(v) for v in value) or "-"
    return clean(value)


def count(n: int, noun: str) -> str:
    """Return a number of things in words.

    >>> count(1, "epoch"), count(1200, "trial")
    ('1 epoch', '1,200 trials')
    """
    return f"{n:,} {noun}" if n == 1 else f"{n:,} {noun}s"


def point(value: Any) -> str:
    """Return what `show` does, of an interval only its value, with the digits its width leaves sense in.

    >>> from types import SimpleNamespace
    >>> point(SimpleNamespace(value=0.97778, low=0.952, high=0.990, level=0.95)), point(0.97778)
    ('0.978', '0.9778')
    """
    return show(value).partition(" (")[0] if _is_interval(value) else show(value)


def told(values: Mapping[str, Any], most: int = 10) -> str:
    """Return the first single numbers and words of a mapping as one line, without what is itself a list or a mapping.

    >>> told({"loss": 2.31, "curves": [{"steps": [0, 1]}], "n": 64, "text": "loss at init 2.31"})
    'loss 2.31, n 64'
    """
    single = {k: v for k, v in values.items() if k != "text" and (v is None or isinstance(v, (str, int, float)))}
    return clean(show(dict(list(single.items())[:most])))


def show_column(values: Sequence[Any]) -> list[str]:
    """Return the values of one column as text; plain floats share their number of decimals, so that digits line up.

    >>> show_column([0.5, 0.9833, None]), show_column([1e-5, 0.1])
    (['0.5000', '0.9833', '-'], ['1e-5', '0.1'])
    """
    floats = [abs(v) for v in values if type(v) is float and math.isfinite(v) and v]
    even = floats and max(floats) < 1e6 and max(floats) / min(floats) < 1e3 and min(floats) >= 1e-3
    if not even:
        return [show(v) for v in values]
    # As many decimals as the shortest faithful text of any of them needs, four significant digits at most.
    digits = max(len(_float(v).partition(".")[2]) for v in floats)
    digits = min(digits, max(0, 3 - math.floor(math.log10(max(floats)))))
    return [f"{v:,.{digits}f}" if type(v) is float and math.isfinite(v) else show(v) for v in values]


def plain(value: Any) -> Any:
    """Return `value` as JSON values: numbers stay numbers, what is not finite becomes None, intervals mappings.

    >>> plain({"a": Seconds(2.0), "b": (1, float("nan"))})
    {'a': 2.0, 'b': [1, None]}
    """
    if value is None or isinstance(value, (bool, str)):
        return str(value) if isinstance(value, str) else value
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    if isinstance(value, numbers.Integral):
        return int(value)
    if isinstance(value, numbers.Real):
        return float(value) if math.isfinite(value) else None
    if _is_interval(value):
        return {k: plain(getattr(value, k, None)) for k in ("value", "low", "high", "n", "level")}
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (Sequence, set, frozenset)) and not isinstance(value, bytes):
        return [plain(v) for v in value]
    return str(value)
