"""The closed form over boxes against brute force over every cell of small spaces, to the last bits."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from sklearn.tree import DecisionTreeRegressor

from whet.tune.importance.boxes import Boxes, bounds
from whet.tune.importance.cells import Cells
from whet.tune.importance.effects import effects, pairs_of
from whet.tune.importance.products import covariances
from whet.tune.space import Choice, Float, Int, Ordered, Space

SPACES = {
    "plain": Space(a=Int(1, 4), b=Choice(["x", "y", "z"]), c=Ordered([1, 2, 4])),
    "uneven": Space(a=Int(1, 9, log=True), b=Choice([True, False]), one=Choice(["only"])),
    "branch": Space(
        a=Int(1, 3), o=Choice({"sgd": Space(m=Int(1, 4), n=Choice([1, 2])), "adam": Space(m=Int(1, 3)), "none": None})
    ),
    "nested": Space(
        o=Choice({
            "deep": Space(p=Choice({"q": Space(r=Int(1, 3), s=Int(1, 2)), "t": Space(u=Int(1, 2))}), v=Int(1, 3)),
            "flat": Space(w=Choice(["l", "m", "n"])),
        }),
        z=Ordered([1, 2, 3]),
    ),
    "number": Space(x=Float(1e-4, 1, log=True), k=Int(1, 3)),
    "long": Space(x=Float(0, 1), o=Choice({"a": Space(k=Int(1, 20, log=True)), "b": None})),
}  # fmt: skip


def forest(cells: Cells, seed: int, n: int = 40) -> tuple[Boxes, DecisionTreeRegressor]:
    rng = np.random.default_rng(seed)
    rows = cells.encode([cells.space.sample(rng) for _ in range(n)])
    values = rng.normal(size=n) + 2 * np.nan_to_num(rows, nan=0.7).sum(1)
    tree = DecisionTreeRegressor(random_state=seed).fit(cells.columns(rows), values)
    t = tree.tree_
    low, high = bounds(t.children_left, t.children_right, t.feature, t.threshold, columns=t.n_features)
    ends = np.flatnonzero(t.children_left < 0)
    return Boxes(cells, t.value[ends, 0, 0], low[ends], high[ends]), tree


def everywhere(cells: Cells, tree: DecisionTreeRegressor) -> tuple[np.ndarray, np.ndarray]:
    """Return the tree over the whole cube of cells, what does not exist having no effect, and the weight of each."""
    grid = np.array(list(itertools.product(*(range(len(p)) for p in cells.places))))
    weight = np.prod([cells.widths[j][grid[:, j]] for j in range(cells.d)], axis=0)
    rows = np.stack([cells.places[j][grid[:, j]] for j in range(cells.d)], axis=1)
    for j, when in enumerate(cells.when):
        for k, option in when.items():
            rows[grid[:, k] != option, j] = np.nan
    shape = tuple(len(p) for p in cells.places)
    return tree.predict(cells.columns(rows)).reshape(shape), weight.reshape(shape)


def mean_over(values: np.ndarray, cells: Cells, kept: set[int]) -> np.ndarray:
    """Return the mean over all dimensions but those kept, the shape kept with ones."""
    for j in range(cells.d):
        if j not in kept:
            values = np.expand_dims(np.tensordot(values, cells.widths[j], axes=(j, 0)), j)
    return values


@pytest.mark.parametrize("name", SPACES)
@pytest.mark.parametrize("seed", range(3))
def test_means_are_those_of_every_cell(name: str, seed: int) -> None:
    cells = Cells(SPACES[name])
    f, tree = forest(cells, seed)
    values, weight = everywhere(cells, tree)
    assert weight.sum() == pytest.approx(1.0, abs=1e-12)
    assert f.mean() == pytest.approx(float((values * weight).sum()), abs=1e-9)
    for j in range(cells.d):
        when = cells.when[j]
        at = tuple(when.get(k, slice(None)) for k in range(cells.d))
        inside = mean_over(values, cells, {j, *when})[
            tuple(at[k] if k in when else slice(None) for k in range(cells.d))
        ]
        assert np.allclose(f.along((j,), when), inside.ravel(), rtol=0, atol=1e-9)
        assert f.mean(when) == pytest.approx(float(inside.ravel() @ cells.widths[j]), abs=1e-9)


@pytest.mark.parametrize("name", SPACES)
@pytest.mark.parametrize("seed", range(3))
def test_means_over_all_but_two_are_those_of_every_cell(name: str, seed: int) -> None:
    cells = Cells(SPACES[name])
    f, tree = forest(cells, seed)
    values, _ = everywhere(cells, tree)
    for i, j in itertools.combinations(range(cells.d), 2):
        when = {**cells.when[i], **cells.when[j]}
        if i in when or j in when or any(when[k] != o for k, o in cells.when[i].items()):
            continue
        inside = mean_over(values, cells, {i, j, *when})
        inside = inside[tuple(when.get(k, slice(None)) for k in range(cells.d))]
        assert np.allclose(f.along((i, j), when), inside.reshape(len(cells.places[i]), -1), rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", SPACES)
@pytest.mark.parametrize("seed", range(3))
def test_covariances_are_those_of_every_cell(name: str, seed: int) -> None:
    cells = Cells(SPACES[name])
    (f, one), (g, other) = forest(cells, seed), forest(cells, seed + 100)
    (a, weight), (b, _) = everywhere(cells, one), everywhere(cells, other)
    both, totals = covariances(f, g)
    expected = (a * b * weight).sum() - (a * weight).sum() * (b * weight).sum()
    assert both == pytest.approx(float(expected), abs=1e-9)
    for j in range(cells.d):
        kept = set(range(cells.d)) - {j}
        without = mean_over(a, cells, kept) * mean_over(b, cells, kept)
        gone = (a * b * weight).sum() - (weight.sum(j, keepdims=True) * without).sum()
        assert totals[j] == pytest.approx(float(gone), abs=1e-9)


@pytest.mark.parametrize("name", SPACES)
@pytest.mark.parametrize("seed", range(3))
def test_effects_are_those_of_every_cell(name: str, seed: int) -> None:
    """By the textbook: every subset's component over the full cube, summed as the docstring says branches are."""
    cells = Cells(SPACES[name])
    f, tree = forest(cells, seed)
    values, weight = everywhere(cells, tree)
    parts: dict[frozenset[int], float] = {}
    curves: dict[frozenset[int], np.ndarray] = {}
    for k in range(cells.d + 1):
        for some in itertools.combinations(range(cells.d), k):
            u = frozenset(some)
            curve = mean_over(values, cells, set(u))
            for v, other in curves.items():
                if v < u:
                    curve = curve - other
            curves[u] = curve
            parts[u] = float((np.broadcast_to(curve, weight.shape) ** 2 * weight).sum()) if u else 0.0

    def closed(*dims: int) -> float:
        above = set().union(*(cells.when[j] for j in dims))
        return sum(part for u, part in parts.items() if u >= set(dims) and u <= set(dims) | above)

    found = effects(f, pairs=True)
    assert found.variance == pytest.approx(sum(parts.values()), abs=1e-9)
    for j in range(cells.d):
        assert found.alone[j] == pytest.approx(closed(j), abs=1e-9)
        assert found.total[j] == pytest.approx(sum(part for u, part in parts.items() if j in u), abs=1e-9)
    assert set(found.pairs) == {(i, j) for i, j, _ in pairs_of(cells)}
    for (i, j), part in found.pairs.items():
        assert part == pytest.approx(closed(i, j), abs=1e-9)
    # what is left is due to three or more, never negative
    assert found.alone.sum() + sum(found.pairs.values()) <= found.variance + 1e-9
