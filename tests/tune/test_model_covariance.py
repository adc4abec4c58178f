"""The update of a generation, with and without a margin, beside the package `cmaes`, and its invariants.

cma_reference.json is what the package did with given points; it is written by running this file where the package is installed.
"""

from __future__ import annotations

import json
import math
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.special import ndtr

from whet.tune.search.model.covariance import Normal, adapted, rates, sized
from whet.tune.search.model.margin import cell, kept_apart

FILE = Path(__file__).with_name("cma_reference.json")
CELLS = (2, 5, 0, 16)  # of the columns of the case with a margin; 0: a real number
CASES = json.loads(FILE.read_text(encoding="utf-8")) if FILE.exists() else {"plain": [], "margin": []}


def value(x: np.ndarray, target: np.ndarray) -> float:
    """Return a bowl that is not round."""
    return float(((x - target) ** 2 * np.arange(1, len(x) + 1)).sum() + (x[0] - target[0]) * (x[-1] - target[-1]))


def played(n: int, generations: int, seed: int) -> dict[str, Any]:
    """Return the points of some generations of `cmaes.CMA`, the best first, and what it was after each."""
    from cmaes import CMA

    target = np.random.default_rng(seed).random(n)
    made = CMA(mean=np.full(n, 0.5), sigma=0.3, bounds=np.tile([[0.0, 1.0]], (n, 1)), seed=seed)
    out: dict[str, Any] = {"n": n, "step": 0.3, "points": [], "states": []}
    for _ in range(generations):
        told = sorted(
            ((x, value(x, target)) for x in (made.ask() for _ in range(made.population_size))), key=lambda s: s[1]
        )
        out["points"].append([x.tolist() for x, _ in told])
        made.tell(told)
        out["states"].append(_state(made))
    return out


def margined(generations: int, seed: int) -> dict[str, Any]:
    """Return the same of `cmaes.CMAwM` over the columns of `CELLS`, and how wide it spreads those with cells."""
    from cmaes import CMAwM

    n = len(CELLS)
    target = np.random.default_rng(seed).random(n)
    bounds = np.array([[0.5 / k, 1 - 0.5 / k] if k else [0.0, 1.0] for k in CELLS])
    made = CMAwM(np.full(n, 0.45), 0.2, bounds, np.array([1 / k if k else 0.0 for k in CELLS]), seed=seed)
    out: dict[str, Any] = {"n": n, "step": 0.2, "cells": list(CELLS), "points": [], "seen": [], "states": []}
    for _ in range(generations):
        asked = [made.ask() for _ in range(made.population_size)]
        told = sorted(((raw, value(seen, target), seen) for seen, raw in asked), key=lambda s: s[1])
        out["points"].append([raw.tolist() for raw, _, _ in told])
        out["seen"].append([seen.tolist() for _, _, seen in told])
        made.tell([(raw, v) for raw, v, _ in told])
        out["states"].append({**_state(made._cma), "widened": made._A.tolist()})
    return out


def _state(made: Any) -> dict[str, Any]:
    state = {
        "mean": made._mean.tolist(),
        "step": made._sigma,
        "matrix": made._C.tolist(),
        "path": made._pc.tolist(),
        "steps": made._p_sigma.tolist(),
    }
    assert math.isfinite(state["step"])
    return state


def like(normal: Normal, state: dict[str, object], widened: bool = False) -> None:
    for name in ("mean", "step", "matrix", "path", "steps", *["widened"] * widened):
        np.testing.assert_allclose(getattr(normal, name), state[name], rtol=1e-10, atol=1e-10, err_msg=name)


@pytest.mark.parametrize("case", CASES["plain"], ids=lambda c: str(c["n"]))
def test_a_generation_is_that_of_the_reference(case):
    normal = Normal.at(np.full(case["n"], 0.5), case["step"])
    for points, state in zip(case["points"], case["states"], strict=True):
        assert len(points) == sized(case["n"])
        normal = adapted(normal, np.array(points))
        like(normal, state)
    assert normal.generation == len(case["points"])


@pytest.mark.parametrize("case", CASES["margin"])
def test_a_margin_is_that_of_the_reference(case):
    cells = case["cells"]
    listed = {j: np.arange(1, k) / k for j, k in enumerate(cells) if k}
    normal = Normal.at(np.full(case["n"], 0.45), case["step"])
    moved = 0
    for points, seen, state in zip(case["points"], case["seen"], case["states"], strict=True):
        spread = normal.mean + normal.widened * (np.array(points) - normal.mean)
        for j, inner in listed.items():
            np.testing.assert_allclose((cell(inner, spread[:, j]) + 0.5) / cells[j], np.array(seen)[:, j], atol=1e-12)
        plain = adapted(normal, np.array(points))
        normal = kept_apart(plain, listed, 1 / (case["n"] * len(points)))
        moved += bool((normal.mean != plain.mean).any())
        like(normal, state, widened=True)
    assert moved > 5  # or nothing was compared


