"""Keep a finished model in one folder, for later verbs and for shipping: weights, ONNX graph, and what it is.

    model.json          task, members, classes, preprocessing, metrics, and the SHA-256 of the other two
    model.safetensors   the state of the torch module
    model.onnx          the exported graph

Nothing is pickled: the module is rebuilt by its task from JSON parameters and its state is read from safetensors. What is
in the folder is checked against the hashes before it is used, which finds damage; it is no signature.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import safetensors.torch
from torch import Tensor, nn

from whet.data.split import Inputs, Kind
from whet.deploy.deployed import Deployed
from whet.deploy.export import Exported, export, weights_hash
from whet.errors import ExportError
from whet.squeeze.combine import Average

__all__ = ["Bundle", "load", "save"]

FORMAT = 1
GRAPH, WEIGHTS, CARD = "model.onnx", "model.safetensors", "model.json"


@dataclass(frozen=True)
class Bundle:
    """A model in a folder.

    task: reference of the task it was trained for; kind: of the task; members: (params, weight) of each model of an
    ensemble, or the one model's; classes: names, None for regression; meta, metrics: JSON as given to `save`; weights:
    `weights_hash` of the module; average: how an `Average` reads outputs.

    >>> members = (({"width": 8}, 1.0),)
    >>> Bundle(Path("runs/m"), "my.py", "regression", members, None, {}, {"rmse": 0.1}, "07..").graph.as_posix()
    'runs/m/model.onnx'
    """

    folder: Path
    task: str
    kind: Kind
    members: tuple[tuple[Mapping[str, Any], float], ...]
    classes: tuple[str, ...] | None
    meta: Mapping[str, Any]
    metrics: Mapping[str, Any]
    weights: str
    average: Mapping[str, Any] = field(default_factory=dict)

    @property
    def graph(self) -> Path:
        """The ONNX file."""
        return self.folder / GRAPH

    def deployed(self, *, threads: int = 0) -> Deployed:
        """Return the exported model, ready to be called."""
        return Deployed(self.graph, threads=threads)

    def model(self, build: Callable[[Mapping[str, Any]], nn.Module]) -> nn.Module:
        """Return the torch module in eval mode; `build` (a task's `model`) makes one of its members from params.

        Raises ExportError when what `build` makes does not fit the stored weights.
        """
        models = [build(params) for params, _ in self.members]
        weights = [weight for _, weight in self.members]
        model = models[0] if len(models) == 1 else Average(models, weights, **{"kind": self.kind, **self.average})
        try:
            safetensors.torch.load_model(model, self.folder / WEIGHTS)
        except (RuntimeError, OSError, safetensors.SafetensorError) as error:
            raise ExportError(f"{self.folder}: the task '{self.task}' no longer makes this model: {error}") from error
        if weights_hash(model) != self.weights:
            raise ExportError(f"{self.folder}: the weights, once loaded, are not those that were saved.")
        return model.eval()


def save(
    folder: str | os.PathLike[str],
    model: nn.Module,
    example_inputs: Inputs,
    *,
    task: str,
    members: Sequence[tuple[Mapping[str, Any], float]],
    classes: Sequence[str] | None = None,
    meta: Mapping[str, Any] | None = None,
    metrics: Mapping[str, Any] | None = None,
) -> tuple[Bundle, Exported]:
    """Export `model` and write it as a bundle to `folder`, in place of what a bundle there held before.

    example_inputs, classes, meta: as for `export`. members: (params, weight) of every model of an `Average`, in its
    order, or of the one model. metrics: JSON, e.g. validation and test scores. The folder is written beside `folder` and
    renamed when it is whole. Raises ExportError, also when `folder` exists and holds anything else than a bundle.

    >>> import tempfile, torch
    >>> with tempfile.TemporaryDirectory() as runs:
    ...     linear = nn.Linear(3, 2)
    ...     one = [({"bias": True}, 1.0)]
    ...     bundle, _ = save(Path(runs) / "model", linear, torch.zeros(2, 3), task="my.py", members=one, classes=["a", "b"])
    ...     again = load(bundle.folder).model(lambda params: nn.Linear(3, 2, **params))
    >>> torch.equal(again.weight, linear.weight), bundle.classes
    (True, ('a', 'b'))
    """
    at = Path(folder)
    if at.exists() and not (at / CARD).is_file():
        raise ExportError(f"{at}: exists and is not a saved model. Give another folder, or remove it.")
    card = {
        "format": FORMAT,
        "task": task,
        "kind": "regression" if classes is None else "classification",
        "members": [[dict(params), float(weight)] for params, weight in members],
        "classes": None if classes is None else [str(c) for c in classes],
        "meta": dict(meta or {}),
        "metrics": dict(metrics or {}),
        "weights": weights_hash(model),
        "average": {"kind": model.kind, "axis": model.axis, "labels": model.labels}
        if isinstance(model, Average)
        else {},
    }
    for name, value in model.state_dict().items():
        if not isinstance(value, Tensor):
            raise ExportError(
                f"{at}: '{name}' of the model's state is a {type(value).__name__}. Only tensors can be saved."
            )
    part = at.with_name(f".{at.name}.{os.getpid()}.{secrets.token_hex(4)}.part")
    try:
        try:
            part.mkdir(parents=True)
            done = export(model, example_inputs, part / GRAPH, classes=classes, meta=meta)
            safetensors.torch.save_model(model, str(part / WEIGHTS))  # knows tied tensors
            card["files"] = {name: digest(part / name) for name in (GRAPH, WEIGHTS)}
            (part / CARD).write_text(json.dumps(card, indent=1, allow_nan=False), encoding="utf-8")
            replace(part, at)
        finally:
            shutil.rmtree(part, ignore_errors=True)
    except OSError as error:
        raise ExportError(f"{at}: cannot be written: {error.strerror or error}.") from error
    except (TypeError, ValueError) as error:
        raise ExportError(f"{at}: params, meta or metrics are not JSON: {error}.") from error
    moved = Exported(**{**vars(done), "path": at / GRAPH})
    return load(at), moved


def load(folder: str | os.PathLike[str]) -> Bundle:
    """Return the bundle in `folder`; both files are compared with their hashes. Raises ExportError.

    >>> load("nowhere")
    Traceback (most recent call last):
    ...
    whet.errors.ExportError: nowhere: is not a saved model: nowhere/model.json: No such file or directory.
    """
    at = Path(folder)
    try:
        card = json.loads((at / CARD).read_text(encoding="utf-8"))
        if card["format"] > FORMAT:
            raise ExportError(
                f"{at}: format {card['format']} is from a newer whet, this one reads {FORMAT}. Update whet."
            )
        for name in (GRAPH, WEIGHTS):
            if digest(at / name) != card["files"][name]:
                raise ExportError(f"{at / name}: damaged: its SHA-256 is not the one in {CARD}.")
        classes = card["classes"]
        return Bundle(
            at, card["task"], card["kind"], tuple((p, w) for p, w in card["members"]),
            None if classes is None else tuple(classes), card["meta"], card["metrics"], card["weights"],
            card.get("average", {}),
        )  # fmt: skip
    except OSError as error:
        raise ExportError(f"{at}: is not a saved model: {error.filename}: {error.strerror}.") from error
    except (KeyError, TypeError, ValueError) as error:
        raise ExportError(f"{at / CARD}: damaged: {type(error).__name__}: {error}.") from error


def digest(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def replace(part: Path, at: Path) -> None:
    """Rename the folder `part` to `at`; a folder there steps aside first and is removed last."""
    old = part.with_suffix(".old")
    if at.exists():
        at.rename(old)
    try:
        part.rename(at)
    except OSError:
        if old.exists():
            old.rename(at)
        raise
    shutil.rmtree(old, ignore_errors=True)
