"""Write a trained model as ONNX: one file that runs without PyTorch, and that says what it is."""

from __future__ import annotations

import contextlib
import copy
import hashlib
import inspect
import json
import os
import platform
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
import torch
from torch import Tensor, nn

from whet import __version__
from whet.data.split import Inputs
from whet.deploy.deployed import KEY
from whet.deploy.exporters import OPSET, exported, reason
from whet.errors import ExportError

__all__ = ["Exported", "at_rest", "export", "weights_hash"]


@dataclass(frozen=True)
class Exported:
    """A model that was written.

    bytes: size of the file; sha256: of the file; weights: `weights_hash` of the model; exporter: "trace" or "dynamo";
    inputs: name, dtype and shape of each, the batch axis as None; seconds: wall time of exporting, checking, writing.

    >>> Exported(Path("m.onnx"), 900, "9f..", "07..", 20, "trace", (), 0.1).exporter
    'trace'
    """

    path: Path
    bytes: int
    sha256: str
    weights: str
    opset: int
    exporter: str
    inputs: tuple[Mapping[str, Any], ...]
    seconds: float


def export(
    model: nn.Module,
    example_inputs: Inputs,
    path: str | os.PathLike[str],
    *,
    classes: Sequence[str] | None = None,
    meta: Mapping[str, Any] | None = None,
) -> Exported:
    """Write `model` to `path` as ONNX with a free batch axis, and return what was written.

    example_inputs: a few real examples, a tensor (n, ...) or a tuple of such, as the model takes them; their dtypes and
    shapes behind the first axis become the file's. classes: names in the order of the class numbers, None for
    regression. meta: JSON about the model (preprocessing, goal, ...), which travels in the file. The file has one output,
    `outputs`, equal to what the model returns in eval mode (logits, log-probabilities or values; `deployed.Deployed`
    turns the former into probabilities), and inputs named like the arguments of `forward`. The model is left as it was.

    Written to a temporary file beside `path` and renamed, so there is the whole file or none. Raises ExportError, in one
    line, when the model cannot be exported, `meta` is not JSON, or the file cannot be written.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     done = export(nn.Linear(4, 2), torch.randn(3, 4), Path(folder) / "model.onnx", classes=["no", "yes"])
    >>> done.exporter, done.opset, done.inputs
    ('trace', 20, ({'name': 'input', 'dtype': 'float32', 'shape': [None, 4]},))
    """
    began = time.perf_counter()
    at = Path(path)
    parts = example_inputs if isinstance(example_inputs, tuple) else (example_inputs,)
    examples = tuple(three(p.detach().to("cpu")) for p in parts)
    names = argument_names(model, len(examples))
    about: dict[str, Any] = {
        "classes": None if classes is None else [str(c) for c in classes],
        "meta": dict(meta or {}),
    }
    try:
        json.dumps(about, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ExportError(
            f"{at.name}: meta is not JSON: {error}. Give str, int, finite float, bool, None, list, dict."
        ) from error
    with at_rest(model) as still:
        try:
            with torch.no_grad():
                answer = still(*examples)
        except Exception as error:
            raise ExportError(f"{at.name}: the model fails on its example inputs: {reason(error)}") from error
        if not isinstance(answer, Tensor) or answer.ndim == 0 or len(answer) != len(examples[0]):
            got = tuple(answer.shape) if isinstance(answer, Tensor) else type(answer).__name__
            raise ExportError(
                f"{at.name}: the model returned {got} for {len(examples[0])} examples. Return one tensor (n, ...)."
            )
        proto, exporter = exported(still, examples, names, at.name)
        weights = weights_hash(still)
    inputs = tuple(
        {"name": n, "dtype": str(e.dtype).removeprefix("torch."), "shape": [None, *e.shape[1:]]}
        for n, e in zip(names, examples, strict=True)
    )
    about |= {
        "kind": "regression" if classes is None else "classification",
        "inputs": list(inputs),
        "weights": weights,
        "exporter": exporter,
        "versions": {"whet": __version__, "torch": torch.__version__, "onnx": onnx.__version__, "python": platform.python_version()},
    }  # fmt: skip
    del proto.metadata_props[:]
    onnx.helper.set_model_props(proto, {KEY: json.dumps(about)})
    data = proto.SerializeToString()
    write(at, data)
    digest = hashlib.sha256(data).hexdigest()
    return Exported(at, len(data), digest, weights, OPSET, exporter, inputs, time.perf_counter() - began)


def three(examples: Tensor) -> Tensor:
    """Return three examples (repeated where fewer): torch.export would take a batch of 1 for a constant."""
    if len(examples) == 0:
        raise ExportError("example_inputs: no examples. Give at least one.")
    return examples[torch.arange(3) % len(examples)]


def argument_names(model: nn.Module, n: int) -> list[str]:
    """Return the names of forward's first n arguments; input_0, input_1, ... where they have none.

    >>> argument_names(nn.Bilinear(2, 2, 1), 2)
    ['input1', 'input2']
    """
    named = [p.name for p in inspect.signature(model.forward).parameters.values() if p.kind is p.POSITIONAL_OR_KEYWORD]
    names = named[:n] if len(named) >= n else [f"input_{i}" for i in range(n)]
    return [f"input_{i}" if name == "outputs" else name for i, name in enumerate(names)]  # the output has that name


@contextlib.contextmanager
def at_rest(model: nn.Module) -> Iterator[nn.Module]:
    """Give the model in eval mode on the CPU, and put it back as it was; one on another device is copied.

    >>> model = nn.Sequential(nn.Dropout().eval(), nn.Dropout())
    >>> with at_rest(model) as still:
    ...     still[1].training
    False
    >>> [m.training for m in model]
    [False, True]
    """
    devices = {t.device.type for t in (*model.parameters(), *model.buffers())}
    still = model if devices <= {"cpu"} else copy.deepcopy(model).to("cpu")
    modes = [(m, m.training) for m in still.modules()]
    try:
        for m, _ in modes:
            m.training = False
        yield still
    finally:
        for m, mode in modes:
            m.training = mode


def weights_hash(model: nn.Module) -> str:
    """Return the SHA-256 of the model's state: names, dtypes, shapes and bytes, in the order of names.

    >>> model = nn.Linear(2, 1)
    >>> weights_hash(model) == weights_hash(copy.deepcopy(model)), len(weights_hash(model))
    (True, 64)
    """
    digest = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        if isinstance(value, Tensor):
            flat = value.detach().to("cpu").contiguous()
            digest.update(f"{name}\0{flat.dtype}\0{tuple(flat.shape)}\0".encode())
            digest.update(flat.reshape(-1).view(torch.uint8).numpy().tobytes() if flat.numel() else b"")
    return digest.hexdigest()


def write(path: Path, data: bytes) -> None:
    """Write `data` to `path` whole or not at all. Raises ExportError."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with part.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise ExportError(f"{path}: cannot be written: {error.strerror or error}.") from error
