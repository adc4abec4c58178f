"""Running an exported model: inputs are checked, converted where that is safe, and batched."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from whet.deploy import Deployed, export, predict
from whet.errors import DataError, ExportError
from whet.models import Mlp


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> tuple[nn.Module, Path]:
    torch.manual_seed(0)
    model = Mlp(3, 2, categories=(4,), width=8).eval()
    path = tmp_path_factory.mktemp("table") / "m.onnx"
    export(model, (torch.randn(4, 3), torch.ones(4, 1).long()), path, classes=["no", "yes"])
    return model, path


@pytest.mark.parametrize("n", [1, 5, 600])
def test_batches_do_not_matter(table: tuple[nn.Module, Path], n: int) -> None:
    model, path = table
    x, c = torch.randn(n, 3), torch.randint(4, (n, 1))
    want = model(x, c).detach().numpy()
    deployed = Deployed(path, threads=1)
    for batch in (1, 7, 256) if n < 100 else (256,):
        np.testing.assert_allclose(deployed((x.numpy(), c.numpy()), batch=batch), want, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(predict(path, (x, c)), want, rtol=1e-4, atol=1e-6)
    p = deployed.probabilities((x, c))
    np.testing.assert_allclose(p, torch.softmax(torch.tensor(want), 1), rtol=1e-3, atol=1e-6)
    assert p.dtype == np.float32


def test_safe_conversions_only(table: tuple[nn.Module, Path]) -> None:
    path = table[1]
    c = np.ones((2, 1), np.int32)
    assert predict(path, (np.zeros((2, 3)), c)).shape == (2, 2)  # float64 to float32, int32 to int64
    assert predict(path, ([[0, 1, 2]], [[3]])).shape == (1, 2)
    with pytest.raises(DataError, match=r"input categories: got float64 \(2, 1\), allowed int64 \(n, 1\)"):
        predict(path, (np.zeros((2, 3)), np.ones((2, 1))))


@pytest.mark.parametrize(("inputs", "said"), [
    (np.zeros((2, 3)), "got 1 inputs, allowed 2: numbers, categories"),
    ((np.zeros((2, 4)), np.ones((2, 1), int)), r"input numbers: got float64 \(2, 4\), allowed float32 \(n, 3\)"),
    ((np.zeros(3), np.ones((2, 1), int)), "input numbers"),
    ((np.zeros((2, 3)), np.ones((3, 1), int)), r"got \[2, 3\] examples"),
    ((np.zeros((0, 3)), np.ones((0, 1), int)), r"got \[0, 0\] examples"),
    ((np.array([["a", "b", "c"]]), np.ones((1, 1), int)), "input numbers: got <U1"),
])  # fmt: skip
def test_what_does_not_fit_is_refused(table: tuple[nn.Module, Path], inputs: object, said: str) -> None:
    with pytest.raises(DataError, match=said):
        predict(table[1], inputs)


def test_a_regression_model_has_no_probabilities(tmp_path: Path) -> None:
    done = export(nn.Linear(2, 1), torch.zeros(2, 2), tmp_path / "m.onnx")
    with pytest.raises(DataError, match="regression"):
        Deployed(done.path).probabilities(np.zeros((1, 2)))


def test_one_logit_gives_two_probabilities(tmp_path: Path) -> None:
    model = nn.Linear(2, 1)
    done = export(model, torch.zeros(2, 2), tmp_path / "m.onnx", classes=["no", "yes"])
    x = torch.randn(6, 2)
    want = torch.sigmoid(model(x)).detach().numpy()
    np.testing.assert_allclose(Deployed(done.path).probabilities(x), np.hstack([1 - want, want]), rtol=1e-4, atol=1e-6)


def test_the_file_runs_without_torch(table: tuple[nn.Module, Path]) -> None:
    """Anything that runs ONNX can use it: here the runtime alone, in a process of its own."""
    code = (
        "import sys, numpy as np, onnxruntime as ort; s = ort.InferenceSession(sys.argv[1]);"
        "print(s.run(['outputs'], {'numbers': np.zeros((3, 3), 'f4'), 'categories': np.ones((3, 1), 'i8')})[0].shape);"
        "assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code, str(table[1])], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "(3, 2)"


def test_a_file_that_is_no_model(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_text("hello")
    with pytest.raises(ExportError, match="is not a model ONNX Runtime can run"):
        Deployed(tmp_path / "m.onnx")
