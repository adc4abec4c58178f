"""What a bug is: a program, what looks at it, and the finding that must name it; or why nothing can name it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from whet.checks import check, check_task, loader, metric_over, same
from whet.checks.live import Live
from whet.data.look import look
from whet.finding import Health

__all__ = ["CE", "DOORS", "Bug", "Program", "Through", "Undetectable", "looked", "numbered", "task", "tokens_to_tokens"]

CE = nn.CrossEntropyLoss()
Program = dict[str, Any]  # arguments of what looks at it


def watched(train: Callable[[], Live]) -> Health:
    """Train, watched, and return what was seen."""
    return train().health


# how a program is looked at: what it is called in the documentation, and what is called with the program
DOORS: dict[str, tuple[str, Callable[..., Any]]] = {
    "check": ("`whet.check(model, loss, batch)`", check),
    "step": ("`whet.check(..., step=step)`", check),
    "task": ("`whet check TASK`, or `whet.checks.check_task(task, params)`", check_task),
    "loader": ("`whet.checks.loader(DataLoader(...))`", loader),
    "metric": ("`whet.checks.metric_over(evaluate, batches)`", metric_over),
    "same": ("`whet.checks.same(vectorised, loop, make)`", same),
    "live": ("`whet.checks.live.Live(model, optimizer)`, in a training", watched),
    "look": ("`whet look TASK`, or `whet.data.look.look(data)`", look),
}


@dataclass(frozen=True)
class Bug:
    """A bug.

    family: of the program; name: what is wrong, as a person would say; code, severity: of the finding that must appear
    (those that will do, with spaces between); words: that stand in its message; make: the program; number: in the list
    of fifty; how: the door that it is looked at through.
    """

    family: str
    name: str
    code: str
    severity: str
    words: str
    make: Callable[[], Program]
    number: int | None = None
    how: str = "check"

    @property
    def title(self) -> str:
        return f"{self.family}: {self.name}"


@dataclass(frozen=True)
class Undetectable:
    """A bug that no check can name: why, and what shows it to a person."""

    name: str
    why: str
    look_at: str
    make: Callable[[], Program]
    number: int | None = None
    how: str = "check"

    @property
    def title(self) -> str:
        return self.name


def looked(bug: Bug | Undetectable, seed: int, **more: object) -> Any:
    """Make the program under a seed and return what its door says of it: a `Health` or a `Look`."""
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    return DOORS[bug.how][1](**{**bug.make(), **more})


def task(kind: Callable[[], Any], code: str, **params: Any) -> Program:
    """Return what `check_task` is given to run one check on a task of that kind."""
    return {"task": kind(), "params": params, "checks": [code]}


def numbered(titles: Iterable[str]) -> Iterator[tuple[str, int | None, str]]:
    """Yield (title, number, name) of titles such as "6 no zero_grad"; the number may be left out."""
    for title in titles:
        number, name = re.fullmatch(r"(?:(\d+) )?(.*)", title, re.S).groups()  # type: ignore[union-attr]
        yield title, int(number) if number else None, name


class Through(nn.Module):
    """Applies `step` to the model and its inputs."""

    def __init__(self, step: Callable[..., Tensor], model: nn.Module) -> None:
        super().__init__()
        self.model, self.step = model, step

    def forward(self, x: Tensor) -> Tensor:
        return self.step(self.model, x)


def tokens_to_tokens(outputs: Tensor, targets: Tensor) -> Tensor:
    return torch.nn.functional.cross_entropy(outputs.flatten(0, 1), targets.flatten())
