"""When to look: what looks cost is paid for before they are taken, whatever else the clock counts."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable

import pytest

from whet.checks.pace import Pace


def watched(
    pace: Pace, steps: int, step: Callable[[int], float], look: float, hidden: float = 0.0
) -> tuple[list[int], float, float]:
    """Train on a clock of its own: a look spans two steps, counts `look` seconds and takes `hidden` more.

    Returns the losses at which looks began, the seconds of the steps, and those of the looks.
    """
    now = bare = spent = 0.0
    began: list[int] = []
    start = 0.0
    for n in range(1, steps + 1):
        bare += step(n)
        now += step(n)
        if began and n - began[-1] in (1, 2):
            if n - began[-1] == 2:
                now += look + hidden
                spent += look + hidden
                pace.end(n, look, now - start, 2)
            continue
        if n >= pace.next and pace.ready(n, now):
            began.append(n)
            start = now
    return began, bare, spent


@pytest.mark.parametrize("hidden", [0.0, 0.9])
@pytest.mark.parametrize("steps", [300, 1000, 5000])
@pytest.mark.parametrize("size", [0.0005, 0.003, 0.1])
def test_looks_never_take_more_than_their_share(size: float, steps: int, hidden: float) -> None:
    """The first one is only guessed at (it may cost twice that), so a short run may owe one look."""
    look = 0.003 + size
    began, bare, spent = watched(Pace(10, 0.015), steps, lambda n: size, look, hidden * look)
    assert spent <= 0.015 * bare + max(0.0, (1 + hidden) * look - (2 * size + 0.004)) + 1e-9
    if 0.015 * size * steps > 4 * (1 + hidden) * look:
        assert spent > 0.5 * 0.015 * bare  # and what is paid for is taken
    assert all(b - a >= 10 for a, b in itertools.pairwise(began))


def test_pauses_are_not_taken_for_training() -> None:
    """Another program's turn after each 20 steps, ten times as long as these: it pays for nothing."""

    def step(n: int) -> float:
        return 0.201 if n % 20 == 0 else 0.001

    began, _, spent = watched(Pace(10, 0.015), 4000, step, 0.005)
    assert began
    assert spent <= 0.015 * 4000 * 0.001


def test_steps_that_are_slow_at_first_do_not_make_looks_frequent() -> None:
    began, _, spent = watched(Pace(10, 0.015), 3000, lambda n: 0.05 if n < 5 else 0.001, 0.005)
    assert began
    assert spent <= 0.015 * 3000 * 0.001


def test_steps_of_many_lengths_keep_to_the_share() -> None:
    rng = random.Random(0)
    lengths = [rng.lognormvariate(-7, 0.5) for _ in range(5001)]
    began, bare, spent = watched(Pace(10, 0.015), 5000, lengths.__getitem__, 0.004)
    assert len(began) > 5
    assert spent <= 0.017 * bare


def test_without_a_limit_and_within_the_grace_looks_come_as_often_as_asked() -> None:
    assert watched(Pace(10, None), 100, lambda n: 0.001, 1.0)[0] == [1, 13, 25, 37, 49, 61, 73, 85, 97]
    began, _, _ = watched(Pace(10, 0.001, grace=0.02), 1000, lambda n: 0.001, 0.01)
    assert began == [1, 13]
