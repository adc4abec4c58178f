"""What every rule of aggregation must do. A clause is given `make`, which returns a new rule with the same options each time."""

from __future__ import annotations

import dataclasses
import inspect
import math
from collections import Counter
from collections.abc import Callable
from typing import Any

import torch

from whet import seed as streams
from whet.distributed.named import made_by, parse_rule, split
from whet.distributed.plain import plain, thaw
from whet.distributed.rule import Rule
from whet.distributed.update import Held, Update
from whet.errors import UsageError
from whet.testing.drill import Drill, history, same
from whet.train.checkpoint import pack, unpack

__all__ = ["RULE"]

Make = Callable[[], Rule]
_SEEDS = range(4)  # histories of each clause; in the odd ones workers send what is not finite


def _play(make: Make, seed: int, *, workers: int = 4, events: int = 60, **more: Any) -> Drill:
    drill = Drill(make(), workers=workers, seed=seed, **more)
    for event in history(seed, workers, events, bad=seed % 2 == 1):
        drill.do(*event)
    return drill


def decides_by_what_it_is_given(make: Make) -> None:
    """The same updates give the same weights bit for bit, from whatever rule of the same options: all it knows is its memory."""
    for seed in _SEEDS:
        once = _play(make, seed)
        again = Drill(make(), workers=4, seed=seed)
        for event in history(seed, 4, 60, bad=seed % 2 == 1):
            again.change(make())
            again.server.memory = thaw(again.server.memory, lambda node: node)
            again.do(*event)
        assert same(once.facts(), again.facts()), (
            "another rule of the same options decides otherwise: it remembers elsewhere"
        )


def changes_only_what_it_may(make: Make) -> None:
    """It writes into its memory and the vector of the update it was handed, and into nothing else."""
    for seed in _SEEDS:
        drill = Drill(make(), workers=4, seed=seed)
        drill.change(_watched(make(), drill))
        for event in history(seed, 4, 60, bad=seed % 2 == 1):
            drill.do(*event)


def _watched(rule: Rule, drill: Drill) -> Rule:
    """Return `rule` with a merge that raises when it changes what is none of its own."""

    def merge(memory: Any, update: Update | None, held: Held) -> tuple[Any, Any]:
        def others() -> dict[int, torch.Tensor]:
            return {w: v.clone() for w, v in drill.sent.items() if update is None or w != update.worker}

        def looked_at() -> list[Any]:
            return [held.weights.clone(), held.version, dict(held.clocks), set(held.here)]

        before, backups, vectors = looked_at(), {w: b.clone() for w, b in held.backups.items()}, others()
        found = rule.merge(memory, update, held)
        assert same(before, looked_at()), f"{rule}: merge changed what the server holds"
        assert same(backups, dict(held.backups)), f"{rule}: merge changed a backup"
        assert same(vectors, others()), f"{rule}: merge changed the vector of another worker"
        return found

    return dataclasses.replace(rule, merge=merge)


def keeps_nothing_that_a_worker_writes_over(make: Make) -> None:
    """A worker that may go on writes into its vectors again: what the rule still needs of them it has copied."""
    for seed in _SEEDS:
        reused, fresh = _play(make, seed), _play(make, seed, fresh=True)
        assert same(reused.facts(), fresh.facts()), "it looks at an update's vector after its worker was let go on"


def goes_into_a_checkpoint(make: Make) -> None:
    """Its memory is numbers, text, tensors, updates, and lists and dicts of them; from its checkpoint it decides the same."""
    for seed in _SEEDS:
        drill, events = Drill(make(), workers=4, seed=seed), history(seed, 4, 60, bad=seed % 2 == 1)
        for i, event in enumerate(events):
            if i == 10 + 5 * seed:
                _plain(thaw(drill.server.memory, plain))
                drill.restart(make(), unpack(pack(drill.server.state())))
            drill.do(*event)
        assert same(drill.facts(), _play(make, seed).facts()), "from its checkpoint it decides otherwise"


def _plain(node: Any) -> None:
    if isinstance(node, dict):
        assert all(isinstance(k, (str, int)) for k in node), (
            f"its memory has keys that are neither text nor numbers: {node}"
        )
        for value in node.values():
            _plain(value)
    elif isinstance(node, (list, tuple)):
        for value in node:
            _plain(value)
    else:
        good = node is None or isinstance(node, (bool, int, float, str, torch.Tensor))
        assert good, f"its memory holds a {type(node).__name__}, which no checkpoint takes"


def waits_for_nobody_who_left(make: Make) -> None:
    """Whoever joins, leaves or sends nonsense: while there is work, some worker that lives is at it or may begin."""
    for seed in range(2 * len(_SEEDS)):
        workers = 2 + seed % 4
        drill = Drill(make(), workers=workers, seed=seed)
        for event in history(seed, workers, 80, bad=seed % 2 == 1):
            drill.do(*event)
            assert not drill.stuck, f"after {event}: all that live wait, and for nobody"


