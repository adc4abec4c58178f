"""A model as one vector: the same model, the same gradients, nothing copied."""

import copy

import pytest
import torch
from torch import nn

from whet.distributed.flat import Flat
from whet.errors import TaskError


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(7, 4)
        self.frozen = nn.Linear(4, 4).requires_grad_(False)
        self.out = nn.Linear(4, 7, bias=False)
        self.out.weight = self.embed.weight

    def forward(self, x):
        return self.out(self.frozen(self.embed(x)))


def conv():
    net = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), nn.Linear(12, 5))
    return net.to(memory_format=torch.channels_last)


CASES = {
    "mlp": (lambda: nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)), lambda: torch.randn(5, 3)),
    "conv, channels last": (conv, lambda: torch.randn(5, 2, 4, 4)),
    "tied and frozen": (Tied, lambda: torch.randint(7, (5,))),
    "recurrent": (lambda: nn.LSTM(3, 4, batch_first=True), lambda: torch.randn(5, 6, 3)),
}


def value(model, x):
    out = model(x)
    return (out[0] if isinstance(out, tuple) else out).square().mean()


@pytest.mark.parametrize("name", CASES)
def test_a_flat_model_is_the_model(name):
    torch.manual_seed(0)
    make, draw = CASES[name]
    plain, x = make(), draw()
    flat = Flat(copy.deepcopy(plain))
    strides = [p.stride() for p in plain.parameters() if p.requires_grad]
    for _ in range(2):  # gradients must not add up over steps
        flat.gradient.zero_()
        value(flat.model, x).backward()
        plain.zero_grad()
        value(plain, x).backward()
    grads = [p.grad for p in plain.parameters() if p.requires_grad]
    assert flat.linked()
    assert [p.stride() for p in flat.parameters] == strides
    assert all(torch.equal(a, p.grad) for a, p in zip(grads, flat.parameters, strict=True))
    assert flat.size == sum(g.numel() for g in grads)
    assert torch.equal(flat.gradient.sort().values, torch.cat([g.flatten() for g in grads]).sort().values)


def test_vectors_of_others_are_used_and_their_values_taken():
    torch.manual_seed(0)
    first = Flat(nn.Linear(3, 2))
    weights, gradient = first.weights.clone(), torch.empty(8)
    second = Flat(nn.Linear(3, 2), weights=weights, gradient=gradient)
    assert torch.equal(second.model.weight, first.model.weight)
    weights.zero_()
    assert not second.model.weight.any()
    second.model(torch.ones(1, 3)).sum().backward()
    assert gradient.tolist() == [1.0] * 8


def test_an_optimizer_steps_on_another_vector_without_a_copy():
    flat = Flat(nn.Linear(1, 1))
    other = torch.tensor([1.0, 2.0])
    before = flat.weights.clone()
    flat.point(other)
    torch.optim.SGD(flat.parameters, lr=1.0).step()
    assert torch.allclose(flat.weights, before - other)
    assert not flat.linked()
    flat.link()
    assert flat.linked()


def test_buffers_travel_exactly():
    torch.manual_seed(0)
    one, two = Flat(conv()), Flat(conv())
    for _ in range(3):
        one.model(torch.randn(5, 2, 4, 4))
    values = torch.empty(one.buffer_size, dtype=torch.float64)
    one.read_buffers(values)
    two.write_buffers(values)
    assert all(torch.equal(a, b) for a, b in zip(one.model.buffers(), two.model.buffers(), strict=True))
    assert int(two.model[1].num_batches_tracked) == 3


def test_what_cannot_be_one_vector_is_refused_in_one_line():
    mixed = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2).double())
    with pytest.raises(TaskError, match=r"several kinds \(float32 on cpu, float64 on cpu\).*model\.float\(\)"):
        Flat(mixed)
    with pytest.raises(TaskError, match="no parameters to train"):
        Flat(nn.ReLU())
    with pytest.raises(TaskError, match=r"needs a vector \(3,\)"):
        Flat(nn.Linear(2, 1), weights=torch.zeros(4))
