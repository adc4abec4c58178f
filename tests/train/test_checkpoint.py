from __future__ import annotations

import math
import struct
from collections import OrderedDict

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from torch import nn

from whet.errors import CheckpointError
from whet.journal.checkpoint import Array, Files
from whet.train.checkpoint import pack, unpack

DTYPES = [
    torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.uint16, torch.uint32, torch.uint64,
    torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.complex64, torch.complex128,
    torch.float8_e4m3fn, torch.float8_e5m2,
]  # fmt: skip


def through_a_file(state):
    """Pack, write, read and unpack, as a trial that is paused and resumed by another process does."""
    files = Files(None)
    return unpack(files.read(files.write(0, 1, {"state": pack(state)}))["state"])


def bits(t):
    return t.detach().contiguous().reshape(-1).view(torch.uint8)


def same(a, b):
    if isinstance(a, torch.Tensor):
        alike = isinstance(b, torch.Tensor) and a.dtype == b.dtype and a.shape == b.shape
        return alike and torch.equal(bits(a), bits(b))
    if isinstance(a, (np.ndarray, np.generic)):
        return type(a) is type(b) and a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    if isinstance(a, dict):
        keys = all(same(x, y) for x, y in zip(a, b, strict=True))
        return isinstance(b, dict) and keys and all(same(x, y) for x, y in zip(a.values(), b.values(), strict=True))
    if type(a) is not type(b):
        return False
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    return struct.pack("<d", a) == struct.pack("<d", b) if isinstance(a, float) else a == b


@st.composite
def tensors(draw):
    shape = draw(st.lists(st.integers(0, 3), max_size=3))
    dtype = draw(st.sampled_from(DTYPES))
    count = math.prod(shape) * dtype.itemsize
    data = bytearray(draw(st.binary(min_size=count, max_size=count)))
    if dtype is torch.bool:
        data = bytearray(b & 1 for b in data)
    t = torch.empty(count, dtype=torch.uint8)
    t.numpy()[:] = np.frombuffer(bytes(data), np.uint8)
    t = t.view(dtype).reshape(shape)
    return t.transpose(0, -1) if t.ndim > 1 and draw(st.booleans()) else t


KEYS = st.one_of(
    st.text(max_size=4), st.integers(), st.booleans(), st.none(), st.tuples(st.integers(), st.text(max_size=2))
)
ARRAYS = hnp.arrays(
    st.sampled_from([np.dtype(d) for d in ("f4", "f8", ">f8", "i8", "u2", "?", "c8", "M8[s]", "S3", "U2")]),
    hnp.array_shapes(min_dims=0, max_dims=2, min_side=0, max_side=3),
)
LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.integers(-(2**127), 2**128), st.floats(), st.text(max_size=8),
    st.binary(max_size=8), tensors(), ARRAYS, ARRAYS.filter(lambda a: a.ndim == 0).map(lambda a: a[()]),
)  # fmt: skip
STATES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.lists(inner, max_size=3).map(tuple),
        st.lists(st.tuples(KEYS, inner), max_size=3, unique_by=lambda kv: kv[0]).map(dict),
    ),
    max_leaves=8,
)


@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(STATES)
def test_any_state_comes_back_as_it_was(state):
    assert same(state, through_a_file(state))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_dtype(dtype):
    for shape in ((), (0,), (3,), (2, 0, 3), (2, 3)):
        t = torch.arange(max(1, math.prod(shape)))[: math.prod(shape)].to(dtype).reshape(shape)
        back = through_a_file([t])[0]
        assert same(t, back)
        assert back.data_ptr() != t.data_ptr() or not t.numel()


def optimizers():
    return {
        name: kind
        for name, kind in vars(torch.optim).items()
        if isinstance(kind, type)
        and issubclass(kind, torch.optim.Optimizer)
        and name not in ("Optimizer", "SparseAdam", "LBFGS")
    }


