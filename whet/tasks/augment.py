"""Random shifts, turns, zooms and flips of pictures, as one affine map a picture."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["RandomAffine"]


@dataclass(frozen=True)
class RandomAffine:
    """Move every picture of a batch at random: (n, C, H, W) of any type -> float32 in the same range.

    strength: 0 leaves pictures alone, 1 turns by up to 20 degrees, and shifts, zooms and shears by up to 15 %; flip: mirror half of
    them left to right (for natural pictures, never for digits or letters). What comes in from outside repeats the border.

    >>> move = RandomAffine(0.5)
    >>> x = torch.arange(2 * 64.0).reshape(2, 1, 8, 8)
    >>> (y,), targets = move((x,), torch.tensor([0, 1]), torch.Generator().manual_seed(0))
    >>> y.shape == x.shape, bool((y != x).any()), targets.tolist()
    (True, True, [0, 1])
    """

    strength: float | Tensor
    flip: bool = False

    def __call__(
        self, inputs: tuple[Tensor, ...], targets: Tensor, generator: torch.Generator
    ) -> tuple[tuple[Tensor, ...], Tensor]:
        """Return (inputs, targets) with the pictures moved; all chance comes from `generator`."""
        x = inputs[0]
        n, s = len(x), self.strength
        draw = torch.rand(n, 7, generator=generator) * 2 - 1  # (n, 7) in [-1, 1), on the CPU
        turn, sx, sy, shear, dx, dy, mirror = draw.unbind(1)
        turn, shear = turn * (s * math.pi / 9), shear * (0.15 * s)
        sx, sy = (sx * (0.15 * s)).exp(), (sy * (0.15 * s)).exp()
        cos, sin = turn.cos(), turn.sin()
        side = torch.where(mirror < 0, -1.0, 1.0) if self.flip else torch.ones(n)
        # In grid_sample's units a picture is 2 wide: 15 % of it is 0.3.
        row1 = torch.stack((sx * cos * side, -sy * sin + shear, dx * (0.3 * s)), 1)
        row2 = torch.stack((sx * sin * side, sy * cos, dy * (0.3 * s)), 1)
        theta = torch.stack((row1, row2), 1).to(x.device)  # (n, 2, 3)
        grid = functional.affine_grid(theta, list(x.shape), align_corners=False)
        moved = functional.grid_sample(x.float(), grid, padding_mode="border", align_corners=False)
        return (moved, *inputs[1:]), targets
