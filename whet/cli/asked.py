"""What the words of `whet simulate` ask for, read before anything is loaded; a word that asks for nothing is one line."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from whet.errors import UsageError, nearest

if TYPE_CHECKING:
    from whet.distributed.delays import Delays, Network
    from whet.distributed.failures import Failure

T = TypeVar("T")
_SHUFFLES = ("global", "local", "once")

__all__ = [
    "Asked",
    "read_delays",
    "read_failures",
    "read_list",
    "read_network",
    "read_shares",
    "read_stragglers",
    "seconds",
]


@dataclass(frozen=True)
class Asked:
    """What is to be simulated, in values; words: how it was asked for, said: the delays among it, for a reader.

    seeds: that are shown, lr_seeds: the ones after them, that rates are chosen on.
    """

    rules: list[str]
    workers: list[int]
    seeds: list[int]
    lr_seeds: list[int]
    delays: Delays
    network: Network
    failures: list[Failure]
    shuffle: str
    shares: tuple[int, ...]
    rates: list[float]
    until: float | None
    baseline: bool
    words: dict[str, str]

    @classmethod
    def of(
        cls, words: Mapping[str, str], *, seed: int, seeds: int, lr_seeds: int, epochs: int | None, baseline: bool
    ) -> Asked:
        """Return what the words ask for; raise UsageError for one that cannot be read."""
        for flag, number, least in (
            ("seed", seed, 0),
            ("seeds", seeds, 1),
            ("lr-seeds", lr_seeds, 1),
            ("epochs", epochs, 1),
        ):
            if number is not None and number < least:
                raise UsageError(f"--{flag}: must be at least {least}, got {number}.")
        workers = read_list("--workers", words["workers"], whole)
        rules = read_list("--rule", words["rule"], rule)
        if words["shuffle"] not in _SHUFFLES:
            raise UsageError(
                f"--shuffle {words['shuffle']}: no such way.{nearest(words['shuffle'], _SHUFFLES)} Use {', '.join(_SHUFFLES)}."
            )
        shown = list(range(seed, seed + seeds))
        return cls(
            rules, workers, shown, list(range(seed + seeds, seed + seeds + lr_seeds)),
            read_delays(words["delays"], read_stragglers(words["straggler"])),
            read_network(words["bandwidth"], words["latency"], words["service"]), read_failures(words["fail"]), words["shuffle"],
            read_shares(words["shares"], workers),
            read_list("--lr", words["lr"], rate) if words["lr"].strip() else [],
            seconds("--until", words["until"], least=1e-9) if words["until"].strip() else None, baseline,
            {k: v for k, v in words.items() if v and k not in ("workers", "rule", "until", "lr") and v != "0"},
        )  # fmt: skip

    @property
    def said(self) -> str:
        """The delays and shares, for a reader."""
        slow = self.delays.stragglers or {}
        late = ", ".join(f"worker {w} {f:g}x as slow" for w, f in list(slow.items())[:3]) + ", ..." * (len(slow) > 3)
        name = self.words["delays"]
        unlike = f"; shares {', '.join(map(str, self.shares))}" if self.shares else ""
        return (
            (f"recorded in {name}" if self.delays.trace is not None else name) + (f", {late}" if late else "") + unlike
        )


def read_list(flag: str, text: str, read: Callable[[str, str], T]) -> list[T]:
    """Return what stands between commas outside brackets, each once; raise UsageError when there is nothing.

    >>> read_list("--workers", "4, 16,4", whole)
    [4, 16]
    """
    from whet.distributed.named import split

    found = [read(flag, part.strip()) for part in split(text, ",") if part.strip()]
    if not found:
        raise UsageError(f"{flag}: is empty. Give e.g. --workers 4,16 --rule sync,dc-asgd.")
    return list(dict.fromkeys(found))


def whole(flag: str, text: str) -> int:
    """Return a whole number that is at least 1."""
    try:
        found = int(text)
    except ValueError:
        raise UsageError(f"{flag} {text}: must be whole numbers, such as 4,16.") from None
    if found < 1:
        raise UsageError(f"{flag}: must be at least 1, got {found}.")
    return found


def rule(flag: str, text: str) -> str:
    """Return the name of a rule, as it was given."""
    from whet.distributed.named import parse_rule

    parse_rule(text)
    return text


def rate(flag: str, text: str) -> float:
    """Return a learning rate."""
    return _number(flag, text, "learning rates above 0, such as 0.02,0.05,0.1", lambda x: x > 0)


def _number(flag: str, text: str, allowed: str, fits: Callable[[float], bool]) -> float:
    try:
        found = float(text)
    except ValueError:
        found = math.nan
    if not math.isfinite(found) or not fits(found):
        raise UsageError(f"{flag} {text}: must be {allowed}.")
    return found


def seconds(flag: str, text: str, *, least: float = 0.0) -> float:
    """Return virtual seconds; `least` 0 allows none.

    >>> seconds("--latency", "0.5s")
    0.5
    """
    allowed = "seconds, 0 or more, such as 0.5" if not least else "seconds above 0, such as 100"
    return _number(flag, text.strip().removesuffix("s"), allowed, lambda x: x >= 0 and (not least or x > 0))


def read_stragglers(text: str) -> dict[int, float]:
    """Return how many times as long workers take, by number: "3x" is worker 0, "0:3x,5:2x" says which.

    >>> read_stragglers("3x"), read_stragglers("0:3x, 5:2")
    ({0: 3.0}, {0: 3.0, 5: 2.0})
    """
    found: dict[int, float] = {}
    for part in filter(None, (p.strip() for p in text.split(","))):
        worker, colon, factor = part.rpartition(":")
        match = re.fullmatch(r"\d+", worker.strip() if colon else "0")
        if match is None:
            raise UsageError(
                f"--straggler {part}: must be a factor such as 3x (worker 0), or WORKER:FACTOR such as 5:2x."
            )
        number = int(match[0])
        if number in found:
            raise UsageError(f"--straggler: worker {number} is given twice. Give it once.")
        allowed = "a factor above 0 such as 3x (worker 0), or WORKER:FACTOR such as 5:2x"
        try:
            found[number] = _number("--straggler", factor.strip().removesuffix("x"), allowed, lambda x: x > 0)
        except UsageError:
            raise UsageError(f"--straggler {part}: must be {allowed}.") from None
    return found


def read_failures(text: str) -> list[Failure]:
    """Return who dies when: "2@100" for good at second 100, "2@100-150" back at 150.

    >>> read_failures("2@100-150,0@3")
    [Failure(worker=2, at=100.0, back=150.0), Failure(worker=0, at=3.0, back=inf)]
    """
    from whet.distributed.failures import Failure

    found = []
    for part in filter(None, (p.strip() for p in text.split(","))):
        match = re.fullmatch(r"(\d+)\s*@\s*(\d+(?:\.\d*)?|\.\d+)(?:\s*-\s*(\d+(?:\.\d*)?|\.\d+))?", part)
        if match is None:
            raise UsageError(
                f"--fail {part}: must be WORKER@SECOND, or WORKER@SECOND-SECOND, such as 2@100 or 2@100-150."
            )
        at, back = float(match[2]), float(match[3]) if match[3] else math.inf
        if back <= at:
            raise UsageError(f"--fail {part}: worker {match[1]} must come back after it died at {at:g}, got {back:g}.")
        found.append(Failure(int(match[1]), at, back))
    return found


def read_shares(text: str, workers: Sequence[int]) -> tuple[int, ...]:
    """Return the share of each worker, none where all have the same; they are for each of the numbers of `workers`.

    >>> read_shares("2,1,1", [3]), read_shares("", [4, 16])
    ((2, 1, 1), ())
    """
    from whet.distributed.shares import parse_shares

    found: tuple[int, ...] = ()
    for count in workers if text.strip() else ():
        found = parse_shares(text, count)
    return found


def read_network(bandwidth: str, latency: str, service: str) -> Network:
    """Return what pulling and pushing cost; a bandwidth of "" is unlimited, "10MB" is 10 MB a virtual second."""
    from whet.distributed.delays import Network
    from whet.units import parse_bytes

    given = bandwidth.strip().removesuffix("/s")
    size = float(parse_bytes(given, "--bandwidth")) if bandwidth.strip() else math.inf
    return Network(size, seconds("--latency", latency), seconds("--service", service))


def read_delays(text: str, stragglers: dict[int, float]) -> Delays:
    """Return how long steps take: a distribution by name, with its shape in brackets, or a file of recorded seconds.

    >>> read_delays("lognormal(0.8)", {}).shape
    0.8
    """
    from whet.distributed.delays import NAMES, Delays

    match = re.fullmatch(r"\s*([a-z]+)\s*(?:\(\s*(?:\w+\s*=\s*)?([^()]*)\))?\s*", text)
    if match is not None and match[1] in NAMES:
        shape = None
        if match[2] is not None:
            shape = _number(
                "--delays", match[2].strip(), f"{match[1]} or {match[1]}(SHAPE), a number above 0", lambda x: x > 0
            )
        return Delays(match[1], shape, stragglers)
    if Path(text).is_dir():
        raise UsageError(f"--delays {text}: is a folder. Give a file of seconds, one worker a line.")
    if Path(text).is_file():
        return Delays(text, trace=recorded(Path(text)), stragglers=stragglers)
    return Delays(text)  # it refuses what is no name


def recorded(path: Path) -> list[list[float]]:
    """Return seconds by worker from a file: one worker a line, or one number a line, which is a record for all.

    Blanks or commas stand between numbers, # begins a comment. Raises UsageError for a file that holds anything else.
    """
    found = []
    how = "Give seconds above 0, one worker a line"
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as e:
        raise UsageError(f"--delays {path}: cannot be read ({e.strerror}). {how}.") from None
    except UnicodeDecodeError:
        raise UsageError(f"--delays {path}: is no text. {how}.") from None
    for i, line in enumerate(lines, 1):
        words = line.partition("#")[0].replace(",", " ").split()
        for word in words:
            _number(f"--delays {path}: line {i}:", word, "seconds above 0, one worker a line", lambda x: x > 0)
        if words:
            found.append([float(w) for w in words])
    if not found:
        raise UsageError(f"--delays {path}: is empty. {how}.")
    return [[line[0] for line in found]] if all(len(line) == 1 for line in found) else found
