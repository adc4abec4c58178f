"""The spaces: rows of layers that are taken from the first on, and how a configuration is read as layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from whet.errors import SpaceError, TaskError, nearest
from whet.tune.space import Choice, Const, Domain, Float, Ordered, Params, Space

__all__ = ["CONV", "DENSE", "HALVINGS", "NONE", "convnet", "layers_of", "mlp"]

NONE, DENSE, CONV = "none", "dense", "conv"
MOST = 10  # layers: of more, draws without gaps are too rare, and the formula of their parameters is too long for a constraint
HALVINGS = 3  # by pooling: 8x8 to one pixel; one more would change nothing
ACTIVATIONS = ("relu", "gelu", "silu", "tanh")
NORMS = {DENSE: ("none", "batch", "layer"), CONV: ("none", "batch", "group")}


def mlp(
    *, layers: tuple[int, int] = (1, 4), units: Sequence[int] = (16, 32, 64, 128, 256), activations: Sequence[str] = ACTIVATIONS,
    norms: Sequence[str] = NORMS[DENSE], skips: Sequence[bool] = (False, True), dropout: float | tuple[float, float] = (0.0, 0.5), **more: Domain,
) -> Space:  # fmt: skip
    """Return the space of perceptrons with `layers` (least, most) hidden layers.

    `layer1`, `layer2` ... are "dense", or "none" from the first that is not there; a dense one has `units`, `activation`, `norm` and `skip`:
    whether its input is added to its output, through a linear map where their widths differ. `dropout`, after every
    layer, is one number for all, or a range. more: further hyperparameters, such as a learning rate. One value alone is a constant.

    Raises SpaceError for what no network can be built of.

    >>> space = mlp(layers=(0, 3), skips=[False])
    >>> space.constraints
    ("layer1 != 'none' or layer2 == 'none'", "layer2 != 'none' or layer3 == 'none'")
    >>> space.clean({"layer1": "none", "layer2": "none", "layer3": "none", "dropout": 0})["layer1"]  # the linear model
    'none'
    """
    genes = {
        "units": _ordered("units", units),
        "activation": _choice("activations", activations, ACTIVATIONS),
        "norm": _choice("norms", norms, NORMS[DENSE]),
        "skip": _choice("skips", skips, (False, True)),
    }
    return _row(DENSE, layers, Space(**genes), _range(dropout), more)


def convnet(
    *, layers: tuple[int, int] = (1, 4), filters: Sequence[int] = (8, 16, 32, 64), kernels: Sequence[int] = (3, 5),
    activations: Sequence[str] = ACTIVATIONS, norms: Sequence[str] = NORMS[CONV], skips: Sequence[bool] = (False, True),
    dropout: float | tuple[float, float] = (0.0, 0.5), **more: Domain,
) -> Space:  # fmt: skip
    """Return the space of convolutional networks with `layers` (least, most) layers, for pictures of 8x8 and more.

    `layer1`, `layer2` ... are "conv", or "none" from the first that is not there; a conv one has `filters`, `kernel`, `activation`, `norm`, `skip`
    (its input is added to its output, through a 1x1 convolution where their channels differ) and `pool`: whether the map
    is halved behind it, three times at most. `dropout` is before the linear layer at the end. more: further hyperparameters. One value alone is a constant.

    Raises SpaceError for what no network can be built of.

    >>> space = convnet(layers=(1, 4), kernels=[3])
    >>> space.constraints[-1]
    'layer1.pool + layer2.pool + layer3.pool + layer4.pool <= 3'
    """
    for kernel in kernels:
        if isinstance(kernel, int) and kernel % 2 == 0:
            raise SpaceError(f"convnet: kernels must be odd, got {kernel}. Use e.g. kernels=(3, 5).")
    genes = {
        "filters": _ordered("filters", filters),
        "kernel": _ordered("kernels", kernels),
        "activation": _choice("activations", activations, ACTIVATIONS),
        "norm": _choice("norms", norms, NORMS[CONV]),
        "skip": _choice("skips", skips, (False, True)),
        "pool": Choice([False, True]),
    }
    space = _row(CONV, layers, Space(**genes), _range(dropout), more)
    for k in range(HALVINGS + 1, layers[1] + 1):  # holds for k layers and more: a name that is not there makes it hold
        space = space.where(" + ".join(f"layer{i}.pool" for i in range(1, k + 1)) + f" <= {HALVINGS}")
    return space


def layers_of(params: Params, under: str = "") -> list[dict[str, Any]]:
    """Return the layers that a configuration takes, each as its genes and its "kind".

    under: the name of the choice whose branch holds them.

    >>> layers_of({"net": "mlp", "net.layer1": "dense", "net.layer1.units": 8, "net.layer2": "none"}, under="net")
    [{'kind': 'dense', 'units': 8}]
    """
    prefix = f"{under}." if under else ""
    if f"{prefix}layer1" not in params:
        names = [n.removesuffix(".layer1") for n in params if n.endswith(".layer1")]
        hint = f'Use under="{names[0]}".' if names else "Use one of whet.spaces.mlp() or whet.spaces.convnet()."
        raise TaskError(
            f"architecture: the configuration has no {prefix}layer1, got {', '.join(params) or 'nothing'}. {hint}"
        )
    found: list[dict[str, Any]] = []
    while (kind := params.get(name := f"{prefix}layer{len(found) + 1}", NONE)) != NONE:
        if kind not in (DENSE, CONV):
            raise TaskError(
                f"{name}: must be none, dense or conv, got {kind!r}.{nearest(str(kind), (NONE, DENSE, CONV))}"
            )
        if found and found[0]["kind"] != kind:
            raise TaskError(f"{name}: must be {found[0]['kind']} or none as the layers before it, got {kind}.")
        found.append({"kind": kind, **{k[len(name) + 1 :]: v for k, v in params.items() if k.startswith(name + ".")}})
    return found


def _row(kind: str, layers: tuple[int, int], genes: Space, dropout: Domain, more: Mapping[str, Domain]) -> Space:
    """Return the space of a row of layers: taken up to some one, none behind it."""
    whole = isinstance(layers, (tuple, list)) and len(layers) == 2 and all(type(x) is int for x in layers)
    if not whole or not 0 <= layers[0] <= layers[1] or not 1 <= layers[1] <= MOST:
        raise SpaceError(
            f"layers must be (least, most), whole numbers from 0 and from 1 to {MOST}, got {layers!r}. Use e.g. layers=(1, 4)."
        )
    least, most = layers
    slots: dict[str, Domain] = {f"layer{i}": Choice({kind: genes}) for i in range(1, least + 1)}
    slots |= {f"layer{i}": Choice({NONE: None, kind: genes}) for i in range(least + 1, most + 1)}
    if taken := sorted({*slots, "dropout"} & set(more)):
        raise SpaceError(f"{taken[0]}: is there already. Give what is added another name.")
    space = Space(**slots, dropout=dropout, **more)
    for i in range(least + 1, most):
        space = space.where(f"layer{i} != '{NONE}' or layer{i + 1} == '{NONE}'")
    return space


def _ordered(what: str, values: Sequence[int]) -> Domain:
    found = sorted(values) if isinstance(values, Sequence) and all(type(v) is int and v >= 1 for v in values) else []
    if not found:
        raise SpaceError(f"{what} must be whole numbers of at least 1, got {values!r}. Use e.g. {what}=(16, 32).")
    return Ordered(found) if len(found) > 1 else Const(found[0])


def _choice(what: str, values: Sequence[Any], allowed: Sequence[Any]) -> Domain:
    for v in [values] if isinstance(values, str) or not isinstance(values, Sequence) else values:
        if v not in allowed or type(v) not in {type(a) for a in allowed} or v is values:
            raise SpaceError(
                f"{what}: got {v!r}. Allowed: a list out of {', '.join(map(str, allowed))}.{nearest(str(v), allowed) if isinstance(v, str) else ''}"
            )
    if not values:
        raise SpaceError(f"{what} must not be empty. Allowed: {', '.join(map(str, allowed))}.")
    return Choice(values) if len(values) > 1 else Const(values[0])


def _range(dropout: float | tuple[float, float]) -> Domain:
    low, high = dropout if isinstance(dropout, (tuple, list)) and len(dropout) == 2 else (dropout, dropout)
    if not all(isinstance(x, (int, float)) and 0 <= x < 1 for x in (low, high)) or low > high:
        raise SpaceError(
            f"dropout must be a number, or a range, from 0 to below 1, got {dropout!r}. Use e.g. dropout=(0.0, 0.5)."
        )
    return Const(low) if low == high else Float(low, high)
