"""The work behind `whet simulate`: choose the rates, simulate, and keep what came of it, whether or not it came to its end."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from whet.cli.asked import Asked
from whet.cli.standing import Far, at_equal_time, chosen_rates, ends
from whet.recipe.block import WIDTH

if TYPE_CHECKING:
    from whet.cli.screen import Screen
    from whet.distributed.compare import Outcome, Setting
    from whet.distributed.rates import Rate
    from whet.task import Task

__all__ = ["Simulated", "simulated"]


@dataclass
class Simulated:
    """What came of the simulations.

    params: the configuration they share; rates: by rule and number of workers, where they chose; total: trainings that were wanted;
    notes: what a reader should know of how they were simulated.
    """

    metric: str
    better: str
    params: dict[str, Any]
    setting: dict[str, str]
    until: float | None
    total: int
    outcomes: list[Outcome] = field(default_factory=list)
    rates: dict[tuple[str, int], Rate] = field(default_factory=dict)
    name: str = "lr"
    notes: list[str] = field(default_factory=list)
    interrupted: bool = False

    @property
    def failed(self) -> bool:
        """Whether no rule came to its end."""
        from whet.distributed.compare import SEQUENTIAL

        return not any(o.complete for o in self.outcomes if o.case.rule != SEQUENTIAL)

    def say(self, screen: Screen) -> None:
        """Show what came of it."""
        from whet.distributed.summary import moments, summary
        from whet.report.simulated import sentence

        if self.rates:
            screen.block("rates", chosen_rates(self.rates, self.metric))
        if self.outcomes:
            rows = summary(self.outcomes)
            screen.block("ends", ends(rows, self.metric))
            for moment, at in moments(self.outcomes, self.until):
                screen.block("time", at_equal_time(moment, at, self.metric))
        if self.interrupted:
            done = f"{len(self.outcomes)} of {self.total} trainings were finished; they are what is shown"
            screen.block("stopped", [done if self.outcomes else "before a training was finished"])
        elif self.outcomes:
            screen.block(
                "answer", textwrap.wrap(sentence(rows, self.metric, self.better), WIDTH, break_on_hyphens=False)
            )
        for note in self.notes:
            screen.block("note", textwrap.wrap(note, WIDTH, break_on_hyphens=False))

    def json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        from whet.distributed.summary import moments, summary

        rates = [
            {"rule": rule, "workers": workers, "rate": r.rate, "edge": r.edge, "tried": [t._asdict() for t in r.tried]}
            for (rule, workers), r in self.rates.items()
        ]
        return {
            "metric": self.metric, "better": self.better, "params": self.params, "interrupted": self.interrupted,
            "failed": self.failed, "trainings": self.total, "summary": [r._asdict() for r in summary(self.outcomes)],
            "time": [{"when": when, "rows": [r._asdict() for r in rows]} for when, rows in moments(self.outcomes, self.until)],
            "rates": rates, "notes": self.notes, "runs": [o.json() for o in self.outcomes],
        }  # fmt: skip

    def further(self, task: str, words: Sequence[str]) -> str:
        """Return the command that trains by the best rule in processes, or "" when there is none."""
        import shlex

        from whet.distributed.compare import SEQUENTIAL
        from whet.distributed.summary import summary
        from whet.report.rules import best

        top = best([r for r in summary(self.outcomes) if r.rule != SEQUENTIAL], self.better)
        if top is None:
            return ""
        rate = self.rates.get((top.rule, top.workers))
        short = self.name.rpartition(".")[2]
        kept = [w for w in words if rate is None or w.partition("=")[0].strip() not in (self.name, short)]
        kept += [f"{self.name}={rate.rate:g}"] if rate is not None else []
        more = "".join(f" --set {shlex.quote(w)}" for w in kept)
        how = "".join(
            f" --{flag} {shlex.quote(str(self.setting[flag]))}"
            for flag in ("shuffle", "shares")
            if self.setting.get(flag, "global") != "global"
        )
        return f"whet train {task} --workers {top.workers} --rule {shlex.quote(top.rule)}{how}{more}"


def simulated(
    task: Task, start: dict[str, Any], words: Sequence[str] | None, asked: Asked, screen: Screen
) -> Simulated:
    """Simulate what is asked for, from the configuration `start` with the settings `words`, showing how far it is."""
    from whet.cli.job import configuration, settings
    from whet.cli.stop import interruptible
    from whet.distributed.compare import check, compare
    from whet.distributed.rates import settings as as_settings
    from whet.distributed.rates import tune_rates
    from whet.errors import UsageError
    from whet.tune.trial import Goal

    params, name = configuration(task.space, start, words), "lr"
    if asked.rates:
        try:
            name = next(iter(settings(task.space, [f"lr={asked.rates[0]:g}"])))
            for rate in asked.rates:
                params = configuration(task.space, params, [f"{name}={rate!r}"])
        except UsageError as e:
            raise UsageError(f"--lr: {str(e).removeprefix('--set ')}") from None
    data = task.data(params)
    goal = task.goals(data)[0]
    assert isinstance(goal, Goal)  # the first always is
    setting: Setting = {
        "steps": task.steps, "delays": asked.delays, "network": asked.network, "failures": asked.failures,
        "shuffle": asked.shuffle, "shares": asked.shares,
    }  # fmt: skip
    check(task, params, asked.rules, asked.workers, **setting)
    choose = len(asked.rates) > 1
    pairs = len(asked.rules) * len(asked.workers) + asked.baseline
    total = pairs * len(asked.seeds)
    found = Simulated(
        goal.name, goal.better, _shared(params), _setting(asked, task.steps), asked.until, total, name=name,
        notes=_notes(asked, len(data.train), task.batch(params), task.steps),
    )  # fmt: skip
    every = total + pairs * len(asked.rates) * len(asked.lr_seeds) * choose
    far = Far(every, task.steps)
    once = _once(asked, len(data.train), task.batch(params), task.steps)
    what = _what(asked, every, task.steps, choose=choose)
    screen.block("simulate", [y for x in (what, *once) for y in textwrap.wrap(x, WIDTH, break_on_hyphens=False)])
    found.notes += once
    with interruptible("showing what is finished", screen.notice) as stop, screen.watching(far.look):
        if choose:
            found.rates = tune_rates(
                task, params, rules=asked.rules, workers=asked.workers, rates=asked.rates, seeds=asked.lr_seeds, name=name,
                baseline=asked.baseline, watch=lambda case, rate, epochs: far.at(case, epochs, rate), stopping=stop.is_set,
                **setting,
            )  # fmt: skip
        if not stop.is_set():
            for outcome in compare(
                task, params, rules=asked.rules, workers=asked.workers, seeds=asked.seeds, own=as_settings(found.rates, name),
                baseline=asked.baseline, watch=far.at, stopping=stop.is_set, **setting,
            ):  # fmt: skip
                found.outcomes.append(outcome)
        found.interrupted = stop.is_set()
    return found


def _shared(params: dict[str, Any]) -> dict[str, Any]:
    """Return what the simulations have in common: not the rule and workers that a configuration names, in whose place others are simulated."""
    from whet.distributed.together import rule_in

    if not rule_in(params):
        return params
    return {n: v for n, v in params.items() if n not in ("rule", "workers", "shuffle") and not n.startswith("rule.")}


def _what(asked: Asked, total: int, steps: int, *, choose: bool) -> str:
    from whet.recipe.words import count

    what = f"{count(total, 'training')} of {count(steps, 'epoch')}"
    if choose:
        what += f", rates chosen on {_seeds(asked.lr_seeds)} and shown on {_seeds(asked.seeds)}"
    return f"{what}; delays {asked.said}"


def _seeds(seeds: Sequence[int]) -> str:
    return f"seeds {seeds[0]} to {seeds[-1]}" if len(seeds) > 1 else f"seed {seeds[0]}"


def _setting(asked: Asked, steps: int) -> dict[str, str]:
    rates = {"rates chosen on": _seeds(asked.lr_seeds)} if len(asked.rates) > 1 else {}
    return {**asked.words, "seeds": _seeds(asked.seeds), "epochs": str(steps), **rates}


def _once(asked: Asked, n: int, batch: int, steps: int) -> list[str]:
    """Return a warning for each rule whose workers would exchange but once."""
    from whet.distributed.named import parse_rule
    from whet.distributed.shuffle import Shuffle
    from whet.distributed.stretch import few

    found = []
    for workers in asked.workers:
        dealt = Shuffle(n, batch, workers, asked.shuffle, shares=asked.shares)  # type: ignore[arg-type]
        found += [few(parse_rule(r), workers, steps * dealt.per_epoch, asked.shares) for r in asked.rules]
    return [x for x in found if x]


def _notes(asked: Asked, n: int, batch: int, steps: int) -> list[str]:
    """Return what a reader should know of what was asked for."""
    from whet.distributed.named import parse_rule
    from whet.distributed.shuffle import advice
    from whet.recipe.words import count

    found = []
    if asked.shuffle != "global":
        found.append(advice(n, max(asked.workers), steps, asked.shuffle).why)  # type: ignore[arg-type]
        loose = [rule for rule in asked.rules if not parse_rule(rule).gathers]
        if loose:
            found.append(
                f"{', '.join(loose)}: a worker that is through with its shard takes over what slower ones have left of theirs, so "
                "each example is seen once in an epoch, and not always by the worker that has it"
            )
    batches = -(-n // batch)
    if max(asked.workers) > batches:
        found.append(
            f"an epoch has {count(batches, 'batch').replace('batchs', 'batches')}, fewer than {max(asked.workers)} workers: "
            "what they send is more than an epoch old"
        )
    return found
