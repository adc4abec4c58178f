"""The trials as a table, and which of very many are worth drawing."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from whet.report.block import Table
from whet.report.maker import hands, maker, remark
from whet.report.quantity import Id, show
from whet.tune.trial import State, Trial, Trials

__all__ = [
    "brief",
    "leading",
    "makers",
    "ranked",
    "spent",
    "started",
    "thinned",
    "trial_axis",
    "trial_table",
    "verbatim",
]

_ROWS = 1000


def verbatim(params: Mapping[str, Any]) -> dict[str, Any]:
    """Return a configuration whose whole numbers are shown as they are typed.

    >>> show(verbatim({"width": 1024})["width"])
    '1024'
    """
    return {k: Id(v) if isinstance(v, int) and not isinstance(v, bool) else v for k, v in params.items()}


def leading(count: int) -> int:
    """Return how many of `count` trials are marked as the best: a tenth, ten at most.

    >>> leading(3), leading(61), leading(1000)
    (1, 7, 10)
    """
    return max(1, min(10, math.ceil(count / 10)))


def brief(params: Mapping[str, Any], most: int = 6) -> str:
    """Return a configuration on one line, the first `most` of its values.

    >>> brief({"optimizer": "sgd", "lr": 0.0710001})
    'optimizer sgd, lr 0.071'
    """
    items = [f"{k} {show(v)}" for k, v in list(verbatim(params).items())[:most]]
    return ", ".join(items) + (", ..." if len(params) > most else "")


def sound(trial: Trial) -> bool:
    """Whether the trial counts: it did not fail and its value is a finite number."""
    return trial.state is not State.FAILED and trial.value is not None and math.isfinite(trial.value)


def ranked(trials: Trials) -> list[Trial]:
    """Return all trials, the best first: those that got further before those stopped early, as `Trials.best` does.

    Those that keep all bounds of the goal come before those that break one. Trials without a value follow, then failed ones.

    >>> from whet.tune.space import Float, Space
    >>> from whet.tune.trial import Point
    >>> done = [Trial(k, {"lr": k / 9}, State.DONE, (Point(1, k / 9),), k / 9) for k in range(9)]
    >>> trials = Trials(done, space=Space(lr=Float(0, 1)))
    >>> [t.id for t in ranked(trials)][:3]
    [0, 1, 2]
    """

    def key(t: Trial) -> tuple[int, int, float, int]:
        if not sound(t):
            return (3 if t.state is State.FAILED else 2, 0, 0.0, t.id)
        return (0 if trials.keeps(t) else 1, -trials.reach(t), trials.goal.score(float(t.value or 0.0)), t.id)

    return sorted(trials, key=key)


def thinned(order: Sequence[Trial], most: int) -> list[Trial]:
    """Return at most `most` of ranked trials: the best third of them as they are, the rest evenly among the others.

    >>> [t.id for t in thinned([Trial(k) for k in range(12)], 6)]
    [0, 1, 2, 4, 7, 9]
    """
    if len(order) <= most:
        return list(order)
    head = max(1, most // 3)
    rest, room = order[head:], most - head
    return [*order[:head], *(rest[i * len(rest) // room] for i in range(room))]


def started(trials: Sequence[Trial]) -> int:
    """Return how many trials were begun: those that only wait are none yet.

    >>> started([Trial(0), Trial(1, {}, State.RUNNING)])
    1
    """
    return sum(t.state is not State.WAITING for t in trials)


def spent(trials: Sequence[Trial], history: Sequence[tuple[int, int, float]] = ()) -> tuple[int, float]:
    """Return what the trials took: epochs trained, and seconds as the history tells them (0 without one).

    What a child took over from its parent is not counted.

    >>> from whet.tune.trial import Point
    >>> spent([Trial(0, {}, State.DONE, (Point(3, 0.5, 2.0),))], [(0, 3, 7.5)])
    (3, 7.5)
    """
    epochs = sum(t.step - (min(t.parent[1], t.step) if t.parent else 0) for t in trials)
    return epochs, max((seconds for _, _, seconds in history if math.isfinite(seconds)), default=0.0)


def trial_axis(trials: int, *, titled: bool = True) -> dict[str, Any]:
    """Return the axis of a picture that goes over so many trials: whole numbers, from the first to the last.

    titled: whether it says what is on it.

    >>> trial_axis(40)["range"]
    [-0.7, 39.7]
    """
    few = {"tick0": 0, "dtick": 1} if trials <= 12 else {}  # else Plotly has halves, or one below the first
    title = {"title": {"text": "trial"}} if titled else {}
    return {**title, "range": [-0.7, trials - 0.3], "tickformat": ",d", **few}


def trial_table(trials: Trials, interrupted: Collection[int] = ()) -> Table:
    """Return the trials, best first, with their configurations; at most 1,000 of them.

    interrupted: the running ones that nobody works on.

    >>> from whet.tune.space import Float, Space
    >>> trial = Trial(0, {"lr": 0.1}, State.DONE, value=0.5)
    >>> trial_table(Trials([trial], space=Space(lr=Float(0, 1)))).columns
    ('trial', 'state', 'epochs', 'loss', 'seconds', 'lr')
    """
    order = ranked(trials)
    rows = order[:_ROWS]
    taken = {name for t in rows for name in t.params}
    names = [n for n in trials.space.names if n in taken]
    names += sorted(taken - set(names))
    told, noted = any(maker(t) for t in rows), any(remark(t) for t in rows)
    cells = []
    for t in rows:
        value = t.value if t.value is None else float(t.value)
        values = verbatim(t.params)
        head = [
            Id(t.id),
            "interrupted" if t.id in interrupted else t.state.value.lower(),
            t.step or None,
            value,
            round(t.cost, 2),
        ]
        said = [*([maker(t) or None] if told else []), *([remark(t) or None] if noted else [])]
        cells.append([*head, *said, *(values.get(n) for n in names)])
    note = "" if len(order) <= _ROWS else f"The best {_ROWS:,} of {len(order):,} trials."
    title = "All trials, the best first" if len(order) <= _ROWS else f"The best {_ROWS:,} trials"
    columns = (
        "trial",
        "state",
        "epochs",
        trials.goal.name,
        "seconds",
        *(["made by"] if told else []),
        *(["note"] if noted else []),
        *names,
    )
    return Table(columns, cells, title=title, folded=True, note=note, trials=True)


def makers(trials: Trials) -> list[Table]:
    """Return a table of what each maker came to, the one of the best trial first; none where no person made any.

    >>> from whet.tune.space import Float, Space
    >>> done = [Trial(i, {"x": v}, State.DONE, value=v, origin={"search": s}) for i, (v, s) in enumerate([(0.3, "enqueue"), (0.1, "gp")])]
    >>> makers(Trials(done, space=Space(x=Float(0, 1))))[0].rows
    [('gp', 1, 1, 0, 0.1, 1), ('a person', 1, 1, 0, 0.3, 0)]
    """
    if not hands(trials):
        return []
    groups: dict[str, list[Trial]] = {}
    for t in ranked(trials):
        groups.setdefault(maker(t).partition(":")[0] or "not on record", []).append(t)
    rows = []
    for name, own in groups.items():
        best = next((t for t in own if sound(t)), None)
        done = sum(t.state is State.DONE for t in own)
        failed = sum(t.state is State.FAILED for t in own)
        value = None if best is None or best.value is None else float(best.value)
        rows.append((name, len(own), done, failed, value, None if best is None else Id(best.id)))
    columns = ("made by", "trials", "finished", "failed", f"best {trials.goal.name}", "trial")
    return [
        Table(
            columns,
            rows,
            "Who made the trials",
            note="The best one is compared as in the table of all trials: who got further goes first.",
        )
    ]
