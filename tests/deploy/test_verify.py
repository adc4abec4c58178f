"""Verification: equal models pass, and every way a file can be wrong is found."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from sklearn.datasets import load_digits
from torch import Tensor, nn

from whet.deploy import Verified, export, verify
from whet.deploy.tolerance import distance
from whet.errors import DataError, ExportError
from whet.models import Convnet, Mlp, Standardize
from whet.squeeze import Average

DIGITS = torch.tensor(load_digits().images[:400], dtype=torch.float32).round().to(torch.uint8).unsqueeze(1)


def convnet(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    model = Convnet((1, 8, 8), 10, width=8, standardize=Standardize.fit(DIGITS))
    for m in model.modules():
        if isinstance(m, nn.BatchNorm2d):
            nn.init.uniform_(m.weight, 0.5, 1.5)  # those that start at 0 switch whole layers off
    model(DIGITS[:100])
    return model


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> tuple[nn.Module, Path]:
    model = convnet(0)
    return model, export(
        model, DIGITS[:2], tmp_path_factory.mktemp("shipped") / "m.onnx", classes=list("0123456789")
    ).path


def perturbed(path: Path, to: Path, change: float, *, layer: int = 0) -> Path:
    """Copy the file with one number of one of its weights changed by `change` times the weight's size."""
    proto = onnx.load(path)
    floats = [i for i in proto.graph.initializer if i.data_type == onnx.TensorProto.FLOAT and len(i.dims) > 1]
    array = numpy_helper.to_array(floats[layer]).copy()
    array.reshape(-1)[0] += change * np.abs(array).mean()
    floats[layer].CopyFrom(numpy_helper.from_array(array, floats[layer].name))
    onnx.save(proto, to)
    return to


@pytest.mark.parametrize("n", [1, 3, 400])
def test_equal_on_real_inputs(shipped: tuple[nn.Module, Path], n: int) -> None:
    model, path = shipped
    v = verify(path, model, DIGITS[:n], timed=n == 400)
    assert (v.equal, v.why, v.n, v.agreement) == (True, "", n, 1.0)
    assert v.worst < 0.2  # far from the tolerance, which therefore does not hide anything
    assert v.batches == ((1, 7, 32) if n == 400 else (1, 3)[: 1 + (n > 1)])
    assert v.bytes == path.stat().st_size
    if n == 400:
        assert set(v.latency) == {"onnxruntime", "torch"}
        assert all(ms > 0 for each in v.latency.values() for ms in each.values())
        assert v.calls >= 5
        assert json.loads(json.dumps(v.json(), allow_nan=False))["latency"]["torch"].keys() == {"1", "32"}


@pytest.mark.parametrize("layer", [0, 1, 2])
@pytest.mark.parametrize("change", [0.05, -3.0])
def test_a_changed_weight_is_found(shipped: tuple[nn.Module, Path], tmp_path: Path, layer: int, change: float) -> None:
    model, path = shipped
    v = verify(perturbed(path, tmp_path / "m.onnx", change, layer=layer), model, DIGITS, timed=False)
    assert not v.equal
    assert "outputs differ" in v.why
    assert v.worst > 1


def test_another_model_is_found(shipped: tuple[nn.Module, Path]) -> None:
    other = verify(shipped[1], convnet(1), DIGITS, timed=False)
    assert not other.equal
    assert other.agreement is not None
    assert other.agreement < 0.9
    slightly = copy.deepcopy(shipped[0])  # too slight a change for the outputs, but these are not its weights
    next(iter(slightly.parameters())).data.mul_(1 + 1e-7)
    v = verify(shipped[1], slightly, DIGITS, timed=False)
    assert (v.equal, v.why) == (False, "the file was made from other weights than this model's")


def test_a_model_left_in_training_mode_is_compared_in_eval_mode_and_put_back(shipped: tuple[nn.Module, Path]) -> None:
    model, path = shipped
    model.train()
    threads = torch.get_num_threads()
    assert verify(path, model, DIGITS, timed=False).equal
    assert all(m.training for m in model.modules())
    assert torch.get_num_threads() == threads


