"""What a study may spend in all, over every process and every start: trials, steps, time, cost."""

from __future__ import annotations

import math
import numbers
import re
from dataclasses import dataclass, fields

from whet.errors import UsageError, nearest

__all__ = ["Budget", "Price"]

_SECONDS = {"s": 1, "sec": 1, "m": 60, "min": 60, "h": 3600, "d": 86400}
_COUNTS = {"trial": "trials", "trials": "trials", "epoch": "steps", "epochs": "steps", "step": "steps",
           "steps": "steps", "cost": "cost"}  # fmt: skip
_UNITS = {
    "hour": "h", "hours": "h", "minute": "min", "minutes": "min", "day": "d", "days": "d", "second": "s", "seconds": "s",
    "epochs": "epoch", "step": "epoch", "steps": "epoch", "trials": "trial", "epoch": "epoch", "trial": "trial",
}  # fmt: skip
_NUMBER = r"(\d+(?:\.\d*)?(?:e\d+)?|\.\d+)"
_ALLOWED = "Use e.g. 90s, 10m, 1h30m, 200trials, 500epochs, 12.5cost, or several with commas"


@dataclass(frozen=True)
class Budget:
    """The most a study may spend; None means no limit. All are totals of the study.

    >>> Budget.of("1h30m,200trials")
    Budget(trials=200, steps=None, seconds=5400.0, cost=None)
    """

    trials: int | None = None
    steps: int | None = None
    seconds: float | None = None
    cost: float | None = None

    @classmethod
    def of(cls, given: Budget | str | float | None) -> Budget:
        """Return the budget that a text names, such as "10m", "200trials" or "500epochs"; a number means seconds.

        Raises UsageError when it cannot be read, or is not above 0.
        """
        if given is None:
            return cls()
        if isinstance(given, Budget):
            return given
        if isinstance(given, numbers.Real) and not isinstance(given, bool):
            given = f"{given}s"
        found: dict[str, float] = {}
        for part in str(given).split(","):
            name, amount = _part(part.strip(), str(given))
            if name in found:
                raise UsageError(f'budget "{given}": {name} is given twice. Give it once.')
            found[name] = amount
        whole = {k: int(v) if k in ("trials", "steps") else v for k, v in found.items()}
        return cls(**whole)  # type: ignore[arg-type]

    def both(self, other: Budget) -> Budget:
        """Return the budget that holds where both do.

        >>> Budget(trials=5).both(Budget(trials=3, steps=9)).trials
        3
        """
        pairs = {
            f.name: [v for v in (getattr(self, f.name), getattr(other, f.name)) if v is not None] for f in fields(self)
        }
        return Budget(**{k: min(v) if v else None for k, v in pairs.items()})

    def priced(self, price: Price | str | None) -> Budget:
        """Return the budget with its cost turned into what that buys: time, epochs or trials, whichever has the price.

        >>> Budget.of("5cost").priced("2.5/h")
        Budget(trials=None, steps=None, seconds=7200.0, cost=None)
        """
        if price is None or self.cost is None:
            return self
        bought = Price.of(price).buys(self.cost)
        return Budget(self.trials, self.steps, self.seconds).both(bought)

    def __bool__(self) -> bool:
        return any(getattr(self, f.name) is not None for f in fields(self))

    def __str__(self) -> str:
        parts = [f"{v:,} {k}" for k, v in (("trials", self.trials), ("epochs", self.steps)) if v is not None]
        parts += [f"{self.cost:g} cost"] if self.cost is not None else []
        if self.seconds is not None:
            parts.append(duration(self.seconds))
        return ", ".join(parts) or "no limit"


