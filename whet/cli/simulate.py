"""`whet simulate`: rules of distributed training on a virtual clock."""

from __future__ import annotations

import shlex
import sys

import typer

from whet.cli import options as o

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
        help="sync, async, bounded(s=3), dc-asgd, average(every=4), elastic, ec, ...",
    ),
    delays: str = typer.Option(
        "gamma",
        "--delays",
        metavar="NAME|FILE",
        help="Of a step: constant, gamma, exponential, lognormal, pareto(2.5); or a file of seconds, one worker a line.",
    ),
    straggler: str = typer.Option(
        "", "--straggler", metavar="FACTOR,...", help="Who is slow: 3x (worker 0), or 0:3x,5:2x."
    ),
    fail: str = typer.Option(
        "", "--fail", metavar="WHO@WHEN,...", help="Who dies when: 2@100, or 2@100-150 for one that comes back."
    ),
    bandwidth: str = typer.Option(
        "", "--bandwidth", metavar="SIZE", help="Of each worker's link, a virtual second: 10MB (default: unlimited)."
    ),
    latency: str = typer.Option("0", "--latency", metavar="SECONDS", help="Of each message, in virtual seconds."),
    service: str = typer.Option("0", "--service", metavar="SECONDS", help="In which the server merges one update."),
    shuffle: str = typer.Option("global", "--shuffle", metavar="HOW", help="global, local or once."),
    shares: str = typer.Option(
        "", "--shares", metavar="N,...", help="How much each worker takes, such as 1,1,2 (default: all the same)."
    ),
    lr: str = typer.Option(
        "", "--lr", metavar="RATE,...", help="Learning rates each rule chooses from, on seeds that are not shown."
    ),
    lr_seeds: int = typer.Option(
        2, "--lr-seeds", metavar="N", help="So many seeds to choose rates on, after those shown."
    ),
    seeds: int = typer.Option(1, "--seeds", metavar="N", help="So many seeds, from --seed on."),
    until: str = typer.Option(
        "", "--until", metavar="SECONDS", help="The virtual time at which rules are compared (default: the quickest's)."
    ),
    baseline: bool = typer.Option(
        True, "--baseline/--no-baseline", help="Begin with sequential SGD, for the speed-up."
    ),
    set: o.Set = None,
    epochs: o.Epochs = None,
    seed: o.Seed = 0,
    html: o.Html = None,
    plain: o.Plain = False,
    json: o.Json = False,
) -> int:
    """Simulate training on many workers: real gradients, drawn delays.

    Shows how far each rule gets after the same epochs and at the same virtual time; a step of one worker takes about one virtual
    second. Exit code 1 when no rule comes to its end. Ctrl-C shows what is finished.
    """
    from whet.cli.asked import Asked
    from whet.cli.output import Kept, check_page
    from whet.cli.screen import Screen, emit_json, only_json

    asked = Asked.of(
        {"workers": workers, "rule": rule, "delays": delays, "straggler": straggler, "fail": fail, "bandwidth": bandwidth,
         "latency": latency, "service": service, "shuffle": shuffle, "shares": shares, "lr": lr, "until": until},
        seed=seed, seeds=seeds, lr_seeds=lr_seeds, epochs=epochs, baseline=baseline,
    )  # fmt: skip
    check_page(html)
    from whet.cli.job import make_task
    from whet.cli.simulated import simulated
    from whet.recipe.finish import one_thread
    from whet.recipe.job import Job

    one_thread()
    screen = Screen(plain=plain, quiet=json)
    with only_json(json):
        job = Job(make_task(task, target, kind, seed, time=time), steps=epochs)
        found = simulated(job.task, job.first, set, asked, screen)
    found.say(screen)
    kept, page = Kept(), {}
    if html is not None and found.outcomes:
        from whet.report import write_html
        from whet.report.simulated import simulation_report

        command = shlex.join(["whet", *sys.argv[1:]])
        report = simulation_report(
            job.name, found.outcomes, metric=found.metric, better=found.better, params=found.params, command=command,
            setting=found.setting, rates=found.rates, until=found.until,
        )  # fmt: skip
        with kept.trying():
            page["html"] = str(write_html(report, html))
            screen.block("page", [] if json else [page["html"]])
    if json:
        emit_json({"task": job.name, **found.json(), "setting": found.setting, **page})
    if found.interrupted:
        return kept.code(130)
    if line := found.further(o.again(task, target, kind, time), set or ()):
        screen.block("next", [line])
    return kept.code(int(found.failed))
