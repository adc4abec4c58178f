"""Bugs found and false alarms raised: whet's checks beside TrainCheck, trainproof, PyTorch Lightning and torchtest.

    python benchmarks/checks.py [--seeds 2] [--only WORD] [--tools check,live,...] [--quick] [--json FILE] [--keep FILE]

All tools look at the same programs (model, loss, batch, optimizer): the catalogue of seeded bugs of whet's own tests, the same
programs without the bug, and the zoo of healthy programs of whet's tests; each tool in the manner it is meant for, with its default
settings (see the modules of benchmarks/checking). Tools that watch a training get 100 steps on the program's batch.

A bug is *detected* when the tool raises an alarm (exception, warning, FAIL or WARN, violated invariant) of a kind that it raises with no
seed on the program without the bug; it is *named* when the words of such an alarm say what is wrong (benchmarks/checking/causes.py). A
*silent* bug is one that the plain loop neither stops nor warns at. A *false alarm* is any alarm on a healthy program. An exception of the
program itself counts for every tool, as for no tool at all. `read` lines add what a person must conclude from figures that come without
a verdict. A program that a tool cannot look at is one whose bug it misses, with the reason below the table. A bug counts when it is detected with
every seed, a false alarm when it is raised with any; intervals (95 %, Wilson) are over programs.

The catalogue and the zoo are whet's own, and whet was made to pass them: its figures here say that it still does, not how it does on
programs it never saw; those of the others are of programs they never saw.

TrainCheck takes most of a minute a program, so it looks at a sample (SAMPLE) with one seed. Peers that are not installed are left out
with a line: `make bench` installs them, or `pip install --constraint constraints.txt --editable '.[dev,bench]'`.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch

from checking import TOOLS, Outcome, Program, Score, healthy, installed, interval, named, score, seeded

SAMPLE = ("dense", 5)  # of the bugs whose program without the bug is this one, every so many
SAMPLE_HEALTHY = ("dense", "zoo: mlp", "zoo: dropout")
QUICK = ("dense: softmax before ce", "dense: detached", "dense: wrong width", "dense", "zoo: mlp")
Key = tuple[str, str, int]  # tool, program, seed


def chosen(programs: list[Program], words: str, quick: bool) -> list[Program]:
    """Return the programs asked for, and those without the bug that they are compared with."""
    some = [p for p in programs if (p.name in QUICK if quick else words.lower() in p.name.lower())]
    if not some:
        raise SystemExit(f"--only: no program has {words!r} in its name. Families: dense, cnn, recurrent, zoo, ...")
    needed = {p.fixed for p in some}
    return [p for p in programs if p in some or p.name in needed]


def sampled(programs: list[Program]) -> list[Program]:
    """Return the sample of the slow tools."""
    fixed, every = SAMPLE
    bugs = [p for p in programs if p.bug is not None and p.fixed == fixed][::every]
    return [*bugs, *(p for p in programs if p.name in SAMPLE_HEALTHY)] if bugs else []


def jobs(programs: list[Program], tools: list[str], seeds: int) -> list[Key]:
    """Return what is to be done: all tools with one seed before the next seed, slow ones last."""
    quick = [t for t in tools if not TOOLS[t].sample]
    slow = [t for t in tools if TOOLS[t].sample]
    return [(t, p.name, s) for s in range(seeds) for t in quick for p in programs] + [
        (t, p.name, 0) for t in slow for p in sampled(programs)
    ]


def progress(done: int, of: int, began: float, tool: str) -> None:
    """Say on stderr how far it is; every 20 programs where that is not a terminal."""
    left = (time.monotonic() - began) / max(1, done) * (of - done)
    if sys.stderr.isatty():
        print(f"\r{done}/{of} {tool:<20} about {left / 60:.1f} min left ", end="", file=sys.stderr)
    elif done % 20 == 0 or done == of:
        print(f"{done}/{of} {tool}, about {left / 60:.1f} min left", file=sys.stderr, flush=True)


def look(programs: list[Program], todo: list[Key], keep: Path | None, folder: str) -> Iterator[tuple[Key, Outcome]]:
    """Run what is not kept yet."""
    known: dict[Key, Outcome] = {}
    if keep and keep.exists():
        for line in keep.read_text().splitlines():
            entry = json.loads(line)
            known[entry["tool"], entry["program"], entry["seed"]] = Outcome(**entry["outcome"])
    by, began, new = {p.name: p for p in programs}, time.monotonic(), 0
    missing = len([k for k in todo if k not in known])
    for key in todo:
        tool, name, seed = key
        if key not in known:
            usual = known.get(("loop", name, seed), Outcome())
            outcome = TOOLS[tool].adapter()(
                by[name], seed, fixed=by[by[name].fixed if by[name].bug else _reference(tool, by[name])], usual=usual, folder=folder
            )  # fmt: skip
            known[key] = outcome
            if keep:
                with keep.open("a") as file:
                    file.write(
                        json.dumps({"tool": tool, "program": name, "seed": seed, "outcome": outcome.json()}) + "\n"
                    )
            new += 1
            progress(new, missing, began, tool)
        yield key, known[key]
    if new and sys.stderr.isatty():
        print(file=sys.stderr)


def _reference(tool: str, program: Program) -> str:
    """Return the good run that a healthy program is held against: its own, or for the sample that of the sample."""
    return SAMPLE[0] if TOOLS[tool].sample else program.fixed


def share(hits: int, of: int) -> str:
    """Return a share with its interval."""
    if of == 0:
        return "-"
    low, high = interval(hits, of)
    return f"{hits}/{of} = {hits / of:.2f} ({low:.2f} to {high:.2f})"


def rows(said: dict[str, dict[tuple[str, int], Outcome]], programs: list[Program]) -> Iterator[tuple[str, Score]]:
    """Return a row a tool, and one more for what a person reads of it."""
    for tool, outcomes in said.items():
        for read in (False, True) if TOOLS[tool].reads else (False,):
            more = ", and read by a person" if read else ""
            yield TOOLS[tool].title + more, score(outcomes, said["loop"], programs, named, read=read)


def table(found: list[tuple[str, Score]]) -> None:
    """Print the rates, then what lies behind them."""
    print("| tool | detected | of silent ones | named | false alarms | CPU s a program |\n|---|---|---|---|---|---|")
    for title, s in found:
        print(
            f"| {title} | {share(s.detected, s.bugs)} | {share(s.silent_detected, s.silent)} | {share(s.named, s.bugs)} "
            f"| {share(len(s.false), s.healthy)} | {statistics.median(s.seconds):.2f} |"
        )
    for title, s in found:
        print(f"\n{title}")
        for what, names in (("missed", s.missed), ("detected, cause not named", s.nameless)):
            if names:
                print(f"  {what} ({len(names)}): {'; '.join(sorted(names))}")
        for name, kinds in sorted(s.false.items()):
            print(f"  false alarm on {name}: {', '.join(sorted(kinds))}")
        for why, names in sorted(s.not_run.items()):
            print(f"  could not run on {', '.join(sorted(names))}: {why}")


def main() -> None:
    """Look, count and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--only", default="", metavar="WORD", help="programs with this in their name")
    parser.add_argument("--tools", default=",".join(TOOLS), help=f"of {', '.join(TOOLS)}")
    parser.add_argument("--quick", action="store_true", help="five programs, one seed, no TrainCheck")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every outcome there")
    parser.add_argument("--keep", type=Path, metavar="FILE", help="append outcomes as they come, and go on from there")
    given = parser.parse_args()
    tools = [t for t in given.tools.split(",") if t]
    if unknown := [t for t in tools if t not in TOOLS]:
        raise SystemExit(f"--tools: no tool {unknown[0]!r}. There are {', '.join(TOOLS)}.")
    if given.quick:
        tools = [t for t in tools if not TOOLS[t].sample]
    torch.set_num_threads(1)
    torch.set_warn_always(True)  # else a warning is heard of the first program alone
    here = {t: installed(t) for t in ("loop", *(t for t in tools if t != "loop"))}
    for tool in [t for t, v in here.items() if v is None]:
        print(f"{tool} is left out: {TOOLS[tool].package} is not installed. pip install '.[bench]' brings it.")
    programs = chosen(seeded() + healthy(), given.only, given.quick)
    print(", ".join(dict.fromkeys(f"{TOOLS[t].package} {v}" for t, v in here.items() if v)), end="; ")
    seeds = 1 if given.quick else given.seeds
    print(
        f"{sum(p.bug is not None for p in programs)} bugs, {sum(p.bug is None for p in programs)} healthy programs, {seeds} seed(s)\n"
    )
    said: dict[str, dict[tuple[str, int], Outcome]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for (tool, name, seed), outcome in look(
            programs, jobs(programs, [t for t, v in here.items() if v], seeds), given.keep, folder
        ):
            said.setdefault(tool, {})[name, seed] = outcome
    found: list[tuple[str, Score]] = list(rows(said, programs))
    table(found)
    if given.json:
        given.json.write_text(json.dumps(_json(said), indent=1))


def _json(said: dict[str, dict[tuple[str, int], Outcome]]) -> list[dict[str, Any]]:
    return [
        {"tool": tool, "program": name, "seed": seed, **outcome.json()}
        for tool, outcomes in said.items()
        for (name, seed), outcome in outcomes.items()
    ]


if __name__ == "__main__":
    main()
