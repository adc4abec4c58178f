from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from whet.errors import TaskError
from whet.models import Convnet, Mlp, Rescale, Standardize, prior


def entropy(log_p):
    return -(log_p.exp() * log_p).sum().item()


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("shares", [(0.1,) * 10, (0.98, 0.02), (0.6, 0.3, 0.1)], ids=len)
@pytest.mark.parametrize("kind", ["mlp", "mlp-norm", "linear", "cnn", "cnn-none", "cnn-linear"])
def test_the_loss_at_the_start_is_the_entropy_of_the_prior(kind, shares, seed):
    torch.manual_seed(seed)
    n, c = 4000, len(shares)
    y = torch.arange(n) * c // n
    y = torch.repeat_interleave(torch.arange(c), torch.tensor([round(n * s) for s in shares]))
    log_p = prior(y, c)
    if kind.startswith("cnn"):
        x = (torch.randint(0, 256, (len(y), 1, 8, 8), dtype=torch.uint8),)
        options = {"cnn": {}, "cnn-none": {"norm": "none", "depth": 2}, "cnn-linear": {"depth": 0}}[kind]
        model = Convnet((1, 8, 8), c, width=8, standardize=Standardize.fit(x[0]), prior=log_p, **options)
    else:
        x = (torch.randn(len(y), 12) * 50 + 7, torch.randint(0, 4, (len(y), 3)))
        options = {"mlp": {"depth": 3}, "mlp-norm": {"norm": "batch"}, "linear": {"depth": 0}}[kind]
        model = Mlp(12, c, categories=(4, 4, 4), standardize=Standardize.fit(x[0]), prior=log_p, **options)
    with torch.no_grad():
        loss = functional.cross_entropy(model.eval()(*x), y).item()
    assert loss == pytest.approx(entropy(log_p), rel=0.02)


@pytest.mark.parametrize("seed", [0, 1])
def test_a_regression_starts_at_the_mean_in_real_units(seed):
    torch.manual_seed(seed)
    y = torch.randn(500) * 1000 + 5e4
    model = Mlp(3, 1, prior=prior(y))
    out = model(torch.randn(500, 3))
    assert out.shape == (500, 1)
    assert out.mean().item() == pytest.approx(5e4, rel=0.01)
    assert functional.mse_loss(out[:, 0], y).item() == pytest.approx(y.var().item(), rel=0.05)


def test_prior_gives_an_absent_class_a_finite_logit():
    assert prior(torch.tensor([0, 0, 2]), 4).isfinite().all()
    assert prior(torch.tensor([0, 0, 2]), 4).exp().sum().item() == pytest.approx(1)


def test_depth_0_is_the_linear_model_over_one_hot_categories():
    torch.manual_seed(0)
    model = Mlp(2, 3, categories=(3, 2), depth=0)
    x, q = torch.randn(5, 2), torch.tensor([[0, 1], [2, 0], [1, 1], [2, 1], [0, 0]])
    one_hot = torch.cat([functional.one_hot(q[:, 0], 3), functional.one_hot(q[:, 1], 2)], 1).float()
    expected = x @ model.head.linear.weight.T + model.head.linear.bias + one_hot @ model.embedding.weight
    torch.testing.assert_close(model(x, q), expected)
    assert sum(p.numel() for p in model.parameters()) == (2 + 5) * 3 + 3


@pytest.mark.parametrize("depth", [0, 1])
def test_a_table_without_numbers_or_without_categories(depth):
    assert Mlp(0, 2, categories=(3,), depth=depth)(torch.zeros(4, 0), torch.ones(4, 1).long()).shape == (4, 2)
    assert Mlp(5, 2, depth=depth)(torch.zeros(4, 5), torch.zeros(4, 0).long()).shape == (4, 2)


def test_every_level_has_an_embedding_of_its_own():
    model = Mlp(0, 1, categories=(2, 3), depth=1, width=64)
    levels = torch.tensor([[a, b] for a in range(2) for b in range(3)])
    out = model(torch.zeros(6, 0), levels)
    assert len(out.unique()) == 6


