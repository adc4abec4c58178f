"""How many parameters the network of a configuration has, told without building it, and a limit on them as a constraint."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from whet.errors import SpaceError, TaskError
from whet.spaces.structure import DENSE, HALVINGS, NONE, layers_of
from whet.tune.domain import Value
from whet.tune.space import Choice, Params, Space

__all__ = ["SIDE", "cells", "parameters", "picture", "reduction", "within"]

Shape = int | Sequence[int]

SIDE = 8  # pixels: smaller pictures are refused
_GRID = 4  # cells a side, at most, of the map that the last layer sees


def parameters(params: Params, inputs: Shape, outputs: int, *, under: str = "") -> int:
    """Return how many trainable parameters `build` makes of a configuration.

    inputs, outputs, under: as for `build`. With widths a (in) and b (out), kernel k, s = 1 for a skip between different widths, n = 1 for a
    normalisation: a dense layer has b (a + 1 + 2 n + s a), a convolution b (k^2 a + 1 + n + s a), the end (c f + 1) outputs for f filters (or units) and c
    cells of the last map, at most 4x4.

    Raises TaskError as `build` does.

    >>> parameters({"layer1": "dense", "layer1.units": 32, "layer1.norm": "batch", "layer1.skip": False}, 64, 10)
    2474
    """
    layers = layers_of(params, under)
    if not layers or layers[0]["kind"] == DENSE:
        width, last = (inputs if isinstance(inputs, int) else prod(inputs)), 1
    else:
        (width, *_), last = picture(inputs), cells(inputs, sum(bool(x["pool"]) for x in layers))
    total = 0
    for x in layers:
        out = x["units"] if x["kind"] == DENSE else x["filters"]
        normed, bypass = x["norm"] != "none", width if x["skip"] and out != width else 0
        total += out * (
            width + 1 + 2 * normed + bypass if x["kind"] == DENSE else x["kernel"] ** 2 * width + 1 + normed + bypass
        )
        width = out
    return total + (last * width + 1) * outputs


def within(space: Space, most: int, inputs: Shape, outputs: int) -> Space:
    """Return `space`, of `mlp` or `convnet`, with only those configurations that have at most `most` parameters.

    It is one constraint (`Space.where`) for each number of layers, the formula of `parameters` written out, so searchers never propose
    a larger network. To have it in a branch, limit the space before it goes there.

    Raises SpaceError when the space has no layers or no configuration is as small.

    >>> from whet.spaces.structure import mlp
    >>> space = within(mlp(layers=(1, 2), norms=["none"], skips=[False]), 5_000, 64, 10)
    >>> space.constraints[-1]
    'layer1.units * 65 + layer2.units * (layer1.units + 1) + layer2.units * 10 + 10 <= 5000'
    """
    slots = [d for d in (space.get(f"layer{i + 1}") for i in range(len(space))) if isinstance(d, Choice) and d.branches]
    if not slots:
        raise SpaceError(
            f"within: the space has no layer1, got {', '.join(space) or 'nothing'}. Limit whet.spaces.mlp() or convnet() itself."
        )
    if not isinstance(most, int) or isinstance(most, bool):
        raise SpaceError(f"within: most must be a whole number, got {most!r}. Use e.g. within(space, 50_000, 64, 10).")
    kind = slots[0].options[-1]
    terms: list[str] = []
    least = sum(len(s.options) == 1 for s in slots)
    if most < (fewest := min(parameters(_smallest(slots, k), inputs, outputs) for k in range(least, len(slots) + 1))):
        raise SpaceError(
            f"within: at most {most} parameters leave nothing, the smallest network has {fewest}. Allow {fewest} or more."
        )
    for k in range(len(slots) + 1):
        if k:
            terms.append(_term(slots[k - 1], str(kind), k, inputs))
        if k < least:
            continue
        total = f"{' + '.join([*terms, _end(k, str(kind), inputs, outputs)])} <= {most}"
        space = space.where(f"layer{k + 1} != 'none' or {total}" if k < len(slots) else total)
    return space


def _smallest(slots: Sequence[Choice], k: int) -> dict[str, Value]:
    """Return the configuration of `k` layers that has the fewest parameters."""
    found: dict[str, Value] = {"layer1": NONE}
    for i, slot in enumerate(slots[:k], 1):
        kind = slot.options[-1]
        branch = slot.branch(kind)
        assert branch is not None
        found[f"layer{i}"] = kind
        for name, domain in branch.items():
            options = getattr(domain, "options", None) or getattr(domain, "values", None) or (domain.value,)  # type: ignore[union-attr]
            small = options[-1] if name == "pool" else options[0]
            found[f"layer{i}.{name}"] = next((v for v in options if v in ("none", False) and name != "pool"), small)
    return found


def _term(slot: Choice, kind: str, k: int, inputs: Shape) -> str:
    """Return the parameters of layer `k` as an expression of its names."""
    gene, name = ("units" if kind == DENSE else "filters"), f"layer{k}"
    before = f"layer{k - 1}.{gene}" if k > 1 else str(_width(kind, inputs))
    each = [before if kind == DENSE else f"{name}.kernel ** 2 * {before}", "1"]
    branch = slot.branch(kind)
    assert branch is not None
    if branch["norm"].size != 1 or getattr(branch["norm"], "value", "none") != "none":
        each.append(f"{'2 * ' if kind == DENSE else ''}({name}.norm != 'none')")
    if branch["skip"].size != 1 or getattr(branch["skip"], "value", False):
        each.append(f"{name}.skip * ({name}.{gene} != {before}) * {before}")
    if len(each) == 2 and before.isdigit() and kind == DENSE:
        return f"{name}.{gene} * {int(before) + 1}"
    return f"{name}.{gene} * ({' + '.join(each)})"


def _end(k: int, kind: str, inputs: Shape, outputs: int) -> str:
    """Return the parameters of the last layer behind `k` others as an expression."""
    if not k:
        return str((_pixels(inputs) + 1) * outputs)
    if kind == DENSE:
        return f"layer{k}.units * {outputs} + {outputs}"
    halved = " + ".join(f"layer{i}.pool" for i in range(1, k + 1))
    seen = [cells(inputs, n) for n in range(min(k, HALVINGS) + 1)]
    steps = "".join(
        f" - {seen[n - 1] - seen[n]} * ({halved} >= {n})" for n in range(1, len(seen)) if seen[n] != seen[n - 1]
    )
    return f"layer{k}.filters * {outputs} * ({seen[0]}{steps}) + {outputs}"


def _pixels(inputs: Shape) -> int:
    return inputs if isinstance(inputs, int) else prod(inputs)


def _width(kind: str, inputs: Shape) -> int:
    return _pixels(inputs) if kind == DENSE else picture(inputs)[0]


def picture(inputs: Shape) -> tuple[int, int, int]:
    """Return (channels, height, width) of pictures; raise TaskError when they are none, or too small for convolutions."""
    if isinstance(inputs, int) or len(inputs) not in (2, 3):
        raise TaskError(
            f"convnet: inputs must be the shape of a picture, (channels, height, width), got {inputs!r}. Use whet.spaces.mlp() for numbers."
        )
    channels, height, width = inputs if len(inputs) == 3 else (1, *inputs)
    if min(height, width) < SIDE:
        raise TaskError(
            f"convnet: pictures must have at least {SIDE}x{SIDE} pixels, got {height}x{width}. Enlarge them, or use whet.spaces.mlp()."
        )
    return channels, height, width


def reduction(inputs: Shape) -> int:
    """Return what the first layer divides the sides of a picture by, so that a step costs little on a CPU: 1, 2 from 20 pixels on, 4 from 56 on.

    >>> reduction((8, 8)), reduction((3, 32, 32)), reduction((3, 64, 56))
    (1, 2, 4)
    """
    side = min(picture(inputs)[1:])
    return 1 if side < 20 else 2 if side < 56 else 4


def cells(inputs: Shape, halvings: int) -> int:
    """Return how many cells the map has that the last layer sees, when `halvings` layers pool.

    >>> [cells((28, 28), n) for n in range(4)]
    [16, 16, 16, 4]
    """
    by = reduction(inputs) * 2**halvings
    sides = [-(-side // by) for side in picture(inputs)[1:]]
    return prod(-(-side // -(-side // _GRID)) for side in sides)
