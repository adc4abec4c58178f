"""Two trials side by side: what differed in configuration, curve and cost, and what that difference is worth.

What it is worth is judged against noise, estimated from what there is: trials that repeat a configuration, else the
two models' outputs on the same validation examples, else the jitter of the two curves near their end. Trials go in and a
value comes out; nothing is read or run here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from whet.errors import StudyError
from whet.metric.paired import paired
from whet.metric.score import Metric
from whet.tune.trial import Goal, State, Trial, Trials
from whet.tune.whole import configuration

__all__ = ["Change", "Difference", "Lead", "Outputs", "Worth", "difference", "meeting"]

_LEVEL = 0.95
_TAIL = 5  # reports at the end of a curve, at least, whose jitter is looked at; a third of a long curve


@dataclass(frozen=True)
class Change:
    """One hyperparameter that differs; `in_a` and `in_b` say whether the configuration has it at all."""

    name: str
    a: Any
    b: Any
    in_a: bool = True
    in_b: bool = True


@dataclass(frozen=True)
class Lead:
    """Who was ahead from step `first` to step `last` (both reported by both trials)."""

    who: Literal["a", "b", "neither"]
    first: int
    last: int


@dataclass(frozen=True)
class Outputs:
    """What two trials' models said on the same validation examples after the step they are compared at.

    a, b: outputs as `whet.metric` takes them; targets: (n,) or (n, k); kind: "classification" or "regression"; metric: what
    the goal is in them, when its name does not say it, as that of a loss of the task's own.
    """

    a: np.ndarray
    b: np.ndarray
    targets: np.ndarray
    kind: str
    metric: Metric | None = None


@dataclass(frozen=True)
class Worth:
    """By how much b is better than a (below 0: worse), with the interval at `level`.

    source: "repeats", "examples", "jitter" or "nothing" (then there is no interval); how: the same in words.
    """

    gain: float
    low: float | None
    high: float | None
    source: Literal["repeats", "examples", "jitter", "nothing"]
    how: str
    level: float = _LEVEL

    @property
    def better(self) -> Literal["a", "b"] | None:
        """Which is better beyond the noise, None when that cannot be told."""
        if self.low is None or self.high is None:
            return None
        return "b" if self.low > 0 else "a" if self.high < 0 else None


@dataclass(frozen=True)
class Difference:
    """Two trials compared; see `difference`.

    step: where they are compared: the end when both got there, else the last step that both reported; values: what they
    had there; changes: of the configuration; curve: (step, value of a, value of b) at every step that both reported;
    leads: who was ahead when; costs: all that was spent on each, and up to `step`; parents: whose weights each went on from, and after which step.
    """

    a: int
    b: int
    goal: Goal
    step: int
    values: tuple[float, float]
    changes: tuple[Change, ...]
    curve: tuple[tuple[int, float, float], ...]
    leads: tuple[Lead, ...]
    costs: tuple[float, float]
    costs_there: tuple[float, float]
    worth: Worth
    parents: tuple[tuple[int, int] | None, tuple[int, int] | None] = (None, None)

    @property
    def verdict(self) -> str:
        """What the difference is worth, in words.

        >>> from whet.tune.space import Float, Space
        >>> done = [Trial(i, {"x": x}, State.DONE, value=v) for i, (x, v) in enumerate([(0.1, 0.5), (0.2, 0.3), (0.2, 0.31)])]
        >>> difference(Trials(done, space=Space(x=Float(0, 1))), 0, 1).verdict
        'trial 1 is better by 0.195 (95 %: 0.08496 to 0.305)'
        """
        w = self.worth
        ahead, behind = (self.b, self.a) if w.gain >= 0 else (self.a, self.b)
        by = f"{abs(w.gain):.4g}"
        if not self.changes and self.parents[0] == self.parents[1]:
            return f"the same configuration: what differs ({by}) is noise"
        same = "" if self.changes else "the same configuration, on other weights: "
        if w.low is None or w.high is None:
            tied = "neither is ahead" if w.gain == 0 else f"trial {ahead} is ahead by {by}"
            return f"{same}{tied}; there is nothing to tell whether that is more than noise"
        low, high = (w.low, w.high) if w.gain >= 0 else (-w.high, -w.low)
        interval = f"({100 * w.level:.4g} %: {low:.4g} to {high:.4g})"
        if w.better is None:
            tied = "they are equal" if w.gain == 0 else f"trial {ahead} is ahead of {behind} by {by}"
            return f"{same}not distinguishable: {tied} {interval}"
        return f"{same}trial {ahead} is better by {by} {interval}"

    def json(self) -> dict[str, Any]:
        """Return the comparison as JSON values."""
        found = {k: v for k, v in asdict(self).items() if k not in ("goal", "curve")}
        curve = [{"step": s, "a": x, "b": y} for s, x, y in self.curve]
        return {**found, "goal": str(self.goal), "curve": curve, "better": self.worth.better, "verdict": self.verdict}


def meeting(trials: Trials, a: int, b: int) -> int:
    """Return the step at which two trials can be compared; raise StudyError when there is none.

    >>> from whet.tune.space import Space
    >>> from whet.tune.trial import Point
    >>> short, long = (Trial(i, {}, State.STOPPED, tuple(Point(s, 0.1) for s in range(1, n + 1)), 0.1) for i, n in ((0, 3), (1, 9)))
    >>> meeting(Trials([short, long], space=Space(), steps=9), 0, 1)
    3
    """
    first, second = trials.get(a), trials.get(b)
    if a == b:
        raise StudyError(f"trial {a}: is compared with itself. Give two trials.")
    for t in (first, second):
        if t.value is None and not t.curve:
            why = f" ({t.error['type']}: {t.error['message']})" if t.error else ""
            raise StudyError(f"trial {t.id}: has no value to compare: it is {t.state}{why}. Give another trial.")
    if first.value is not None and second.value is not None and trials.reach(first) == trials.reach(second):
        if State.FAILED not in (first.state, second.state):
            return trials.reach(first)
    common = [p.step for p in first.curve if second.at(p.step) is not None]
    if not common:
        mine, theirs = (f"steps {t.curve[0].step} to {t.step}" if t.curve else "no step" for t in (first, second))
        raise StudyError(f"trials {a} and {b}: have no step that both reported ({mine}, {theirs}). Give others.")
    return common[-1]


def difference(trials: Trials, a: int, b: int, *, outputs: Outputs | None = None) -> Difference:
    """Compare trial `b` with trial `a`: what differed, and what it did.

    outputs: what their models said on the validation examples after the step that `meeting` names, where it is known.

    Raises StudyError when there is no such trial, or they have no values at a common step.
    """
    step = meeting(trials, a, b)
    first, second, goal = trials.get(a), trials.get(b), trials.goal
    values = _value(first, step), _value(second, step)
    curve = tuple((p.step, p.value, q.value) for p in first.curve if (q := second.at(p.step)) is not None)
    repeats = _repeats(trials, first, second, step)
    if repeats is not None and repeats.low == repeats.high and outputs is not None:
        repeats = None  # few repetitions that happen to agree, as shares of few examples do, do not mean that there is no noise
    worth = (
        repeats
        or _examples(goal, values, outputs)
        or _jitter(goal, first, second, values)
        or Worth(
            _gain(goal, *values), None, None, "nothing", "no configuration is repeated, and the curves are too short"
        )
    )
    return Difference(
        a, b, goal, step, values, _changes(first.params, second.params), curve, _leads(goal, curve),
        (first.cost, second.cost), (_spent(first, step), _spent(second, step)), worth, (first.parent, second.parent),
    )  # fmt: skip


def _gain(goal: Goal, a: float, b: float) -> float:
    return b - a if goal.better == "max" else a - b


def _value(trial: Trial, step: int) -> float:
    if (point := trial.at(step)) is not None and not (trial.state is State.DONE and trial.step == step):
        return point.value
    assert trial.value is not None  # told: it counts at the last step
    return trial.value


def _spent(trial: Trial, step: int) -> float:
    return float(sum(p.cost for p in trial.curve if p.step <= step))


def _changes(a: Mapping[str, Any], b: Mapping[str, Any]) -> tuple[Change, ...]:
    names = [*a, *(n for n in b if n not in a)]
    return tuple(
        Change(n, a.get(n), b.get(n), n in a, n in b) for n in names if (n in a) != (n in b) or not _alike(a[n], b[n])
    )


def _alike(x: Any, y: Any) -> bool:
    """Return whether two values are the same, but for the rounding of a float that a searcher worked out."""
    if isinstance(x, float) and isinstance(y, float):
        return math.isclose(x, y, rel_tol=1e-12)
    return bool(x == y) and isinstance(x, bool) == isinstance(y, bool)


def _leads(goal: Goal, curve: Sequence[tuple[int, float, float]]) -> tuple[Lead, ...]:
    found: list[Lead] = []
    for step, x, y in curve:
        gain = _gain(goal, x, y)
        who: Literal["a", "b", "neither"] = "b" if gain > 0 else "a" if gain < 0 else "neither"
        if found and found[-1].who == who:
            found[-1] = Lead(who, found[-1].first, step)
        else:
            found.append(Lead(who, step, step))
    return tuple(found)


def _t(df: float) -> float:
    """Return the quantile of Student's t that leaves (1 - level) / 2 above it."""
    from scipy.special import stdtrit

    return float(stdtrit(df, 0.5 + _LEVEL / 2))


