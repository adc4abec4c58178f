"""What matters in a study: a forest is grown on its trials and taken apart."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from whet.errors import StudyError
from whet.tune.importance.cells import Cells
from whet.tune.importance.effects import Effects, effects, pairs_of
from whet.tune.importance.products import covariances
from whet.tune.importance.result import Importance, Joint, Part, Share, Verdict
from whet.tune.importance.surrogate import Surrogate, beside_noise
from whet.tune.search.model.outcomes import Scale
from whet.tune.search.model.seen import Seen
from whet.tune.search.model.threads import one_thread
from whet.tune.slice import Axis
from whet.tune.space import Space
from whet.tune.told import own
from whet.tune.trial import Trials

__all__ = ["LEAST", "importance"]

LEAST = 8  # trials with a value below which nothing is said
_GOOD = 4  # of them that must be better than the bound of `top`
_TREES = 64
_DEALT = 8  # times that values are dealt out anew, each to a part of half as many trees
_NONE = 1e-12  # a variance of trees that are constant
_OTHERS = (
    4  # trials with another value than the commonest, below which it is not said of a dimension that it does not matter
)
_SMALL = 0.05  # a share that is below it for sure does not matter
_PREDICTS, _FEW = (
    0.1,
    2.5,
)  # by how much, of nothing, few trials seem to predict one time in twenty: as good as 0.1 and 2.5 / trials


def importance(trials: Trials, *, top: float | None = None, pairs: bool = False, seed: int = 0) -> Importance:
    """Return what matters: how much of the variance of the value, over the whole space, is due to each dimension (functional ANOVA).

    A random forest is grown on the trials, whatever searcher made them, and each of its trees is taken apart in closed form (Hutter, Hoos and Leyton-Brown 2014).
    Differences to the paper: dimensions of a branch are weighed by how often they exist (see `effects`); numbers are cut into 64 cells; leaves hold two trials; far
    worse values are pulled in, as `Scale` does.

    top: only what is among the best share of the trials tells, e.g. 0.1: all that is worse counts as the worst of them (the "improvement over a
    baseline" of the same paper, section 4.3; not PED-ANOVA, which asks for the chance to be among them); pairs: with what two do together; seed: of the forest.

    Trials that went on from weights that another configuration trained are left out: their value is not what their own configuration comes to. So are
    dimensions that have one value.

    Raises StudyError when there is no dimension, fewer than 8 trials have a value, all have the same, or `top` leaves fewer than 4 good ones.

    >>> from whet.tune.space import Float, Space
    >>> from whet.tune.trial import State, Trial
    >>> space, rng = Space(lr=Float(1e-4, 1, log=True), width=Float(0, 1)), np.random.default_rng(0)
    >>> drawn = [space.sample(rng) for _ in range(60)]
    >>> done = [Trial(i, p, State.DONE, value=abs(math.log10(p["lr"]) + 2)) for i, p in enumerate(drawn)]
    >>> found = importance(Trials(done, space=space))
    >>> [(p.name, p.verdict) for p in found.parts], found.parts[0].alone.value > 0.9
    ([('lr', 'matters'), ('width', 'does not matter')], True)
    """
    rows, scores, found = _values(trials, top)
    cells = Cells(trials.space)
    mean, spread = float(scores.mean()), float(scores.std())
    if not spread > 0:
        raise StudyError(f"all {len(scores)} trials have the same value, so nothing can matter. Run more trials first.")
    values = (scores - mean) / spread
    with one_thread():
        forest = Surrogate(cells, rows, values, trees=_TREES, seed=seed)
        taken = [e for e in (effects(b, pairs=pairs) for b in forest.boxes) if e.variance > _NONE]
        limit = _PREDICTS + _FEW / len(scores)
        found = replace(found, r2=forest.r2, limit=limit)
        if not taken:
            raise StudyError(f"{len(scores)} trials are too alike for a model of them. Run more trials first.")
        mine, noise = _noise(trials.space, rows, values, seed) if found.predicts else (None, np.zeros((cells.d, 1)))
    sign = 1.0 if trials.goal.better == "min" else -1.0
    chances = noise * np.array([[cells.chance(when)] for when in cells.when])  # what means nothing exists everywhere
    parts = []
    for j in cells.free:
        part = _part(cells, taken, j, sign * mean, sign * spread)
        chance = float(chances[j].mean())
        verdict: Verdict = (
            "cannot tell" if mine is None else _verdict(part.total, mine[j], chance, float(chances.max()))
        )
        if verdict == "does not matter" and _others(rows[:, j]) < _OTHERS:
            verdict = "cannot tell"  # a grid at its beginning, or a branch hardly taken: nobody tried
        parts.append(replace(part, chance=chance, verdict=verdict))
    parts.sort(key=lambda p: (-p.alone.value, -p.total.value))
    if not pairs:
        return replace(found, parts=tuple(parts))
    joint = [
        Joint((cells.names[i], cells.names[j]), Share.of(np.array([e.pairs[i, j] / e.variance for e in taken])))
        for i, j, _ in pairs_of(cells)
        if i in cells.free and j in cells.free
    ]
    joint.sort(key=lambda p: -p.share.value)
    rest = 1.0 - sum(p.alone.value for p in parts) - sum(p.share.value for p in joint)
    return replace(found, parts=tuple(parts), pairs=tuple(joint), rest=max(rest, 0.0))


def _values(trials: Trials, top: float | None) -> tuple[np.ndarray, np.ndarray, Importance]:
    """Return rows (n, d) and scores (n,) of the trials that have a value, the worst ones pulled in, and what is to be said of them."""
    if not any(dim.varies for dim in trials.space.dims):
        raise StudyError("the space has no dimension that could matter: every value in it is fixed.")
    if top is not None and not 0.0 < top < 1.0:
        raise StudyError(f"top: must be above 0 and below 1, got {top:g}. Use e.g. 0.1 for the best tenth.")
    view = Seen().look(trials)
    heirs = sum(trials[int(i)].value is not None for i in view.inherited)
    sound = np.isfinite(view.scores)
    rows, scores, n = view.rows[sound], view.scores[sound], int(sound.sum())
    if n < LEAST:
        raise StudyError(
            f"{n} of {len(trials)} trials {'has' if n == 1 else 'have'} a value{own(trials)}; what matters needs at least {LEAST}. Run more trials first."
        )
    worst = Scale.of(scores).worst
    if top is not None:
        worst = float(np.sort(scores)[min(math.ceil(top * n), n - 1)])
        if (better := int((scores < worst).sum())) < _GOOD:
            raise StudyError(
                f"top {top:g}: {better} of {n} trials {'is' if better == 1 else 'are'} among the best; at least {_GOOD} are needed. Run more trials, or take more of them."
            )
    partial = sum(trials.reach(trials[int(i)]) < trials.steps for i in view.ids[sound])
    failed = len(view.failed_ids) + int((~sound).sum())
    pulled = (worst if trials.goal.better == "min" else -worst) if (scores > worst).any() else None
    said = Importance(trials.goal, n, failed, partial, heirs, pulled, top, 0.0, 0.0, ())
    return rows, np.minimum(scores, worst), said


def _noise(space: Space, rows: np.ndarray, values: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the total shares (d, deals) of the dimensions, and of ones that mean nothing, in forests that have both."""
    shares = []
    for forest in beside_noise(space, rows, values, times=_DEALT, trees=_TREES // _DEALT // 2, seed=seed):
        taken = [covariances(f, f) for f in forest.boxes]
        shares.append(np.mean([total / variance if variance > _NONE else 0.0 * total for variance, total in taken], 0))
    mine, noise = np.split(np.array(shares).T, 2)
    return mine, noise


def _part(cells: Cells, taken: list[Effects], j: int, mean: float, spread: float) -> Part:
    """Return what is due to a dimension, without a verdict. mean, spread: of the metric, by which curves are in its units."""
    alone = Share.of(np.array([e.alone[j] / e.variance for e in taken]))
    total = Share.of(np.array([e.total[j] / e.variance for e in taken]))
    curves = mean + spread * np.array([e.curves[j] for e in taken])
    low, high = np.quantile(curves, (0.025, 0.975), axis=0)
    dim, name = cells.dims[j], cells.names[j]
    axis = Axis(name, dim.domain, tuple(cells.values(j)), cells.places[j])
    # what hangs on a choice of one option is always there
    when = " and ".join(f"{choice} {option}" for (choice, option), k in zip(dim.when, cells.when[j], strict=True) if k in cells.free)  # fmt: skip
    exists = cells.chance(cells.when[j])
    return Part(name, alone, total, 0.0, "cannot tell", exists, when, axis, curves.mean(0), low, high)


def _others(column: np.ndarray) -> int:
    """Return how many of the trials (n,) that have a dimension have another value of it than the commonest."""
    counts = np.unique(column[~np.isnan(column)], return_counts=True)[1]
    return int(counts.sum() - counts.max(initial=0))


def _verdict(total: Share, mine: np.ndarray, chance: float, most: float) -> Verdict:
    """Return what is said of a dimension. mine (deals,): its shares beside what means nothing; chance: the mean share of that; most: the largest of all.

    A share that is small for sure does not matter. One matters that is larger than any that chance made beside it, whatever dimension was dealt
    out (the rule of "Boruta"): among few trials a dimension happens to go with another one that matters, and so with the values, more
    often than its own eight copies show.
    """
    if total.high - chance < _SMALL:
        return "does not matter"
    return "matters" if mine.mean() > most else "cannot tell"
