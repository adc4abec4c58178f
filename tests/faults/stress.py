"""A long run in which processes are killed every few seconds: `python tests/faults/stress.py --minutes 30`.

Two studies at once. One has a single worker, which is killed with everything it started; at the end it must equal, event for
event, a study of as many trials that nobody disturbed. The other has two runs of two workers each; a run or a single worker is killed at
random, and started again; at the end every decision must be redone equal. Both must have no trial lost, doubled or hanging, and
`fsck` must find nothing. Prints what happened, and exits with 1 when anything does not hold.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parents[2])]

from faults import Shaken  # noqa: E402

from whet import Study  # noqa: E402
from whet.journal.process import process_id  # noqa: E402
from whet.tune.replay import replay  # noqa: E402

ENDLESS = 10**9


def wait(process: subprocess.Popen[str], seconds: float) -> bool:
    """Return whether the process ended within these seconds."""
    try:
        process.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        return False
    return True


def one(study: Shaken, minutes: float, seed: int) -> None:
    """Kill the only worker every few seconds until the time is over."""
    rng, end = random.Random(seed), time.monotonic() + 60 * minutes
    while time.monotonic() < end:
        process = study.start()
        if wait(process, rng.uniform(1.0, 6.0)):
            raise SystemExit(f"a run ended by itself: {process.communicate()[1]}")
        study.kill(process)


def several(study: Shaken, minutes: float, seed: int) -> None:
    """Kill a run, or one of its workers, every few seconds until the time is over; two runs are kept going."""
    rng, end = random.Random(seed), time.monotonic() + 60 * minutes
    runs = [study.start() for _ in range(2)]
    while time.monotonic() < end:
        time.sleep(rng.uniform(1.0, 5.0))
        i = rng.randrange(2)
        if runs[i].poll() is not None:
            raise SystemExit(f"a run ended by itself: {runs[i].communicate()[1]}")
        if rng.random() < 0.4:
            study.kill(runs[i])
            runs[i] = study.start()
            continue
        with Study.open(study.store, study.name) as opened:
            workers = {process_id(x.worker) for x in opened.journal.leases().values()} - {None}
        for pid in rng.sample(sorted(workers), min(1, len(workers))):
            try:
                os.kill(pid, signal.SIGKILL)
                study.kills += 1
            except ProcessLookupError:
                pass
    for process in runs:
        study.kill(process)


def finish(study: Shaken) -> None:
    """Let the study end with the trials it has."""
    with Study.open(study.store, study.name) as opened:
        study.trials = opened.spent.trials or 0
    study.env["WHET_STEP"] = "0"
    study.complete(timeout=3600)


def main() -> int:
    """Disturb, then look."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--schedule", default="asha")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        lone = Shaken(folder / "one", trials=ENDLESS, schedule=options.schedule, environment={"WHET_STEP": "0.02"})
        many = Shaken(
            folder / "many", trials=ENDLESS, workers=2, schedule=options.schedule, environment={"WHET_STEP": "0.06"}
        )
        began = time.monotonic()
        failures: list[BaseException] = []

        def guarded(act: object, *args: object) -> None:
            try:
                act(*args)  # type: ignore[operator]
            except BaseException as e:
                failures.append(e)

        threads = [
            threading.Thread(target=guarded, args=(one, lone, options.minutes, options.seed)),
            threading.Thread(target=guarded, args=(several, many, options.minutes, options.seed + 1)),
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if failures:
            print(f"stress: {failures[0]}", file=sys.stderr)
            return 1
        print(f"disturbed for {(time.monotonic() - began) / 60:.1f} min", flush=True)
        for name, study in (("one worker", lone), ("two runs of two workers", many)):
            finish(study)
            calm = None
            if study is lone:
                undisturbed = Shaken(
                    folder / "calm", trials=study.trials, schedule=options.schedule, environment={"WHET_STEP": "0"}
                )
                undisturbed.complete(timeout=3600)
                calm = undisturbed.events()
            repeats = study.kills * (1 if study is lone else 2)
            study.check(calm, repeats=repeats)
            with Study.open(study.store, study.name) as opened:
                events = opened.journal.read()
            trained = Counter(study.trained.read_text().splitlines())
            again = sum(trained.values()) - len(trained)
            redone = replay(events)
            print(
                f"{name}: {study.kills} kills, {study.trials:,} trials, {len(events):,} events, {again} steps trained "
                f"again; {redone}; fsck clean" + ("; equal to the undisturbed study, event for event" if calm else ""),
                flush=True,
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
