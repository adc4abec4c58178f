"""The report of a check: the verdict, the findings, what enters the network, how it learns, and all that was measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from whet.finding import Health, NotRun, Severity
from whet.report.block import Block, Code, Facts, Findings, Headline, Section, Table
from whet.report.document import Report
from whet.report.entering import entering
from whet.report.layers import activations, gradients
from whet.report.learning import answers, dynamics, overfitted, sweep, trend
from whet.report.quantity import clean, count, told
from whet.report.weights import first_weights

__all__ = ["check_report", "left_out"]

_WATCHED = {  # no check of their own has these
    "TREND": "the loss of a training is finite, and falls below that of the best constant outputs",
    "JITTER": "predictions on a fixed batch move, and a step does not undo the one before",
}


def expected(code: str) -> str:
    """Return what a healthy program does, in the words of the check; "" for a check that is not ours.

    >>> expected("OF")
    'a few examples are learned by heart, judged by the loss and the floors that are known of it'
    """
    from importlib import import_module

    from whet.checks.registry import BUILT_IN

    if code in _WATCHED:
        return _WATCHED[code]
    module = BUILT_IN.get(code, "").partition(":")[0]
    words = " ".join((import_module(module).__doc__ or "").split("\n\n")[0].split()) if module else ""
    return words.partition(": ")[2].rstrip(".") if words.startswith(f"{code}: ") else ""


def left_out(skipped: Sequence[NotRun]) -> list[Block]:
    """Return tables of what did not run and of what does not apply, with the reasons.

    >>> [b.title for b in left_out([NotRun("A", "ValueError: x"), NotRun("B", "does not apply: no sequence")])]
    ['Did not run', 'Does not apply']
    """
    blocks: list[Block] = []
    for title, applies in (("Did not run", True), ("Does not apply", False)):
        reasons: dict[str, list[str]] = {}
        for n in skipped:
            if n.applies is applies:
                reasons.setdefault(clean(n.reason), []).append(n.code)
        rows = [(" ".join(codes), why) for why, codes in reasons.items()]
        if rows:
            blocks.append(Table(("code", "why"), rows, title, folded=len(rows) > 8))
    return blocks


def _answer(health: Health) -> Section:
    from whet.checks.words import verdict

    found = sorted(health.findings, key=lambda f: list(Severity).index(f.severity))
    counts = {s: sum(f.severity is s for f in found) for s in Severity}
    ran = len({*health.facts, *(f.code for f in found)})
    words = {
        Severity.FAIL: "impossible in a correct program",
        Severity.WARN: "hardly chance",
        Severity.INFO: "worth knowing",
    }
    items = [("checks that ran", ran, f"{len(health.not_run)} did not" if health.not_run else "")]
    items += [(s.value, n, words[s]) for s, n in counts.items()]
    said = verdict(health)
    blocks: list[Block] = [Headline(tuple(items))]
    if found:
        blocks.append(Findings(tuple(found), "What was found, the most serious first"))
    return Section("answer", "The answer", said[0].upper() + said[1:] + ".", tuple(blocks))


def _learning(health: Health, classes: Sequence[str] | None) -> Section | None:
    facts = health.facts
    of, drawn = facts.get("OF") or {}, health.drawn.get("OF") or {}
    where = ", in the short training of the check IIB"
    moving = dynamics((facts.get("IIB") or {}).get("dynamics"), classes, where=where)
    seen = dynamics((facts.get("JITTER") or {}).get("dynamics"), classes)
    watched = trend(facts.get("TREND") or {})
    blocks: list[Block | None] = [watched, seen, overfitted(of), moving, sweep(facts.get("LRR") or {})]
    blocks.append(answers(of, classes))
    after = f"after {count(int(of.get('steps') or 0), 'step')} on a few examples"
    blocks.append(first_weights(drawn.get("before"), "before any step"))
    blocks.append(first_weights(drawn.get("after"), after, like=drawn.get("before")))
    kept = tuple(b for b in blocks if b is not None)
    said = [str(facts[c]["text"]) for c in ("TREND", "JITTER", "OF", "IIB", "LRR") if facts.get(c, {}).get("text")]
    text = "; ".join(said)
    return (
        Section("learning", "Does it learn", text[:1].upper() + text[1:] + "." if text else "", kept) if kept else None
    )


def _layers(health: Health) -> Section | None:
    kept = [
        b
        for b in (activations(health.facts.get("ACT") or {}), gradients(health.facts.get("GRAD") or {}))
        if b is not None
    ]
    sentence = "Signals and gradients at initialisation, layer by layer."
    return Section("layers", "The layers", sentence, tuple(kept)) if kept else None


def _measured(health: Health) -> Section:
    found = {f.code: f.severity.value for f in sorted(health.findings, key=lambda f: -list(Severity).index(f.severity))}
    rows = [(code, found.get(code, "fine"), clean(fact.get("text") or ""), told(fact), expected(code))
            for code, fact in health.facts.items()]  # fmt: skip
    blocks: list[Block] = []
    if rows:
        blocks.append(Table(("code", "outcome", "in words", "numbers", "what must hold"), rows))
    blocks += left_out(health.not_run)
    sentence = f"{count(len(rows), 'check')} measured something" + (
        f"; {len(health.not_run)} did not run." if health.not_run else "."
    )
    return Section("measured", "What was measured", sentence, tuple(blocks))


def check_report(
    name: str,
    health: Health,
    *,
    title: str = "",
    params: Mapping[str, Any] | None = None,
    command: str = "",
    seed: int | None = None,
) -> Report:
    """Return the report of what `whet.check`, `whet.checks.check_task` or `whet.checks.Live` found.

    name: of what was checked; title: of the page; params: the configuration it was checked with; command: how to do it again.

    >>> report = check_report("net", Health(facts={"INIT": {"text": "loss at init 2.31", "loss": 2.31, "n": 512}}))
    >>> [s.name for s in report.sections], report.sections[0].sentence
    (['answer', 'measured'], 'Healthy: 1 check, nothing wrong.')
    """
    batch = health.drawn.get("RUN") or {}
    sections = [
        _answer(health), entering(batch, health.drawn.get("RNG")) if batch else None,
        _learning(health, batch.get("classes")), _layers(health), _measured(health),
    ]  # fmt: skip
    again: list[Block] = [Code(command, "The same again")] if command else []
    if params:
        again.append(
            Facts({**params, **({} if seed is None else {"seed": seed})}, "The configuration that was checked")
        )
    if again:
        sections.append(Section("again", "How to do it again", "", tuple(again)))
    return Report(
        title or f"Check of {name}",
        tuple(s for s in sections if s is not None),
        "What must hold for a training to be worth its time",
    )