def test_beside_the_package_itself_over_many_generations():
    pytest.importorskip("cmaes")
    for seed in range(5):
        for case in (played(2 + 3 * seed, 40, seed), margined(40, seed)):
            cells = case.get("cells")
            listed = {j: np.arange(1, k) / k for j, k in enumerate(cells) if k} if cells else {}
            normal = Normal.at(np.full(case["n"], 0.45 if cells else 0.5), case["step"])
            for points, state in zip(case["points"], case["states"], strict=True):
                normal = kept_apart(adapted(normal, np.array(points)), listed, 1 / (case["n"] * len(points)))
                like(normal, state, widened=bool(cells))


@pytest.mark.parametrize("n", [1, 2, 5, 20])
@pytest.mark.parametrize("size", [4, 7, 30])
def test_rates_keep_what_the_tutorial_says_of_them(n, size):
    r = rates(n, size)
    assert r.weights[: r.best].sum() == pytest.approx(1)
    assert (np.diff(r.weights) <= 0).all()
    assert r.one > 0
    assert 0 < r.all <= 1 - r.one
    # the matrix stays positive definite whatever the points are (equations 50 to 52)
    assert 1 - r.one - r.all * r.weights.sum() + n * r.all * r.weights[r.weights < 0].sum() >= -1e-12


@pytest.mark.parametrize("seed", range(4))
def test_the_update_goes_with_the_points_when_they_are_turned_stretched_and_moved(seed):
    rng = np.random.default_rng(seed)
    turn, _ = np.linalg.qr(rng.standard_normal((3, 3)))
    a = Normal.at(np.full(3, 0.5), 0.2)
    b = Normal.at(7 * turn @ a.mean + 2, 7 * 0.2)
    for _ in range(6):
        points = a.draw(rng.standard_normal((7, 3)))
        a, b = adapted(a, points), adapted(b, 7 * points @ turn.T + 2)
    np.testing.assert_allclose(b.mean, 7 * turn @ a.mean + 2, rtol=1e-9)
    np.testing.assert_allclose(b.matrix, turn @ a.matrix @ turn.T, atol=1e-9)
    assert b.step == pytest.approx(7 * a.step)


def test_the_root_is_symmetric_and_squares_to_the_matrix():
    rng = np.random.default_rng(0)
    normal = Normal.at(np.zeros(4), 1.0)
    for _ in range(5):
        normal = adapted(normal, normal.draw(rng.standard_normal((8, 4))))
    np.testing.assert_allclose(normal.root, normal.root.T, atol=1e-12)
    np.testing.assert_allclose(normal.root @ normal.root, normal.matrix, atol=1e-12)
    np.testing.assert_allclose(normal.root @ normal.inverse_root, np.eye(4), atol=1e-9)


@pytest.mark.parametrize("at", [-2.0, 0.05, 0.3, 0.62, 0.97, 5.0])
@pytest.mark.parametrize("step", [1e-9, 1e-3, 0.3])
def test_a_margin_leaves_a_chance_to_every_neighbour(at, step):
    inner, least = np.array([0.25, 0.5, 0.75]), 0.04
    moved = kept_apart(Normal.at(np.array([at]), step), {0: inner}, least)
    width = float(moved.deviations[0] * moved.widened[0])
    ends = ndtr((inner - moved.mean[0]) / width)
    chances = np.diff([0.0, *ends, 1.0])
    k = int(cell(inner, at))
    if 0 < k < 3:  # within: below and above, half of it each
        assert ends[k - 1] >= least / 2 * (1 - 1e-6)
        assert 1 - ends[k] >= least / 2 * (1 - 1e-6)
    else:
        assert 1 - chances[k] >= least * (1 - 1e-6)
    assert int(cell(inner, moved.mean[0])) == k


if __name__ == "__main__":
    found = {
        "from": f"cmaes {metadata.version('cmaes')}",
        "plain": [played(1, 5, 0), played(3, 8, 1), played(6, 4, 2)],
        "margin": [margined(12, 0)],
    }
    FILE.write_text(json.dumps(found, separators=(",", ":")) + "\n", encoding="utf-8")
    print(f"{FILE.name}: {FILE.stat().st_size:,} bytes, {found['from']}")