def _repeats(trials: Trials, a: Trial, b: Trial, step: int) -> Worth | None:
    """Judge by the spread between trials of the same configuration at the same step, pooled over the study."""
    groups: dict[str, list[float]] = {}
    for t in trials:
        if t.state is State.FAILED or t.parent is not None or not t.params:
            continue
        if t.at(step) is not None or (t.value is not None and trials.reach(t) == step):
            groups.setdefault(configuration(t.params), []).append(_value(t, step))
    df = sum(len(g) - 1 for g in groups.values())
    if df == 0:
        return None
    spread = math.sqrt(sum(float(np.var(g)) * len(g) for g in groups.values() if len(g) > 1) / df)
    # who went on from another's weights is a run of its configuration alone
    mine, theirs = ((None if t.parent else groups.get(configuration(t.params))) or [_value(t, step)] for t in (a, b))
    if configuration(a.params) == configuration(b.params):
        mine, theirs = [_value(a, step)], [_value(b, step)]
    gain = _gain(trials.goal, float(np.mean(mine)), float(np.mean(theirs)))
    half = _t(df) * spread * math.sqrt(1 / len(mine) + 1 / len(theirs))
    runs = "" if len(mine) + len(theirs) == 2 else f"means of {len(mine)} and {len(theirs)} runs; "
    repeated = sum(len(g) > 1 for g in groups.values())
    which = f"{repeated} configuration{'s' if repeated != 1 else ''} that {'were' if repeated != 1 else 'was'} repeated"
    return Worth(gain, gain - half, gain + half, "repeats", f"{runs}noise from {which} (spread {spread:.2g})")


