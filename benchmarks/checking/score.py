"""What a tool said of a program, and what of that counts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from math import sqrt
from typing import Any

__all__ = ["SILENT", "Outcome", "Score", "detected", "interval", "score"]

SILENT = "raises"  # how the kind of an alarm begins that is the program's own exception, which any loop shows


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
    """Counts over programs and seeds. silent: of bugs that a plain loop neither stops nor warns at; named: cause said."""

    bugs: int = 0
    detected: int = 0
    silent: int = 0
    silent_detected: int = 0
    named: int = 0
    healthy: int = 0
    alarmed: int = 0
    seconds: list[float] = field(default_factory=list)
    missed: set[str] = field(default_factory=set)
    false: dict[str, set[str]] = field(default_factory=dict)
    not_run: dict[str, set[str]] = field(default_factory=dict)
    nameless: set[str] = field(default_factory=set)


def score(
    said: Mapping[tuple[str, int], Outcome],
    loop: Mapping[tuple[str, int], Outcome],
    programs: Iterable[Any],
    names: Any,
    *,
    read: bool = False,
) -> Score:
    """Count what one tool said. said, loop: (program, seed) -> outcome of the tool and of the plain loop.

    names(program, alarms): whether the words name the cause. A program that a tool cannot look at is missed when it has a
    bug, and no false alarm when it has none.
    """
    out = Score()
    seeds_of: dict[str, list[int]] = {}
    for name, seed in said:
        seeds_of.setdefault(name, []).append(seed)
    for program in programs:
        for seed in seeds_of.get(program.name, ()):
            outcome = said[program.name, seed]
            out.seconds.append(outcome.seconds)
            if outcome.not_run:
                out.not_run.setdefault(outcome.not_run, set()).add(program.name)
            if program.bug is None:
                out.healthy += 1
                alarms = {**outcome.alarms, **(outcome.read if read else {})}
                out.alarmed += bool(alarms)
                if alarms:
                    out.false.setdefault(program.name, set()).update(alarms)
                continue
            fixed = [said[program.fixed, s] for s in seeds_of.get(program.fixed, ())]
            found = detected(outcome, fixed, read)
            plain = detected(
                loop[program.name, seed], [loop[program.fixed, s] for s in seeds_of.get(program.fixed, ())]
            )
            out.bugs += 1
            out.detected += bool(found)
            out.silent += not plain
            out.silent_detected += bool(found) and not plain
            out.named += bool(found) and names(program, found)
            if not found:
                out.missed.add(program.name)
            elif not names(program, found):
                out.nameless.add(program.name)
    return out
