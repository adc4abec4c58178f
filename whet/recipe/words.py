"""Small texts the steps share: numbers, configurations, sizes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, is_dataclass
from typing import TYPE_CHECKING, Any, Protocol

from whet.tune import schedule, search
from whet.tune.overlap import shared
from whet.tune.pareto import front, reported, targets
from whet.tune.trial import Bound

if TYPE_CHECKING:
    from whet.tune.trial import Trials

__all__ = [
    "BARS",
    "bars",
    "configured",
    "count",
    "counted",
    "dealt",
    "learnt",
    "no_model",
    "number",
    "size",
    "strategy",
    "traded",
    "unit",
]

BARS = "▁▂▃▄▅▆▇█"


class Recorded(Protocol):
    """What has records: a study."""

    def records(self, topic: str) -> Sequence[Mapping[str, Any]]:
        """Return what is on record of a topic."""


def number(value: Any) -> str:
    """Return a value as a person would write it.

    >>> number(0.000123456), number(12), number("sgd"), number(0.98333333)
    ('0.000123', '12', 'sgd', '0.983')
    """
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def counted(value: float | None) -> float | int | None:
    """Return a number that counts something as a whole number, to be shown with all its digits.

    >>> counted(41866.0), counted(0.5), counted(1e12), counted(None)
    (41866, 0.5, 1000000000000.0, None)
    """
    return int(value) if value is not None and value == int(value) and abs(value) < 1e9 else value


def configured(params: Mapping[str, Any]) -> str:
    """Return a configuration in one line, names shortened to their last part.

    >>> configured({"optimizer": "sgd", "optimizer.momentum": 0.9, "lr": 0.01})
    'optimizer sgd, momentum 0.9, lr 0.01'
    """
    return ", ".join(f"{k.rpartition('.')[2]} {number(v)}" for k, v in params.items())


def count(n: int, what: str) -> str:
    """Return a number with its noun.

    >>> count(1, "trial"), count(2000, "epoch")
    ('1 trial', '2,000 epochs')
    """
    return f"{n:,} {what}" + ("" if n == 1 else "s")


def dealt(study: Recorded) -> int:
    """Return into how many folds a study deals its examples, 0 when it does not.

    >>> import whet
    >>> dealt(whet.Study(whet.Space(x=whet.Float(0, 1))))
    0
    """
    known = study.records("task")
    return int(known[-1].get("folds") or 0) if known else 0


def unit(study: Recorded) -> str:
    """Return what a step of the study's trials is: "fold", or "epoch"."""
    return "fold" if dealt(study) else "epoch"


def no_model(study: Recorded) -> str:
    """Return that a study left no model, where that is so, and what there is to do."""
    return "folds leave no model: the last command trains one on the task's own training part" if dealt(study) else ""


def bars(counts: Mapping[int, int], most: int = 24) -> str:
    """Return a histogram of whole numbers from 0 on in one line, at most so many columns, from its first to its last number.

    The highest bar is full, a number that occurs has the lowest at least, one that does not has none. Where there are too many numbers, each
    bar is for several.

    >>> bars({0: 8, 1: 4, 3: 1})
    '0 █▅ ▂ 3'
    """
    last = max(counts, default=0)
    each = math.ceil((last + 1) / most)
    found = [0] * ((last + each) // each)
    for value, n in counts.items():
        found[value // each] += n
    top = max(found, default=0) or 1
    drawn = "".join(BARS[round(n / top * (len(BARS) - 1))] if n else " " for n in found)
    return f"0 {drawn} {last}"


def learnt(trials: Trials) -> list[str]:
    """Return a line for each earlier study that a study learns from.

    >>> from whet.tune.space import Float, Space
    >>> from whet.tune.trial import State, Trial, Trials
    >>> old = Trials([Trial(0, {"x": 0.5}, State.DONE, value=1.0)], space=Space(x=Float(0, 1)), name="old")
    >>> learnt(Trials([], space=Space(x=Float(0, 1), y=Float(0, 1)), like=[old]))
    ['old: 1 trial, 1 of 2 hyperparameters in common']
    """
    mine = len({d.name for d in trials.space.dims})
    return [
        f"{x.name or 'a study'}: {count(len(x), 'trial')}, {len(shared(trials.space, x.space))} of {mine} hyperparameters in common"
        for x in trials.like
    ]


def size(n: int) -> str:
    """Return bytes as people read them.

    >>> size(999), size(412_300), size(12_000_000)
    ('999 B', '412 kB', '12.0 MB')
    """
    if n < 1000:
        return f"{n} B"
    return f"{n / 1000:.0f} kB" if n < 1_000_000 else f"{n / 1e6:.1f} MB"


def strategy(strategy: Any) -> str:
    """Return a strategy and its options in a few words.

    >>> from whet.tune.schedule.asha import Asha
    >>> strategy(Asha())
    'asha (factor 3 first 1)'
    >>> from whet.tune.schedule.freezethaw import FreezeThaw
    >>> strategy(FreezeThaw())
    'freeze-thaw (share 0.6)'
    >>> from whet.tune.search.portfolio import Portfolio
    >>> strategy(Portfolio(("gp", "tpe")))
    'portfolio (members gp/tpe memory 20.0 least 0.05)'
    """
    options = asdict(strategy) if is_dataclass(strategy) and not isinstance(strategy, type) else {}

    def short(v: Any) -> str:
        return "/".join(map(str, v)) if isinstance(v, (list, tuple)) else str(v)

    told = " ".join(f"{k} {short(v)}" for k, v in options.items() if k != "seed" and v is not None)
    known = schedule.NAMES if hasattr(strategy, "judge") else search.NAMES
    name = known.describe(strategy)["name"].rpartition(":")[2]  # one that has no name goes by its class
    return name + (f" ({told})" if told else "")


def traded(trials: Trials) -> str:
    """Return what the front of several goals trades in one sentence, "" for one goal.

    >>> from whet.tune.goal import parse_goals
    >>> from whet.tune.space import Space
    >>> from whet.tune.trial import Point, State, Trial, Trials
    >>> done = [Trial(i, {}, State.DONE, (Point(1, 0.1, metrics={"ms": i}),), 0.1 - 0.01 * i) for i in range(3)]
    >>> traded(Trials(done, space=Space(), goals=parse_goals(["min loss", "min ms"])))
    '3 trials trade loss (0.08 to 0.1) for ms (0 to 2)'
    """
    goals = targets(trials)
    if len(goals) < 2:
        return ""
    found = front(trials)
    names = [g.name for g in goals]
    if not found:
        return f"none yet: no trial reported {', '.join(names[:-1])} and {names[-1]}"
    columns = zip(*(map(counted, reported(found, t)) for t in found), strict=True)
    spans = [
        f"{name} ({number(low)} to {number(high)})"
        if (low := min(v)) != (high := max(v))
        else f"{name} ({number(low)})"
        for name, v in zip(names, ([x for x in c if x is not None] for c in columns), strict=True)
    ]
    bounds = [str(g) for g in trials.goals if isinstance(g, Bound)]
    broken = (
        "" if all(trials.keeps(t) for t in found) else f"; no trial keeps {' and '.join(bounds)}, these come nearest"
    )
    if len(found) == 1:
        return f"trial {found[0].id} is the best in every goal: {', '.join(spans)}{broken}"
    return f"{count(len(found), 'trial')} trade {spans[0]} for {' and '.join(spans[1:])}{broken}"
