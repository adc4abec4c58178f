"""Disturbing a study that runs in processes of its own, and looking whether it came through."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import whet
from whet import State, Store, Study
from whet.errors import Rewound
from whet.journal import Journal
from whet.tune.fsck import fsck
from whet.tune.replay import replay

SCRIPT = Path(__file__).with_name("shaken.py")
ROOT = Path(whet.__file__).parents[1]


class Shaken:
    """One study in `folder`, or on the server at `url`, and the processes that work on it.

    trials: its budget; workers: of each process that is started; environment: more for the processes.
    """

    def __init__(
        self, folder: Path, *, url: str = "", name: str = "s", trials: int = 12, workers: int = 1, schedule: str = "asha",
        environment: dict[str, str] | None = None,
    ) -> None:  # fmt: skip
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.name, self.trials, self.workers, self.schedule = folder, name, trials, workers, schedule
        self.url = url or f"sqlite:///{folder}/s.db"
        self.trained = folder / "trained"
        self.env = {
            **os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "WHET_TRAINED": str(self.trained),
            "WHET_FOLDER": str(folder), **(environment or {}),
        }  # fmt: skip
        self.kills = 0
        self._journal: Journal | None = None
        self._seen = 0

    def close(self) -> None:
        """Let go of the journal."""
        if self._journal is not None:
            self._journal.close()
            self._journal = None

    def start(self, **environment: str) -> subprocess.Popen[str]:
        """Start a process that works on the study, in a group of its own."""
        words = [sys.executable, str(SCRIPT), self.url, self.name, str(self.trials), str(self.workers), self.schedule]
        return subprocess.Popen(
            words, env={**self.env, **environment}, stderr=subprocess.PIPE, text=True, start_new_session=True
        )

    def complete(self, timeout: float = 120) -> None:
        """Run undisturbed to the end."""
        process = self.start()
        _, said = process.communicate(timeout=timeout)
        assert process.returncode == 0, said

    def kill(self, process: subprocess.Popen[str]) -> None:
        """Kill a process and all its workers at once."""
        try:
            os.killpg(process.pid, signal.SIGKILL)
            self.kills += 1
        except ProcessLookupError:
            pass
        process.communicate()

    def shake(self, rng: random.Random, *, until: Callable[[], bool], within: tuple[float, float]) -> None:
        """Start and kill, over and over, until `until`; each run lives for a random time within these seconds."""
        while not until():
            process = self.start()
            try:
                process.wait(timeout=rng.uniform(*within))
            except subprocess.TimeoutExpired:
                self.kill(process)
            else:
                _, said = process.communicate()
                assert process.returncode == 0, said
                return

    @property
    def store(self) -> Store:
        """Where the study is."""
        return Store(self.url, folder=str(self.folder))

    def events(self) -> list[tuple[object, ...]]:
        """Return what two runs of the same study have in common."""
        with Study.open(self.store, self.name) as study:
            return [e.bare for e in study.journal.read()]

    def steps(self) -> int:
        """Return how many events the journal has."""
        if self._journal is None:
            try:
                self._journal = self.store.journal(self.name, create=False)
            except whet.WhetError:
                return 0
        try:
            for page in self._journal.pages(self._seen):
                self._seen = page[-1].seq
        except Rewound:
            self._seen = 0
        return self._seen

    def writers(self) -> int:
        """Return how many processes have written to the journal."""
        if self.steps() == 0 or self._journal is None:
            return 0
        return len({e.who for e in self._journal.read() if e.kind == "asked"})

    def check(
        self, calm: list[tuple[object, ...]] | None = None, *, repeats: int | None = None, gaps: bool = False
    ) -> None:
        """Assert that nothing was lost, doubled or left hanging, that the budget is right, and the record verifies.

        calm: the events of a run that nobody disturbed, when this one must equal it; repeats: the most steps that
        may have been trained again; gaps: whether the end of the record may have been lost under a running worker.
        """
        self.close()
        with Study.open(self.store, self.name) as study:
            events, trials = study.journal.read(), study.trials
            assert study.spent.trials == self.trials == len(trials)
            assert [t.id for t in trials] == list(range(len(trials)))
            assert not study.journal.leases(), study.journal.leases()
            assert not [t for t in trials if t.state in (State.RUNNING, State.WAITING)], "a trial hangs"
            keys = Counter(repr(sorted(t.params.items())) for t in trials)
            assert max(keys.values()) == 1, "two trials have one configuration"
            for t in trials:
                steps = [p.step for p in t.curve]
                assert steps == (sorted(set(steps)) if gaps else list(range(1, len(steps) + 1))), (t.id, steps)
            lost = [t.id for t in trials if t.error and t.error["type"] == "WorkerLost"]
            assert not lost, (
                f"{len(lost)} trials lost their worker again and again without a step, the first are {lost[:5]}"
            )
            redone = replay(events)
            assert not redone.differences, redone.differences
            if self.trained.exists() and repeats is not None:
                counts = Counter(self.trained.read_text().splitlines())
                for t in trials:
                    for p in t.curve:
                        counts[f"{t.id} {p.step}"] -= 1
                assert min(counts.values()) >= 0, "a step is on record that was never trained"
                assert sum(counts.values()) <= repeats, f"{sum(counts.values())} steps trained again"
            if calm is not None:
                now = [e.bare for e in events]
                first = next((i for i, (a, b) in enumerate(zip(now, calm, strict=False)) if a != b), None)
                assert first is None, (now[first], calm[first])
                assert len(now) == len(calm)
        # a process killed between an event and the deletion it speaks of leaves a file, which nothing needs
        found = [f for f in fsck(self.store, [self.name]).findings if f.code != "LEFT"]
        assert not found, found
        assert not fsck(self.store, [self.name], repair=True).findings
        assert not fsck(self.store, [self.name]).findings


def wait_for(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    """Wait until `condition`; fail when it does not come within `seconds`."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "what was waited for did not come"
        time.sleep(0.02)
