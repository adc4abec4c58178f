"""The weights of a first layer as pictures, and how smooth they are."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from whet.checks.pictures import first_layer, smoothness


def moran(picture: np.ndarray) -> float:
    """Moran's I, pair by pair."""
    x, total, pairs = picture - picture.mean(), 0.0, 0
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            for a, b in ((i + 1, j), (i, j + 1)):
                if a < x.shape[0] and b < x.shape[1]:
                    total, pairs = total + x[i, j] * x[a, b], pairs + 1
    return total / pairs / np.mean(x**2)


@pytest.mark.parametrize("seed", range(3))
def test_smoothness_is_morans_i(seed: int) -> None:
    pictures = np.random.default_rng(seed).normal(size=(4, 5, 7)).cumsum(2)
    assert smoothness(pictures) == pytest.approx([moran(p) for p in pictures])


def test_noise_has_none_a_wave_has_much_and_a_constant_is_not_a_number() -> None:
    noise = smoothness(np.random.default_rng(0).normal(size=(400, 8, 8)))
    assert noise.mean() == pytest.approx(-1 / 63, abs=0.01)
    wave = np.sin(np.arange(28) / 4)[None, :, None] * np.ones((1, 28, 28))
    assert smoothness(wave)[0] > 0.9
    assert np.isnan(smoothness(np.ones((1, 4, 4)))[0])
    assert np.isnan(smoothness(np.ones((1, 1, 1)))[0])


def test_a_convolution_of_one_channel() -> None:
    model = nn.Sequential(nn.Conv2d(1, 6, 3), nn.ReLU(), nn.Flatten(), nn.LazyLinear(10))
    with torch.no_grad():
        model[0].weight[4] = 5.0
        model[0].weight[4, 0, 1, 1] = -2.5
    found = first_layer(model)
    assert found is not None
    assert (found.layer, found.images.shape, found.units) == ("0", (6, 3, 3), 6)
    assert found.shown[0] == 4  # the largest comes first
    assert found.images[0].tolist() == [[255, 255, 255], [255, 64, 255], [255, 255, 255]]


def test_colours_are_kept_and_other_channels_averaged() -> None:
    found = first_layer(nn.Conv2d(3, 5, 4))
    assert found is not None
    assert found.images.shape == (5, 4, 4, 3)
    deep = nn.Conv2d(8, 5, 4)
    found = first_layer(deep)
    assert found is not None
    mean = deep.weight.detach().double().mean(1).numpy()[found.shown[0]]
    assert found.images[0].astype(float) == pytest.approx(128 + 127 * mean / np.abs(mean).max(), abs=0.5)


def test_a_linear_layer_on_pixels() -> None:
    model = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(3 * 81), nn.Linear(3 * 81, 70))
    found = first_layer(model)
    assert found is not None
    assert (found.layer, found.images.shape, found.units) == ("2", (64, 9, 9, 3), 70)
    row = model[2].weight.detach().numpy()[found.shown[3]].reshape(3, 9, 9).transpose(1, 2, 0)
    assert found.images[3].astype(float) == pytest.approx(128 + 127 * row / np.abs(row).max(), abs=0.5)
    narrow = first_layer(nn.Linear(20, 3), shape=(4, 5))
    assert narrow is not None
    assert narrow.images.shape == (3, 4, 5)


@pytest.mark.parametrize(
    "model",
    [nn.Linear(20, 3), nn.Sequential(nn.Linear(20, 64), nn.Linear(64, 3)), nn.Sequential(nn.Embedding(9, 64), nn.Linear(64, 3)),
     nn.ReLU(), nn.LSTM(64, 64)],
)  # fmt: skip
def test_what_reads_no_pictures_has_none(model: nn.Module) -> None:
    assert first_layer(model) is None


def test_a_shape_that_does_not_fit_and_weights_that_are_no_numbers_have_none() -> None:
    assert first_layer(nn.Linear(64, 3), shape=(4, 5)) is None
    model = nn.Conv2d(1, 2, 3)
    model.weight.data[0, 0, 0, 0] = float("nan")
    assert first_layer(model) is None


def test_kernels_of_one_pixel_are_passed_over_and_half_precision_is_fine() -> None:
    found = first_layer(nn.Sequential(nn.Conv2d(3, 3, 1), nn.Conv2d(3, 8, 5)).half())
    assert found is not None
    assert (found.layer, found.images.shape) == ("1", (8, 5, 5, 3))


def test_a_trained_layer_is_smoother_than_a_fresh_one() -> None:
    """Blobs on 8 x 8 pixels: what a linear layer learns of them is as smooth as they are."""
    torch.manual_seed(0)
    at = torch.arange(8.0)
    blob = torch.exp(-((at[:, None] - 2) ** 2 + (at - 5) ** 2) / 6).flatten()
    y = torch.randint(0, 2, (512,))
    x = torch.where(y[:, None] == 1, 2 * blob, -2 * blob) + 0.1 * torch.randn(512, 64)
    model = nn.Linear(64, 2)
    fresh = first_layer(model)
    optimizer = torch.optim.SGD(model.parameters(), 0.3)
    for _ in range(100):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
    trained = first_layer(model)
    assert fresh is not None
    assert trained is not None
    assert fresh.smooth.max() < 0.4
    assert trained.smooth.min() > fresh.smooth.max()