def test_another_architecture_is_refused(shipped: tuple[nn.Module, Path]) -> None:
    with pytest.raises(ExportError, match=r"is not this model: it answers with shape \(1, 10\) instead of \(1, 3\)"):
        verify(shipped[1], Convnet((1, 8, 8), 3, width=8), DIGITS, timed=False)
    with pytest.raises(ExportError, match="is not this model: input images"):
        verify(shipped[1], Convnet((1, 9, 9), 10, width=8), torch.zeros(3, 1, 9, 9, dtype=torch.uint8), timed=False)


@pytest.mark.parametrize("damage", ["cut", "empty", "text", "missing"])
def test_a_damaged_file_is_refused(shipped: tuple[nn.Module, Path], tmp_path: Path, damage: str) -> None:
    model, path = shipped
    bad, data = tmp_path / "bad.onnx", path.read_bytes()
    if damage != "missing":
        bad.write_bytes({"cut": data[: len(data) // 2], "empty": b"", "text": b"no model at all\n"}[damage])
    with pytest.raises(ExportError, match=r"bad\.onnx: ") as caught:
        verify(bad, model, DIGITS, timed=False)
    assert "\n" not in str(caught.value)


def test_flipped_bits_in_the_weights_are_found(shipped: tuple[nn.Module, Path], tmp_path: Path) -> None:
    """The top bit of an exponent: the graph is valid, and wrong."""
    model, path = shipped
    proto = onnx.load(path)
    weight = max(proto.graph.initializer, key=lambda i: len(i.raw_data))
    raw = bytearray(weight.raw_data)
    for at in range(3, len(raw), 400):
        raw[at] ^= 0x40
    weight.raw_data = bytes(raw)
    onnx.save(proto, tmp_path / "m.onnx")
    assert not verify(tmp_path / "m.onnx", model, DIGITS, timed=False).equal


@pytest.mark.parametrize("seed", [0, 1])
def test_an_ensemble_and_a_regression_with_an_offset(tmp_path: Path, seed: int) -> None:
    torch.manual_seed(seed)
    x = torch.randn(100, 4)

    def year() -> nn.Module:
        model = Mlp(4, 1, width=16)
        model.head.linear.bias.data += 2000.0
        return model

    model = Average([year() for _ in range(3)], kind="regression")
    done = export(model, x, tmp_path / "m.onnx")
    v = verify(done.path, model, x, timed=False)
    assert v.equal
    assert v.agreement is None
    assert v.atol < 0.03


def test_not_finite_is_never_equal(tmp_path: Path) -> None:
    class Log(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.log(x)

    done = export(Log(), torch.ones(2, 2), tmp_path / "m.onnx")
    v = verify(done.path, Log(), torch.tensor([[1.0, -1.0]]), timed=False)
    assert (v.equal, v.why) == (False, "outputs are not finite")
    assert json.dumps(v.json(), allow_nan=False)


def test_the_tolerance() -> None:
    rng = np.random.default_rng(0)
    want = rng.normal(size=(50, 3))
    assert distance(want, want).worst == 0
    assert distance(want * (1 + 1e-6), want).equal
    assert not distance(want + 1e-3, want).equal
    assert not distance(want[::-1], want).equal
    assert distance(np.zeros((4, 2)), np.zeros((4, 2))).equal
    assert not distance(np.full((4, 2), 1e-9), np.zeros((4, 2))).equal  # a dead output must stay dead
    assert not distance(np.array([[np.nan]]), np.array([[np.nan]])).equal
    assert distance(want * 1e6 * (1 + 1e-6), want * 1e6).equal == distance(want * (1 + 1e-6), want).equal


def test_without_examples(shipped: tuple[nn.Module, Path]) -> None:
    with pytest.raises(DataError, match="no examples"):
        verify(shipped[1], shipped[0], DIGITS[:0])
    assert isinstance(verify(shipped[1], shipped[0], DIGITS[:1], timed=False), Verified)
