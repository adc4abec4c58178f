"""What a bug is: a program, and the finding that must name it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["CE", "Bug", "Program", "Through", "tokens_to_tokens"]

CE = nn.CrossEntropyLoss()
Program = dict[str, Any]  # arguments of `whet.check`


@dataclass(frozen=True)
class Bug:
    """A bug.

    family: of the program; name: what is wrong, as a person would say; code, severity: of the finding that must appear
    (severities that will do, with spaces between); words: that stand in its message; make: the program.
    """

    family: str
    name: str
    code: str
    severity: str
    words: str
    make: Callable[[], Program]
    number: int | None = None

    @property
    def title(self) -> str:
        return f"{self.family}: {self.name}"


class Through(nn.Module):
    """Applies `step` to the model and its inputs."""

    def __init__(self, step: Callable[..., Tensor], model: nn.Module) -> None:
        super().__init__()
        self.model, self.step = model, step

    def forward(self, x: Tensor) -> Tensor:
        return self.step(self.model, x)


def tokens_to_tokens(outputs: Tensor, targets: Tensor) -> Tensor:
    return torch.nn.functional.cross_entropy(outputs.flatten(0, 1), targets.flatten())
