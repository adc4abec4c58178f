"""Turn a module into an ONNX graph with whichever of torch's exporters does it right, the quick one first.

Tracing (`dynamo=False`) takes 0.02 to 0.3 s for a small network or an 8-fold ensemble of them; `dynamo=True` takes 3 s for
the first export of a process and 4 s for such an ensemble (torch 2.13, one core). But a trace follows one call of
`forward`. Where that turns tensors into Python numbers torch warns; if these are values, not only shapes, the trace is
thrown away for the slow exporter. Either way the graph is run on batch sizes it was not made with before it is believed.
What the exporters warn, log and print is kept from the user.
"""

from __future__ import annotations

import contextlib
import inspect
import io
import logging
import re
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import onnx
import onnxruntime
import torch
from torch import Tensor, nn

from whet.deploy.tolerance import distance
from whet.errors import ExportError, one_line

__all__ = ["OPSET", "exported", "reason"]

OPSET = 20  # onnxruntime >= 1.17 runs it
LONGEST = 300  # characters of a foreign error that are passed on


def exported(
    model: nn.Module, examples: tuple[Tensor, ...], names: Sequence[str], where: str
) -> tuple[onnx.ModelProto, str]:
    """Return the model as ONNX and which exporter made it, "trace" or "dynamo"; raise ExportError when neither can.

    >>> proto, exporter = exported(nn.Linear(2, 1), (torch.zeros(3, 2),), ["x"], "model.onnx")
    >>> exporter, [node.op_type for node in proto.graph.node]
    ('trace', ['Gemm'])
    """
    why: list[str] = []
    for exporter in (trace, dynamo):
        try:
            proto = with_inputs(exporter(model, examples, names), names, examples)
            prove(proto, model, examples, names)
            return proto, exporter.__name__
        except Exception as error:  # whatever an exporter does not support it says by a type of its own
            why.append(f"{exporter.__name__}: {reason(error)}")
    raise ExportError(f"{where}: the model cannot be exported to ONNX. {'; '.join(why)}")


def trace(model: nn.Module, examples: tuple[Tensor, ...], names: Sequence[str]) -> onnx.ModelProto:
    """Export by following one call of the model; raise when torch warns that another call could go another way."""
    free = {name: {0: "batch"} for name in [*names, "outputs"]}
    with tempfile.TemporaryDirectory() as folder, quiet() as said:
        file = Path(folder) / "model.onnx"
        torch.onnx.export(
            model, examples, file, dynamo=False, opset_version=OPSET,
            input_names=list(names), output_names=["outputs"], dynamic_axes=free,
        )  # fmt: skip
        doubts = [w for w in said if w.category.__name__ == "TracerWarning"]
        if doubts and looks_at_values(model, examples):
            raise ExportError(f"forward depends on the values of its inputs ({reason(doubts[0].message)})")
        return onnx.load(file)


def looks_at_values(model: nn.Module, examples: tuple[Tensor, ...]) -> bool:
    """Return whether `forward` needs the values of its tensors in Python, and not only their shapes.

    Tensors on the "meta" device have no values, and raise when asked for one. Some sound models cannot run there either;
    they count as looking, which costs time and no correctness.

    >>> looks_at_values(nn.GroupNorm(2, 4), (torch.zeros(3, 4, 2),))
    False
    """
    state = {name: t.to("meta") for name, t in (*model.named_parameters(), *model.named_buffers())}
    try:
        with torch.no_grad():
            torch.func.functional_call(model, state, tuple(e.to("meta") for e in examples))
    except Exception:  # of many types
        return True
    return False


def dynamo(model: nn.Module, examples: tuple[Tensor, ...], names: Sequence[str]) -> onnx.ModelProto:
    """Export through torch.export, which reads the program instead of following one call of it."""
    batch = torch.export.Dim("batch")
    free: Any = tuple({0: batch} for _ in examples)
    if any(p.kind is p.VAR_POSITIONAL for p in inspect.signature(model.forward).parameters.values()):
        free = (free,)  # torch.export sees *inputs as one argument
    with quiet():
        program = torch.onnx.export(
            model, examples, dynamo=True, opset_version=OPSET, verbose=False,
            input_names=list(names), output_names=["outputs"], dynamic_shapes=free,
        )  # fmt: skip
        assert program is not None
        return program.model_proto


def with_inputs(proto: onnx.ModelProto, names: Sequence[str], examples: Sequence[Tensor]) -> onnx.ModelProto:
    """Give the graph exactly the inputs `names`, in order: exporters drop one that does not matter (a table without
    categories), and a caller should not have to know."""
    found = {i.name: i for i in proto.graph.input}
    if unknown := set(found) - set(names):
        raise ExportError(f"the exported graph has unexpected inputs {sorted(unknown)}")
    for name, example in zip(names, examples, strict=True):
        if name not in found:
            dtype = onnx.helper.np_dtype_to_tensor_dtype(example.numpy().dtype)
            found[name] = onnx.helper.make_tensor_value_info(name, dtype, ["batch", *example.shape[1:]])
    del proto.graph.input[:]
    proto.graph.input.extend(found[name] for name in names)
    return proto


def prove(proto: onnx.ModelProto, model: nn.Module, examples: tuple[Tensor, ...], names: Sequence[str]) -> None:
    """Run the exported model beside its source on batches of 1, 5 and 64; raise ExportError when they differ."""
    onnx.checker.check_model(proto)
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    for n in (1, 5, 64):
        batch = tuple(e[torch.arange(n) % len(e)] for e in examples)
        with torch.no_grad():
            want = model(*batch).numpy()
        (got,) = session.run(["outputs"], {name: b.numpy() for name, b in zip(names, batch, strict=True)})
        if got.shape != want.shape:
            raise ExportError(f"for a batch of {n} it answers with shape {got.shape} instead of {want.shape}")
        if not distance(got, want).equal:
            raise ExportError(f"for a batch of {n} it differs from the source by {distance(got, want).max_abs:.2g}")


@contextlib.contextmanager
def quiet() -> Iterator[list[warnings.WarningMessage]]:
    """Keep what exporters warn, log and print to themselves; give the list of warnings."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    # The tracer prints graphs it fails on past sys.stdout, and switches that on by mistake (torch 2.13).
    loud = getattr(torch._C, "_jit_onnx_log", None)
    torch._C._jit_onnx_log = lambda *_: None
    try:
        with (
            warnings.catch_warnings(record=True) as said,
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
            torch.random.fork_rng(devices=[]),
        ):
            warnings.simplefilter("always")
            yield said
    finally:
        if loud is not None:
            torch._C._jit_onnx_log = loud
        logging.disable(before)


def reason(error: BaseException | Warning | str) -> str:
    """Return the first cause of `error` as one short line without terminal colours.

    >>> reason(ValueError("two\\nlines"))
    'ValueError: two lines'
    """
    while isinstance(error, BaseException) and error.__cause__ is not None:
        error = error.__cause__
    text = one_line(re.sub(r"\x1b\[[0-9;]*m", "", str(error)))
    text = text if len(text) <= LONGEST else text[:LONGEST] + "..."
    return text if isinstance(error, ExportError | Warning | str) else f"{type(error).__name__}: {text}"
