"""The ready-made task of pictures: a small residual network, or a plain linear model over the pixels."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from whet.data.bundled import BUNDLED
from whet.data.idx import idx_folder, is_idx_folder
from whet.data.image import image_folder
from whet.data.split import Data
from whet.models import Convnet, Standardize, prior
from whet.task import Task
from whet.tasks.augment import RandomAffine
from whet.tasks.name import task_name
from whet.tasks.spaces import image_space
from whet.tasks.table import batch_of
from whet.tune.space import Params, Space

__all__ = ["ImageTask"]


class ImageTask(Task):
    """Tell the classes of pictures apart: a folder with one sub-folder a class, a folder of IDX files, or a built-in name.

    size: (height, width) of what the network sees, for folders of picture files; flip: augmentation may mirror pictures
    (off: digits and letters must not be). The data is loaded here, so what is wrong with it is said at once.

    Raises DataError for a folder that cannot be used.

    >>> task = ImageTask("digits")
    >>> task.name, task.model(task.first)(task.data({}).valid.inputs[:3]).shape
    ('digits', torch.Size([3, 10]))
    """

    def __init__(
        self, source: str | Path, *, seed: int = 0, size: tuple[int, int] | None = None, flip: bool = False,
        space: Space | None = None, name: str = "",
    ) -> None:  # fmt: skip
        self.source, self.seed, self.size, self.flip = source, seed, size, flip
        self._loaded: dict[int, Data] = {}
        self._pixels: tuple[Tensor, Standardize] | None = None  # of which pictures
        data = self.data({})
        self.name = name or task_name(source)
        self.space = space or image_space(len(data.train), *data.train.parts[0].shape[2:])

    def data(self, params: Params) -> Data:
        """Return the splits for the task's seed, uint8 (n, C, H, W); loaded once."""
        if self.seed not in self._loaded:
            if self.source in BUNDLED:
                loaded = BUNDLED[str(self.source)](seed=self.seed)
            elif is_idx_folder(self.source):
                loaded = idx_folder(self.source, seed=self.seed)
            else:
                loaded = image_folder(self.source, seed=self.seed, size=self.size)
            self._loaded[self.seed] = loaded
        return self._loaded[self.seed]

    def model(self, params: Params) -> nn.Module:
        """Return the Convnet that `net` and its branch describe; "linear" is the one without any convolution."""
        data = self.data(params)
        images = data.train.parts[0]
        if self._pixels is None or self._pixels[0] is not images:
            # the statistics of 50,000 pictures cost more than an epoch of small ones
            self._pixels = images, Standardize.fit(images)
        pixels = self._pixels[1]
        classes = len(data.classes or ())
        options: dict[str, Any] = {"depth": 0} if params.get("net") == "linear" else {
            key: params[f"net.{key}"] for key in ("width", "depth", "dropout", "norm") if f"net.{key}" in params
        }  # fmt: skip
        return Convnet(
            tuple(images.shape[1:]), classes, standardize=Standardize(pixels.mean.clone(), pixels.std.clone()),
            prior=prior(data.train.targets, classes), **options,
        )  # fmt: skip

    def augment(self, params: Params) -> Callable[..., tuple[tuple[Tensor, ...], Tensor]] | None:
        """Return random moves of the strength `augment`, None at 0."""
        given: Any = params.get("augment", 0.0) or 0.0
        strength = given if isinstance(given, Tensor) else float(given)  # a tensor when its gradient is wanted
        return RandomAffine(strength, self.flip) if strength > 0 else None

    @property
    def first(self) -> dict[str, Any]:
        """A configuration that does reasonably on most pictures: where to start when nothing is known yet."""
        widths = getattr(getattr(self.space.get("net"), "branch", lambda _: None)("conv"), "get", lambda _: None)(
            "width"
        )
        middle = widths.values[len(widths.values) // 2] if widths is not None else 32
        wanted = {"net": "conv", "net.width": middle, "net.depth": 1, "net.dropout": 0.1, "optimizer": "adamw", "optimizer.lr": 5e-3,
                  "weight_decay": 1e-3, "rate": "cosine", "batch": batch_of(self.space, 32), "augment": 0.3,
                  "label_smoothing": 0.0}  # fmt: skip
        return {k: v for k, v in wanted.items() if k in self.space.names}
