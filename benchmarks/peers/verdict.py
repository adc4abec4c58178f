"""What a comparison says: how each of whet's learning searchers stands beside the best peer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from peers.lineup import Player


def error(values: np.ndarray) -> float:
    """Return the standard error of the mean of values (seeds,), NaN for one seed."""
    return float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else float("nan")


def verdicts(
    regrets: Mapping[str, np.ndarray], players: Sequence[Player], tasks: Sequence[str], what: str
) -> Iterator[str]:
    """Yield a line for each of whet's searchers that learns, none when no peer that learns has played.

    regrets: by player, (tasks, seeds), small is good. The ratio is of means over the tasks, to the peer whose mean is the
    least; a task counts as worse when the difference of means to the peer that is best there is above twice its standard error.
    """
    peers = [p.name for p in players if not p.ours and p.learns]
    if not peers:
        return
    best = min(peers, key=lambda name: regrets[name].mean())
    for player in players:
        if not (player.ours and player.learns):
            continue
        mine = regrets[player.name]
        worse, behind = [], []
        for i, task in enumerate(tasks):
            rival = min(peers, key=lambda name: regrets[name][i].mean())
            gap = mine[i].mean() - regrets[rival][i].mean()
            noise = 2 * float(np.hypot(error(mine[i]), error(regrets[rival][i])))
            entry = f"{task} ({mine[i].mean():.4f}, {rival} {regrets[rival][i].mean():.4f})"
            if gap > noise:
                worse.append(entry)
            elif gap > 0:
                behind.append(entry)
        ratio = mine.mean() / regrets[best].mean() if regrets[best].mean() else float("nan")
        yield (
            f"{player.name}: {what} {mine.mean():.4f}, {ratio:.2f} of the best peer's ({best}, {regrets[best].mean():.4f})."
            f" Worse than the best peer beyond noise on: {', '.join(worse) or 'none'}."
            f" Behind within noise on: {', '.join(behind) or 'none'}."
        )
