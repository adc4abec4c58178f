"""Can the answer be believed: what the checks found, how often the test split was opened, what failed and why."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from whet.finding import Health, Severity
from whet.report.block import Block, Code, Findings, Section, Table
from whet.report.checked import left_out
from whet.report.learning import dynamics, overfitted
from whet.report.listing import started
from whet.report.quantity import Share, clean, count, shorten, show, told
from whet.tune.trial import State, Trial, Trials

__all__ = ["belief", "commonest", "failures"]

_ORDER = {Severity.FAIL: 0, Severity.WARN: 1, Severity.INFO: 2}


def _reason(trial: Trial) -> str:
    error = trial.error or {}
    return f"{error.get('type') or 'error'}: {clean(error.get('message') or 'no message')}"


def failures(trials: Trials) -> list[tuple[str, list[Trial]]]:
    """Return the failed trials grouped by reason, the commonest first; numbers in the messages make no difference.

    >>> from whet.tune.space import Space
    >>> e = {"type": "ValueError", "message": "loss is nan at batch 3"}
    >>> [(r, len(t)) for r, t in failures(Trials([Trial(0, {}, State.FAILED, error=e)], space=Space()))]
    [('ValueError: loss is nan at batch 3', 1)]
    """
    groups: dict[str, list[Trial]] = {}
    for t in trials:
        if t.state is State.FAILED:
            groups.setdefault(re.sub(r"\d+(\.\d+)?(e[-+]?\d+)?", "#", _reason(t)), []).append(t)
    return [(_reason(group[0]), group) for group in sorted(groups.values(), key=lambda g: (-len(g), g[0].id))]


def commonest(trials: Trials) -> str:
    """Return the commonest reason of failure, or "" when nothing failed.

    >>> from whet.tune.space import Space
    >>> commonest(Trials([Trial(0, {}, State.FAILED, error={"type": "ValueError", "message": "no"})], space=Space()))
    'ValueError: no'
    """
    groups = failures(trials)
    return shorten(groups[0][0], 160) if groups else ""


def _failed(trials: Trials) -> list[Block]:
    groups = failures(trials)
    if not groups:
        return []
    rows = []
    for reason, group in groups[:20]:
        ids = ", ".join(str(t.id) for t in group[:12]) + (", ..." if len(group) > 12 else "")
        rows.append((len(group), Share(len(group) / max(started(trials), 1)), shorten(reason, 300), ids))
    total = sum(len(g) for _, g in groups)
    note = "" if len(groups) <= 20 else f"{len(groups) - 20:,} rarer reasons are left out."
    blocks: list[Block] = [
        Table(("trials", "of all", "reason", "numbers"), rows, f"{count(total, 'failed trial')}, by reason", note=note)
    ]
    first = groups[0][1][0]
    trace = str((first.error or {}).get("traceback") or "")
    if trace:
        blocks.append(Code(trace.rstrip(), f"Where trial {first.id} failed", folded=True))
    return blocks


def _checks(health: Health) -> list[Block]:
    blocks: list[Block] = []
    found = sorted(health.findings, key=lambda f: _ORDER[f.severity])
    if found:
        blocks.append(Findings(tuple(found), "What the checks found"))
    rows = [(code, clean(facts.get("text") or ""), told(facts)) for code, facts in health.facts.items()]
    if rows:
        blocks.append(Table(("code", "in words", "numbers"), rows, "What the checks measured", folded=True))
    blocks += left_out(health.not_run)
    where = ", in the short training of the check, under the first configuration"
    plots = (
        overfitted(health.facts.get("OF") or {}),
        dynamics((health.facts.get("IIB") or {}).get("dynamics"), where=where),
    )
    return blocks + [p for p in plots if p is not None]


def _sentence(trials: Trials, health: Health | None, openings: Sequence[Mapping[str, Any]]) -> str:
    parts = []
    if health is not None:
        counts = [(s, sum(f.severity is s for f in health.findings)) for s in Severity]
        text = " and ".join(f"{n} {s.value}" for s, n in counts if n)
        ran = len(set(health.facts) | {f.code for f in health.findings})
        fine = f"{count(ran, 'check')} ran and found nothing wrong" if ran else "no check ran"
        parts.append(f"The checks found {text}" if text else fine)
    times = {0: "has not been opened", 1: "was opened once"}.get(len(openings), f"was opened {len(openings)} times")
    parts.append(f"the test split {times}")
    failed = sum(t.state is State.FAILED for t in trials)
    parts.append(f"{failed:,} of {started(trials):,} trials failed" if failed else "no trial failed")
    text = "; ".join(parts) + "."
    return text[0].upper() + text[1:]


def belief(trials: Trials, health: Health | None = None, openings: Sequence[Mapping[str, Any]] = ()) -> Section:
    """Return the section; openings: the records of the sealed test split, each at least {"why": ...}.

    >>> from whet.tune.space import Space
    >>> belief(Trials([], space=Space()), Health(), [{"why": "the last step"}]).sentence
    'No check ran; the test split was opened once; no trial failed.'
    """
    blocks: list[Block] = [] if health is None else _checks(health)
    if openings:
        names = ["why", *dict.fromkeys(k for o in openings for k in o if k != "why")]
        rows = [[o.get(n) if isinstance(o.get(n), (int, float)) else show(o.get(n)) for n in names] for o in openings]
        blocks.append(Table(tuple(names), rows, "Openings of the sealed test split", folded=len(rows) == 1))
    blocks += _failed(trials)
    return Section("belief", "Can it be believed", _sentence(trials, health, openings), tuple(blocks))
