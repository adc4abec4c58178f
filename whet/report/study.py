"""The report of a study: which sections there are, and in which order they are read."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from whet.finding import Health
from whet.report.again import again
from whet.report.answer import answer
from whet.report.anytime import History, anytime
from whet.report.belief import belief
from whet.report.block import Block, Plot, Section
from whet.report.curves import curves
from whet.report.dataset import Look, dataset
from whet.report.descent import descent_plot
from whet.report.document import Report
from whet.report.downhill import downhill_plot
from whet.report.ensemble import ensemble
from whet.report.front import front_section
from whet.report.importance import importance_section, weighed
from whet.report.landscape import expected
from whet.report.lineage import lineage_plot
from whet.report.listing import makers, spent, started, trial_table
from whet.report.maker import hands
from whet.report.members import members_plot
from whet.report.model import model
from whet.report.parallel import parallel
from whet.report.passes import passes_plot
from whet.report.quantity import Seconds, count, show
from whet.report.winner import winner
from whet.tune.optimism import Optimism
from whet.tune.trial import State, Trials

if TYPE_CHECKING:
    from whet.metric import Interval
    from whet.report.judged import Judged

__all__ = ["happened", "study_report", "went"]


def happened(trials: Trials, history: History = (), interrupted: Collection[int] = ()) -> Section:
    """Return what the search did: the anytime curve, all learning curves, parallel coordinates, what the searcher recorded of its way, all trials.

    interrupted: the running trials that nobody works on.

    >>> from whet.tune.space import Float, Space
    >>> from whet.tune.trial import Point, State, Trial
    >>> done = [Trial(k, {"lr": k / 9}, State.DONE, (Point(1, k / 9),), k / 9) for k in range(9)]
    >>> trials = Trials(done, space=Space(lr=Float(0, 1)))
    >>> happened(trials).sentence
    '9 trials, 9 epochs.'
    """
    plots = (anytime(trials, history), curves(trials), parallel(trials))
    blocks: list[Block] = [p for p in plots if p is not None]
    blocks += went(trials)
    if len(trials):
        blocks.extend((*makers(trials), trial_table(trials, interrupted)))
    epochs, seconds = spent(trials, history)
    mine = hands([t for t in trials if t.state is not State.WAITING])
    of_them = f", {mine:,} of {'it' if started(trials) == 1 else 'them'} by hand" if mine else ""
    sentence = f"{count(started(trials), 'trial')}{of_them}, {count(epochs, 'epoch')}" + (
        f" in {show(Seconds(seconds))}." if seconds else "."
    )
    return Section("happened", "What happened", sentence, tuple(blocks))


def went(trials: Trials) -> list[Plot]:
    """Return the plots of what a searcher recorded of its way: who proposed, the passes of a zoom, who is whose child, where gradients led; and the lineage of the best.

    >>> from whet.tune.space import Space
    >>> went(Trials([], space=Space()))
    []
    """
    plots = (
        members_plot(trials),
        passes_plot(trials),
        descent_plot(trials),
        downhill_plot(trials),
        lineage_plot(trials),
    )
    return [p for p in plots if p is not None]


def study_report(
    name: str,
    trials: Trials,
    *,
    scores: Mapping[str, Interval] | None = None,
    history: History = (),
    health: Health | None = None,
    look: Look | None = None,
    judged: Judged | None = None,
    squeezed: Mapping[str, Any] | None = None,
    records: Mapping[str, Sequence[Mapping[str, Any]]] | None = None,
    commands: Mapping[str, str] | None = None,
) -> Report:
    """Return the report of a study; every argument but the first two may be missing, and makes the report shorter.

    name: the study's; trials: all of it. scores: intervals of the goal's metric by name, "validation" (the best single
    trial), "ensemble" (on validation), "test". history: (trial, step, seconds since the start) of every report, in the
    order they came; without it the anytime curve takes one trial after the other. health: what the checks found.
    look: the data. judged: the model's outputs on validation. squeezed: the ensemble, see `whet.report.ensemble`.
    records: the journal's records by topic, of which "unsealed" (every one), "export", "environment", "winner" (the last; how much of the best trial's score is luck)
    "raced" (the last; how the best did on fresh seeds) and "interrupted" (the last; "trials", the running ones that nobody works on) are read. commands: what a command does -> the command.

    >>> from whet.tune.space import Float, Space
    >>> report = study_report("digits", Trials([], space=Space(lr=Float(0, 1))))
    >>> [s.name for s in report.sections], report.sections[0].sentence
    (['answer', 'belief', 'happened'], 'There is no result yet: no trial has reported a value.')
    """
    records = records or {}

    def every(topic: str) -> list[Mapping[str, Any]]:
        # A record may be handed over as the journal keeps it, with its content under "data".
        return [r["data"] if isinstance(r.get("data"), Mapping) else r for r in records.get(topic) or ()]

    def last(topic: str) -> Mapping[str, Any]:
        return next(reversed(every(topic)), {})

    scores = dict(scores or {})
    honest = Optimism.of(found) if (found := last("winner")) else None
    chosen_of = honest is not None and honest.trials > 1
    if honest is not None and chosen_of and (seen := scores.get("validation")) is not None:
        # an ensemble's best single trial may be another one
        if math.isclose(seen.value, honest.raw.value, rel_tol=1e-9):
            test = scores.pop("test", None)  # it stays the last row
            scores = {**scores, "corrected": honest.corrected, **({} if test is None else {"test": test})}
    members = list((squeezed or {}).get("members") or ())
    alone = members[0].get("trial") if len(members) == 1 and isinstance(members[0], Mapping) else None
    lead = trials[alone] if isinstance(alone, int) and 0 <= alone < len(trials) else trials.best
    sections = [
        answer(trials, scores, last("export"), history=history, lead=lead),
        belief(trials, health, every("unsealed")),
        happened(trials, history, last("interrupted").get("trials", ())),
    ]
    if (traded := front_section(trials)) is not None:
        sections.insert(2, traded)
    if honest is not None and chosen_of:
        sections.append(winner(honest, trials.goal, last("raced")))
    environment = last("environment")
    seed = environment.get("seed")
    matter = weighed(trials)
    if (model_of := expected(trials, seed if isinstance(seed, int) else 0, matter=matter)) is not None:
        sections.append(model_of)
    if matter is not None:
        sections.append(importance_section(matter))
    if look is not None:
        sections.append(dataset(look))
    if judged is not None:
        sections.append(model(judged))
    if squeezed and alone is None:
        sections.append(ensemble(trials, squeezed))
    if environment or commands or (lead is not None and lead.params):
        sections.append(again(lead, environment, commands or {}))
    epochs, _ = spent(trials)
    subtitle = f"{', '.join(map(str, trials.goals))} over {count(len(trials.space.dims), 'dimension')}, {count(started(trials), 'trial')}, {count(epochs, 'epoch')}"
    return Report(name, tuple(sections), subtitle)
