"""A study to be disturbed: `python shaken.py URL NAME TRIALS WORKERS SCHEDULE` searches until it is done.

The objective trains: its weights after a step depend on every step before, its checkpoint carries them, and it writes each
step it trained to the file that WHET_TRAINED names. So a step that was skipped, trained twice or resumed from the wrong
state shows in the results.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import numpy as np

import whet

if clock := os.environ.get("WHET_CLOCK"):  # a file that says by how many seconds the wall clock is wrong
    _true = time.time
    time.time = lambda: _true() + float(Path(clock).read_text() or 0)  # type: ignore[assignment]

STEPS = 9
SPACE = whet.Space(
    lr=whet.Float(1e-3, 1.0, log=True),
    width=whet.Int(4, 64, log=True),
    kind=whet.Choice({"sgd": whet.Space(momentum=whet.Float(0, 0.9)), "plain": None}),
)


def train(params, run):
    rng = np.random.default_rng(run.id)
    x = rng.normal(size=(64, int(params["width"])))
    y = x @ rng.normal(size=int(params["width"]))
    state = run.load() or {"w": np.zeros(x.shape[1]), "v": np.zeros(x.shape[1]), "steps": []}
    w, v, done = state["w"].copy(), state["v"].copy(), list(state["steps"])
    for step in run:
        v = params.get("kind.momentum", 0.0) * v - params["lr"] * x.T @ (x @ w - y) / len(y)
        w = w + v
        done.append(step)
        assert done == list(range(1, step + 1)), f"trial {run.id}: step {step} after {done}"
        time.sleep(float(os.environ.get("WHET_STEP", "0.002")))
        if trained := os.environ.get("WHET_TRAINED"):
            with open(trained, "a") as f:
                f.write(f"{run.id} {step}\n")
        loss = float(np.mean((x @ w - y) ** 2))
        if not np.isfinite(loss) or loss > 1e6:
            raise FloatingPointError(f"diverged at step {step}")
        run.report(loss, {"w": w, "v": v, "steps": done, "ballast": np.zeros(int(os.environ.get("WHET_BALLAST", "0")))})


def opened(url: str, name: str, schedule: str) -> whet.Study:
    """Open the study."""
    store = whet.Store(url, os.environ.get("WHET_DURABILITY", "process"), folder=os.environ.get("WHET_FOLDER"))
    return whet.Study(SPACE, search="random", schedule=schedule, steps=STEPS, seed=7, store=store, name=name)


def main() -> int:
    """Run the study that the command line names."""
    url, name, trials, workers, schedule = sys.argv[1:6]
    try:
        with opened(url, name, schedule) as study:
            study.run(train, trials=int(trials), workers=int(workers))
    except whet.WhetError as e:
        print(f"shaken: {e}", file=sys.stderr)
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
