"""An aggregation rule: what the server does with an update, who may go on, and what a worker does between two exchanges."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from whet.distributed.update import Held, Refused, Update
from whet.errors import UsageError

__all__ = ["Distil", "Local", "Rule", "chain"]

Memory = Any  # numbers, text, tensors, and lists and dicts of them: it goes into checkpoints
Init = Callable[[Held], Memory]
Merge = Callable[[Memory, Update | None, Held], tuple[Memory, Update | Refused | None]]
Admit = Callable[[Held, int], bool]


@dataclass(frozen=True)
class Distil:
    """How a worker learns from the others' outputs.

    weight: of the cross-entropy to the teacher beside that to the labels; share: of its own examples, relabelled by the teacher after an
    exchange (1: every batch, by the peers as they last were); steps: of compression, which begin a stretch of local training;
    burn_in: steps before the first of it.
    """

    weight: float = 1.0
    share: float = 1.0
    steps: int = 0
    burn_in: int = 0


@dataclass(frozen=True)
class Local:
    """The worker's part of a rule.

    every: steps of its own optimizer between two exchanges, or batches whose gradients it adds up; sends: what; takes: what it
    goes on from, the server's weights (or the reply its update got) or its own; peers: whether it is given the others' models; closes:
    whether a training ends with one more compression (`distil.steps`) of each worker that is there, after the last exchange; what they come to
    is merged as any round, from no tickets. Raises UsageError where there is nothing to compress.
    """

    every: int = 1
    sends: Literal["gradient", "weights"] = "gradient"
    takes: Literal["weights", "own"] = "weights"
    peers: bool = False
    distil: Distil | None = None
    closes: bool = False

    def __post_init__(self) -> None:
        if self.closes and not (self.peers and self.sends == "weights" and self.distil and self.distil.steps):
            raise UsageError(
                "Local: closes=True needs peers=True, sends='weights' and a distil with steps >= 1, "
                f"got peers={self.peers}, sends={self.sends!r}, distil={self.distil}. Leave closes out."
            )


def nothing(held: Held) -> Memory:
    """Remember nothing."""
    return None


def always(held: Held, worker: int) -> bool:
    """Let every worker go on at once."""
    return True


def passed(memory: Memory, update: Update | None, held: Held) -> tuple[Memory, Update | Refused | None]:
    """Let the update through as it is."""
    return memory, update


@dataclass(frozen=True)
class Rule:
    """A rule of aggregation, in four parts; parts that are left out do nothing.

    init: held -> memory. merge: (memory, update, held) -> (memory, what to apply); pure in meaning, though it may reuse the buffers
    of its memory and write into the update's vector. It returns an `Update` to apply, None while it waits for others, or
    `Refused`; it is called with update None when a worker has left (`held.here` says who is there) or its update was refused, since what was
    waited for may be complete then.
    admit: (held, worker) -> whether the worker may take its next step; of one that waits it may change its answer only when
    `held.slowest` moves or a worker leaves, as those that wait are asked again then. local: the worker's part. backup: whether it looks at
    `held.backups`; memory of one vector for each worker where the channel keeps none anyway. gathers: whether it makes one update
    of several workers'. gradients: whether it is for gradients only.

    A rule receives values only: never the server, a channel, or a clock. So the simulator and real processes run the same.

    >>> halve = Rule("halve", merge=lambda memory, u, held: (memory, u and u._replace(vector=u.vector / 2)))
    >>> import torch
    >>> held = Held(torch.zeros(2))
    >>> halve.merge(halve.init(held), Update(0, 0, torch.ones(2)), held)[1].vector
    tensor([0.5000, 0.5000])
    """

    name: str
    merge: Merge = passed
    init: Init = nothing
    admit: Admit = always
    local: Local | None = None
    backup: bool = False
    gathers: bool = False
    gradients: bool = False
    options: tuple[tuple[str, Any], ...] = field(default=(), compare=False)

    def __str__(self) -> str:
        return self.name + (f"({', '.join(f'{k}={_text(v)}' for k, v in self.options)})" if self.options else "")


def _text(value: float) -> str:
    """Return a number as the shortest text that is read back as the same."""
    short = f"{value:g}"
    return short if isinstance(value, float) and float(short) == value else repr(value)


def chain(*rules: Rule) -> Rule:
    """Return the rule that hands an update through `rules`, first to last.

    What one refuses or holds back does not reach the next; a worker goes on when all admit it. So guards stand first: what they refuse
    then leaves no trace in the memory of the others.

    Raises UsageError when there are none, two with a worker's part, one for gradients where workers send weights, or one that has to
    know whose update it sees behind one that makes a single update of all.

    >>> from whet.distributed.rules.gradient import asynchronous, delay_compensated
    >>> from whet.distributed.rules.guard import finite
    >>> str(chain(finite(), delay_compensated(0.04)))
    'finite + dc-asgd-c(lambda=0.04)'
    """
    if not rules:
        raise UsageError("chain: got no rules. Give at least one, such as asynchronous().")
    if len(rules) == 1:
        return rules[0]
    own = [r for r in rules if r.local is not None]
    if len(own) > 1:
        raise UsageError(
            f"chain: {own[0].name} and {own[1].name} both say what a worker does between exchanges. Use one of them."
        )
    _fit(rules)
    return Rule(
        " + ".join(str(r) for r in rules),
        merge=_Through(rules),
        init=lambda held: [r.init(held) for r in rules],
        admit=lambda held, worker: all(r.admit(held, worker) for r in rules),
        local=own[0].local if own else None,
        backup=any(r.backup for r in rules),
        gathers=any(r.gathers for r in rules),
        gradients=any(r.gradients for r in rules),
    )


def _fit(rules: Sequence[Rule]) -> None:
    sends = next((r for r in rules if r.local is not None and r.local.sends == "weights"), None)
    only = next((r for r in rules if r.gradients), None)
    if sends is not None and only is not None:
        raise UsageError(
            f"chain: {only.name} is for gradients, and under {sends.name} workers send weights. Leave one out."
        )
    for i, first in enumerate(rules):
        for later in rules[i + 1 :]:
            single = later.backup or later.gathers or (later.local is not None and later.local.sends == "weights")
            if first.gathers and single:
                raise UsageError(
                    f"chain: {later.name} stands behind {first.name}, which makes one update of all: it cannot know whose. "
                    f"Put it first, or leave one out."
                )


class _Through:
    """The merge of a chain."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self.rules = rules

    def __call__(
        self, memory: list[Memory], update: Update | None, held: Held
    ) -> tuple[Memory, Update | Refused | None]:
        left = update is None  # then each is asked, until one has something
        out: Update | None = update
        for i, rule in enumerate(self.rules):
            memory[i], said = rule.merge(memory[i], out, held)
            if isinstance(said, Refused):
                return memory, said if out is update or out is None else said._replace(tickets=out.tickets)
            out = said
            if out is None and not left:
                return memory, None
        return memory, out
