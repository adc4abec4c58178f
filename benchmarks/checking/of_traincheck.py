"""TrainCheck: invariants of the traces of two good runs, checked on the trace of another run.

Its four steps, as its README says: `traincheck-collect` on the program without the bug with two other seeds, `traincheck-infer` on both
traces, `traincheck-collect` on the program, `traincheck-check`. The last trace is a full one: collected with `--invariants`, one of a
clean run violates more of them. An alarm is a violated invariant, by its name.

Each program costs most of a minute of CPU, for torch is instrumented anew in every process and the check reads all of the trace.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

from checking.loop import cpu
from checking.programs import Program, Ready, healthy, seeded
from checking.score import Outcome

__all__ = ["STEPS", "checked"]

STEPS = 6
SCRIPT = """\
import torch
import sys
sys.path[:0] = {paths!r}
from checking.of_traincheck import made, optimizer_of
torch.set_num_threads(1)
built, held = made({name!r}, {seed})
model = built.model
optimizer = optimizer_of(built, held, model)
for step in range({steps}):
    optimizer.zero_grad()
    loss = built.loss(model(built.inputs), built.targets)
    loss.backward()
    optimizer.step()
"""


def made(name: str, seed: int) -> tuple[Ready, list[int]]:
    """Return the program of that name, and which of its parameters the optimizer holds; called in the traced process."""
    ready = next(p for p in (*seeded(), *healthy()) if p.name == name).ready(seed)
    held = {id(p) for group in ready.optimizer.param_groups for p in group["params"]}
    return ready, [i for i, p in enumerate(ready.model.parameters()) if id(p) in held]


def optimizer_of(built: Ready, held: list[int], model: Any) -> torch.optim.Optimizer:
    """Return an optimizer like the program's for what tracking put in the place of the parameters it holds."""
    now = list(model.parameters())
    make: Any = type(built.optimizer)
    return make([now[i] for i in held], **built.optimizer.defaults) if held else built.optimizer


def _run(folder: Path, *words: str) -> str:
    """Run one of its commands; return the end of its output when it fails."""
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-m", *words], cwd=folder, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    tail = [line for line in done.stdout.replace("\r", "\n").split("\n") if line.strip()]
    return "" if done.returncode == 0 else f"{words[0]} ended with {done.returncode}: {tail[-1][:200] if tail else ''}"


def _trace(folder: Path, name: str, seed: int, label: str) -> str:
    here = Path(__file__).resolve().parents[1]
    paths = [str(here), str(here.parent)]
    (folder / f"{label}.py").write_text(SCRIPT.format(paths=paths, name=name, seed=seed, steps=STEPS))
    return _run(
        folder, "traincheck.collect_trace", "--pyscript", f"{label}.py", "--models-to-track", "model", "--output-dir", label
    )  # fmt: skip


def _invariants(folder: Path, fixed: Program, seed: int) -> str:
    """Infer what holds for the program without a bug, once."""
    if (folder / "invariants.json").exists():
        return ""
    folder.mkdir(parents=True, exist_ok=True)
    for n in (1, 2):
        if wrong := _trace(folder, fixed.name, seed + 100 * n, f"good{n}"):
            return wrong
    return _run(folder, "traincheck.infer_engine", "-f", "good1", "good2", "-o", "invariants.json")


def checked(program: Program, seed: int, *, fixed: Program, folder: str, **_: Any) -> Outcome:
    """Trace the program and check the invariants; folder: where those of each program without a bug are kept."""
    began = cpu()
    place = Path(folder, "".join(c if c.isalnum() else "-" for c in fixed.name))
    wrong = _invariants(place, fixed, seed)
    label = "".join(c if c.isalnum() else "-" for c in f"{program.name}-{seed}")
    wrong = wrong or _trace(place, program.name, seed, label)
    wrong = wrong or _run(
        place, "traincheck.checker", "-f", label, "-i", "invariants.json", "-o", f"of-{label}", "--no-html-report"
    )
    if wrong:
        return Outcome(not_run=wrong, seconds=cpu() - began)
    found = json.loads((place / f"of-{label}" / label / "violations_summary.json").read_text())["violations"]
    alarms = {v["display_name"]: f"{v['relation_type']}: {v['display_name']}" for v in found}
    return Outcome(alarms, seconds=cpu() - began)
