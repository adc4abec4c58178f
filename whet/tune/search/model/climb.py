"""Where a score is largest over the unit cube of a space: many points, drawn evenly or around the best, then a climb from the best of them."""

from __future__ import annotations

from collections.abc import Callable, Set

import numpy as np

from whet.tune.search.model.cube import Cube

__all__ = ["around", "climb", "fingerprint", "fingerprints"]

Score = Callable[[np.ndarray], np.ndarray]

_CLIMBERS = 8
_ROUNDS = (
    1  # more lead to the corners of the cube, where a model is unsure and rarely right: worse where it was measured
)
_STEPS = (0.2, 0.05, 0.0125)  # standard deviations of moves along a real number, each tried
_CHANGED = 2  # dimensions in which points around others differ from these, on average
_FIRST = 0.4  # the chance that such a point is around the best of them; the second has as much of the rest, and so on
_FEW = 64  # levels up to which a move is by whole levels


def fingerprint(row: np.ndarray) -> bytes:
    """Return bytes that are equal for equal rows (d,)."""
    return np.asarray(row, dtype=np.float64).tobytes()


def fingerprints(rows: np.ndarray) -> list[bytes]:
    """Return the `fingerprint` of each of the rows (n, d)."""
    whole = np.ascontiguousarray(rows, dtype=np.float64).tobytes()
    width = 8 * rows.shape[1]
    return [whole[at : at + width] for at in range(0, len(whole), width)] if width else [b""] * len(rows)


def climb(
    score: Score,
    cube: Cube,
    rng: np.random.Generator,
    *,
    near: np.ndarray,
    tried: Set[bytes] = frozenset(),
    draws: int = 300,
    rounds: int = 1,
    drawn: Callable[[int], np.ndarray] | None = None,
    held: Callable[[np.ndarray], np.ndarray] | None = None,
) -> np.ndarray | None:
    """Return the row (d,) with the largest score found that is not `tried` and is allowed; None when there is none.

    near: points (k, d) to begin at beside the random ones, such as the best so far; drawn: how n random points (n, d) are
    made (default: evenly); held: points (n, d) -> those that are looked at in their place, such as the nearest of a part of the cube. Each round moves every climber along each dimension, to neighbouring values or by normal steps,
    and keeps the best; it ends when the best does not get better, or after so many `rounds`: many lead to the corners of the cube, where
    a model is unsure and seldom right.
    """

    def fresh(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        points = cube.snap(points if held is None else held(points))
        rows = np.where(cube.exists(points), points, np.nan)
        first: dict[bytes, int] = {}
        for i, mark in enumerate(fingerprints(rows)):
            first.setdefault(mark, i)
        keep = [i for mark, i in first.items() if mark not in tried]
        points, rows = points[keep], rows[keep]
        if len(rows) and cube.constrained:
            allowed = [cube.space.allows(cube.params(row)) for row in rows]
            points, rows = points[allowed], rows[allowed]
        return points, rows

    made = drawn(draws) if drawn is not None else rng.random((draws, cube.d))
    near = np.where(np.isnan(near), rng.random(near.shape), near)
    points, rows = fresh(np.vstack([near, _moves(near, cube, rng), made]))
    if not len(rows):
        return None
    scores = score(rows)
    points, rows, scores = _best(points, rows, scores)
    for _ in range(rounds):
        more, more_rows = fresh(_moves(points, cube, rng))
        if not len(more):
            break
        top = scores[0]
        points, rows, scores = _best(
            np.vstack([points, more]), np.vstack([rows, more_rows]), np.concatenate([scores, score(more_rows)])
        )
        if not scores[0] > top + 1e-9 * abs(top):
            break
    return rows[0]


def _best(points: np.ndarray, rows: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    order = np.argsort(-scores, kind="stable")
    marks: set[bytes] = set()
    first = []
    for i in order[: 2 * _CLIMBERS]:  # the same row may have been reached twice, once by each side
        if (mark := fingerprint(rows[i])) not in marks:
            marks.add(mark)
            first.append(i)
            if len(first) == _CLIMBERS:
                break
    return points[first], rows[first], scores[first]


def _moves(points: np.ndarray, cube: Cube, rng: np.random.Generator) -> np.ndarray:
    """Return the points (m, d) one move away from points (k, d)."""
    found = []
    there = cube.exists(cube.snap(points)) if len(points) else np.zeros((0, cube.d), bool)
    for j, levels in enumerate(cube.levels):
        here = points[there[:, j]]
        if not len(here):
            continue
        if cube.options[j]:
            k = cube.options[j]
            targets = [np.full(len(here), (i + 0.5) / k) for i in range(k)]
        elif levels is not None and len(levels) <= _FEW:
            at = np.clip(np.searchsorted(levels, here[:, j]), 0, len(levels) - 1)
            targets = [levels[np.clip(at + by, 0, len(levels) - 1)] for by in (-2, -1, 1, 2)]
        else:
            targets = [np.clip(here[:, j] + s * rng.standard_normal(len(here)), 0.0, 1.0) for s in _STEPS]
        for target in targets:
            moved = here.copy()
            moved[:, j] = target
            found.append(moved)
    # and all real numbers at once, for ridges that no axis follows
    real = np.array([not o and (v is None or len(v) > _FEW) for o, v in zip(cube.options, cube.levels, strict=True)])
    if real.sum() > 1 and len(points):
        for s in _STEPS:
            found.append(np.clip(points + s * rng.standard_normal(points.shape) * real, 0.0, 1.0))
    return np.vstack(found) if found else np.zeros((0, cube.d))


def around(near: np.ndarray, cube: Cube, rng: np.random.Generator, n: int) -> np.ndarray:
    """Return n points (n, d) around points (k, d), best first: each differs from one of them in two dimensions on average, at least in one.

    A number moves by a normal step whose size is drawn, or by one or two levels where there are few; a choice takes any option.
    NaN, what does not exist, may become anything.

    >>> from whet.tune.space import Float, Space
    >>> cube = Cube(Space(a=Float(0, 1), b=Float(0, 1), c=Float(0, 1), e=Float(0, 1)))
    >>> found = around(np.full((1, 4), 0.5), cube, np.random.default_rng(0), 1000)
    >>> bool(1.8 < (found != 0.5).sum(1).mean() < 2.6), round(float(np.abs(found - 0.5).max()), 1)
    (True, 0.5)
    """
    points = near[np.minimum(rng.geometric(_FIRST, n), len(near)) - 1]
    points = np.where(np.isnan(points), rng.random(points.shape), points)
    sizes = np.exp(rng.uniform(np.log(0.01), np.log(0.3), (n, 1)))
    moved = np.clip(points + sizes * rng.standard_normal(points.shape), 0.0, 1.0)
    for j, levels in enumerate(cube.levels):
        if cube.options[j]:
            moved[:, j] = rng.random(n)
        elif levels is not None and len(levels) <= _FEW:
            at = np.clip(np.searchsorted(levels, points[:, j]), 0, len(levels) - 1) + rng.choice([-2, -1, 1, 2], n)
            moved[:, j] = levels[np.clip(at, 0, len(levels) - 1)]
    changed = rng.random(points.shape) < _CHANGED / max(_CHANGED, cube.d)
    changed[np.arange(n), rng.integers(cube.d, size=n)] = True
    return np.where(changed, moved, points)
