"""The ready-made task of a table: a perceptron with embeddings, of words too, or a plain linear model."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from whet.data.bundled import BUNDLED
from whet.data.split import Data
from whet.data.table import table
from whet.data.textcolumn import text_columns
from whet.data.textfolder import text_folder
from whet.models import Mlp, TextMlp, prior
from whet.task import Task
from whet.tasks.name import task_name
from whet.tasks.spaces import table_space
from whet.train.loss import loss
from whet.tune.space import Params, Space

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["TableTask"]


class TableTask(Task):
    """Predict a column of a table: CSV or Parquet file, DataFrame, or a built-in name; or the class of a text.

    Texts come from a folder with one sub-folder of .txt files a class, or from columns of a table: `texts` names these, None
    guesses, () has none. The data is loaded here, so what is wrong with it is said at once; `space` fits its size. Regression is learned on the
    scale of the training targets (the loss is 1 for predicting the mean) and answered in their units. A table whose rows are in
    time is a series: `time` names its column, "none" makes it a table again.

    Raises DataError for a file, target or columns that cannot be used.

    >>> task = TableTask("diabetes")
    >>> task.name, task.model(task.first)(*task.data({}).valid.parts).shape
    ('diabetes', torch.Size([66, 1]))
    """

    def __init__(
        self, source: str | Path | pd.DataFrame, target: str | Sequence[str] | None = None, *, kind: str | None = None,
        seed: int = 0, space: Space | None = None, name: str = "", texts: Collection[str] | None = None,
        time: str | None = None,
    ) -> None:  # fmt: skip
        self.source, self.target, self.kind, self.seed, self.texts = source, target, kind, seed, texts
        self.time = time
        self._loaded: dict[int, Data] = {}
        data = self.data({})
        self.name = name or task_name(source if isinstance(source, (str, Path)) else "table")
        text = bool(text_columns(data.meta))
        self.space = space or table_space(len(data.train), classes=data.kind == "classification", text=text)

    def data(self, params: Params) -> Data:
        """Return the table's splits for the task's seed; loaded once."""
        if self.seed not in self._loaded:
            if isinstance(self.source, str) and self.source in BUNDLED:
                loaded = BUNDLED[self.source](seed=self.seed)
            elif isinstance(self.source, (str, Path)) and Path(self.source).is_dir():
                loaded = text_folder(self.source, seed=self.seed)
            else:
                loaded = table(
                    self.source, self.target, kind=self.kind, seed=self.seed, texts=self.texts, time=self.time
                )
            self._loaded[self.seed] = loaded
        return self._loaded[self.seed]

    def model(self, params: Params) -> nn.Module:
        """Return the Mlp, with text the TextMlp, that `net` and its branch describe; "linear" has no hidden layers."""
        data = self.data(params)
        sizes = data.meta["encoding"]["sizes"]
        numbers = data.train.parts[0].shape[1]
        outputs = len(data.classes) if data.classes else 1
        start = prior(data.train.targets, outputs if data.classes else None)
        options: dict[str, Any] = {"depth": 0} if params.get("net", "mlp") == "linear" else {
            key: params[f"net.{key}"]
            for key in ("width", "depth", "dropout", "norm", "activation", "embedding")
            if f"net.{key}" in params
        }  # fmt: skip
        if texts := [(len(entry["values"]) + 2, entry["length"]) for entry, _ in text_columns(data.meta)]:
            return TextMlp(numbers, outputs, texts=texts, categories=sizes, prior=start, **options)
        return Mlp(numbers, outputs, categories=sizes, prior=start, **options)

    def loss(self, params: Params) -> Callable[[Tensor, Tensor], Tensor]:
        """Return the cross-entropy, or the squared error in units of the training targets' variance."""
        return loss(params, scale=self.data(params).meta["target"].get("std", 1.0))

    @property
    def first(self) -> dict[str, Any]:
        """A configuration that does reasonably on most tables: where to start when nothing is known yet."""
        wanted = {"net": "mlp", "net.width": 64, "net.depth": 2, "net.dropout": 0.1, "net.norm": "none", "optimizer.lr": 2e-3,
                  "net.activation": "relu", "net.embedding": 32, "optimizer": "adamw", "weight_decay": 1e-4, "rate": "cosine",
                  "batch": batch_of(self.space, 32), "label_smoothing": 0.0}  # fmt: skip
        return {k: v for k, v in wanted.items() if k in self.space.names}


def batch_of(space: Space, wanted: int) -> int:
    """Return the option of the space's `batch` nearest to `wanted`.

    >>> batch_of(table_space(100_000), 8)
    64
    """
    options = getattr(space.get("batch"), "values", (wanted,))
    return min(options, key=lambda b: abs(b - wanted))
