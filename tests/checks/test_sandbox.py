"""A probe leaves no trace: everything is put back, bit for bit, in the same storage, also when the probe raises."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from whet.checks import check
from whet.checks.sandbox import randomness, sandbox


class Odd(nn.Module):
    """Has everything that can change: parameters, buffers, a plain tensor, a list, a counter, a frozen weight."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.last = nn.Linear(6, 12), nn.BatchNorm1d(12), nn.Linear(12, 4)
        self.first.bias.requires_grad_(False)
        self.register_buffer("unset", None)
        self.seen, self.calls, self.log = torch.zeros(3), 0, [1]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        self.seen += 1
        self.log.append(self.calls)
        return self.last(torch.dropout(torch.relu(self.norm(self.first(x))), 0.1, self.training))


def trained(seed: int) -> tuple[Odd, torch.optim.Optimizer, torch.Tensor, torch.Tensor]:
    torch.manual_seed(seed)
    model, x, y = Odd(), torch.randn(40, 6), torch.randint(0, 4, (40,))
    optimizer = torch.optim.Adam(
        [p for p in model.parameters() if p.requires_grad], 1e-3, weight_decay=0.01, amsgrad=True
    )
    for _ in range(2):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
    model.eval()
    model.norm.train()
    return model, optimizer, x, y


def bits(tree: Any) -> Any:
    """Turn a state into values that compare exactly."""
    if isinstance(tree, torch.Tensor):
        return (
            str(tree.dtype),
            tuple(tree.shape),
            tree.detach().contiguous().view(torch.uint8).numpy().tobytes() if tree.ndim else tree.item(),
        )
    if isinstance(tree, np.ndarray):
        return tree.tobytes()
    if isinstance(tree, dict):
        return {k: bits(v) for k, v in tree.items()}
    return [bits(v) for v in tree] if isinstance(tree, (list, tuple)) else tree


def fingerprint(model: Odd, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    return {
        "state": bits(dict(model.state_dict())),
        "grads": bits({k: p.grad for k, p in model.named_parameters()}),
        "wanted": {k: p.requires_grad for k, p in model.named_parameters()},
        "storage": {k: p.data_ptr() for k, p in model.named_parameters()},
        "objects": [id(p) for p in model.parameters()] + [id(p.grad) for p in model.parameters() if p.grad is not None],
        "modes": [m.training for m in model.modules()],
        "own": (bits(model.seen), model.calls, list(model.log), hasattr(model, "new")),
        "optimizer": bits(optimizer.state_dict()),
        "random": (bits(torch.get_rng_state()), bits(list(np.random.get_state())), random.getstate()),
    }


def wreck(model: Odd, optimizer: torch.optim.Optimizer, x: torch.Tensor) -> None:
    """Change everything there is."""
    model.train()
    model(x).sum().backward()
    optimizer.param_groups[0]["lr"] = 3.0
    optimizer.step()
    for p in model.parameters():
        p.requires_grad_(True)
    model.double()(x.double()).sum().backward()
    optimizer.state.clear()
    optimizer.add_param_group({"params": [nn.Parameter(torch.zeros(1))]})
    model.norm.running_mean = torch.ones(12)
    model.unset = torch.ones(2)
    model.new = 1
    model.last = nn.Linear(1, 1)
    random.random(), np.random.rand(), torch.rand(1)


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("raises", [False, True])
def test_everything_comes_back(seed: int, raises: bool) -> None:
    model, optimizer, x, _ = trained(seed)
    before = fingerprint(model, optimizer)
    try:
        with sandbox(model, optimizer):
            wreck(model, optimizer, x)
            if raises:
                raise RuntimeError("in a probe")
    except RuntimeError:
        assert raises
    assert fingerprint(model, optimizer) == before


def test_training_goes_on_as_if_nothing_had_been() -> None:
    ends = []
    for looked in (False, True):
        model, optimizer, x, y = trained(3)
        if looked:
            check(model, nn.CrossEntropyLoss(), (x, y), optimizer)
        for _ in range(3):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x), y).backward()
            optimizer.step()
        ends.append(fingerprint(model, optimizer)["state"])
    assert ends[0] == ends[1]


@pytest.mark.parametrize("seed", [0, 1])
def test_a_whole_check_leaves_no_trace(seed: int) -> None:
    model, optimizer, x, y = trained(seed)
    copies = x.clone(), y.clone()
    before = fingerprint(model, optimizer)
    health = check(model, nn.CrossEntropyLoss(), (x, y), optimizer)
    assert fingerprint(model, optimizer) == before
    assert torch.equal(x, copies[0])
    assert torch.equal(y, copies[1])
    assert "OF" in health.facts


@pytest.mark.parametrize("after", [0, 1, 5, 60])
def test_a_model_that_raises_midway_is_restored_too(after: int) -> None:
    model, optimizer, x, y = trained(0)
    calls = [0]

    def stop(*_: Any) -> None:
        calls[0] += 1
        if calls[0] > after:
            raise RuntimeError("no more")

    model.last.register_forward_hook(stop)
    before = fingerprint(model, optimizer)
    health = check(model, nn.CrossEntropyLoss(), (x, y), optimizer)
    assert fingerprint(model, optimizer) == before
    assert health.failed or any("no more" in n.why for n in health.not_run)


def test_ties_and_views_survive() -> None:
    first, last = nn.Linear(4, 4), nn.Linear(4, 4)
    last.weight = first.weight
    view = first.weight.detach()[0]
    model = nn.Sequential(first, last)
    expected = view.clone()
    with sandbox(model):
        first.weight.data.mul_(3)
        model.half()
    assert last.weight is first.weight
    assert first.weight.dtype is torch.float32
    assert torch.equal(view, expected)
    first.weight.data[0, 0] = 7.0
    assert view[0] == 7.0


def test_half_precision_computes_in_float32_inside_only() -> None:
    model = nn.Linear(3, 2).bfloat16()
    with sandbox(model):
        assert model.weight.dtype is torch.float32
    assert model.weight.dtype is torch.bfloat16
    with sandbox(model, float32=False):
        assert model.weight.dtype is torch.bfloat16


def test_gradients_are_on_inside_whatever_holds_outside() -> None:
    model = nn.Linear(3, 2)
    with torch.no_grad(), sandbox(model):
        model(torch.ones(1, 3)).sum().backward()
        assert model.weight.grad is not None
    assert model.weight.grad is None


def test_randomness_is_keyed_and_restored() -> None:
    state = random.getstate(), np.random.get_state()[1].tobytes(), torch.get_rng_state()
    drawn = []
    for parts in ((1, "a"), (1, "a"), (1, "b")):
        with randomness(*parts):
            drawn.append((random.random(), np.random.rand(), torch.rand(1).item()))
    assert drawn[0] == drawn[1] != drawn[2]
    assert random.getstate() == state[0]
    assert np.random.get_state()[1].tobytes() == state[1]
    assert torch.equal(torch.get_rng_state(), state[2])
