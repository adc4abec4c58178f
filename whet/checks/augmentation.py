"""RNG: augmentation draws all its chance from the generator it is handed, anew for every example and epoch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor

from whet.checks.registry import Fact, Stage
from whet.checks.sandbox import randomness
from whet.checks.source import place
from whet.checks.subject import Subject
from whet.checks.trace import digest
from whet.checks.traced import few
from whet.finding import INAPPLICABLE, Finding, NotRun, Severity
from whet.seed import key
from whet.task import Augment

__all__ = ["Augmentation", "kinds"]


class Augmentation:
    """Augment one example at every place of a batch, under several generators, and count what comes out.

    FAIL when the same generator and global generators give other examples: chance that no seed reaches. WARN when only
    the global ones make the difference: augment must draw from the generator it is handed. WARN when places of a batch
    differ, so there is chance, but every epoch's generator gives the same: an example is changed alike in each epoch; or
    when two batches of an epoch get the same. The probability of that by chance is the share of equal pairs among the
    outcomes seen, to the power of the examples compared; below 1e-6 it counts. INFO when examples are changed, always
    alike: what training sees then is not what validation sees.

    >>> from whet.data.split import Data, Split
    >>> from whet.task import Task
    >>> class Noisy(Task):
    ...     def data(self, params):
    ...         return Data(Split(torch.ones(40, 2), torch.arange(40) % 2), Split(torch.ones(9, 2), torch.arange(9) % 2))
    ...     def model(self, params):
    ...         return torch.nn.Linear(2, 2)
    ...     def augment(self, params):
    ...         fixed = torch.Generator()
    ...         return lambda x, y, generator: ((x[0] + torch.randn(x[0].shape, generator=fixed.manual_seed(0)),), y)
    >>> from whet.checks.skeleton import check_task
    >>> check_task(Noisy(), {}, checks=["RNG"]).findings[0].message
    'augment changes an example in the same way in each of 3 epochs (32 draws, 32 different)'
    """

    code, stage, passes = "RNG", Stage.PARTS, 0
    draws, chance = 32, 1e-6

    def look(self, subject: Subject) -> Iterator[Finding | Fact | NotRun]:
        """Augment copies of one example, as three epochs would."""
        if subject.task is None or subject.data is None:
            yield NotRun(self.code, "needs a whole task; whet.checks.loader looks at the workers of a DataLoader")
            return
        with subject.look(self.code):
            augment = subject.task.augment(subject.params)
            if augment is None:
                yield NotRun(self.code, INAPPLICABLE + "the task does not augment")
                return
            found: dict[str, Any] = {}
            for index in range(min(3, len(subject.data.train))):  # an augmentation may leave one example alone
                found = self._outcomes(augment, subject, index)
                if found["unique"] > 1 or not found["seeded"]:
                    break
            drawn = self._drawn(augment, subject)
        where = place(augment, type(subject.task).augment)
        yield Fact(f"augmentation gives {found['unique']} different of {found['n']}", found, drawn=drawn)
        rest = found["epochs_alike"] or found["batches_alike"]
        if not found["seeded"]:
            yield Finding(self.code, Severity.FAIL, where, found,
                          "augment gives other examples when it is called again with the same generator: no seed reaches its chance",
                          "torch.rand(n, generator=generator) in place of default_rng(), os.urandom or time")  # fmt: skip
        elif found["global"]:
            yield Finding(self.code, Severity.WARN, where, found,
                          "augment draws from a global generator (torch's, NumPy's or Python's), not only from the one it is handed",
                          "torch.rand(n, generator=generator); int(torch.randint(9, (), generator=generator))")  # fmt: skip
        elif rest and found["chance"] < self.chance:
            when = "in each of 3 epochs" if found["epochs_alike"] else "in each batch of an epoch"
            yield Finding(self.code, Severity.WARN, where, found,
                          f"augment changes an example in the same way {when} ({found['n']} draws, {found['unique']} different)",
                          "draw from the generator that augment is handed; seed none inside")  # fmt: skip
        elif found["changed"] and found["unique"] == 1 and found["epochs_alike"]:
            yield Finding(self.code, Severity.INFO, where, found,
                          "augment changes examples, but always in the same way: validation never sees them so",
                          "if no chance is meant, do it in data() or in the model, for both splits")  # fmt: skip

    def _drawn(self, augment: Augment, subject: Subject) -> dict[str, Any]:
        """Return the batch's first examples as training sees them."""
        given = few(subject, subject.inputs, subject.targets)
        with suppress(Exception):  # what it refuses, others say
            inputs, targets = augment(given["inputs"], given["targets"], torch.Generator().manual_seed(subject.seed))
            return {**given, "inputs": inputs, "targets": targets}
        return {}

    def _outcomes(self, augment: Augment, subject: Subject, index: int) -> dict[str, Any]:
        """Return what becomes of `draws` copies of an example under the generators of three epochs."""
        assert subject.data is not None
        train = subject.data.train

        copies, others = torch.full((self.draws,), index), torch.arange(min(self.draws, len(train)))

        def batches(epoch: int, state: int, at: Tensor, times: int = 1) -> list[list[bytes]]:
            chance = torch.Generator().manual_seed(key(subject.seed, "augment", epoch))
            with randomness(state, "check", self.code):
                made = [augment(*train.batch(at), chance) for _ in range(times)]
            return [_rows((*inputs, targets)) for inputs, targets in made]

        first, second = batches(0, 0, copies, 2)
        mixed = batches(0, 0, others)  # different examples: mixing one with itself shows nothing
        return {
            "n": self.draws, "unique": len(set(first)),
            "seeded": batches(0, 0, others) == mixed, "global": batches(0, 1, others) != mixed,
            "epochs_alike": all(batches(epoch, 0, copies) == [first] for epoch in (1, 2)), "batches_alike": second == first,
            "changed": self._changed(augment, subject, copies), "chance": kinds(first) ** self.draws,
        }  # fmt: skip

    def _changed(self, augment: Augment, subject: Subject, at: Tensor) -> bool:
        """Whether the inputs come out otherwise than they went in, a change of dtype aside."""
        assert subject.data is not None
        inputs, targets = subject.data.train.batch(at)
        with randomness(0, "check", self.code):
            made, _ = augment(subject.data.train.batch(at)[0], targets, torch.Generator().manual_seed(0))
        pairs = zip(made, inputs, strict=True)
        return any(m.shape != i.shape or not torch.equal(m.to(i.dtype), i) for m, i in pairs)


def kinds(outcomes: list[bytes]) -> float:
    """Return the probability that two draws are alike, from the outcomes of some: the sum of squared shares.

    Of n different outcomes no more is known than 1 / n.

    >>> kinds([b"heads", b"tails", b"tails", b"heads"])
    0.5
    """
    n = len(outcomes)
    return sum((outcomes.count(o) / n) ** 2 for o in set(outcomes)) if n else 1.0


def _rows(parts: tuple[Tensor, ...]) -> list[bytes]:
    """Return a digest of every example; of the whole batch where an augmentation changes how many there are."""
    n = len(parts[0])
    return [digest(tuple(p[i] if len(p) == n else p for p in parts)) for i in range(n)]