def _examples(goal: Goal, values: tuple[float, float], outputs: Outputs | None) -> Worth | None:
    """Judge by the examples: how the difference would vary with other validation examples of the same kind."""
    if outputs is None:
        return None
    found = paired(outputs.metric or goal.name, outputs.a, outputs.b, outputs.targets, kind=outputs.kind, level=_LEVEL)
    if not all(map(math.isfinite, (found.value, found.low, found.high))):
        return None
    low, high = (found.low, found.high) if goal.better == "max" else (-found.high, -found.low)
    gain = _gain(goal, *values)
    # a value that is the mean over folds is not that of all their examples at once: of an rmse, say
    off = gain - (found.value if goal.better == "max" else -found.value)
    how = f"noise from {found.n:,} validation examples, paired; not from training again"
    return Worth(gain, low + off, high + off, "examples", how)


def _jitter(goal: Goal, a: Trial, b: Trial, values: tuple[float, float]) -> Worth | None:
    """Judge by how much each curve jumps from report to report near its end, its trend taken away."""
    bends: list[float] = []
    for t in (a, b):
        y = np.array([p.value for p in t.curve[-max(_TAIL, len(t.curve) // 3) :]])
        bends += list(np.diff(y, 2))  # a straight line has none; of independent noise their variance is 6 s^2
    bends = [x for x in bends if math.isfinite(x)]
    if len(bends) < 4:
        return None
    spread = math.sqrt(float(np.mean(np.square(bends))) / 6)
    gain, half = _gain(goal, *values), _t(len(bends) / 2) * spread * math.sqrt(2)  # bends overlap: half count
    how = f"noise from the curves' jitter (spread {spread:.2g}); another seed may differ by more"
    return Worth(gain, gain - half, gain + half, "jitter", how)
