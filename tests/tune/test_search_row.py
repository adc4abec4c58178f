"""Rows of layers under mutation: one longer or shorter anywhere, and the other layers keep what they have."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from whet import Choice, Float, Int, Space, spaces
from whet import seed as streams
from whet.testing import SPACES
from whet.tune.search import NAMES
from whet.tune.search.evolution import Evolution
from whet.tune.search.model.cube import Cube
from whet.tune.search.model.mutation import Mutation
from whet.tune.search.model.row import rows
from whet.tune.study import Study

MLP = spaces.mlp(layers=(1, 5), lr=Float(1e-4, 1e-1, log=True))
IN_A_BRANCH = Space(net=Choice({"mlp": MLP, "conv": spaces.convnet(layers=(0, 3)), "linear": None}), wd=Float(0, 1))


def layers(params, prefix=""):
    found = []
    while (name := f"{prefix}layer{len(found) + 1}") in params and params[name] != "none":
        found.append({k.rpartition(".")[2]: v for k, v in params.items() if k.startswith(name + ".")})
    return found


def others(params):
    return {k: v for k, v in params.items() if "layer" not in k}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("space", [MLP, IN_A_BRANCH], ids=["flat", "branch"])
def test_one_mutation_is_one_edit_of_the_network(space, seed):
    rng = streams.rng(seed, "row")
    mutation, edits = Mutation(Cube(space)), Counter()
    for _ in range(1200):
        before = space.sample(rng)
        net = before.get("net")
        row, (name,) = mutation.of(space.encode(before), rng)
        after = space.decode(np.nan_to_num(row))
        if name == "net":
            continue
        prefix = "net." if net else ""
        old, new = layers(before, prefix), layers(after, prefix)
        assert space.allows(after) or net == "conv"
        if name.removeprefix("net.").startswith("layer") and "." not in name.removeprefix("net."):
            at = int(name.removeprefix(prefix + "layer")) - 1
            longer, shorter = (new, old) if len(new) > len(old) else (old, new)
            assert len(longer) == len(shorter) + 1
            assert longer[:at] + longer[at + 1 :] == shorter
            assert others(before) == others(after)
            edits["added" if longer is new else "removed", at] += 1
        elif "layer" in name:
            place = int(name.removeprefix(prefix + "layer").split(".")[0]) - 1
            assert len(old) == len(new)
            assert [i for i, (a, b) in enumerate(zip(old, new, strict=True)) if a != b] == [place]
            assert [k for k in old[place] if old[place][k] != new[place][k]] == [name.rpartition(".")[2]]
            edits["gene", place] += 1
        else:
            assert old == new
    assert {at for what, at in edits if what == "added"} >= {0, 1, 2}
    assert {at for what, at in edits if what == "removed"} >= {0, 1, 2}


def test_longer_and_shorter_are_as_likely_as_any_other_change():
    space = spaces.mlp(layers=(1, 6), dropout=0)
    params = space.fill({"layer3": "dense", "layer4": "none"}, streams.rng(0))
    mutation, rng, n = Mutation(Cube(space)), streams.rng(1), 3000
    depth = Counter(
        len(layers(space.decode(np.nan_to_num(mutation.of(space.encode(params), rng)[0])))) for _ in range(n)
    )
    for k in (2, 4):
        assert depth[k] == pytest.approx(n / 14, abs=4 * (n / 14) ** 0.5)  # of 3 layers with 4 genes, and the two
    assert set(depth) == {2, 3, 4}


def test_a_row_ends_where_it_ends():
    mutation, rng = Mutation(Cube(MLP)), streams.rng(0)
    short, long = (MLP.fill({"layer2": "none"}, rng), MLP.fill({"layer5": "dense"}, rng))
    found = {
        n: {len(layers(MLP.decode(np.nan_to_num(mutation.of(MLP.encode(p), rng)[0])))) for _ in range(300)}
        for n, p in (("short", short), ("long", long))
    }
    assert found == {"short": {1, 2}, "long": {4, 5}}


def test_what_a_new_layer_brings_is_drawn():
    mutation, rng = Mutation(Cube(MLP)), streams.rng(0)
    before = MLP.fill({"layer1.units": 64, "layer2": "none"}, rng)
    widths = Counter()
    for _ in range(2500):
        row, (name,) = mutation.of(MLP.encode(before), rng)
        after = MLP.decode(np.nan_to_num(row))
        if name in ("layer1", "layer2"):
            assert after["layer2" if name == "layer1" else "layer1"] == "dense"
            assert after["layer2.units" if name == "layer1" else "layer1.units"] == 64
            widths[after[f"{name}.units"]] += 1
    total = sum(widths.values())
    assert total > 200
    assert all(widths[u] == pytest.approx(total / 5, abs=4 * (total / 5) ** 0.5) for u in (16, 32, 64, 128, 256))


LAYER = {"none": None, "dense": Space(units=Int(1, 9))}


@pytest.mark.parametrize(
    ("space", "count"),
    [
        (MLP, 1),
        (IN_A_BRANCH, 2),
        (Space(layer1=Choice(LAYER), layer2=Choice(LAYER)).where("layer2 == 'none' or layer1 == 'dense'"), 1),
        (Space(a7=Choice(LAYER), a8=Choice(LAYER)).where("a7 != 'none' or a8 == 'none'"), 1),
        (Space(layer1=Choice(LAYER), layer2=Choice(LAYER)), 0),  # gaps are allowed
        (Space(layer1=Choice(LAYER), layer3=Choice(LAYER)).where("layer1 != 'none' or layer3 == 'none'"), 0),
        (Space(layer1=Choice(LAYER), layer2=Choice({"none": None, "dense": Space(units=Int(1, 5))})).where("layer1 != 'none' or layer2 == 'none'"), 0),
        (Space(layer1=Choice({**LAYER, "conv": Space(k=Int(1, 3))}), layer2=Choice(LAYER)).where("layer1 != 'none' or layer2 == 'none'"), 0),
        *[(space, 0) for space in SPACES.values()],
    ],
)  # fmt: skip
def test_a_row_is_told_by_its_names_its_branches_and_the_constraint(space, count):
    assert len(list(rows(Cube(space)))) == count


@pytest.mark.parametrize("seed", range(3))
def test_children_of_a_study_are_edits_of_their_parents(seed):
    study = Study(MLP, goal="min loss", search=Evolution(population=6, sample=3, seed=seed), schedule="full", seed=seed)
    study.run(lambda p: abs(len(layers(p)) - 4) + abs(p["layer1.units"] - 32) / 100 + p["dropout"], trials=60)
    bred = [t for t in study.trials if "evolution" in t.origin]
    assert len(bred) > 50
    for t in bred:
        parent, changed = study.trials[t.origin["evolution"]["parent"]].params, t.origin["evolution"]["changed"]
        assert abs(len(layers(parent)) - len(layers(t.params))) <= len(changed)
    assert len(layers(study.best.params)) == 4


@pytest.mark.parametrize("name", NAMES.known)
def test_every_searcher_proposes_networks_within_the_limit(name):
    if name == "grid":
        pytest.skip("a grid lists millions of architectures")
    if name == "hypergradient":
        pytest.skip("it asks for gradients, and a structure has none")
    space = spaces.within(spaces.convnet(layers=(1, 3)), 20_000, (1, 8, 8), 10)
    study = Study(space, goal="min loss", search=name, schedule="full", seed=1)
    study.run(lambda p: spaces.parameters(p, (1, 8, 8), 10) / 1e4, trials=26)
    assert len(study.trials) == 26
    for t in study.trials:
        space.check(t.params)