@pytest.mark.parametrize("name", sorted(optimizers()))
def test_every_optimizer_of_torch(name):
    torch.manual_seed(0)
    model = nn.Linear(3, 2, bias=name != "Muon")
    optimizer = optimizers()[name](model.parameters(), lr=0.01)
    for _ in range(3):
        optimizer.zero_grad()
        model(torch.randn(4, 3)).square().sum().backward()
        optimizer.step()
    state = optimizer.state_dict()
    assert state["state"] or name == "SGD"
    back = through_a_file(state)
    assert same(state, back)
    assert all(type(k) is int for k in back["state"])


def test_sparse_adam_too():
    table = nn.Embedding(9, 3, sparse=True)
    optimizer = torch.optim.SparseAdam(table.parameters())
    table(torch.tensor([1, 4])).square().sum().backward()
    optimizer.step()
    state = optimizer.state_dict()
    assert state["state"]
    assert same(state, through_a_file(state))


def schedules():
    return {
        name: kind
        for name, kind in vars(torch.optim.lr_scheduler).items()
        if isinstance(kind, type)
        and issubclass(kind, torch.optim.lr_scheduler.LRScheduler)
        and name not in ("LRScheduler", "_LRScheduler")
        and kind.__module__ == "torch.optim.lr_scheduler"
    }


WITH = {
    "StepLR": lambda o, k: k(o, 2), "MultiStepLR": lambda o, k: k(o, [2, 4, 4]), "ExponentialLR": lambda o, k: k(o, 0.9),
    "CosineAnnealingLR": lambda o, k: k(o, 7), "CosineAnnealingWarmRestarts": lambda o, k: k(o, 3),
    "CyclicLR": lambda o, k: k(o, 0.001, 0.1), "OneCycleLR": lambda o, k: k(o, 0.1, total_steps=20),
}  # fmt: skip


def made(name):
    """Return an optimizer and a schedule of a kind over it."""
    optimizer = torch.optim.SGD(nn.Linear(2, 1).parameters(), lr=0.05, momentum=0.9)
    kind = schedules()[name]
    if name in ("LambdaLR", "MultiplicativeLR"):
        return optimizer, kind(optimizer, lambda epoch: 0.95)
    if name in ("SequentialLR", "ChainedScheduler"):
        parts = [torch.optim.lr_scheduler.ConstantLR(optimizer), torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.9)]
        return optimizer, kind(optimizer, parts, milestones=[2]) if name == "SequentialLR" else kind(parts)
    return optimizer, WITH.get(name, lambda o, k: k(o))(optimizer, kind)


@pytest.mark.filterwarnings("ignore")  # of torch, about the order of calls
@pytest.mark.parametrize("name", sorted(schedules()))
def test_every_schedule_of_torch_goes_on_where_it_was(name):
    def go(optimizer, schedule, n):
        rates = []
        for _ in range(n):
            optimizer.step()
            schedule.step(*([1.0] if name == "ReduceLROnPlateau" else []))
            rates.append(optimizer.param_groups[0]["lr"])
        return rates

    optimizer, schedule = made(name)
    go(optimizer, schedule, 4)
    state = schedule.state_dict()
    back = through_a_file([state, optimizer.state_dict()])
    assert same(state, back[0])
    again = made(name)
    again[1].load_state_dict(back[0])
    again[0].load_state_dict(back[1])
    assert go(*again, 9) == go(optimizer, schedule, 9)


def test_lbfgs_state_too():
    model = nn.Linear(3, 1)
    x = torch.randn(8, 3)
    optimizer = torch.optim.LBFGS(model.parameters())

    def closure():
        optimizer.zero_grad()
        loss = model(x).square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    state = optimizer.state_dict()
    assert same(state, through_a_file(state))


