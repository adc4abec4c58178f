"""The report of a study, from what its journal says and its data shows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from whet.checks.pictures import Pictures
from whet.checks.traced import weights
from whet.data.look import Look as Seen
from whet.data.sample import samples
from whet.data.split import Data
from whet.finding import Finding, Health, NotRun
from whet.journal.event import Event
from whet.metric import Interval, interval
from whet.recipe.block import Block
from whet.recipe.finish import Chosen
from whet.recipe.job import Job, environment
from whet.recipe.tuning import score
from whet.recipe.winner import known
from whet.recipe.words import dealt
from whet.report import Report, study_report, write_html
from whet.report.dataset import Look
from whet.report.folds import in_folds
from whet.report.gallery import Gallery
from whet.report.judged import Judged
from whet.report.suspects import exhibits
from whet.train.scored import goal_metric
from whet.tune.study import Study
from whet.tune.worker import rebuild

__all__ = ["history", "report_block", "study_page"]

_SPLITS = ("train", "valid")
_AWAY = 120.0  # seconds without an event that count as nobody working
_SUSPECTS = 12  # examples of each finding in the report; whet look --html has more
_PICTURES = 30  # samples in the report, as many of each class as fit


def history(events: Iterable[Event]) -> list[tuple[int, int, float]]:
    """Return (trial, step, seconds of work so far) of every report, in the order they came.

    Long gaps between events, when nobody worked on the study, do not count.
    """
    rows: list[tuple[int, int, float]] = []
    clock, last = 0.0, None
    for e in events:
        if last is not None and 0 < e.at - last < _AWAY:
            clock += e.at - last
        last = e.at
        if e.kind == "reported" and e.trial is not None:
            rows.append((e.trial, int(e.data["step"]), clock))
    return rows


def study_page(job: Job, study: Study, data: Data, chosen: Chosen | None) -> Report:
    """Return the report of the study as it stands."""
    trials = study.trials
    scores: dict[str, Interval] = {}
    targets = data.valid.targets.numpy()
    best = trials.best
    if chosen is None and best is not None and (found := score(study, best, data, job.task)) is not None:
        scores["validation"] = found
    judged = None
    positions = data.kind == "classification" and targets.ndim > 1  # a class each: the plots are of one an example
    if chosen is not None:
        several = len(chosen.members) > 1
        measure = goal_metric(job.task, trials[chosen.members[0][0]].params, data, chosen.outputs)
        mine = interval(measure, chosen.outputs, targets, kind=data.kind)
        scores["ensemble" if several else "validation"] = mine
        if not positions:
            pictures = [s.picture for s in _pictured(data)]
            judged = Judged(
                chosen.outputs, targets, data.classes, data.valid.ids,
                pictures if pictures and pictures[0] is not None else None,
                model=f"the ensemble of {len(chosen.members)}" if several else f"trial {chosen.members[0][0]}",
                weights=_weights(job, study, data, chosen),
            )  # fmt: skip
    records = {t: study.records(t) for t in ("unsealed", "check", "test", "export", "squeeze")}
    if records["test"] and chosen is not None and records["test"][-1]["data"].get("members") == chosen.key:
        test = records["test"][-1]["data"]
        scores["test"] = Interval(test["value"], test["interval"][0], test["interval"][1], test["n"])
    squeezed = records["squeeze"][-1]["data"] if records["squeeze"] else None
    if squeezed and "ensemble" in scores:
        low, high = squeezed["single_interval"]
        scores["validation"] = Interval(squeezed["single_score"], low, high, len(targets))
    page = study_report(
        study.name, trials, scores=scores, history=history(study.journal.read()), look=_look(data, job.look(data)),
        health=_health(records["check"][-1]["data"]) if records["check"] else None, judged=judged,
        squeezed=_members(squeezed) if squeezed else None,
        records={
            "winner": [honest.json()] if (honest := known(study)) is not None else [], "raced": study.records("raced"), "interrupted": [{"trials": sorted(study.interrupted)}], "unsealed": records["unsealed"], "export": [_exported(r["data"]) for r in records["export"]],
            "environment": [{**environment(), "seed": study.seed, "workers": job.workers}],
        },
        commands={"The same again": job.command, "More of it": f"whet study show {study.name} --runs {job.runs}"},
    )  # fmt: skip
    return in_folds(page, k, study.space) if (k := dealt(study)) else page


def _weights(job: Job, study: Study, data: Data, chosen: Chosen) -> dict[str, Pictures]:
    """Return the first layer of the model, of an ensemble's heaviest member, as pictures; empty where it reads none."""
    number, _, share = max(chosen.members, key=lambda m: m[2])
    model = rebuild(job.task, study.trials[number], chosen.states[number], study.steps)[0]
    found = weights(model, data.valid.take(np.arange(1)).parts)
    name = f"trial {number}" + (f", which has {share:.0%} of the ensemble's votes" if len(chosen.members) > 1 else "")
    return {} if found is None else {name: found}


def _interval(value: float, ends: Sequence[float], n: int) -> Interval:
    low, high = ends
    return Interval(value, low, high, n)


def report_block(job: Job, study: Study, data: Data, chosen: Chosen | None) -> Block:
    """Write the report beside the models."""
    path = write_html(study_page(job, study, data, chosen), job.folder / "report.html")
    return Block("report", (str(path),), {"path": str(path)})


def _pictured(data: Data) -> list[Any]:
    from whet.data.sample import Sample

    classes = data.classes
    return [
        Sample(
            i, int(data.valid.ids[i]), "" if classes is None else classes[int(y)], tuple(p[i] for p in data.valid.parts)
        )
        for i, y in enumerate(data.valid.targets)
    ]


def _look(data: Data, found: Seen) -> Look:
    shown = [
        (s.picture, s.label)
        for s in samples(data, max(1, _PICTURES // len(data.classes or (1,))))
        if s.picture is not None
    ]
    odd, near, links = exhibits(Gallery.of(data, found.examples), found, most=_SUSPECTS)
    facts = found.facts
    summary = {k: v for k, v in facts.items() if isinstance(v, (str, int, float)) and not isinstance(v, bool)}
    summary |= {f"{k} examples": v for k, v in facts.get("splits", {}).items() if v is not None}
    return Look(
        summary, {s: getattr(data, s).targets.numpy() for s in _SPLITS}, data.classes, shown,
        facts.get("columns") or (), found.findings, [*odd, *near], links,
    )  # fmt: skip


def _health(record: Mapping[str, Any]) -> Health:
    findings = tuple(Finding(**f) for f in record.get("findings", ()))
    return Health(findings, tuple(NotRun(**n) for n in record.get("not_run", ())), record.get("facts", {}))


def _members(record: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "members": [{"trial": int(i), "epoch": int(s), "weight": w} for i, s, w in record["members"]],
        "path": [p["score"] for p in record.get("path", ())],
        "single": record.get("single_score"),
    }


def _exported(data: Mapping[str, Any]) -> dict[str, Any]:
    latency = data.get("latency", {})
    found = {
        "path": Path(data["path"]).name,
        "bytes": data["bytes"],
        "equal to PyTorch": "yes" if data["equal"] else data["why"],
    }
    found |= {"largest difference": data["max_abs"], "examples compared": data["n"]}
    for runtime, times in latency.items():
        for batch, ms in times.items():
            found[f"{runtime}, {batch} at a time_ms"] = ms
    return found
