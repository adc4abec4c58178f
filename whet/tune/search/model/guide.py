"""What searchers with a model share: a few evenly spread trials first, then what the model finds most worth trying."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar

import numpy as np

from whet.errors import StudyError, nearest
from whet.tune.search.model.bounds import merit
from whet.tune.search.model.climb import around, climb
from whet.tune.search.model.cube import Cube
from whet.tune.search.model.improvement import ACQUISITIONS
from whet.tune.search.model.seen import Seen, View
from whet.tune.search.model.several import Part, front, several
from whet.tune.search.model.threads import one_thread
from whet.tune.search.model.trust import Step
from whet.tune.search.model.weighed import weighed
from whet.tune.search.model.worth import Expected, Worth
from whet.tune.search.sobol import Sobol
from whet.tune.strategy import Proposal
from whet.tune.trial import Trials

__all__ = ["Guide", "check", "whole"]

E = TypeVar("E", bound=Expected)
Where = Callable[[Trials, View, Cube], Step]

_NEAR = 5  # best trials that the climb begins at, beside random points


class Guide(Generic[E]):
    """The searcher `name` but for its model; it follows one study at a time.

    start: how many trials have ended, failed ones included and one at least with a value, before the model is asked (None: 4 and half the
    number of dimensions, at most 12); seed: of the Sobol sequence until then; make: (trials, view, cube) -> what the model finds each row worth; draws, rounds: of `climb`; refine: whether
    every other trial is looked for around the best alone, or (trials, view, cube) -> the `Step` that says where, which is recorded: a region of which nothing is left
    makes way for everything; more: how many times as many draws there are while care is taken not to fail, as most
    places are ruled out then, and few of the others lie on along the edge of what fails; part: (trials, view, cube, name) -> the model of a goal after the first, where each has its own; mixed: whether there is
    one model of all goals, weighed anew for every proposal.
    """

    def __init__(
        self,
        name: str,
        start: int | None,
        seed: int,
        make: Callable[[Trials, View, Cube], Worth[E]],
        *,
        draws: int = 300,
        rounds: int = 1,
        refine: bool | Where = False,
        more: int = 1,
        part: Part | None = None,
        mixed: bool = False,
    ) -> None:
        self._name, self._start, self._make = name, start, make
        self._draws, self._rounds, self._refine = draws, rounds, refine
        self._more, self._part, self._mixed = more, part, mixed
        self._seen, self._sobol = Seen(), Sobol(seed)

    def propose(self, trials: Trials, rng: np.random.Generator) -> Proposal:
        """Return the configuration that is most worth trying; before `start` trials the next of an evenly spread design."""
        view = self._seen.look(trials)
        d = len(trials.space.dims)
        start = self._start or min(12, 4 + (d + 1) // 2)
        told = len(view.ids) + len(view.failed)
        if not len(view.ids) or told < start or not d:
            return self._first(trials, rng)
        with one_thread():
            cube, known = self._seen.cube, told + len(view.running)
            if self._mixed and view.aims.shape[1]:
                view = weighed(view, rng)
            worth = self._make(trials, view, cube)
            if self._part is not None and view.aims.shape[1]:
                worth = several(trials, view, cube, worth, part=self._part)
                near = view.rows[front(view, rng)[:_NEAR]]
            else:
                near = view.rows[np.argsort(merit(view), kind="stable")[:_NEAR]]
            drawn = (lambda n: around(near, cube, rng, n)) if self._refine is True and known % 2 else None
            sound = worth.posterior.sound
            draws = self._draws * (self._more if sound is not None and sound.least > 0 else 1)
            tried, rounds = self._seen.tried, self._rounds
            step = None if isinstance(self._refine, bool) else self._refine(trials, view, cube)
            row = None
            if step is not None and (region := step.region) is not None:
                row = climb(
                    worth, cube, rng, near=region.center[None], tried=tried, draws=draws, rounds=rounds,
                    drawn=lambda n: region.draw(n, rng), held=lambda points: region.hold(points, rng),
                )  # fmt: skip
                step = step if row is not None else step.wide()
            if row is None:
                row = climb(worth, cube, rng, near=near, tried=tried, draws=draws, rounds=rounds, drawn=drawn)
        if row is None:
            return self._first(trials, rng)
        said = {} if step is None else {self._name: step.record}
        return Proposal(self._seen.cube.params(row), {"search": self._name, **said, **worth.record})

    def _first(self, trials: Trials, rng: np.random.Generator) -> Proposal:
        made = self._sobol.propose(trials, rng)
        return Proposal(
            made.params, {**made.origin, "search": self._name, "start": "like" if "like" in made.origin else "sobol"}
        )

    def worth(self, trials: Trials) -> Worth[E]:
        """Return what each configuration is worth trying for the first goal; raise StudyError when no trial has a value yet."""
        view = self._seen.look(trials)
        if not len(view.ids) or not trials.space.dims:
            raise StudyError(
                f"{self._name}: no trial has a value yet, so there is no posterior. Run a few trials first."
            )
        with one_thread():
            return self._make(trials, view, self._seen.cube)

    def left(self, trials: Trials) -> int | None:
        """Return how many configurations no trial has yet, None when endless."""
        return self._sobol.left(trials)


def check(name: str, options: Mapping[str, Any]) -> None:
    """Raise StudyError when the options acquisition, start or seed of the searcher `name` make no sense."""
    acquisition, start = options["acquisition"], options["start"]
    if acquisition not in ACQUISITIONS:
        raise StudyError(
            f"{name}: no acquisition {acquisition!r}.{nearest(str(acquisition), ACQUISITIONS)} "
            f"Allowed: {', '.join(ACQUISITIONS)}."
        )
    if start is not None:
        whole(name, "start", start)
    Sobol(options["seed"])


def whole(name: str, option: str, value: object) -> None:
    """Raise StudyError when an option of the searcher `name` is no whole number of at least 1."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise StudyError(f"{name}: {option} must be a whole number >= 1, got {value!r}. Use e.g. {option}=8.")
