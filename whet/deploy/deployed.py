"""Run an exported model: ONNX Runtime and NumPy, no PyTorch in the computation."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from whet.errors import DataError, ExportError, one_line

__all__ = ["KEY", "Deployed", "predict"]

KEY = "whet"  # of the metadata in the file

DTYPES = {
    "tensor(float)": np.float32, "tensor(double)": np.float64, "tensor(float16)": np.float16, "tensor(bool)": np.bool_,
    "tensor(uint8)": np.uint8, "tensor(int8)": np.int8, "tensor(int16)": np.int16,
    "tensor(int32)": np.int32, "tensor(int64)": np.int64,
}  # fmt: skip


class Deployed:
    """An exported model, loaded: `deployed(inputs)` gives its outputs.

    path: the ONNX file; threads: of the runtime, 0 for its own choice. meta: what `export` wrote into the file (classes,
    kind, inputs, weights, versions, meta), empty for a foreign file. inputs: (name, dtype, shape) each, None for a free
    axis. Raises ExportError for a file that is missing or is not a model.

    >>> import tempfile, torch
    >>> from whet.deploy.export import export
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     done = export(torch.nn.Linear(2, 2), torch.zeros(3, 2), Path(folder) / "m.onnx", classes=["no", "yes"])
    ...     model = Deployed(done.path)
    >>> model(np.zeros((5, 2))).shape, model.probabilities(np.zeros((1, 2))).sum().round(3), model.meta["classes"]
    ((5, 2), np.float32(1.0), ['no', 'yes'])
    """

    def __init__(self, path: str | os.PathLike[str], *, threads: int = 0) -> None:
        self.path = Path(path)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1 if threads else 0
        options.log_severity_level = 3  # errors only: they are raised as well
        try:
            data = self.path.read_bytes()
        except OSError as error:
            raise ExportError(f"{self.path}: cannot be read: {error.strerror or error}.") from error
        try:
            self.session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # the runtime's exceptions share no public type
            raise ExportError(
                f"{self.path}: is not a model ONNX Runtime can run: {one_line(str(error))[:300]}"
            ) from error
        text = self.session.get_modelmeta().custom_metadata_map.get(KEY, "{}")
        try:
            self.meta: Mapping[str, Any] = json.loads(text)
        except ValueError as error:
            raise ExportError(f"{self.path}: its metadata is damaged: {error}.") from error
        self.inputs = tuple(
            (i.name, np.dtype(DTYPES[i.type]), tuple(s if isinstance(s, int) else None for s in i.shape))
            for i in self.session.get_inputs()
        )

    def __call__(self, inputs: Any | tuple[Any, ...], *, batch: int = 256) -> np.ndarray:
        """Return the outputs (n, ...) for an array (n, ...), or a tuple of them, `batch` examples at a time.

        Arrays of another precision are converted; raises DataError when a number, dtype or shape does not fit.
        """
        arrays = self.fit(inputs)
        names = [name for name, _, _ in self.inputs]
        parts = []
        for start in range(0, len(arrays[0]), batch):
            feed = {n: a[start : start + batch] for n, a in zip(names, arrays, strict=True)}
            parts.append(self.session.run(None, feed)[0])
        return np.concatenate(parts)

    def probabilities(self, inputs: Any | tuple[Any, ...], *, batch: int = 256) -> np.ndarray:
        """Return class probabilities (n, C), float32: softmax of the outputs; one output per example is class 1's logit.

        Raises DataError for a model that does not classify.
        """
        if self.meta.get("kind", "classification") != "classification":
            raise DataError(
                f"{self.path.name}: is a {self.meta['kind']} model, it has no probabilities. Call it instead."
            )
        logits = self(inputs, batch=batch).astype(np.float64)
        if logits.ndim == 1 or logits.shape[1] == 1:
            logits = np.concatenate([np.zeros((len(logits), 1)), logits.reshape(-1, 1)], axis=1)
        p = np.exp(logits - logits.max(axis=1, keepdims=True))
        return (p / p.sum(axis=1, keepdims=True)).astype(np.float32)

    def fit(self, inputs: Any | tuple[Any, ...]) -> list[np.ndarray]:
        """Return the inputs as the arrays the file asks for; raise DataError when they do not fit."""
        given: Sequence[Any] = inputs if isinstance(inputs, tuple) else (inputs,)
        if len(given) != len(self.inputs):
            names = ", ".join(name for name, _, _ in self.inputs)
            raise DataError(f"{self.path.name}: got {len(given)} inputs, allowed {len(self.inputs)}: {names}.")
        arrays = []
        for value, (name, dtype, shape) in zip(given, self.inputs, strict=True):
            array = np.asarray(value)
            fits = array.ndim == len(shape) and all(s in (None, a) for s, a in zip(shape, array.shape, strict=True))
            if not fits or not np.can_cast(array.dtype, dtype, "same_kind"):
                want = ", ".join("n" if s is None else str(s) for s in shape)
                raise DataError(f"input {name}: got {array.dtype} {array.shape}, allowed {dtype} ({want}).")
            arrays.append(np.ascontiguousarray(array, dtype=dtype))
        if len({len(a) for a in arrays}) > 1 or len(arrays[0]) == 0:
            raise DataError(f"inputs: got {[len(a) for a in arrays]} examples, allowed an equal number >= 1 in each.")
        return arrays


def predict(path: str | os.PathLike[str], inputs: Any | tuple[Any, ...]) -> np.ndarray:
    """Return the outputs (n, ...) of the exported model at `path` for an array or tensor (n, ...), or a tuple of them.

    The file is loaded anew at every call; keep a `Deployed` to call it often. Raises what `Deployed` raises.

    >>> predict("nowhere.onnx", np.zeros((1, 2)))
    Traceback (most recent call last):
    ...
    whet.errors.ExportError: nowhere.onnx: cannot be read: No such file or directory.
    """
    return Deployed(path)(inputs)
