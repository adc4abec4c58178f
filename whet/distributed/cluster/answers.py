"""Calls that wait at a server for what they will be answered, by the life of the worker that made them."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from whet.distributed.cluster.parcel import Answer

__all__ = ["Answers", "until"]


@dataclass
class _Waits:
    """A life of a worker: the process it is in, what it was given and has not fetched, and what says that there is something."""

    birth: int
    answer: Answer | None = None
    woken: asyncio.Event = field(default_factory=asyncio.Event)


class Answers:
    """What workers in their present lives are to be answered: ready before they ask, or while their call waits.

    >>> answers = Answers()
    >>> answers.begin(7, birth=0)
    >>> answers.give(7, Answer("given", version=3))
    >>> answers.has(7), answers.take(7).version, answers.take(7).kind
    (True, 3, 'wait')
    """

    def __init__(self) -> None:
        self._lives: dict[int, _Waits] = {}

    def begin(self, life: int, *, birth: int) -> None:
        """Take in a life, in the process `birth` of its worker."""
        self._lives[life] = _Waits(birth)

    def end(self, life: int) -> None:
        """Forget a life; a call that waits is woken."""
        self._lives.pop(life).woken.set()

    def births(self) -> dict[int, int]:
        """Return in which process each life is."""
        return {life: waits.birth for life, waits in self._lives.items()}

    def has(self, life: int) -> bool:
        """Return whether there is something that the life has not fetched."""
        return self._lives[life].answer is not None

    def give(self, life: int, answer: Answer) -> None:
        """Have an answer ready for the call that waits or will come."""
        self._lives[life].answer = answer
        self._lives[life].woken.set()

    async def wait(self, life: int, seconds: float) -> None:
        """Wait until there is something for the life, for `seconds` at most."""
        if not self.has(life):
            await until(self._lives[life].woken, seconds)

    def take(self, life: int) -> Answer:
        """Return what there is for the life, once; "wait" when there is nothing."""
        waits = self._lives[life]
        found, waits.answer = waits.answer, None
        return Answer("wait") if found is None else found

    def wake(self) -> None:
        """Wake every call that waits: all is over."""
        for waits in self._lives.values():
            waits.woken.set()


async def until(event: asyncio.Event, seconds: float) -> None:
    """Wait until an event is set from now on, for `seconds` at most."""
    event.clear()
    try:
        await asyncio.wait_for(event.wait(), seconds)
    except TimeoutError:
        pass
