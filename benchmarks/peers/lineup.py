"""Who plays: names of whet's searchers and of peers, made into players."""

from __future__ import annotations

import importlib
import importlib.metadata
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import whet
from whet.tune.search import searcher

PEERS = {
    "optuna-tpe": ("optuna", "peers.of_optuna", "Tpe"),
    "optuna-cma": ("cmaes", "peers.of_optuna", "Cma"),
    "optuna-gp": ("optuna", "peers.of_optuna", "Gp"),
    "optuna-random": ("optuna", "peers.of_optuna", "Random"),
    "hyperopt": ("hyperopt", "peers.of_hyperopt", "Tpe"),
    "aging": ("numpy", "peers.of_paper", "Aging"),
    "smac": ("smac", "peers.of_smac", "Forest"),
}
BASELINES = ("random", "sobol", "grid", "optuna-random")  # they learn nothing


class Turn(Protocol):
    """One study of one player."""

    def ask(self) -> dict[str, object]:
        """Return the next configuration."""
        ...

    def tell(self, value: float) -> None:
        """Take in the value of the configuration asked for last; NaN: it failed."""
        ...

    def close(self) -> None:
        """Let go of what it holds."""
        ...


@dataclass(frozen=True)
class Player:
    """A searcher by name. begin(space, seed, evaluations) starts a study; ours: of whet; version: of its package;
    most: how many seeds it plays at most, None for all.
    """

    name: str
    begin: Callable[[whet.Space, int, int], Turn]
    ours: bool
    version: str
    most: int | None = None

    @property
    def learns(self) -> bool:
        """Whether it proposes by what it was told."""
        return self.name not in BASELINES

    def seeds(self, asked: int) -> range:
        """Return the seeds it plays when so many are asked for."""
        return range(asked if self.most is None else min(asked, self.most))


class Ours:
    """A study of whet in memory, every trial trained to the end."""

    def __init__(self, space: whet.Space, seed: int, evaluations: int, search: str) -> None:
        self.study = whet.Study(space, goal="min loss", search=search, schedule="full", seed=seed)

    def ask(self) -> dict[str, object]:
        found = self.study.ask()
        if isinstance(found, whet.Idle):
            raise RuntimeError(f"the study has nothing left to propose ({found})")
        self._trial = found
        return dict(found.params)

    def tell(self, value: float) -> None:
        if value != value:
            self.study.fail(self._trial, "failed")
        else:
            self.study.tell(self._trial, value)

    def close(self) -> None:
        self.study.close()


def lineup(search: str, peers: str) -> list[Player]:
    """Return the players that two lists of names, with commas between them, give; "smac:3" is smac with three seeds only.

    Prints a line for each peer that is not installed. Ends the program when a name is unknown.
    """
    found = []
    for name, most in _names(search):
        try:
            searcher(name, whet.Space(x=whet.Float(0, 1)))
        except whet.WhetError as e:
            raise SystemExit(f"--search: {e}") from None
        found.append(Player(name, lambda s, seed, n, name=name: Ours(s, seed, n, name), True, whet.__version__, most))
    for name, most in _names(peers):
        if name not in PEERS:
            raise SystemExit(f"--peers: no peer {name!r}. Allowed: {', '.join(PEERS)}, or none.")
        package, module, kind = PEERS[name]
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # deprecations inside the peers
                importlib.import_module(package)
                begin = getattr(importlib.import_module(module), kind)
        except ImportError as e:
            print(f"{name} is left out: {e}. Install what the benchmarks need: pip install 'whet[dev,bench]'.")
            continue
        found.append(Player(name, begin, False, f"{package} {importlib.metadata.version(package)}", most))
    return found


def _names(text: str) -> Iterator[tuple[str, int | None]]:
    for part in text.split(","):
        name, _, most = part.partition(":")
        if name not in ("", "none"):
            yield name, int(most) if most else None