@dataclass(frozen=True)
class Price:
    """What a unit of time, an epoch or a trial costs, in the currency of the budget.

    A price of time is one of the machine, whatever number of workers it has: the study's account of time adds up over the
    machines it runs on.

    >>> Price.of("2.5/h"), Price.of("2.5/h").spent(Budget(seconds=7200.0))
    (Price(amount=2.5, unit='h'), 5.0)
    """

    amount: float
    unit: str

    @classmethod
    def of(cls, given: Price | str) -> Price:
        """Return the price that a text such as "2.5/h", "0.04/min" or "0.1/epoch" names; raise UsageError for another."""
        if isinstance(given, Price):
            return given
        m = re.fullmatch(rf"\s*{_NUMBER}\s*/\s*([A-Za-z]+)\s*", str(given))
        amount, unit = (float(m[1]), _UNITS.get(m[2].lower(), m[2].lower())) if m else (0.0, "")
        if unit not in (*_SECONDS, "epoch", "trial") or not 0 < amount < math.inf:
            near = nearest(unit, [*_UNITS, *_SECONDS]) if unit and unit not in _SECONDS else ""
            raise UsageError(f'price "{given}": cannot be read.{near} Use e.g. 2.5/h, 0.04/min, 0.1/epoch or 3/trial.')
        return cls(amount, unit)

    def buys(self, cost: float) -> Budget:
        """Return what `cost` buys; raise UsageError when that is not one trial or epoch."""
        count = cost / self.amount
        if self.unit in _SECONDS:
            return Budget(seconds=count * _SECONDS[self.unit])
        if count < 1:
            raise UsageError(f"budget {cost:g}cost: does not buy one {self.unit} at {self}. Give a larger --budget.")
        whole = math.floor(count * (1 + 1e-12))  # 0.3 / 0.1 is 3
        return Budget(trials=whole) if self.unit == "trial" else Budget(steps=whole)

    def spent(self, spent: Budget) -> float:
        """Return what was paid for what was spent."""
        if self.unit in _SECONDS:
            return self.amount * (spent.seconds or 0.0) / _SECONDS[self.unit]
        return self.amount * ((spent.trials if self.unit == "trial" else spent.steps) or 0)

    def __str__(self) -> str:
        return f"{self.amount:g}/{self.unit}"


def duration(seconds: float) -> str:
    """Return a duration as people write it.

    >>> duration(4), duration(75), duration(5400)
    ('4 s', '1:15 min', '1:30 h')
    """
    seconds = max(0.0, seconds)
    if seconds < 60:
        return f"{seconds:.0f} s"
    if seconds < 3600:
        return f"{int(seconds) // 60}:{int(seconds) % 60:02d} min"
    return f"{int(seconds) // 3600}:{int(seconds) // 60 % 60:02d} h"


def _part(part: str, whole: str) -> tuple[str, float]:
    number = _NUMBER
    if m := re.fullmatch(rf"([-+]?){number}\s*([A-Za-z]+)", part):
        amount, unit = float(m[1] + m[2]), m[3].lower()
        if unit in _COUNTS:
            name = _COUNTS[unit]
            if amount <= 0 or not math.isfinite(amount) or (name != "cost" and amount != int(amount)):
                kind = "above 0" if name == "cost" else "a whole number above 0"
                raise UsageError(f'budget "{whole}": {name} must be {kind}, got {part}. {_ALLOWED}.')
            return name, amount
    sign, rest = (-1, part[1:]) if part.startswith("-") else (1, part)
    if re.fullmatch(rf"(?:{number}\s*(?:{'|'.join(_SECONDS)})\s*)+", rest, re.IGNORECASE):
        pieces = re.findall(rf"{number}\s*([a-z]+)", rest.lower())
        seconds = sign * sum(float(a) * _SECONDS[u] for a, u in pieces)
        if seconds <= 0 or not math.isfinite(seconds):
            raise UsageError(f'budget "{whole}": the time must be above 0, got {part}. {_ALLOWED}.')
        return "seconds", seconds
    if re.fullmatch(rf"[-+]?{number}", part):
        raise UsageError(f'budget "{whole}": {part} of what? {_ALLOWED}.')
    unit = re.sub(r"[^a-z]", "", part.lower())
    near = nearest(unit, _COUNTS) if len(unit) > 2 and unit not in _COUNTS else ""
    raise UsageError(f'budget "{whole}": cannot be read.{near} {_ALLOWED}.')
