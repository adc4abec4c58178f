"""Export: what comes out equals what went in, the model is left alone, and a failure leaves nothing behind."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from whet.deploy import Deployed, export, predict
from whet.deploy.export import weights_hash
from whet.errors import ExportError
from whet.models import Convnet, Mlp, Standardize
from whet.squeeze import Average


class Clipped(nn.Module):
    """Goes one of two ways, depending on the values it is given: a trace of it is wrong."""

    def forward(self, x: Tensor) -> Tensor:
        return x * 2 if x.sum() > 0 else x * 3


class Counting(nn.Module):
    """Depends on how many examples it is given, through a Python number."""

    def forward(self, x: Tensor) -> Tensor:
        return x * float(x.shape[0])


class Exotic(nn.Module):
    """Uses an operator ONNX does not have."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.special.bessel_j0(x)


class Failing(nn.Module):
    """Cannot be called at all."""

    def forward(self, x: Tensor) -> Tensor:
        raise ValueError("the first line\nand a second")


class Permuted(nn.Module):
    """Something the tracer warns about though torch.export understands it: NumPy inside."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.from_numpy(np.sqrt(x.abs().numpy())) if not torch.compiler.is_compiling() else x.abs().sqrt()


def table(seed: int, depth: int, categories: tuple[int, ...]) -> tuple[nn.Module, tuple[Tensor, ...]]:
    torch.manual_seed(seed)
    numbers = torch.randn(40, 5) * 10 + 3
    levels = torch.stack([torch.randint(c, (40,)) for c in categories], 1) if categories else torch.zeros(40, 0).long()
    scale = Standardize.fit(numbers)
    return Mlp(5, 3, categories=categories, depth=depth, width=16, dropout=0.5, norm="batch", standardize=scale), (
        numbers,
        levels,
    )


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize(("depth", "categories"), [(2, (4, 7)), (2, ()), (0, (4, 7)), (0, ())])
def test_a_table_model(tmp_path: Path, seed: int, depth: int, categories: tuple[int, ...]) -> None:
    model, inputs = table(seed, depth, categories)
    model(*inputs)  # batch norm has seen something
    done = export(model, inputs, tmp_path / "m.onnx", classes=["a", "b", "c"], meta={"goal": "max accuracy"})
    assert [i["name"] for i in done.inputs] == ["numbers", "categories"]
    model.eval()
    with torch.no_grad():
        np.testing.assert_allclose(predict(done.path, inputs), model(*inputs).numpy(), rtol=1e-4, atol=1e-5)
    assert predict(done.path, tuple(i[:1] for i in inputs)).shape == (1, 3)


@pytest.mark.parametrize(
    ("shape", "depth", "norm"), [((1, 8, 8), 1, "batch"), ((3, 28, 21), 1, "group"), ((8, 8), 0, "batch")]
)
def test_a_picture_model_takes_bytes(tmp_path: Path, shape: tuple[int, ...], depth: int, norm: str) -> None:
    torch.manual_seed(0)
    x = torch.randint(256, (20, *shape), dtype=torch.uint8)
    model = Convnet(shape, 10, depth=depth, width=8, norm=norm, dropout=0.3, standardize=Standardize.fit(x))
    model(x)
    done = export(model, x, tmp_path / "m.onnx", classes=[str(i) for i in range(10)])
    assert done.exporter == "trace"  # else the export takes seconds
    assert done.inputs == ({"name": "images", "dtype": "uint8", "shape": [None, *shape]},)
    with torch.no_grad():
        want = model.eval()(x).numpy()
    np.testing.assert_allclose(predict(done.path, x), want, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["classification", "regression"])
def test_an_ensemble_of_two_input_models(tmp_path: Path, kind: str) -> None:
    pairs = [table(seed, 1 + seed % 2, (3,)) for seed in range(5)]
    inputs = pairs[0][1]
    model = Average([m for m, _ in pairs], [1, 2, 3, 4, 5], kind=kind)
    model(*inputs)
    done = export(model, inputs, tmp_path / "m.onnx", classes=["a", "b", "c"] if kind == "classification" else None)
    assert done.exporter == "trace"
    assert [i["name"] for i in done.inputs] == ["input_0", "input_1"]
    with torch.no_grad():
        np.testing.assert_allclose(predict(done.path, inputs), model.eval()(*inputs), rtol=1e-4, atol=1e-5)
    assert Deployed(done.path).meta["kind"] == kind


def test_what_the_file_says(tmp_path: Path) -> None:
    model, inputs = table(0, 2, (4,))
    meta = {"encoding": {"colour": ["red", "grün"]}, "goal": "max accuracy"}
    done = export(model, inputs, tmp_path / "deep" / "m.onnx", classes=("no", "maybe", "ja"), meta=meta)
    proto = onnx.load(done.path)
    onnx.checker.check_model(proto, full_check=True)
    assert [(o.domain, o.version) for o in proto.opset_import] == [("", 20)]
    about = json.loads({p.key: p.value for p in proto.metadata_props}["whet"])
    assert (about["classes"], about["meta"], about["kind"]) == (["no", "maybe", "ja"], meta, "classification")
    assert about["weights"] == done.weights == weights_hash(model)
    assert set(about["versions"]) == {"whet", "torch", "onnx", "python"}
    assert done.bytes == done.path.stat().st_size


def test_the_model_is_left_as_it_was(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8).eval(), nn.Dropout(), nn.Linear(8, 2))
    before, modes, state = weights_hash(model), [m.training for m in model.modules()], torch.get_rng_state()
    limits = torch.get_num_threads()
    done = export(model, torch.randn(1, 4), tmp_path / "m.onnx", classes=["a", "b"])
    assert weights_hash(model) == before == done.weights
    assert [m.training for m in model.modules()] == modes
    assert all(p.requires_grad and p.grad is None for p in model.parameters())
    torch.randn(1, 4)
    assert torch.get_num_threads() == limits
    torch.set_rng_state(state)


@pytest.mark.parametrize("model", [nn.Linear(3, 2), Permuted()], ids=["trace", "dynamo"])
def test_it_says_nothing(tmp_path: Path, model: nn.Module, capfd: pytest.CaptureFixture[str]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        done = export(model, torch.randn(4, 3), tmp_path / "m.onnx")
    assert done.exporter == ("trace" if isinstance(model, nn.Linear) else "dynamo")
    x = torch.randn(9, 3)
    np.testing.assert_allclose(predict(done.path, x), model(x).detach().numpy(), rtol=1e-4, atol=1e-5)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(("model", "said"), [
    (Clipped(), "depends on the values"), (Counting(), "for a batch of 1 it differs from the source"), (Exotic(), "bessel_j0"),
    (Failing(), "ValueError: the first line and a second"), (nn.LSTM(3, 2), "returned tuple"),
], ids=lambda x: type(x).__name__)  # fmt: skip
def test_what_cannot_be_exported_says_why_and_leaves_nothing(
    tmp_path: Path, model: nn.Module, said: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ExportError, match=said) as caught:
        export(model, torch.rand(4, 3), tmp_path / "folder" / "m.onnx")
    assert "\n" not in str(caught.value)
    assert "\x1b" not in str(caught.value)
    assert len(str(caught.value)) < 900
    assert list(tmp_path.iterdir()) == []
    assert capfd.readouterr() == ("", "")
    assert all(m.training for m in model.modules())


def test_an_older_file_survives_a_failure(tmp_path: Path) -> None:
    done = export(nn.Linear(3, 2), torch.rand(2, 3), tmp_path / "m.onnx")
    old = done.path.read_bytes()
    for meta in ({"x": float("nan")}, {"x": {1, 2}}):
        with pytest.raises(ExportError, match="not JSON"):
            export(nn.Linear(3, 2), torch.rand(2, 3), done.path, meta=meta)
    with pytest.raises(ExportError):
        export(Failing(), torch.rand(2, 3), done.path)
    assert done.path.read_bytes() == old
    export(nn.Linear(3, 2), torch.rand(2, 3), done.path)
    assert done.path.read_bytes() != old
    assert [p.name for p in tmp_path.iterdir()] == ["m.onnx"]


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ExportError, match="cannot be written"):
        export(nn.Linear(3, 2), torch.rand(2, 3), tmp_path / "file" / "m.onnx")
    (tmp_path / "m.onnx").mkdir()
    with pytest.raises(ExportError, match="cannot be written"):
        export(nn.Linear(3, 2), torch.rand(2, 3), tmp_path / "m.onnx")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "m.onnx"]


def test_same_model_same_bytes(tmp_path: Path) -> None:
    model = nn.Linear(3, 2)
    one, two = (export(model, torch.rand(2, 3), tmp_path / f"{i}.onnx") for i in range(2))
    assert one.sha256 == two.sha256
    with torch.no_grad():
        model.weight[0, 0] += 1e-6
    assert export(model, torch.rand(2, 3), tmp_path / "3.onnx").weights != one.weights


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_model_on_a_gpu_stays_there(tmp_path: Path) -> None:
    model = nn.Linear(3, 2).cuda()
    done = export(model, torch.rand(2, 3).cuda(), tmp_path / "m.onnx")
    assert model.weight.is_cuda
    assert done.weights == weights_hash(model)
    session = onnxruntime.InferenceSession(done.path, providers=["CPUExecutionProvider"])
    assert session.run(None, {"input": np.zeros((1, 3), "f4")})[0].shape == (1, 2)
