from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
import torch

from whet.seed import rng
from whet.tasks import ImageTask, TableTask
from whet.tasks.augment import RandomAffine
from whet.tasks.spaces import batches, image_space, table_space


def shop(n=200, seed=0, target="good"):
    r = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {"price": r.normal(10, 3, n), "colour": r.choice(["red", "blue"], n), "size": r.choice(["S", "M"], n)}
    )
    frame["good"] = np.where((frame["price"] > 10) ^ (frame["colour"] == "red"), "yes", "no")
    return frame.drop(columns="price") if target == "categories" else frame


@pytest.fixture(scope="module")
def digits():
    return ImageTask("digits", seed=1)


def train(task, params, epochs, seed=0):
    torch.manual_seed(seed)
    torch.set_num_threads(1)
    data, model, loss = task.data(params), task.model(params), task.loss(params)
    step, augment, size = task.optimizer(params, model), task.augment(params), task.batch(params)
    chance = torch.Generator().manual_seed(seed)
    for _ in range(epochs):
        for index in torch.randperm(len(data.train), generator=chance).split(size):
            inputs, targets = data.train.batch(index)
            if augment is not None:
                inputs, targets = augment(inputs, targets, chance)
            step.zero_grad()
            loss(model(*inputs), targets).backward()
            step.step()
    model.eval()
    with torch.no_grad():
        return model(*data.valid.parts), data.valid.targets


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_every_configuration_of_the_spaces_trains_a_step(seed, digits):
    tasks = (digits, TableTask("diabetes"), TableTask(shop(), "good"), TableTask(shop(target="categories"), "good"))
    for task in tasks:
        for i in range(4):
            params = task.space.sample(rng(seed, i))
            inputs, targets = task.data(params).train.batch(torch.arange(task.batch(params)))
            augment = task.augment(params)
            if augment is not None:
                inputs, targets = augment(inputs, targets, torch.Generator().manual_seed(seed))
            model = task.model(params)
            loss = task.loss(params)(model(*inputs), targets)
            loss.backward()
            task.optimizer(params, model).step()
            assert loss.isfinite()
            assert task.rate(params) is None or 0 <= task.rate(params)(1.0) <= 1


def test_the_first_configuration_is_in_the_space_and_complete(digits):
    for task in (digits, TableTask("diabetes"), TableTask(shop(), "good")):
        task.space.check(task.first)


@pytest.mark.parametrize("seed", [0, 1])
def test_the_loss_at_the_start_is_what_theory_says(seed, digits):
    torch.manual_seed(seed)
    for task, expected in ((digits, math.log(10)), (TableTask("diabetes"), 1.0)):
        params = task.plain(task.first)
        data = task.data(params)
        model = task.model(params).eval()
        with torch.no_grad():
            loss = task.loss(params)(model(*data.train.parts), data.train.targets).item()
        assert loss == pytest.approx(expected, rel=0.1)  # the head is drawn small, not zero


@pytest.mark.parametrize("seed", [0, 1])
def test_a_table_with_an_interaction_is_learned_by_the_perceptron_and_not_by_the_linear_model(seed):
    task = TableTask(shop(1200, seed), "good", seed=seed)
    score = {}
    for net in ("mlp", "linear"):
        outputs, targets = train(task, task.first | {"net": net, "lr": 0.01}, 12, seed)
        score[net] = (outputs.argmax(1) == targets).float().mean().item()
    assert score["mlp"] > 0.93
    assert score["linear"] < 0.75


def test_regression_answers_in_the_units_of_the_target():
    task = TableTask("diabetes", seed=0)
    outputs, targets = train(task, task.first, 10)
    assert ((outputs[:, 0] - targets) ** 2).mean().sqrt() < 0.85 * targets.std()
    assert 100 < outputs.mean() < 200


def test_digits_are_learned_in_a_few_epochs(digits):
    outputs, targets = train(digits, digits.first, 6)
    assert (outputs.argmax(1) == targets).float().mean() > 0.9


def test_data_is_kept_a_seed_and_splits_do_not_depend_on_params(digits):
    assert digits.data({}) is digits.data({"lr": 1.0})
    task = TableTask("diabetes", seed=1)
    one = task.data({}).train.ids
    task.seed = 2
    two = task.data({}).train.ids
    task.seed = 1
    assert not np.array_equal(one, two)
    assert np.array_equal(one, task.data({}).train.ids)


def test_models_do_not_share_their_statistics(digits):
    a, b = digits.model(digits.first), digits.model(digits.first)
    assert not {t.data_ptr() for t in a.state_dict().values()} & {t.data_ptr() for t in b.state_dict().values()}


def test_plain_turns_augmentation_off(digits):
    assert digits.augment(digits.first) is not None
    assert digits.augment(digits.plain(digits.first)) is None
    assert digits.plain(digits.first)["net.dropout"] == 0


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("shape", [(6, 1, 8, 8), (6, 3, 9, 12)])
def test_augmentation_moves_pictures_and_nothing_else(seed, shape):
    x = torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))
    y = torch.arange(6)
    chance = torch.Generator().manual_seed(seed)
    (a,), targets = RandomAffine(1.0)((x,), y, chance)
    assert a.dtype == torch.float32
    assert a.shape == x.shape
    assert torch.equal(targets, y)
    assert a.min() >= 0
    assert a.max() <= 255
    assert not torch.equal(a, x.float())
    (b,), _ = RandomAffine(1.0)((x,), y, torch.Generator().manual_seed(seed))
    assert torch.equal(a, b), "all chance comes from the generator"
    (c,), _ = RandomAffine(0.0)((x,), y, chance)
    assert torch.allclose(c, x.float(), atol=1e-2)


def test_flips_mirror_about_half():
    x = torch.arange(64.0).reshape(1, 1, 8, 8).repeat(200, 1, 1, 1)
    (y,), _ = RandomAffine(0.0, flip=True)((x,), torch.zeros(200), torch.Generator().manual_seed(0))
    same = torch.isclose(y, x, atol=1e-3).flatten(1).all(1)
    mirrored = torch.isclose(y, x.flip(3), atol=1e-3).flatten(1).all(1)
    assert (same | mirrored).all()
    assert 60 < mirrored.sum() < 140


def test_stronger_means_further():
    x = torch.rand(50, 1, 16, 16, generator=torch.Generator().manual_seed(0)) * 255
    moved = [
        (RandomAffine(s)((x,), torch.zeros(50), torch.Generator().manual_seed(1))[0][0] - x).abs().mean()
        for s in (0.05, 0.3, 1)
    ]
    assert moved[0] < moved[1] < moved[2]


def test_spaces_grow_with_the_data():
    assert batches(100)[-1] < batches(1000)[-1] < batches(100_000)[-1]
    for n in (100, 1257, 30_000, 500_000):
        assert all(b & (b - 1) == 0 for b in batches(n))
        table_space(n), image_space(n, 28, 28)
    assert "label_smoothing" not in table_space(100, classes=False)
