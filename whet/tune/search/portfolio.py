"""Several searchers share a study: who proposes next is drawn by what their proposals were worth."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from whet.errors import StudyError, UsedUp
from whet.tune.search import NAMES
from whet.tune.search.model.paying import Paying
from whet.tune.search.sobol import Sobol
from whet.tune.space import Space
from whet.tune.strategy import Proposal, Searcher
from whet.tune.trial import Trials

__all__ = ["Portfolio"]

Member = str | Mapping[str, Any] | Searcher


@dataclass(frozen=True)
class Portfolio:
    """Let several searchers propose, each the more often the better its proposals have been lately.

    A proposal is worth 1 when it is the best so far, 0 when it fails, and between by the logarithm of its rank among all trials before it.
    Who is next is drawn: of each member one number from a beta distribution of what its proposals were worth, and the largest wins
    (Thompson 1933; Agrawal and Goyal 2012). Credit fades with what the same member proposes after it, so that a member which pays off late is found out, and
    one that no longer does is left. A member that made none of the last 1 / least proposals is next whatever was drawn.

    With several goals the rank is by what beats a trial in all of them (`whet.tune.search.model.standing`), so credit goes to who adds to the front, whatever
    its members go by.

    Every member sees all trials, whoever proposed them. The evenly spread first trials of a member that has a model are nobody's merit. A
    member that has nothing left to propose makes way for the next. The member, why it was picked, and what each is believed to be worth are in the
    origin of every trial ("with", "because", "credit").

    members: names, {"name", "options"}, or searchers, at least two, each once; one given by name has the seed of the portfolio. memory:
    how many proposals of the same member later a credit weighs 1/e, at least 1; least: the share of the proposals that each makes at least, above 0, at most 1
    over the number of members; seed: of members given by name.

    Raises StudyError when an option is none.

    >>> from whet.tune.space import Float
    >>> from whet.tune.trial import State, Trial
    >>> portfolio, space, done = Portfolio(["cma", "random"]), Space(x=Float(0, 1), y=Float(0, 1)), []
    >>> for i in range(60):
    ...     made = portfolio.propose(Trials([*done, Trial(i)], space=space), np.random.default_rng(i))
    ...     value = (made.params["x"] - 0.3) ** 2 + (made.params["y"] - 0.6) ** 2
    ...     done.append(Trial(i, made.params, State.DONE, value=value, origin=made.origin))
    >>> sum(t.origin["with"] == "cma" for t in done[30:]) > 20
    True
    """

    members: Sequence[Member] = ("gp", "tpe", "random")
    memory: float = 20.0
    least: float = 0.05
    seed: int = 0

    def __post_init__(self) -> None:
        Sobol(self.seed)
        given = self.members
        if isinstance(given, (str, Mapping)) or not isinstance(given, Sequence) or len(given) < 2:
            raise StudyError(
                f'portfolio: members must be two searchers or more, got {given!r}. Use e.g. Portfolio(["gp", "tpe"]).'
            )
        object.__setattr__(self, "members", tuple(_plain(m) for m in given))
        names = [name for name, _ in self._made]
        for name in names:
            if name == "portfolio" or names.count(name) > 1:
                why = "is a portfolio itself" if name == "portfolio" else "is named twice"
                raise StudyError(f"portfolio: the member {name!r} {why}. Name other searchers, each once.")
        if not _number(self.memory) or not 1 <= self.memory <= 1e6:
            raise StudyError(
                f"portfolio: memory must be a number from 1 to 1e6, got {self.memory!r}. Use e.g. Portfolio(memory=20)."
            )
        if not _number(self.least) or not 0 < self.least <= 1 / len(names):
            raise StudyError(
                f"portfolio: least must be a number above 0, at most 1/{len(names)} for {len(names)} members, got {self.least!r}."
                " Use e.g. Portfolio(least=0.05)."
            )

    @cached_property
    def _made(self) -> list[tuple[str, Searcher]]:
        found: list[tuple[str, Searcher]] = []
        for member in self.members:
            if isinstance(member, str):
                made = NAMES.make(member, seed=self.seed)
            else:
                assert isinstance(member, Mapping)
                made = NAMES.rebuild(member)
            found.append((NAMES.describe(made)["name"], made))
        return found

    @property
    def gradient(self) -> str:
        """How the runs of a task are to find the gradient that a member goes by, "" when none does."""
        return next((g for _, m in self._made if (g := getattr(m, "gradient", ""))), "")

    @property
    def whole(self) -> bool:
        """Whether a member wants trials that are trained to their end."""
        return any(getattr(m, "whole", False) for _, m in self._made)

    def refuses(self, space: Space, steps: int, schedule: str) -> str:
        """Return why a study makes no sense with one of the members, "" when it does."""
        said = (getattr(m, "refuses", lambda *_: "")(space, steps, schedule) for _, m in self._made)
        return next((f"portfolio: {why}" for why in said if why), "")

    @cached_property
    def _paying(self) -> Paying:
        return Paying([name for name, _ in self._made], self.memory)

    @property
    def every_goal(self) -> bool:
        """Whether all goals count for every member; they do for the credit."""
        return not self.by_first

    @property
    def by_first(self) -> tuple[str, ...]:
        """The members that only the first of several goals steers."""
        return tuple(name for name, made in self._made if not getattr(made, "every_goal", False))

    def propose(self, trials: Trials, rng: np.random.Generator) -> Proposal:
        """Return what the member that is drawn proposes; raise UsedUp when no member has anything left."""
        account = self._paying.look(trials)
        drawn = account.draw(rng)
        order = [int(i) for i in np.argsort(-drawn, kind="stable")]
        late = [i for i in order if account.idle[i] >= math.ceil(1 / self.least) - 1]
        late.sort(key=lambda i: -account.idle[i])
        credit = {name: round(float(m), 3) for (name, _), m in zip(self._made, account.mean, strict=True)}
        used: UsedUp | None = None
        for i in dict.fromkeys([*late, *order]):
            name, member = self._made[i]
            try:
                made = member.propose(trials, rng)
            except UsedUp as e:
                used = e
                continue
            because = "its turn was long ago" if i in late else "drawn by credit"
            said = {"search": "portfolio", "with": name, "because": because, "credit": credit}
            if (spread := made.origin.get("with")) in ("sobol", "like"):  # so `auto` says what others say by "start"
                said["start"] = spread
            return Proposal(made.params, {**made.origin, **said})
        assert used is not None
        raise used

    def size(self, space: Space) -> int | None:
        """Return how many configurations the member that can propose the most of them has, None when endless."""
        return _most([made.size(space) if hasattr(made, "size") else space.size for _, made in self._made])

    def left(self, trials: Trials) -> int | None:
        """Return how many configurations no trial has yet, None when endless."""
        return _most([made.left(trials) if hasattr(made, "left") else None for _, made in self._made])


def _plain(member: Member) -> str | dict[str, Any]:
    """Return a member as JSON has it; raise StudyError when it is none."""
    if isinstance(member, str):
        return member
    if isinstance(member, Mapping):
        if not {"name"} <= set(member) <= {"name", "options"}:
            raise StudyError(
                f'portfolio: a member must be a name or {{"name", "options"}}, got {dict(member)!r}. Use e.g. {{"name": "gp", "options": {{}}}}.'
            )
        try:
            found: dict[str, Any] = json.loads(json.dumps(dict(member), allow_nan=False))
        except (TypeError, ValueError) as e:
            raise StudyError(
                f"portfolio: the options of the member {member.get('name')!r} must be JSON: {e}."
            ) from None
        return found
    return NAMES.describe(NAMES.ready(member))


def _most(counts: Sequence[int | None]) -> int | None:
    known = [c for c in counts if c is not None]
    return max(known) if len(known) == len(counts) else None


def _number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
