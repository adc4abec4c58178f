"""The default spaces of the ready-made tasks, scaled by the amount of data."""

from __future__ import annotations

from whet.tune.space import Choice, Float, Int, Ordered, Space

__all__ = ["batches", "image_space", "table_space"]


def batches(n: int) -> tuple[int, ...]:
    """Return three batch sizes, powers of two, for `n` training examples.

    The largest still leaves an epoch about 20 steps: with fewer, the first rung says nothing about a network yet.

    >>> batches(300), batches(1257), batches(51_000)
    ((4, 8, 16), (16, 32, 64), (64, 128, 256))
    """
    low = 4 if n < 400 else 8 if n < 1000 else 16 if n < 5000 else 32 if n < 20_000 else 64
    return low, 2 * low, 4 * low


def _optimizer(low: float, high: float) -> Choice:
    """Return the optimizers with rates from `low` to `high` for adamw; good rates of SGD are some ten times larger."""
    sgd = Space(
        lr=Float(10 * low, 10 * high, log=True, live=True),
        momentum=Float(0.8, 0.98, live=True),
        nesterov=Choice([True, False]),
    )
    return Choice({"adamw": Space(lr=Float(low, high, log=True, live=True)), "sgd": sgd})


def table_space(n: int, *, classes: bool = True, text: bool = False) -> Space:
    """Return the space of a table with `n` training rows: a linear model or a perceptron, and how it is trained.

    text: there are columns of free text, so that the width of a word's vector is to be found as well.

    >>> sorted(table_space(1000))
    ['batch', 'label_smoothing', 'net', 'optimizer', 'rate', 'weight_decay']
    """
    widths = (16, 32, 64, 128) if n < 2000 else (32, 64, 128, 256)
    words = {"embedding": Ordered((16, 32, 64))} if text else {}
    mlp = Space(
        width=Ordered(widths), depth=Int(1, 3), dropout=Float(0.0, 0.5, live=True), norm=Choice(["none", "batch"]),
        activation=Choice(["relu", "silu"]), **words,
    )  # fmt: skip
    smoothing = {"label_smoothing": Float(0.0, 0.1)} if classes else {}
    return Space(
        net=Choice({"mlp": mlp, "linear": Space()}),
        optimizer=_optimizer(5e-4, 3e-2),
        weight_decay=Float(1e-6, 1e-1, log=True, live=True),
        rate=Choice(["cosine", "constant"]),
        batch=Ordered(batches(n)),
        **smoothing,
    )


def image_space(n: int, height: int, width: int) -> Space:
    """Return the space of `n` training pictures: a linear model or a residual network, and how it is trained.

    Widths are so that an epoch of the narrow ones takes seconds on one core: the more pixels, the narrower.

    >>> image_space(1257, 8, 8)["net"].branch("conv")["width"].values
    (16, 24, 32)
    """
    pixels = n * height * width
    widths = (16, 24, 32) if pixels < 4e6 else (8, 16, 24)
    conv = Space(width=Ordered(widths), depth=Int(1, 2), dropout=Float(0.0, 0.4, live=True))
    return Space(
        net=Choice({"conv": conv, "linear": Space()}),
        optimizer=_optimizer(1e-3, 3e-2),
        weight_decay=Float(1e-6, 1e-1, log=True, live=True),
        rate=Choice(["cosine", "constant"]),
        batch=Ordered(batches(n)),
        augment=Float(0.0, 1.0, live=True),
        label_smoothing=Float(0.0, 0.1, live=True),
    )