def test_names_of_weights_do_not_depend_on_dropout():
    names = [list(Mlp(3, 2, dropout=d).state_dict()) for d in (0.0, 0.5)]
    assert names[0] == names[1]
    names = [list(Convnet((1, 8, 8), 2, dropout=d).state_dict()) for d in (0.0, 0.5)]
    assert names[0] == names[1]


@pytest.mark.parametrize(
    "model", [Mlp(4, 2, dropout=0.5), Convnet((1, 4, 4), 2, width=4, dropout=0.5, norm="none")], ids=["mlp", "cnn"]
)
def test_dropout_acts_in_training_only(model):
    x = torch.randn(8, 4) if isinstance(model, Mlp) else torch.randn(8, 1, 4, 4)
    assert not torch.equal(model.train()(x), model(x))
    assert torch.equal(model.eval()(x), model(x))


@pytest.mark.parametrize(
    "shape", [(1, 8, 8), (3, 8, 8), (1, 28, 28), (3, 32, 32), (3, 64, 64), (3, 40, 64), (8, 8), (1, 3, 3)]
)
@pytest.mark.parametrize(
    "options", [{}, {"depth": 2, "norm": "group"}, {"norm": "none", "activation": "gelu"}, {"depth": 0}]
)
def test_pictures_of_every_size(shape, options):
    model = Convnet(shape, 5, width=8, **options)
    x = torch.randint(0, 256, (3, *shape), dtype=torch.uint8)
    out = model(x)
    assert out.shape == (3, 5)
    out.square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 28, 28), (3, 64, 64)])
def test_an_example_depends_on_itself_alone(shape):
    model = Convnet(shape, 3, width=8, depth=2).eval()
    for block in model.features.modules():
        if isinstance(block, nn.BatchNorm2d):
            nn.init.ones_(block.weight)
    x = torch.randn(3, *shape, requires_grad=True)
    (grad,) = torch.autograd.grad((model(x)[1] * torch.randn(3)).sum(), x)
    assert grad[[0, 2]].abs().max() == 0
    assert grad[1].abs().min() < grad[1].abs().max()


@pytest.mark.parametrize(
    "make", [lambda: Mlp(2, 2, norm="bach"), lambda: Convnet((8, 8), 2, norm="bach")], ids=["mlp", "cnn"]
)
def test_an_unknown_norm_is_named(make):
    with pytest.raises(TaskError, match=r"norm: got 'bach'. Allowed: .*Did you mean 'batch'"):
        make()
    with pytest.raises(TaskError, match="activation: got 'rellu'"):
        Mlp(2, 2, activation="rellu")


def test_standardize_equals_scikit_learn():
    from sklearn.preprocessing import StandardScaler

    x = torch.randn(200, 3) * torch.tensor([1.0, 1e3, 1e-3]) + torch.tensor([0.0, 1e6, 5.0])
    expected = StandardScaler().fit_transform(x.double().numpy())
    torch.testing.assert_close(
        Standardize.fit(x, rows=64)(x).double(), torch.from_numpy(expected), rtol=1e-3, atol=1e-3
    )


def test_standardize_by_channel_leaves_out_missing_and_constant():
    x = torch.tensor([[1.0, 7.1], [3.0, 7.1], [float("nan"), 7.1]])
    layer = Standardize.fit(x)
    assert layer.mean.tolist() == pytest.approx([2.0, 7.1])
    assert layer.std.tolist() == [1.0, 1.0]
    images = torch.stack([torch.zeros(4, 6, 6), torch.full((4, 6, 6), 200.0)], 1).to(torch.uint8)
    images[:2, 1] = 100
    layer = Standardize.fit(images)
    assert layer.mean.flatten().tolist() == [0.0, 150.0]
    assert layer.std.flatten().tolist() == [1.0, 50.0]
    assert layer(images).dtype == torch.float32
    assert layer(images)[:, 1].unique().tolist() == [-1.0, 1.0]


def test_statistics_travel_with_the_weights():
    a, b = (Mlp(2, 1, standardize=Standardize.fit(torch.randn(9, 2) * k), prior=Rescale(k, k)) for k in (3.0, 5.0))
    b.load_state_dict(a.state_dict())
    x = torch.randn(4, 2)
    assert torch.equal(a(x), b(x))
