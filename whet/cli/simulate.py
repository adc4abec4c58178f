"""`whet simulate`: rules of distributed training on a virtual clock."""

from __future__ import annotations

import math
import shlex
import sys
import time
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from whet.cli import options as o

if TYPE_CHECKING:
    from whet.distributed.compare import Outcome
    from whet.distributed.delays import Delays
    from whet.recipe.block import Began, Block, Progress

__all__ = ["add"]


def add(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("simulate", epilog="Example: whet simulate digits --workers 4,16 --rule sync,dc-asgd --straggler 3x")(
        simulate
    )


def simulate(
    task: o.TaskName,
    target: o.Target = None,
    kind: o.Kind = None,
    time: o.Time = None,
    workers: str = typer.Option("4", "--workers", metavar="N,...", help="How many workers, each in turn."),
    rule: str = typer.Option(
        "sync,async,dc-asgd",
        "--rule",
        metavar="RULE,...",
        help="sync, async, bounded(s=3), dc-asgd, average(every=4), ec, ...",
    ),
    delays: str = typer.Option(
        "gamma",
        "--delays",
        metavar="NAME|FILE",
        help="constant, gamma, exponential, lognormal, pareto; or a file of seconds.",
    ),
    straggler: str = typer.Option("", "--straggler", metavar="Fx", help="Worker 0 takes so many times as long: 3x."),
    bandwidth: float = typer.Option(math.inf, "--bandwidth", metavar="BYTES", help="Of each link, a virtual second."),
    shuffle: str = typer.Option("global", "--shuffle", help="global, local or once."),
    seeds: int = typer.Option(1, "--seeds", metavar="N", help="So many seeds, from --seed on."),
    set: o.Set = None,
    epochs: o.Epochs = None,
    seed: o.Seed = 0,
    html: o.Html = None,
    plain: o.Plain = False,
    json: o.Json = False,
) -> int:
    """Simulate distributed training: real gradients, drawn delays, the same numbers every time.

    Shows how far each rule gets by epochs, by updates and by virtual time. Exit code 1 when no rule comes to its end.
    """
    from whet.cli.job import configuration, make_task
    from whet.cli.output import Kept, check_page
    from whet.cli.screen import Screen, emit_json, only_json
    from whet.distributed.compare import compare
    from whet.distributed.delays import Network
    from whet.recipe.finish import one_thread
    from whet.recipe.job import Job
    from whet.report.simulated import simulation_report
    from whet.tune.trial import Goal

    check_page(html)
    asked = _Asked(workers, rule, delays, straggler, seeds)
    network = Network(bandwidth=bandwidth)
    one_thread()
    screen = Screen(plain=plain, quiet=json)
    with only_json(json):
        made = make_task(task, target, kind, seed, time=time)
        job = Job(made, steps=epochs)
        params = configuration(made.space, job.first, set)
        goal = made.goals(job.data(params))[0]
        assert isinstance(goal, Goal)  # the first always is
        found: list[Outcome] = []

        def told() -> Generator[Began | Progress | Block, None, None]:
            far = _Far(asked, made.steps, goal.name)
            yield far.began()
            outcomes = compare(
                made, params, rules=asked.rules, workers=asked.workers, seeds=range(seed, seed + asked.seeds),
                steps=made.steps, delays=asked.delays, network=network, shuffle=shuffle, tell=far.tell,
            )  # fmt: skip
            for outcome in outcomes:
                found.append(outcome)
                yield far.progress(found)
            yield far.block(found)

        blocks = screen.show(told())
    setting = {
        "delays": asked.said, "bandwidth": "unlimited" if math.isinf(bandwidth) else f"{bandwidth:g} bytes a second",
        "shuffle": shuffle, "seeds": f"{seed} to {seed + asked.seeds - 1}" if asked.seeds > 1 else str(seed),
        "epochs": str(made.steps),
    }  # fmt: skip
    if json:
        emit_json({**blocks["simulate"].data, "setting": setting, "params": params, "runs": [f.json() for f in found]})
    kept = Kept()
    if html is not None:
        from whet.report import write_html

        command = shlex.join(["whet", *sys.argv[1:]])
        report = simulation_report(
            made.name, found, metric=goal.name, better=goal.better, params=params, command=command, setting=setting
        )
        with kept.trying():
            screen.block("page", [] if json else [str(write_html(report, html))])
    return kept.code(int(blocks["simulate"].failed))


class _Asked:
    """The words of the command, read."""

    def __init__(self, workers: str, rule: str, delays: str, straggler: str, seeds: int) -> None:
        from whet.distributed.named import parse_rule, split
        from whet.errors import UsageError

        self.workers = [_whole("--workers", w) for w in workers.split(",") if w.strip()]
        self.rules = [r.strip() for r in split(rule, ",") if r.strip()]
        for name in self.rules:
            parse_rule(name)
        if not self.workers or not self.rules:
            raise UsageError(
                f"{'--rule' if self.workers else '--workers'}: is empty. Give e.g. --workers 4,16 --rule sync,dc-asgd."
            )
        if seeds < 1:
            raise UsageError(f"--seeds: must be at least 1, got {seeds}.")
        self.seeds = seeds
        self.delays, self.said = _delays(delays, straggler)


def _whole(flag: str, text: str) -> int:
    from whet.errors import UsageError

    try:
        found = int(text)
    except ValueError:
        raise UsageError(f"{flag} {text.strip()}: must be whole numbers, such as 4,16.") from None
    if found < 1:
        raise UsageError(f"{flag}: must be at least 1, got {found}.")
    return found


def _delays(name: str, straggler: str) -> tuple[Delays, str]:
    """Return the delays, and what they are in words."""
    from whet.distributed.delays import NAMES, Delays
    from whet.errors import UsageError

    stragglers: dict[int, float] = {}
    if straggler:
        try:
            stragglers[0] = float(straggler.removesuffix("x"))
        except ValueError:
            raise UsageError(f"--straggler {straggler}: must be a factor, such as 3x.") from None
    said = f"; worker 0 takes {stragglers[0]:g} times as long" if stragglers else ""
    if name not in NAMES and Path(name).is_file():
        try:
            lines = [[float(v) for v in line.replace(",", " ").split()] for line in Path(name).read_text().splitlines()]
        except (ValueError, OSError) as e:
            raise UsageError(f"--delays {name}: cannot be read ({e}). Give seconds, one worker a line.") from None
        lines = [line for line in lines if line]
        if not lines or any(not 0 < v < math.inf for line in lines for v in line):
            raise UsageError(f"--delays {name}: must hold seconds above 0, one worker a line.")
        return Delays(name, trace=lines, stragglers=stragglers), f"recorded in {name}{said}"
    return Delays(name, stragglers=stragglers), f"{name}{said}"


class _Far:
    """How far the simulations are, and what came of them."""

    def __init__(self, asked: _Asked, steps: int, metric: str) -> None:
        self.asked, self.steps, self.metric = asked, steps, metric
        self.total = len(asked.workers) * len(asked.rules) * asked.seeds
        self.start = time.monotonic()
        self.points = 0

    def began(self) -> Began:
        """Return that it begins."""
        from whet.recipe.block import Began

        return Began("simulate", f"{self.total} trainings of {self.steps} epochs")

    def tell(self, case: Any, point: Any) -> None:
        """Count an epoch."""
        self.points += 1

    def progress(self, found: Sequence[Outcome]) -> Progress:
        """Return how far it is."""
        from whet.recipe.block import Progress

        done, past = len(found) / self.total, time.monotonic() - self.start
        last = found[-1]
        value = f"{self.metric} {last.points[-1].value:.4g}" if last.points else "no epoch"
        return Progress(
            "simulate", done, str(len(found)), f"{self.total} trainings", past / done - past, {},
            {"epochs": self.points / max(past, 1e-9)}, value, f"{last.case.rule}, {last.case.workers} workers",
        )  # fmt: skip

    def block(self, found: Sequence[Outcome]) -> Block:
        """Return what came of it."""
        from whet.distributed.summary import summary
        from whet.recipe.block import Block

        rows = summary(found)
        width = max(len(r.rule) for r in rows)
        lines = [f"{'rule':<{width}} {'workers':>7} {self.metric:>16} {'seconds':>9} {'updates':>8} {'stale':>6}"]
        for r in rows:
            value = f"{r.value:.4g}" + (f" +- {r.spread:.2g}" if math.isfinite(r.spread) else "")
            value = value if r.diverged < r.n else "diverged"
            more = f" ({r.diverged} of {r.n} diverged)" if 0 < r.diverged < r.n else ""
            seconds, updates = (f"{x:,.0f}" if math.isfinite(x) else "-" for x in (r.seconds, r.updates))
            lines.append(
                f"{r.rule:<{width}} {r.workers:>7} {value:>16} {seconds:>9} {updates:>8} {r.staleness:>6.2f}{more}"
            )
        data = {"metric": self.metric, "summary": [r._asdict() for r in rows]}
        return Block("simulate", tuple(lines), data, failed=all(r.diverged == r.n for r in rows))
