"""Spaces of architectures: every configuration builds and trains a step, its size is told, limits hold, and what makes no sense is refused."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from torch.nn import functional

from whet import Choice, Float, Space, SpaceError, TaskError, spaces
from whet import seed as streams
from whet.models import Standardize, prior
from whet.tune.search.model.cube import Cube
from whet.tune.search.model.mutation import Mutation

TABLES = [1, 7, (1, 8, 8), (8, 9)]
PICTURES = [(8, 8), (1, 8, 8), (3, 9, 13), (1, 19, 20), (1, 28, 28), (2, 8, 40), (3, 57, 60)]
SMALL = {
    "mlp": spaces.mlp(layers=(0, 4), units=(3, 5, 8)),
    "plain mlp": spaces.mlp(layers=(2, 3), units=[6], norms=["layer"], skips=[True], dropout=0.1),
    "convnet": spaces.convnet(layers=(0, 5), filters=(2, 4, 6), kernels=(1, 3, 5)),
    "plain convnet": spaces.convnet(layers=(1, 2), filters=[3], kernels=[3], norms=["group"], skips=[False], dropout=0),
}
CASES = [(n, i) for n in SMALL for i in (PICTURES if "conv" in n else TABLES)]


def drawn(name, seed, n):
    rng = streams.rng(seed, name)
    return [SMALL[name].sample(rng) for _ in range(n)]


def trainable(model):
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("name", "inputs"), CASES)
def test_every_configuration_builds_and_takes_a_step(name, inputs, seed):
    rng, classes = streams.rng(seed, name, "data"), 3
    torch.manual_seed(seed)
    shape = (inputs,) if isinstance(inputs, int) else inputs
    pictures = not isinstance(inputs, int)
    x = torch.from_numpy(rng.integers(0, 256, (6, *shape)).astype(np.uint8)) if pictures else torch.randn(6, *shape)
    y = torch.tensor([0, 1, 2, 0, 1, 2])
    for params in drawn(name, seed, 6):
        model = spaces.build(params, inputs, classes, standardize=Standardize.fit(x), prior=prior(y, classes))
        out = model(x)
        assert out.shape == (6, classes)
        loss = functional.cross_entropy(out, y)
        loss.backward()
        assert torch.isfinite(loss)
        grads = [p.grad for p in model.parameters()]
        assert all(g is not None and torch.isfinite(g).all() for g in grads)  # and every weight is used
        torch.optim.SGD(model.parameters(), 1e-3).step()
        assert torch.isfinite(model.eval()(x)).all()
        assert spaces.build(params, inputs, classes)(x).shape == (6, classes)  # without statistics, from bytes


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("name", "inputs"), CASES)
def test_the_number_of_parameters_is_that_of_the_network(name, inputs, seed):
    for params in drawn(name, seed, 12):
        assert spaces.parameters(params, inputs, 3) == trainable(spaces.build(params, inputs, 3))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("name", "inputs"), CASES)
def test_a_limit_allows_what_is_small_enough_and_nothing_else(name, inputs, seed):
    some = drawn(name, seed, 40)
    sizes = [spaces.parameters(p, inputs, 5) for p in some]
    for most in {int(np.median(sizes)), min(sizes), max(sizes) - 1}:
        try:
            space = spaces.within(SMALL[name], most, inputs, 5)
        except SpaceError:
            assert most < min(sizes)
            continue
        assert [space.allows(p) for p in some] == [n <= most for n in sizes]
        assert Space.from_json(space.json()) == space


@pytest.mark.parametrize("seed", range(4))
def test_a_limited_space_in_a_branch_is_limited(seed):
    inside = spaces.within(spaces.convnet(), 20_000, (1, 28, 28), 10)
    space = Space(net=Choice({"conv": inside, "mlp": spaces.mlp(layers=(0, 2))}), lr=Float(1e-4, 1e-1, log=True))
    rng = streams.rng(seed)
    found = [space.sample(rng) for _ in range(40)]
    conv = [p for p in found if p["net"] == "conv"]
    assert 0 < len(conv) < 40
    for p in found:
        size = spaces.parameters(p, (1, 28, 28), 10, under="net")
        assert size == trainable(spaces.build(p, (1, 28, 28), 10, under="net"))
        assert size <= 20_000 or p["net"] == "mlp"


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("name", SMALL)
def test_encoding_is_undone_and_neighbours_are_legal(name, seed):
    space, rng = SMALL[name], streams.rng(seed)
    mutation = Mutation(Cube(space))
    illegal = 0
    for params in drawn(name, seed, 60):
        row = space.encode(params)
        assert space.decode(np.nan_to_num(row)) == params
        child, _ = mutation.of(row, rng)
        made = space.decode(np.nan_to_num(child))
        np.testing.assert_allclose(space.encode(made), child)
        illegal += not space.allows(made)
        if space.allows(made):
            space.check(made)
    assert illegal <= (6 if name == "convnet" else 0)  # only where a fourth layer would pool


def test_layers_come_without_gaps_and_every_depth_is_drawn_alike():
    space, rng = spaces.mlp(layers=(1, 4)), streams.rng(0)
    depths = np.zeros(5)
    for _ in range(600):
        p = space.sample(rng)
        taken = [p[f"layer{i}"] == "dense" for i in range(1, 5)]
        assert taken == sorted(taken, reverse=True)
        depths[sum(taken)] += 1
    assert depths[0] == 0
    np.testing.assert_allclose(depths[1:], 150, atol=4 * 150**0.5)


def test_what_is_there_once_is_a_constant():
    space = spaces.mlp(layers=(1, 1), units=[8], activations=["relu"], norms=["none"], skips=[False], dropout=0)
    assert space.size == 1
    assert spaces.mlp(units=(64, 16))["layer1"].branch("dense")["units"].values == (16, 64)


def test_a_skip_adds_what_comes_in():
    params = {
        "layer1": "dense",
        "layer1.units": 5,
        "layer1.activation": "relu",
        "layer1.norm": "none",
        "layer1.skip": True,
    }
    model = spaces.build(params, 5, 2).double()
    x = torch.randn(4, 5, dtype=torch.float64)
    layer = model.layers[0].layer
    want = model.head(torch.relu(x @ layer.linear.weight.T + layer.linear.bias) + x)
    torch.testing.assert_close(model(x), want)


def test_a_convnet_is_what_its_formula_says():
    genes = {"filters": 4, "kernel": 3, "activation": "relu", "norm": "none", "skip": True, "pool": True}
    params = {"layer1": "conv", **{f"layer1.{k}": v for k, v in genes.items()}}
    model = spaces.build(params, (1, 21, 30), 2).double()
    x = torch.randn(3, 1, 21, 30, dtype=torch.float64)
    conv, shortcut = model.layers[0].conv, model.layers[0].shortcut
    y = torch.relu(functional.conv2d(x, conv.weight, conv.bias, 2, 1))
    y = y + functional.conv2d(functional.avg_pool2d(x, 2, ceil_mode=True, count_include_pad=False), shortcut.weight)
    y = functional.max_pool2d(y, 2, ceil_mode=True)
    assert y.shape == (3, 4, 6, 8)  # 21x30, halved twice
    y = functional.avg_pool2d(y, (2, 2), ceil_mode=True, count_include_pad=False)
    torch.testing.assert_close(model(x), model.head(y.flatten(1)))


@pytest.mark.parametrize(
    ("made", "why"),
    [
        (lambda: spaces.mlp(layers=(3, 2)), "layers must be (least, most), whole numbers from 0 and from 1 to 10, got (3, 2)"),
        (lambda: spaces.mlp(layers=3), "layers must be (least, most)"),
        (lambda: spaces.mlp(layers=(0, 0)), "layers must be (least, most)"),
        (lambda: spaces.convnet(layers=(1, 11)), "layers must be (least, most), whole numbers from 0 and from 1 to 10, got (1, 11)"),
        (lambda: spaces.within(spaces.mlp(), "20k", 64, 10), "within: most must be a whole number, got '20k'"),
        (lambda: spaces.mlp(units=[]), "units must be whole numbers of at least 1, got []"),
        (lambda: spaces.mlp(units=(0, 4)), "units must be whole numbers of at least 1"),
        (lambda: spaces.mlp(norms=["bacth"]), "norms: got 'bacth'. Allowed: a list out of none, batch, layer. Did you mean"),
        (lambda: spaces.mlp(activations="relu"), "activations: got 'relu'. Allowed: a list out of relu"),
        (lambda: spaces.mlp(skips=[]), "skips must not be empty"),
        (lambda: spaces.mlp(skips=[1]), "skips: got 1. Allowed: a list out of False, True"),
        (lambda: spaces.mlp(dropout=1.0), "dropout must be a number, or a range, from 0 to below 1, got 1.0"),
        (lambda: spaces.mlp(dropout=(0.5, 0.1)), "dropout must be a number, or a range"),
        (lambda: spaces.mlp(layer2=Float(0, 1)), "layer2: is there already"),
        (lambda: spaces.convnet(kernels=(3, 4)), "convnet: kernels must be odd, got 4"),
        (lambda: spaces.within(spaces.mlp(layers=(1, 2), units=[8]), 100, 64, 10), "within: at most 100 parameters leave nothing, the smallest network has 610"),
        (lambda: spaces.within(Space(x=Float(0, 1)), 100, 64, 10), "within: the space has no layer1, got x"),
    ],
)  # fmt: skip
def test_a_space_that_makes_no_sense_is_refused_in_one_line(made, why):
    with pytest.raises(SpaceError, match=re.escape(why)) as e:
        made()
    assert "\n" not in str(e.value)


CONV = spaces.convnet(layers=(1, 1)).sample(np.random.default_rng(0))


@pytest.mark.parametrize(
    ("params", "inputs", "why"),
    [
        (
            CONV,
            (1, 7, 9),
            "convnet: pictures must have at least 8x8 pixels, got 7x9. Enlarge them, or use whet.spaces.mlp().",
        ),
        (CONV, 64, "convnet: inputs must be the shape of a picture, (channels, height, width), got 64"),
        (CONV, (1, 3, 8, 8), "convnet: inputs must be the shape of a picture"),
        ({"lr": 0.1}, 4, "architecture: the configuration has no layer1, got lr. Use one of whet.spaces.mlp()"),
        ({"net.layer1": "none"}, 4, 'architecture: the configuration has no layer1, got net.layer1. Use under="net".'),
        ({"layer1": "dens"}, 4, "layer1: must be none, dense or conv, got 'dens'"),
        ({**CONV, "layer2": "dense"}, (8, 8), "layer2: must be conv or none as the layers before it, got dense"),
    ],
)
@pytest.mark.parametrize("asked", [spaces.build, spaces.parameters])
def test_what_cannot_be_built_is_refused_in_one_line(asked, params, inputs, why):
    with pytest.raises(TaskError, match=re.escape(why)) as e:
        asked(params, inputs, 3)
    assert "\n" not in str(e.value)
