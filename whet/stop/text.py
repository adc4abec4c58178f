"""Stopping criteria as text: "target 0.98 | patience 10 delta 0.001 & steps 20".

    expression = group { "|" group }            stop when any group says so
    group      = part { "&" part }              stop when all parts say so at once; & binds tighter than |
    part       = "(" expression ")" | criterion
    criterion  = target NUMBER [of METRIC] | patience N [delta NUMBER] [of METRIC] | diverged [FACTOR] [of METRIC]
               | steps N | cost NUMBER | time DURATION | never
               | trials N | gain [NOISE]        of a study only, where patience counts trials

"or" and "and" may be written for | and &. METRIC: a name, with min or max before it where whet does not know it. The
goal's direction is not part of the text: it comes from the goal.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NoReturn

from whet.errors import UsageError, nearest
from whet.stop.combine import All, Any
from whet.stop.criterion import Cost, Diverged, Patience, Steps, Target, Time
from whet.stop.gain import Gain
from whet.stop.point import Better, Stop, check_better

__all__ = ["RUN", "STUDY", "parse"]

RUN = ("target", "patience", "diverged", "steps", "time", "cost", "never")
STUDY = ("target", "patience", "trials", "time", "cost", "gain", "never")
_SAME = {
    "epochs": "steps",
    "epoch": "steps",
    "step": "steps",
    "trial": "trials",
    "||": "|",
    "or": "|",
    "&&": "&",
    "and": "&",
}
_USE = {
    "target": "target 0.98", "patience": "patience 10 delta 0.001", "diverged": "diverged 10", "steps": "steps 20",
    "trials": "trials 100", "time": "time 10m", "cost": "cost 5", "gain": "gain 0.002",
}  # fmt: skip
_SECONDS = {"s": 1, "sec": 1, "m": 60, "min": 60, "h": 3600, "d": 86400}
_TOKEN = re.compile(r"\s*(\|\||&&|[|&()]|[^\s|&()]+)")
_NUMBER = r"(?:\d+(?:\.\d*)?|\.\d+)(?:e[-+]?\d+)?"


def parse(
    text: str,
    better: Better = "min",
    *,
    study: bool = False,
    clock: Callable[[], float] | None = None,
    start: float | None = None,
    what: str = "stop",
) -> Stop:
    """Return the criterion that `text` describes (see the top of this module); `str` of it gives text back.

    better: the goal's direction; study: the text is about a study, whose curve has a point for each trial; clock, start:
    what `time` goes by (see `Time`); what: how errors call the text. Raises UsageError, naming the word, when it cannot be
    read.

    >>> str(parse("patience 3 & steps 20 | target 0.98", better="max"))
    'patience 3 & steps 20 | target 0.98'
    >>> parse("patiance 3")
    Traceback (most recent call last):
    ...
    whet.errors.UsageError: stop "patiance 3": no criterion 'patiance'. Did you mean 'patience'? Allowed: target, patience, diverged, steps, time, cost, never.
    """
    check_better(what, better)
    if not isinstance(text, str):
        raise UsageError(f'{what}: must be text such as "patience 5", got {text!r}.')
    found = _Parser(text, better, study, what)
    if clock is not None:
        found.clock = {"clock": clock, "start": start}
    return found.whole()


class _Parser:
    """One reading of one text, by recursive descent."""

    def __init__(self, text: str, better: Better, study: bool, what: str) -> None:
        self.text, self.better, self.study, self.what = text, better, study, what
        self.clock: dict[str, object] = {}
        self._words = _TOKEN.findall(text)
        self._at = 0

    def whole(self) -> Stop:
        if not self._words:
            self._wrong("is empty")
        found = self._any()
        if self._next == ")":
            self._wrong('")" without "("')
        if self._next:
            self._wrong(f"got {self._next!r} where | or & was expected")
        return found

    def _wrong(self, why: str) -> NoReturn:
        use = "patience 20 | trials 200" if self.study else "target 0.98 | patience 10 delta 0.001"
        raise UsageError(f'{self.what} "{self.text}": {why}. Use e.g. "{use}".')

    @property
    def _next(self) -> str:
        word = self._words[self._at] if self._at < len(self._words) else ""
        return _SAME.get(word.lower(), word)

    def _take(self, *words: str) -> str:
        """Return the next word and go on when it is one of `words` (or any, when none are given), else ""."""
        word = self._next
        if word and (not words or word.lower() in words):
            self._at += 1
            return word
        return ""

    def _any(self) -> Stop:
        found = [self._all()]
        while self._take("|"):
            found.append(self._all())
        return found[0] if len(found) == 1 else Any(tuple(_flat(found, Any)))

    def _all(self) -> Stop:
        found = [self._part()]
        while self._take("&"):
            found.append(self._part())
        return found[0] if len(found) == 1 else All(tuple(_flat(found, All)))

    def _part(self) -> Stop:
        if self._take("("):
            inside = self._any()
            if not self._take(")"):
                self._wrong('"(" without ")"' if not self._next else f"got {self._next!r} where | or & was expected")
            return inside
        word = self._next
        if word in ("", "|", "&", ")"):
            self._wrong(f"a criterion is missing {f'before {word!r}' if word else 'at the end'}")
        self._at += 1
        return self._criterion(word)

    def _criterion(self, word: str) -> Stop:
        allowed = STUDY if self.study else RUN
        name = word.lower()
        if name not in allowed:
            other = (
                " It is for a whole study (--until)."
                if name in STUDY
                else " It is for one run (--stop)."
                if name in RUN
                else nearest(word, allowed)
            )
            raise UsageError(f'{self.what} "{self.text}": no criterion {word!r}.{other} Allowed: {", ".join(allowed)}.')
        try:
            return self._make(name)
        except UsageError as e:
            if str(e).startswith(f'{self.what} "'):
                raise
            self._wrong(str(e).rstrip("."))

    def _make(self, name: str) -> Stop:
        match name:
            case "target":
                target = self._number(name)
                return Target(target, *self._of())
            case "patience":
                points = int(self._number(name, whole=True))
                delta = self._number("delta") if self._take("delta") else 0.0
                better, metric = self._of()
                return Patience(points, better, delta, metric, unit="trial" if self.study else "")
            case "diverged":
                factor = self._number(name) if _is_number(self._next) else None
                return Diverged(factor, self._of(directed=False)[1])
            case "steps" | "trials":
                return Steps(int(self._number(name, whole=True)), unit=name[:-1])
            case "cost":
                return Cost(self._number(name))
            case "time":
                return Time(self._seconds(), **self.clock)  # type: ignore[arg-type]
            case "gain":
                return Gain(self._number(name) if _is_number(self._next) else None, self.better)
        return Any(())

    def _number(self, name: str, *, whole: bool = False) -> float:
        kind, use = "whole number" if whole else "number", _USE.get(name, "delta 0.001")
        word = self._next
        if not _is_number(word):
            got = f"got {word!r}" if word else "got nothing"
            self._wrong(f"{name} needs a {kind}, {got} ({use})")
        value = float(self._take())
        if whole and not (value == value // 1 and value > 0):
            self._wrong(f"{name} needs a whole number above 0, got {word!r}")
        return value

    def _seconds(self) -> float:
        word, pieces = "", []
        while (shown := self._next) and re.fullmatch(rf"(?:{_NUMBER}|{_NUMBER}[a-z]+|[a-z]+)+", shown, re.IGNORECASE):
            if not re.match(r"[\d.]", shown) and shown.lower() not in _SECONDS:
                break
            word += self._take()
        if re.fullmatch(_NUMBER, word, re.IGNORECASE):
            return float(word)
        if word and re.fullmatch(rf"(?:{_NUMBER}(?:{'|'.join(_SECONDS)}))+", word, re.IGNORECASE):
            pieces = re.findall(rf"({_NUMBER})([a-z]+)", word.lower())
            return sum(float(a) * _SECONDS[u] for a, u in pieces)
        got = word or self._next
        self._wrong(f"time needs a duration, got {repr(got) if got else 'nothing'} (time 90s, time 1h30m)")

    def _of(self, *, directed: bool = True) -> tuple[Better, str]:
        if not self._take("of"):
            return self.better, ""
        if self.study:
            self._wrong('"of" is for one run: a study goes by its goal')
        given = self._take("min", "max")
        name = self._take()
        if name in ("", "|", "&", "(", ")"):
            self._wrong('a metric is missing after "of"')
        known = "" if given else _direction(name)
        if directed and not (given or known):
            self._wrong(f"is {name!r} better small or large? Write of min {name} or of max {name}")
        return (given or known or self.better).lower(), name  # type: ignore[return-value]


def _flat(found: list[Stop], kind: type[Any] | type[All]) -> list[Stop]:
    return [c for f in found for c in (f.criteria if isinstance(f, kind) and f.criteria else (f,))]


def _is_number(word: str) -> bool:
    return bool(re.fullmatch(rf"[-+]?{_NUMBER}", word, re.IGNORECASE))


def _direction(name: str) -> str:
    """Return whether a metric that whet knows is better small ("min") or large ("max"), or "" for another."""
    if name == "train_loss":
        return "min"
    from whet.metric import METRICS  # NumPy, for this alone

    return METRICS[name].better if name in METRICS else ""
