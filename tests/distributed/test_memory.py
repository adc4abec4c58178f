"""What all processes of a training hold together is what the formula says."""

from pathlib import Path

import psutil
import pytest

from whet.distributed.flat import Flat
from whet.distributed.local.layout import region_path, whole
from whet.distributed.local.train import Training
from whet.tasks import resolve

WIDE = Path(__file__).with_name("wide.py")


def private(process):
    """Return the bytes that a process has to itself, and its part of what it has in common with those it was forked from or forked."""
    rows = Path(f"/proc/{process.pid}/smaps_rollup").read_text().splitlines()
    return sum(1024 * int(row.split()[1]) for row in rows if row.startswith(("Pss_Anon:", "Pss_File:")))


def held(rule, workers, width):
    """Train; return the bytes of all processes, shared ones counted once, and what the formula says of the vectors."""
    task = resolve(f"{WIDE}:Wide", seed=0)
    with Training(task, {"width": width, "batch": 4}, rule=rule, workers=workers, steps=100) as training:
        least = []
        for _ in training.events(0.1):
            if training.look().get("merged", 0) > 3 * workers * (rule != "async"):
                own = psutil.Process()
                least.append(sum(map(private, (own, *own.children(recursive=True)))))
            if len(least) == 12:
                break
        layout = training.job.layout(Flat(training.run.model))
        squares = rule.startswith("dc-asgd-a")
        shared = region_path(Path(training.job.folder)).stat().st_blocks * 512  # also what nobody has touched yet
        return min(least) + shared, whole(layout, optimizer=1, squares=squares), layout.size * 4


@pytest.mark.soak
@pytest.mark.parametrize(("rule", "workers"), [
    ("async", 1), ("async", 2), ("dc-asgd-a", 2), ("average(every=2)", 2), ("ec(every=2)", 2),
])  # fmt: skip
def test_all_processes_hold_what_the_formula_says(rule, workers):
    small, _, _ = held(rule, workers, 8)
    large, said, vector = held(rule, workers, 512)
    found = (large - small) / vector
    # up to one more in each process: gradients of single layers on their way, and what its allocator keeps
    assert said / vector - 0.5 < found < said / vector + workers + 2.5
