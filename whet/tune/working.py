"""One worker process of a study: what `whet.tune.crew` has its processes run, by name."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from whet.execute import resolve
from whet.journal.store import Store
from whet.tune import loop
from whet.tune.budget import Budget
from whet.tune.study import Study

__all__ = ["work"]


def work(payload: Mapping[str, Any], link: Any) -> dict[str, Any]:
    """Be one worker of a study: open it, and ask and train until told to stop. Called by name in a worker process."""
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(payload["threads"])
    target = resolve(payload["objective"]["ref"])
    objective = target(**payload["objective"]["given"]) if "given" in payload["objective"] else target
    limits = Budget(payload["trials"], payload["steps"], None, payload["cost"])
    with Study.open(Store(payload["store"], payload["durability"]), payload["name"]) as study:
        link.emit({"began": study.worker})
        loop.drive(study, objective, limits, lambda: link.stopping)
    return {"worker": study.worker}
