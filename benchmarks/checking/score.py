"""What a tool said of a program, and what of that counts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from math import sqrt
from typing import Any

__all__ = ["Outcome", "Score", "detected", "interval", "score"]


@dataclass(frozen=True)
class Outcome:
    """What a tool said of a program with one seed.

    alarms: kind of alarm -> its words; read: the same for what a person must conclude from figures without a verdict;
    not_run: why the tool could not look at all, or ""; seconds: of CPU, of the tool and the processes it started.
    """

    alarms: Mapping[str, str] = field(default_factory=dict)
    read: Mapping[str, str] = field(default_factory=dict)
    not_run: str = ""
    seconds: float = 0.0

    def json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return asdict(self)


def detected(bug: Outcome, fixed: Iterable[Outcome], read: bool = False) -> dict[str, str]:
    """Return the alarms whose kind the program without the bug raises with no seed."""
    usual = {kind for o in fixed for kind in {**o.alarms, **(o.read if read else {})}}
    return {k: v for k, v in {**bug.alarms, **(bug.read if read else {})}.items() if k not in usual}


def interval(hits: int, of: int, z: float = 1.96) -> tuple[float, float]:
    """Return Wilson's 95 % interval of a share.

    >>> [round(v, 3) for v in interval(0, 20)], [round(v, 3) for v in interval(15, 20)]
    ([0.0, 0.161], [0.531, 0.888])
    """
    if of == 0:
        return 0.0, 1.0
    p, zz = hits / of, z * z
    middle, half = (p + zz / (2 * of)), z * sqrt(p * (1 - p) / of + zz / (4 * of * of))
    return max(0.0, (middle - half) / (1 + zz / of)), min(1.0, (middle + half) / (1 + zz / of))


@dataclass
class Score:
    """Counts of programs. silent: bugs that a plain loop neither stops nor warns at; named: the words say what is wrong.

    A bug counts when it is found with every seed, a false alarm when it is raised with any: seeds of one program are not
    independent, so the intervals are over programs.
    """

    bugs: int = 0
    detected: int = 0
    silent: int = 0
    silent_detected: int = 0
    named: int = 0
    healthy: int = 0
    seconds: list[float] = field(default_factory=list)
    missed: set[str] = field(default_factory=set)
    nameless: set[str] = field(default_factory=set)
    false: dict[str, set[str]] = field(default_factory=dict)
    not_run: dict[str, set[str]] = field(default_factory=dict)


Said = Mapping[tuple[str, int], Outcome]  # (program, seed) -> what a tool said


def score(said: Said, loop: Said, programs: Iterable[Any], names: Any, *, read: bool = False) -> Score:
    """Count what one tool said, and the plain loop of the same programs.

    names(program, alarms): whether the words name the cause. A program that a tool cannot look at is missed when it has a
    bug, and no false alarm when it has none.
    """
    out = Score(seconds=[o.seconds for o in said.values()])
    for program in programs:
        seeds = [s for name, s in said if name == program.name]
        for outcome in (said[program.name, s] for s in seeds):
            if outcome.not_run:
                out.not_run.setdefault(outcome.not_run, set()).add(program.name)
            if program.bug is None and (alarms := {**outcome.alarms, **(outcome.read if read else {})}):
                out.false.setdefault(program.name, set()).update(alarms)
        if not seeds or program.bug is None:
            out.healthy += bool(seeds)
            continue
        found = [detected(said[program.name, s], _of(said, program.fixed), read) for s in seeds]
        silent = not any(detected(loop[program.name, s], _of(loop, program.fixed)) for s in seeds)
        out.bugs += 1
        out.silent += silent
        if not all(found):
            out.missed.add(program.name)
            continue
        out.detected += 1
        out.silent_detected += silent
        if all(names(program, alarms) for alarms in found):
            out.named += 1
        else:
            out.nameless.add(program.name)
    return out


def _of(said: Said, program: str) -> list[Outcome]:
    return [o for (name, _), o in said.items() if name == program]
