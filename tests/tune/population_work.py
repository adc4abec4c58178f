"""Objectives of populations, in worker processes that the tests start: the state is the story of how it came to be."""

import os
import signal
from pathlib import Path


def story(params, run):
    """Keep every (step, rate) that the weights were made with; a small rate is best."""
    state = run.load() or {"story": [], "x": 1.0}
    for step in run:
        assert len(state["story"]) == step - 1, f"trial {run.id} begins step {step} on {state['story']}"
        state["x"] *= 1 - params["rate"]
        state["story"].append([step, params["rate"]])
        run.report(abs(state["x"] - 0.01) + abs(params["rate"] - 0.3), state)


def killed(params, run):
    """As `story`; the first three children are killed before they report anything."""
    folder = Path(os.environ["WHET_TEST_FLAG"])
    if run.trial.parent is not None and not (flag := folder / str(run.id)).exists() and len(list(folder.iterdir())) < 3:
        flag.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    story(params, run)
