"""A study's checkpoints held against its history: which are there and whole, and which files nobody names."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from whet.errors import CheckpointError
from whet.finding import Finding, Severity
from whet.journal.checkpoint import Files
from whet.journal.event import Lease
from whet.journal.process import dead
from whet.tune.history import History
from whet.tune.trial import State, Trial

__all__ = ["Inventory", "busy", "leftovers"]

_OURS = re.compile(r"(\d+)/(?:\d+-[0-9a-f]{16}\.safetensors|\.part-[^/]*)")  # what `Files` writes, whole or not yet
_CLOSED = (State.DONE, State.STOPPED, State.FAILED)


def busy(leases: Mapping[int, Lease], trial: int) -> bool:
    """Return whether somebody may be working on `trial`: it has a lease, and its worker is not known to be gone."""
    return trial in leases and not dead(leases[trial].worker)


def leftovers(folder: Path, history: History) -> dict[int, list[str]]:
    """Return the files in `folder` that whet wrote and the history does not name, by trial; sorted.

    >>> leftovers(Path("nowhere"), History())
    {}
    """
    named = {name for p in history.progress for _, name in p.checkpoints}
    found: defaultdict[int, list[str]] = defaultdict(list)
    for path in sorted(folder.glob("*/*")):
        name = path.relative_to(folder).as_posix()
        if name not in named and (m := _OURS.fullmatch(name)) and path.is_file():
            found[int(m[1])].append(name)
    return dict(found)


@dataclass
class Inventory:
    """The checkpoints a study's history names, looked at one by one. Iterate: it yields the name of each.

    lenient: a missing one that two newer ones of its trial follow is no finding: format 1 did not record what was deleted.
    good, bytes: how many were whole, and their size; bad: trial -> {step: what is wrong}; whole:
    trial -> the steps of those that are whole.
    """

    folder: Path
    history: History
    lenient: bool = False
    good: int = 0
    bytes: int = 0
    bad: dict[int, dict[int, str]] = field(default_factory=dict)
    whole: dict[int, list[int]] = field(default_factory=dict)

    def __iter__(self) -> Iterator[str]:
        files = Files(self.folder)
        for id, progress in enumerate(self.history.progress):
            for i, (step, name) in enumerate(progress.checkpoints):
                path = self.folder / name
                yield name
                try:
                    files.read(name)
                    self.bytes += path.stat().st_size
                    self.good += 1
                    self.whole.setdefault(id, []).append(step)
                except (CheckpointError, OSError) as e:
                    missing = not path.exists()
                    if missing and self.lenient and i < len(progress.checkpoints) - 2:
                        continue
                    why = "missing" if missing else "damaged" if "damaged" in str(e) else f"unreadable ({e})"
                    self.bad.setdefault(id, {})[step] = why

    def forget(self, now: History) -> None:
        """Drop what a worker deleted since the history was read: what it no longer names, or (lenient) two newer follow."""
        for id in list(self.bad):
            names = now.progress[id].checkpoints
            wanted = {step for step, _ in names}
            last = {step for step, _ in names[-2:]} if self.lenient else wanted
            found = self.bad.pop(id).items()
            if left := {s: why for s, why in found if s in (last if why == "missing" else wanted)}:
                self.bad[id] = left

    def findings(self, study: str) -> Iterator[Finding]:
        """Yield a finding per trial that lacks something, or a single one when nothing is left of any."""
        if self.bad and not self.good and len(self.bad) > 1:
            n = sum(map(len, self.bad.values()))
            yield Finding(
                "CKPT", Severity.FAIL, f"study {study}", {"trials": len(self.bad), "checkpoints": n},
                f"none of its {n:,} checkpoints is there: open trials start again at step 1, the models of closed ones "
                "are lost",
                f"put {self.folder} back, or go on: what is trained again is counted",
            )  # fmt: skip
            return
        best = self.history.moment().best if self.history.terms else None
        for id, bad in self.bad.items():
            yield self._finding(study, self.history.trials[id], bad, best is not None and best.id == id)

    def _finding(self, study: str, trial: Trial, bad: Mapping[int, str], best: bool) -> Finding:
        steps = [step for step, _ in self.history.progress[trial.id].checkpoints]
        last, good = steps[-1], max(self.whole.get(trial.id, ()), default=None)
        severity, fix = Severity.WARN, "nothing: the next run goes on with what there is"
        if good == last:
            then = "nothing is lost while its last one is whole"
        elif trial.state not in _CLOSED and good is not None:
            again = last - good
            are = "1 step is" if again == 1 else f"{again:,} steps are"
            then = f"it goes on from step {good}: {are} trained again"
        elif trial.state not in _CLOSED:
            severity = Severity.FAIL
            then = f"it starts again at step 1; the {len(trial.curve)} points it has stand, the cost is counted twice"
        elif good is not None:
            then = f"its model is that of step {good}"
        else:
            severity = Severity.FAIL if best else Severity.WARN
            then = "the best model is lost" if best else "it cannot be part of an ensemble"
            fix = f"restore {self.folder}, or train trial {trial.id} again with --set"
        what = ", ".join(f"{why} at step {s}" for s, why in bad.items())
        evidence = {"trial": trial.id, "bad": {str(s): why for s, why in bad.items()}, "good": good}
        return Finding(
            "CKPT", severity, f"study {study}, trial {trial.id}", evidence, f"checkpoint {what}: {then}", fix
        )
