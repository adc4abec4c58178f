"""One player at one task with one seed, and what peers did before."""

from __future__ import annotations

import hashlib
import json
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import whet
from peers.lineup import Player


@dataclass(frozen=True)
class Played:
    """values: in order, NaN where an evaluation failed; cpu: seconds of asking and telling, evaluations not counted."""

    values: list[float]
    cpu: float


@dataclass(frozen=True)
class Kept:
    """What peers did at a task, in a folder, so that a program need not play them again; None keeps nothing.

    A file counts for the same version of the peer, task, space, seed and number of evaluations. whet's own searchers,
    which change, are never kept.
    """

    folder: Path | None

    def path(self, player: Player, task: str, space: whet.Space, seed: int, evaluations: int) -> Path | None:
        """Return the file of a play, None when it is not kept."""
        if self.folder is None or player.ours:
            return None
        key = json.dumps([player.name, player.version, task, space.json(), seed, evaluations])
        return self.folder / f"{player.name}-{hashlib.sha256(key.encode()).hexdigest()[:20]}.json"


def play(
    player: Player,
    task: str,
    space: whet.Space,
    objective: Callable[[dict[str, object]], float],
    *,
    seed: int,
    evaluations: int,
    kept: Kept = Kept(None),
) -> Played:
    """Let `player` spend its evaluations of `objective`; NaN is a failure. `task` names objective and data for `kept`."""
    path = kept.path(player, task, space, seed, evaluations)
    if path is not None and path.exists():
        return Played(**json.loads(path.read_text()))
    values, cpu = [], 0.0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        turn = player.begin(space, seed, evaluations)
        try:
            for _ in range(evaluations):
                began = time.process_time()
                params = turn.ask()
                cpu += time.process_time() - began
                value = float(objective(params))
                began = time.process_time()
                turn.tell(value)
                cpu += time.process_time() - began
                values.append(value)
        finally:
            turn.close()
    played = Played(values, cpu)
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part")
        part.write_text(json.dumps(asdict(played)))
        part.replace(path)
    return played
