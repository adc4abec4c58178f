"""Regrets of many players on many benches: played, averaged, as tables and as a picture."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from curves.bench import Bench
from curves.play import Player

__all__ = ["Results", "at", "cell", "measure"]


def at(trainings: int) -> list[int]:
    """Return after how many full trainings the regret is printed, the last being all.

    >>> at(30), at(12)
    ([10, 15, 20, 30], [10, 12])
    """
    return [n for n in (10, 15, 20, 30) if n < trainings] + [trainings]


class Results:
    """Regret after each epoch, in full trainings: by player and bench (seeds, points), the points alike for all benches."""

    def __init__(self, trainings: int) -> None:
        self.trainings = trainings
        self.grid = np.arange(1, 100 * trainings + 1) / 100  # full trainings spent
        self.regrets: dict[str, dict[str, np.ndarray]] = {}
        self.seconds: dict[str, list[float]] = {}
        self.trials: dict[str, list[int]] = {}
        self.times: dict[str, list[float]] = {}  # of the virtual clock, in full trainings

    def add(self, player: str, bench: Bench, seeds: int, play: Player) -> None:
        """Play a bench once a seed."""
        rows = []
        for seed in range(seeds):
            began = time.process_time()
            ledger = play(bench, seed, self.trainings * bench.steps)
            self.seconds.setdefault(player, []).append(time.process_time() - began)
            self.trials.setdefault(player, []).append(ledger.trials)
            self.times.setdefault(player, []).append(ledger.time / bench.steps)
            regret = np.concatenate([[1.0], ledger.regret(bench)])
            rows.append(regret[np.floor(self.grid * bench.steps + 1e-9).astype(int)])
        self.regrets.setdefault(player, {})[bench.name] = np.array(rows)

    def mean(self, player: str) -> np.ndarray:
        """Return the regret averaged over benches (seeds, points)."""
        return np.mean(list(self.regrets[player].values()), 0)

    def found(self, regrets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the mean over the seeds after the full trainings of `at`, and its standard error."""
        some = regrets[:, [100 * n - 1 for n in at(self.trainings)]]
        error = some.std(0, ddof=1) / np.sqrt(len(some)) if len(some) > 1 else np.full(some.shape[1], np.nan)
        return some.mean(0), error

    def reaches(self, player: str, target: float) -> float:
        """Return after how many full trainings the mean regret, which never rises, is at most `target`; inf when never."""
        good = self.mean(player).mean(0) <= target
        return float(self.grid[good.argmax()]) if good.any() else float("inf")

    def summary(self, ours: Sequence[str], peers: Sequence[str], target: float | None = None) -> list[str]:
        """Return lines that say when each of ours reaches the best peer's mean regret at the end, or `target`."""
        ends = {p: float(self.mean(p)[:, -1].mean()) for p in peers}
        if target is None and not ends:
            return []
        whose = "the given"
        if target is None:
            best = min(ends, key=lambda p: ends[p])
            target, whose = ends[best], best
        lines = [f"mean regret {target:.4f} ({whose}, {self.trainings} full trainings) is reached after"]
        for p in ours:
            found = self.reaches(p, target)
            took = f"{found:.1f} full trainings" if np.isfinite(found) else f"more than {self.trainings} full trainings"
            lines.append(f"- {p}: {took}")
        return lines

    def rows(self, players: Sequence[str]) -> list[str]:
        """Return the last rows of the table: the means, trials and CPU seconds of a study."""
        cells: Mapping[str, list[str]] = {
            "mean": [cell(*self.found(self.mean(p))) for p in players],
            "trials a study": [f"{statistics.mean(self.trials[p]):.0f}" for p in players],
            "CPU s a study": [f"{statistics.mean(self.seconds[p]):.1f}" for p in players],
        }
        return [f"| {name} | " + " | ".join(c) + " |" for name, c in cells.items()]

    def plot(self, path: Path, title: str) -> None:
        """Write a page with the mean regret of each player against full trainings, and bands of one standard error."""
        import plotly.colors
        import plotly.graph_objects as go

        figure, colours = go.Figure(), plotly.colors.qualitative.D3
        for i, player in enumerate(self.regrets):
            regrets, colour = self.mean(player), colours[i % len(colours)]
            mean = regrets.mean(0)
            error = regrets.std(0, ddof=1) / np.sqrt(len(regrets)) if len(regrets) > 1 else np.zeros_like(mean)
            band = np.concatenate([mean + error, np.maximum(mean - error, 1e-4)[::-1]])
            figure.add_scatter(
                x=np.concatenate([self.grid, self.grid[::-1]]), y=band, fill="toself", opacity=0.2, hoverinfo="skip",
                line={"width": 0}, fillcolor=colour, legendgroup=player, showlegend=False,
            )  # fmt: skip
            figure.add_scatter(x=self.grid, y=mean, name=player, legendgroup=player, line={"color": colour})
        figure.update_layout(
            title=title, xaxis_title="full trainings spent", yaxis_title="mean regret", yaxis_type="log"
        )
        figure.write_html(path, include_plotlyjs=True)


def cell(mean: np.ndarray, error: np.ndarray) -> str:
    """Return "mean mean ... (+- the last one's standard error)"."""
    return " ".join(f"{x:.3f}" for x in mean) + f" (+- {error[-1]:.3f})"


def measure(benches: Sequence[Bench], players: Mapping[str, Player], seeds: int, trainings: int) -> Results:
    """Play every bench by every player, and print the table row by row as it comes."""
    results = Results(trainings)
    print("| task | " + " | ".join(players) + " |\n|" + "---|" * (len(players) + 1), flush=True)
    for bench in benches:
        cells = []
        for name, play in players.items():
            results.add(name, bench, seeds, play)
            cells.append(cell(*results.found(results.regrets[name][bench.name])))
        print(f"| {bench.name} | " + " | ".join(cells) + " |", flush=True)
    print("\n".join(results.rows(list(players))), flush=True)
    return results
