"""What is replayed: a space, and a learning curve for each of its configurations.

`TaskSet` answers from recorded trainings, by the nearest one not yet used; `LCBench` from a surrogate fitted to
recorded trainings, for any configuration.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from whet import Float, Int, Space

__all__ = ["Answer", "Bench", "LCBench", "TaskSet"]

Answer = Callable[[Mapping[str, Any]], np.ndarray | None]  # params -> values by step (steps,), None when used up


class Bench(Protocol):
    """A task whose learning curves are known."""

    name: str
    space: Space
    goal: str  # "min NAME" or "max NAME"
    steps: int
    optimum: float  # these two in the direction of the goal
    median: float

    def answers(self) -> Answer:
        """Return what answers the proposals of one study, from the first."""
        ...


# TaskSet's space of Adam with 8 hyperparameters (Metz et al. 2020, appendix): all are drawn log-uniform, the betas as 1 - beta.
# The rows at hand fill these ranges and no more.
ADAM8 = Space(
    learning_rate=Float(1e-8, 1e1, log=True),
    one_minus_beta1=Float(1e-4, 1.0, log=True),
    one_minus_beta2=Float(1e-6, 1.0, log=True),
    epsilon=Float(1e-10, 1e3, log=True),
    l1=Float(1e-8, 1e1, log=True),
    l2=Float(1e-8, 1e1, log=True),
    linear_decay=Float(1e-7, 1e-4, log=True),
    exponential_decay=Float(1e-6, 1e-3, log=True),
)


class TaskSet:
    """Recorded validation losses of one task: as many steps as there are columns, the first before any training.

    rows: (n, d) in the unit cube of `space`; curves: (n, steps), lower is better. The optimum is the least finite value of
    all, the median that of the finite last values.
    """

    goal = "min loss"

    def __init__(self, name: str, space: Space, rows: np.ndarray, curves: np.ndarray) -> None:
        self.name, self.space, self.rows, self.curves = name, space, rows, curves
        self.steps = curves.shape[1]
        self.optimum = float(curves[np.isfinite(curves)].min())
        last = curves[:, -1]
        self.median = float(np.median(last[np.isfinite(last)]))

    @classmethod
    def read(cls, path: Path) -> TaskSet:
        """Return the task of one taskset_*.npz."""
        with np.load(path, allow_pickle=False) as z:
            values = dict(zip(z["names"].tolist(), z["x"].T, strict=True))
            curves = z["valid"].astype(float)
        for beta in ("beta1", "beta2"):
            values[f"one_minus_{beta}"] = 1.0 - values.pop(beta)
        names = list(ADAM8)
        rows = [
            ADAM8.encode(dict(zip(names, row, strict=True))) for row in np.array([values[n] for n in names]).T.tolist()
        ]
        return cls(path.stem.removeprefix("taskset_"), ADAM8, np.array(rows), curves)

    def answers(self) -> Answer:
        """Return what answers each proposal by the curve of the nearest row that this study has not used yet."""
        free = np.ones(len(self.rows), bool)

        def answer(params: Mapping[str, Any]) -> np.ndarray | None:
            if not free.any():
                return None
            far = ((self.rows - self.space.encode(params)) ** 2).sum(1)
            row = int(np.where(free, far, np.inf).argmin())  # of equally near ones the first
            free[row] = False
            return self.curves[row]

        return answer


class LCBench:
    """Validation accuracies by the surrogate of LCBench (Zimmer et al. 2021; fitted for YAHPO Gym, Pfisterer et al. 2022).

    The optimum is the best of 2,048 random configurations and of 10 rounds of small changes to the best 64; the median
    that of the random ones' last values. The surrogate is smooth, and its optimum is no real training's. The space is the
    file's with at most 4 layers: the model scales them from 1 to 4, so it was fitted to no more, and what it says of
    5 is better than all else on some data sets.
    """

    goal = "max accuracy"
    steps = 52
    INPUTS = (
        "epoch", "batch_size", "learning_rate", "momentum", "weight_decay", "num_layers", "max_units", "max_dropout",
    )  # fmt: skip

    def __init__(self, session: Any, space: Space, code: int, name: str) -> None:
        self._session, self.space, self._code, self.name = session, space, code, name
        rng = np.random.default_rng(0)
        units = rng.random((2048, len(space.dims)))
        values = self._curves(units)
        self.median = float(np.median(values[:, -1]))
        best = values.max(1)
        units, best = units[np.argsort(-best)[:64]], np.sort(best)[::-1][:64]
        for size in np.geomspace(0.2, 0.005, 10):
            near = np.clip(np.repeat(units, 8, 0) + size * rng.standard_normal((512, units.shape[1])), 0, 1)
            units, best = np.vstack([units, near]), np.concatenate([best, self._curves(near).max(1)])
            order = np.argsort(-best)[:64]
            units, best = units[order], best[order]
        self.optimum = float(best[0])

    @classmethod
    def read(cls, folder: Path, some: Sequence[str] | int | None = None) -> list[LCBench]:
        """Return the data sets with these numbers, or so many of all evenly, or all."""
        import onnxruntime

        session = onnxruntime.SessionOptions()
        session.intra_op_num_threads = session.inter_op_num_threads = 1
        model = onnxruntime.InferenceSession(str(folder / "model.onnx"), session, providers=["CPUExecutionProvider"])
        codes = json.loads((folder / "encoding.json").read_text())["OpenML_task_id"]
        domains, tasks = {}, []
        for h in json.loads((folder / "config_space.json").read_text())["hyperparameters"]:
            if h["type"] == "categorical":
                tasks = h["choices"]
            elif h["name"] != "epoch":
                kind = Int if h["type"] == "uniform_int" else Float
                upper = min(4, h["upper"]) if h["name"] == "num_layers" else h["upper"]
                domains[h["name"]] = kind(h["lower"], upper, log=h["log"])
        if isinstance(some, int):
            some = [tasks[i] for i in np.linspace(0, len(tasks) - 1, some).round().astype(int)]
        for task in some or ():
            if task not in tasks:
                raise SystemExit(f"lcbench: no data set {task!r}. Allowed: {', '.join(tasks)}.")
        return [cls(model, Space(**domains), codes[t], f"lcbench {t}") for t in (tasks if some is None else some)]

    def answers(self) -> Answer:
        """Return what answers each proposal by its own curve."""
        return lambda params: self._curves(self.space.encode(params)[None])[0]

    def _curves(self, units: np.ndarray) -> np.ndarray:
        """Return the curves (n, steps) of configurations in the unit cube (n, d); 64 of them in one call of the model."""
        if len(units) > 64:  # a call of thousands takes gigabytes
            return np.vstack([self._curves(units[i : i + 64]) for i in range(0, len(units), 64)])
        inputs = np.empty((len(units), self.steps, len(self.INPUTS)), np.float32)
        inputs[:, :, 0] = np.arange(1, self.steps + 1)
        decoded = [self.space.decode(u) for u in units]
        for i, name in enumerate(self.INPUTS[1:], 1):
            inputs[:, :, i] = np.array([p[name] for p in decoded], float)[:, None]
        flat = inputs.reshape(-1, len(self.INPUTS))
        codes = np.full((len(flat), 1), self._code, np.int32)
        out = self._session.run(None, {"x_cat": codes, "x_cont": flat})[0]
        return out[:, 1].reshape(len(units), self.steps).astype(float)
