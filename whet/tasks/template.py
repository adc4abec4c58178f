"""The task file that `whet new` writes: commented, and it runs as it is."""

from __future__ import annotations

from pathlib import Path

from whet.errors import UsageError

__all__ = ["FILE", "TEMPLATE", "write_task"]

FILE = "task.py"

TEMPLATE = '''"""A task for whet: what is learned, from which data, and what may be varied while tuning.

    whet check task.py                  is the skeleton sound?
    whet train task.py                  one training
    whet run task.py --budget 3m        the whole recipe: tune, ensemble, test, export, report

Only `data` and `model` must be given. Everything you leave out has a default that reads the configuration.
"""

from sklearn.datasets import load_breast_cancer
from torch import nn

from whet import Choice, Data, Float, Int, Ordered, Space, Task


class MyTask(Task):
    # What may be varied, one entry each. log=True: 0.001 and 0.01 are as far apart as 0.01 and 0.1.
    space = Space(
        width=Ordered([16, 32, 64, 128]),
        depth=Int(1, 3),
        dropout=Float(0.0, 0.5, live=True),  # live: may change while training goes on
        # A choice may bring entries of its own: "optimizer.momentum" exists for sgd only.
        optimizer=Choice({"adamw": Space(), "sgd": Space(momentum=Float(0.5, 0.98, live=True))}),
        lr=Float(1e-4, 1e-1, log=True, live=True),
        weight_decay=Float(1e-6, 1e-1, log=True, live=True),
        batch=Ordered([16, 32, 64]),
    )
    goal = "max accuracy"  # or "min loss", "min rmse", ...; left out: accuracy for classes, rmse for numbers
    steps = 27  # epochs of a full training; poor trials are stopped long before

    def data(self, params):
        """Return the splits, which depend on self.seed, never on params. The test split stays sealed until the end."""
        bunch = load_breast_cancer()
        x = bunch.data.astype("float32")  # (569, 30) one row an example
        y = bunch.target  # (569,) whole numbers are classes, real numbers are quantities
        return Data.from_arrays(x, y, seed=self.seed, classes=bunch.target_names, source="breast cancer")

    def model(self, params):
        """Return a new torch module. It is called with a batch of inputs (n, 30) and returns logits (n, 2)."""
        layers, size = [nn.BatchNorm1d(30, affine=False)], 30  # scales the columns, which differ a thousandfold
        for _ in range(params["depth"]):
            layers += [nn.Linear(size, params["width"]), nn.ReLU(), nn.Dropout(params["dropout"])]
            size = params["width"]
        return nn.Sequential(*layers, nn.Linear(size, 2))

    # Other methods to fill in when the default is not what you want; each is handed the configuration:
    #   loss(params)             -> a function of (outputs, targets);  default: cross-entropy, or squared error
    #   optimizer(params, model) -> a torch optimizer;                 default: reads optimizer, lr, weight_decay
    #   rate(params)             -> a function of epochs done;         default: constant
    #   augment(params)          -> a function of (inputs, targets, generator) for training batches;  default: none
'''


def write_task(folder: str | Path) -> Path:
    """Write the task file into `folder`, which is made if need be, and return its path; nothing is ever overwritten.

    >>> import tempfile
    >>> write_task(tempfile.mkdtemp()).name
    'task.py'
    """
    path = Path(folder) / FILE
    if path.exists():
        raise UsageError(f"{path}: is there already and is not overwritten. Name another folder, or delete it first.")
    if path.parent.exists() and not path.parent.is_dir():
        raise UsageError(f"{path.parent}: is a file, a folder is needed. Name another one.")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(TEMPLATE, encoding="utf-8")
    return path