def lets_the_slowest_go_on(make: Make) -> None:
    """A worker with the lowest clock may take its step; what one may do, one that is further behind may too."""
    rule = make()
    for seed in range(40):
        draw = streams.rng(seed, "clocks")
        held = Held(torch.zeros(3))
        for worker in range(int(draw.integers(1, 6))):
            held.tick(worker, int(draw.integers(0, 5)))
            held.here.add(worker)
        admitted = {w: rule.admit(held, w) for w in held.clocks}
        for worker, clock in held.clocks.items():
            assert admitted[worker] or clock > held.slowest, f"{rule}: the slowest of {held.clocks} may not go on"
            for other, later in held.clocks.items():
                good = admitted[worker] or not admitted[other] or clock > later
                assert good, f"{rule}: of {held.clocks} worker {other} may go on and {worker} not, which is no further"


def serves_one_worker(make: Make) -> None:
    """A lone worker never waits, and each of its updates is merged or refused at once."""
    drill = Drill(make(), workers=1)
    drill.do("join", 0)
    for i in range(1, 8):
        drill.do("push", 0)
        assert 0 in drill.given, "a lone worker waits"
        done = drill.server.merged
        assert done == i * drill.stretch, f"of {i} updates, {done / drill.stretch:g} were merged"


def loses_no_batch(make: Make) -> None:
    """Every batch that was handed out is merged or refused once, whoever joins, leaves or sends nonsense."""
    for seed in range(2 * len(_SEEDS)):
        workers = 2 + seed % 4
        drill = _play(make, seed, workers=workers)
        drill.finish()
        seen = Counter(drill.seen)
        twice = [t for t, n in seen.items() if n > 1]
        assert not twice, f"{len(twice)} batches were merged twice"
        if set(range(workers)) - drill.server.ledger.banned:
            lost = drill.server.sampler.limit - len(seen)
            assert not lost, f"{lost} batches were neither merged nor refused"
            assert drill.server.merged == drill.server.sampler.limit


def has_nothing_to_say_of_nothing(make: Make) -> None:
    """Called with no update when nothing waits, it lets nothing through, however often."""
    rule = make()
    for clocks in ({}, {0: 0, 1: 0}, {3: 2}):
        held = Held(torch.zeros(4))
        for worker, clock in clocks.items():
            held.tick(worker, clock)
            held.here.add(worker)
        memory = rule.init(held)
        for _ in range(2):
            memory, out = rule.merge(memory, None, held)
            assert out is None, f"{rule}: let {out} through, though nobody had sent anything"


def gives_each_peer_once(make: Make) -> None:
    """The models it hands to workers are of workers by number, each once, and of none that left before the last round."""
    for seed in _SEEDS:
        drill = Drill(make(), workers=3, seed=seed)
        for event in history(seed, 3, 80):
            drill.do(*event)
            numbers = [w for w, _ in drill.server.models]
            assert len(set(numbers)) == len(numbers), f"the models of {numbers}: one comes twice"
            assert all(0 <= w < 3 for w in numbers), f"the models of {numbers}, of three workers"


def sends_what_it_says(make: Make) -> None:
    """What it lets through is of the kind that its workers send, and names what it was made from."""
    for seed in _SEEDS:
        drill = _play(make, seed)
        kinds = {u.kind for u in drill.applied}
        assert kinds <= {drill.server.local.sends}, f"workers send {drill.server.local.sends}, it lets through {kinds}"
        for update in drill.applied:
            assert update.tickets, "it let an update through that was made from nothing"
            assert update.examples >= 1


def is_read_back_from_its_text(make: Make) -> None:
    """`parse_rule(str(rule))` is the same rule: processes are told the rule in words."""
    rule = make()
    read = parse_rule(str(rule))
    assert str(read) == str(rule), f"{rule} was read as {read}"
    assert (read.options, read.local, read.backup) == (rule.options, rule.local, rule.backup), (
        f"{rule} was read with other options"
    )
    for seed in _SEEDS:
        found = _play(lambda: parse_rule(str(rule)), seed)
        assert same(_play(make, seed).facts(), found.facts()), f"{rule}: what its text is read as decides otherwise"


def refuses_what_is_no_number(make: Make) -> None:
    """An option that is not a number (NaN) is refused with a UsageError of one line, by each rule of a chain."""
    for part in split(str(make()), "+"):
        function, preset = made_by(part.partition("(")[0].strip())
        given = dict(parse_rule(part).options)
        names = [n for n in inspect.signature(function).parameters if n not in preset]
        right = {n: given[n.rstrip("_")] for n in names if n.rstrip("_") in given}
        for name in names:
            said = _refused(function, {**preset, **right, name: math.nan})
            assert said, f"{part.strip()}: took {name}=nan"
            assert "\n" not in said, f"{part.strip()}: {name}=nan: the error has several lines"


def _refused(function: Callable[..., Rule], options: dict[str, Any]) -> str:
    try:
        function(**options)
    except UsageError as error:
        return str(error)
    return ""


#: Every clause for rules.
#:
#: >>> for clause in RULE:
#: ...     clause(lambda: parse_rule("finite + dc-asgd"))
RULE: tuple[Callable[[Make], None], ...] = (
    decides_by_what_it_is_given, changes_only_what_it_may, keeps_nothing_that_a_worker_writes_over,
    goes_into_a_checkpoint, waits_for_nobody_who_left, lets_the_slowest_go_on, serves_one_worker, loses_no_batch,
    has_nothing_to_say_of_nothing, gives_each_peer_once, sends_what_it_says, is_read_back_from_its_text,
    refuses_what_is_no_number,
)  # fmt: skip
