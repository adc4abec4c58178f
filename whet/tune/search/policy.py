"""Search by reinforcement learning: a controller draws configurations, and good ones become likelier."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from whet.errors import StudyError
from whet.tune.search.model.climb import fingerprint
from whet.tune.search.model.controller import Controller
from whet.tune.search.model.threads import one_thread
from whet.tune.search.sobol import Sobol
from whet.tune.space import Space
from whet.tune.strategy import Proposal
from whet.tune.trial import Trials

__all__ = ["Policy"]

_TRIES = 100  # draws, until one is allowed that no trial has
_WIDER = 1.05  # each wider than the one before


@dataclass(frozen=True)
class Policy:
    """Propose a draw from a controller that is trained by REINFORCE with a baseline.

    The controller has a head for every dimension: chances of the options of a choice or the values of an ordered one (a softmax), a normal
    distribution over the place of a number in the unit cube. A head in a branch that was not taken has no part in a trial. When a trial ends, the
    logarithm of its chance is moved along its gradient by (reward - baseline) (Williams 1992), the baseline being a running mean of rewards; steps of numbers
    are in units of their variance, as there. An entropy bonus keeps the heads from closing too early (Williams and Peng 1991).

    The reward is -log(rank / (m + 1)) among the m = 20 trials before it, so that neither the scale of the values nor how good trials have become plays a part;
    a failure has 0. Trials are folded in the order of their numbers. One that was drawn before others ended, or by somebody else, is weighed with how likely
    it is by now beside then, at most 1.

    Draws that the space does not allow or a trial has are drawn again, wider each time. Every trial records its numbers before they were moved into
    their range, and the logarithm of its chance ("policy" of the origin).

    rate: how far one trial moves the heads, above 0, at most 1; entropy: the weight of the bonus, from 0 to 1; step: the standard deviation of numbers at first, in
    ranges; start: how many trials of a Sobol sequence have ended before (default 8), which teach it too; seed: of that sequence.

    Raises StudyError when an option is none.

    >>> from whet.tune.space import Choice
    >>> from whet.tune.trial import State, Trial
    >>> policy, space, done = Policy(), Space(**{f"c{i}": Choice(list("abcdefgh")) for i in range(4)}), []
    >>> for i in range(200):
    ...     made = policy.propose(Trials([*done, Trial(i)], space=space), np.random.default_rng(i))
    ...     value = sum(v != "c" for v in made.params.values())
    ...     done.append(Trial(i, made.params, State.DONE, value=value, origin=made.origin))
    >>> [round(sum(t.value for t in done[i : i + 50]) / 50, 1) for i in (0, 50, 100, 150)]  # evenly drawn: 3.5; none comes twice
    [3.0, 2.1, 2.2, 2.3]
    """

    rate: float = 0.2
    entropy: float = 0.05
    step: float = 0.25
    start: int = 8
    seed: int = 0

    def __post_init__(self) -> None:
        for name, value, least in (("rate", self.rate, 0), ("entropy", self.entropy, -1), ("step", self.step, 0)):
            if not isinstance(value, (int, float)) or isinstance(value, bool) or not least < value <= 1 or value < 0:
                what = "from 0 to 1" if least < 0 else "above 0, at most 1"
                raise StudyError(f"policy: {name} must be a number {what}, got {value!r}. Use e.g. Policy({name}=0.1).")
        if not isinstance(self.start, int) or isinstance(self.start, bool) or self.start < 1:
            raise StudyError(
                f"policy: start must be a whole number >= 1, got {self.start!r}. Use e.g. Policy(start=8)."
            )
        Sobol(self.seed)

    @cached_property
    def _controller(self) -> Controller:
        return Controller(self.rate, self.entropy, self.step)

    @cached_property
    def _sobol(self) -> Sobol:
        return Sobol(self.seed)

    def propose(self, trials: Trials, rng: np.random.Generator) -> Proposal:
        """Return a draw that no trial has and the space allows; before `start` trials have ended, or when none is met, the next of an evenly spread design."""
        known = self._controller
        view = known.look(trials)
        with one_thread():
            learnt = known.now(view)
            heads, cube = known.heads, known.seen.cube
            if learnt.seen < self.start or not cube.d or not len(view.ids):
                return self._even(trials, rng, "start")
            for i in range(_TRIES):
                params = learnt.params if i == 0 else heads.wider(learnt.params, _WIDER**i)
                point, raw = heads.draw(params, rng)
                row = cube.rows(point[None])[0]
                if fingerprint(row) in known.seen.tried:
                    continue
                found = cube.params(row)
                if cube.constrained and not trials.space.allows(found):
                    continue
                drawn = heads.of(row, raw)
                at = [None if math.isnan(x) else x for x in drawn.raw.tolist()]
                return Proposal(
                    found, {"search": "policy", "policy": {"at": at, "logp": round(heads.logp(params, drawn), 6)}}
                )
        return self._even(trials, rng, "fallback")

    def _even(self, trials: Trials, rng: np.random.Generator, why: str) -> Proposal:
        made = self._sobol.propose(trials, rng)
        return Proposal(made.params, {**made.origin, "search": "policy", why: "sobol"})

    def size(self, space: Space) -> int | None:
        """Return how many configurations `space` has, None when endless."""
        return space.size

    def left(self, trials: Trials) -> int | None:
        """Return how many configurations no trial has yet, None when endless."""
        return self._sobol.left(trials)