def test_tied_tensors_stay_tied():
    w = torch.arange(6.0).reshape(2, 3)
    state = {"embed": w, "head": w.detach(), "view": w.t(), "part": w[1], "alone": torch.ones(2)}
    back = through_a_file(state)
    assert same(state, back)
    back["embed"][1, 0] = 99
    assert back["head"][1, 0] == back["view"][0, 1] == back["part"][0] == 99
    assert back["alone"].tolist() == [1, 1]


def test_tied_weights_of_a_module_are_written_once():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(100, 100, bias=False), nn.Linear(100, 100, bias=False)
            self.b.weight = self.a.weight

    def size(node):
        if isinstance(node, Array):
            return len(node.data)
        return sum(map(size, node.values() if isinstance(node, dict) else node if isinstance(node, list) else []))

    assert size(pack(Net().state_dict())) == 40_000


def test_a_slice_of_a_large_storage_is_written_alone():
    big = torch.zeros(1000, 1000)
    tree = pack({"column": big[:, 0], "row": torch.zeros(5, 7)[2]})
    assert tree["row"] == Array("F32", (7,), b"\0" * 28)
    assert len(pack([big[:, 0]])[0].data) == 4000


def test_memory_layout_is_kept():
    t = torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last)
    back = through_a_file([t])[0]
    assert same(t, back)
    assert back.stride() == t.stride()


def test_a_generator_goes_on_where_it_was():
    g = torch.Generator().manual_seed(3)
    torch.rand(5, generator=g)
    back = through_a_file({"g": g})["g"]
    assert torch.equal(torch.rand(4, generator=g), torch.rand(4, generator=back))


def test_numpy_and_python_random_states():
    import random

    rng = np.random.default_rng(1)
    rng.random(3)
    state = {"numpy": rng.bit_generator.state, "python": random.getstate()}
    back = through_a_file(state)
    assert same(state, back)
    again = np.random.default_rng(0)
    again.bit_generator.state = back["numpy"]
    assert rng.random() == again.random()


def test_what_comes_back_is_writable_and_free_of_gradients():
    back = through_a_file({"w": nn.Parameter(torch.ones(2)), "a": np.ones(2)})
    back["w"] += 1
    back["a"] += 1
    assert type(back["w"]) is torch.Tensor
    assert not back["w"].requires_grad


def test_names_that_look_like_tags_are_kept():
    state = {"$": "tuple", "$array": 1, "__metadata__": torch.ones(1), "": [torch.zeros(1)]}
    assert same(state, through_a_file(state))


def test_ordered_dict_keeps_its_order():
    assert list(unpack(pack(OrderedDict(b=1, a=2)))) == ["b", "a"]


class Thing:
    pass


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ({"optimizer": {"state": {0: {"hook": lambda: 0}}}}, ["optimizer.state.0.hook: function", "without pickle"]),
        ([1, (2, Thing())], ["1.1: Thing"]),
        (Thing(), ["state: Thing"]),
        ({"a": {1, 2}}, ["a: set"]),
        ({"t": torch.eye(2).to_sparse()}, ["t: Tensor"]),
        ({"m": torch.empty(2, device="meta")}, ["m: Tensor"]),
        ({"o": np.array([None])}, ["o: ndarray"]),
        ({"r": np.random.default_rng()}, ["r: Generator"]),
    ],
)
def test_anything_else_is_refused_by_its_path(state, words):
    with pytest.raises(CheckpointError) as caught:
        pack(state)
    for word in words:
        assert word in str(caught.value)


def test_a_state_that_contains_itself_is_refused():
    state: list = []
    state.append(state)
    with pytest.raises(CheckpointError, match="without end"):
        pack(state)


@pytest.mark.parametrize(
    "tree",
    [{"$": "later"}, {"$": "tuple"}, Array("F32", (3,), b"\0" * 4), {"$": "view", "storage": 5, "dtype": "float32"}],
)
def test_a_tree_of_another_kind_is_refused(tree):
    with pytest.raises(CheckpointError, match="checkpoint"):
        unpack(tree)
