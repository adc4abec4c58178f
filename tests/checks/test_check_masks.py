"""MASK (bug 44): augmentation that moves pictures and not their masks."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from bugs.augments import LeavesMask, Segments, Shifts
from task_zoo import Plain, look, only
from whet.checks import check_task
from whet.finding import Severity


def turn(x: Tensor, angles: Tensor, mode: str) -> Tensor:
    """Rotate pictures (n, channels, height, width) by angles in radians."""
    c, s, zero = angles.cos(), angles.sin(), torch.zeros_like(angles)
    grid = F.affine_grid(
        torch.stack([torch.stack([c, -s, zero], 1), torch.stack([s, c, zero], 1)], 1),
        list(x.shape),
        align_corners=False,
    )
    return F.grid_sample(x, grid, mode=mode, align_corners=False)


class Turns(Segments):
    """Rotates the picture smoothly and the mask by its nearest pixels, with a border of zeros."""

    def augment(self, params: Any) -> Any:
        def augment(inputs: Any, targets: Tensor, generator: torch.Generator) -> Any:
            angles = torch.rand(len(targets), generator=generator) - 0.5
            return (turn(inputs[0], angles, "bilinear"),), turn(targets[:, None].float(), angles, "nearest")[
                :, 0
            ].long()

        return augment


class TurnsBack(Turns):
    """The mask turns the other way."""

    def augment(self, params: Any) -> Any:
        def augment(inputs: Any, targets: Tensor, generator: torch.Generator) -> Any:
            angles = 1 + torch.rand(len(targets), generator=generator)
            return (turn(inputs[0], angles, "bilinear"),), turn(targets[:, None].float(), -angles, "nearest")[
                :, 0
            ].long()

        return augment


class Photographic(Segments):
    """Brightness, contrast, noise, a negative, a patch cut out: nothing moves."""

    def augment(self, params: Any) -> Any:
        def augment(inputs: Any, targets: Tensor, generator: torch.Generator) -> Any:
            x, n = inputs[0], len(targets)
            scale = 0.5 + torch.rand(n, 1, 1, 1, generator=generator)
            x = (
                x * scale
                + torch.randn(n, 1, 1, 1, generator=generator)
                + 0.1 * torch.randn(x.shape, generator=generator)
            )
            x = torch.where(torch.rand(n, 1, 1, 1, generator=generator) < 0.3, -x, x)
            x[:, :, 2:9, 3:11] = 0
            return (x,), targets

        return augment


class Plainly(Segments):
    def augment(self, params: Any) -> Any:
        return None


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("task", [LeavesMask, Shifts, TurnsBack])
def test_masks_that_stay_behind_are_named(task: type[Segments], seed: int) -> None:
    found = only(look(task(), "MASK", seed))
    assert (found.code, found.severity) == ("MASK", Severity.WARN)
    assert found.evidence["wrong"] > 10
    assert found.evidence["n"] == 64


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("task", [Segments, Turns, Photographic])
def test_masks_that_follow_are_healthy(task: type[Segments], seed: int) -> None:
    health = look(task(), "MASK", seed)
    assert health.findings == ()
    assert health.facts["MASK"]["most"] <= 0.1


def test_what_has_no_masks_says_so() -> None:
    assert "does not augment" in check_task(Plainly(), {}, checks=["MASK"]).not_run[0].why

    class Shaken(Plain):
        def augment(self, params: Any) -> Any:
            return lambda inputs, targets, generator: (inputs, targets)

    assert "no masks of pictures" in check_task(Shaken(), {}, checks=["MASK"]).not_run[0].why
