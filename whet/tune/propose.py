"""One configuration for one trial: the searcher's, or a person's guess filled in, and never one that was tried."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from whet import seed as streams
from whet.errors import UsedUp
from whet.tune.space import Space
from whet.tune.strategy import Proposal, Searcher
from whet.tune.trial import Trials
from whet.tune.whole import complete, configuration, covers

__all__ = ["propose"]

_ASKS = 4  # times the searcher is asked for something new
_DRAWS = 200  # random draws after that
_LISTED = 1_000_000  # the largest space that is listed


def propose(
    searcher: Searcher,
    trials: Trials,
    id: int,
    *,
    given: Mapping[str, Any] | None,
    again: bool,
    taken: Callable[[str], bool],
    seed: int,
) -> tuple[Proposal, int]:
    """Return the configuration of trial `id` and the number of the random stream it was drawn with.

    given: values that were set before; again: whether they may repeat a trial; taken: whether a configuration (its key)
    exists. One that exists is returned only when it was given completely (`enqueue` has asked whether that is meant), or
    when a long search in a space too large to list finds nothing else.

    Raises UsedUp when there is none that does not exist.
    """
    space = trials.space
    if given is not None:
        if (whole := complete(space, given)) is not None:
            return Proposal(whole), 0
        for draw in range(_DRAWS):
            params = space.fill(given, streams.rng(seed, id, draw, "propose"))
            if not taken(configuration(params)):
                return Proposal(params), draw
        listed = space.size is not None and space.size <= _LISTED
        left = space.points() if listed else iter(())
        found = next((p for p in left if covers(p, given) and not taken(configuration(p))), None)
        if found is None and listed and not again:
            raise UsedUp(f"all configurations that have the values {dict(given)} were tried in the meantime.")
        return Proposal(params if found is None else found), _DRAWS
    proposal = Proposal({})
    for draw in range(_ASKS):
        proposal = searcher.propose(trials, streams.rng(seed, id, draw, "propose"))
        proposal = Proposal(space.clean(proposal.params), proposal.origin)
        if not taken(configuration(proposal.params)):
            return proposal, draw
    fresh, draw = _fresh(space, id, taken, seed)
    if fresh is None and space.size is not None and space.size <= _LISTED:
        raise UsedUp(f"all {space.size} configurations were tried, or are about to be.")
    return (proposal, _ASKS - 1) if fresh is None else (Proposal(fresh, {**proposal.origin, "instead": "random"}), draw)


def _fresh(space: Space, id: int, taken: Callable[[str], bool], seed: int) -> tuple[dict[str, Any] | None, int]:
    """Return a random configuration that does not exist yet, and its stream, or None when there seems to be none."""
    for draw in range(_ASKS, _ASKS + _DRAWS):
        params = space.sample(streams.rng(seed, id, draw, "propose"))
        if not taken(configuration(params)):
            return params, draw
    if space.size is not None and space.size <= _LISTED:
        return next((p for p in space.points() if not taken(configuration(p))), None), _ASKS + _DRAWS
    return None, 0
