"""Searchers that take turns at the same task: whet's by their names, and those of Optuna, Hyperopt and SMAC3.

Each plays by asking and telling, over any `Space` without constraints, branches, logarithms, orders and whole numbers
included, and each is told failures in its own way. Its options are its defaults. A peer that is not installed is left
out with one line. Run `python -m peers` in benchmarks/ to see which are there.
"""

from peers.lineup import PEERS, Player, lineup
from peers.play import Kept, Played, play
from peers.verdict import error, verdicts

__all__ = ["PEERS", "Kept", "Played", "Player", "error", "lineup", "play", "verdicts"]
