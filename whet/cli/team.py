"""Who trains together, from the words of `whet train` and from the configuration, which may name a rule and workers itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from whet.cli import options as o

if TYPE_CHECKING:
    from whet.recipe.many import Team

__all__ = ["Words"]


@dataclass(frozen=True)
class Words:
    """What was said of several workers; None for what was not."""

    workers: int | None
    rule: str | None
    shuffle: str | None
    shares: str | None
    on: str | None
    stages: int | None

    def check(self) -> None:
        """Raise UsageError for a word that is wrong whatever the task is."""
        from whet.distributed.channels import channel
        from whet.distributed.named import parse_rule
        from whet.distributed.shuffle import HOWS
        from whet.errors import UsageError, nearest

        if self.workers is not None:
            o.check_workers(self.workers, self.on or "processes")
        if self.rule is not None:
            parse_rule(self.rule)
        if self.stages is not None and self.stages < 1:
            raise UsageError(f"--stages {self.stages}: must be at least 1. Use e.g. --stages 2 --workers 4.")
        if self.on is not None:
            channel(self.on, stages=self.stages or 1)
        if self.shuffle is not None and self.shuffle not in HOWS:
            raise UsageError(
                f"--shuffle {self.shuffle}: no such way.{nearest(self.shuffle, HOWS)} Use {', '.join(HOWS)}."
            )

    @property
    def many(self) -> bool:
        """Whether they ask for several workers, whatever the configuration says."""
        return self.rule is not None or (self.workers or 1) > 1

    def applied(self, params: dict[str, Any]) -> dict[str, Any]:
        """Return a configuration that has them in place of its own rule, workers and shuffle, where it has any.

        >>> words = Words(2, "sync", None, None, None, None)
        >>> words.applied({"lr": 0.1, "rule": "dc-asgd", "rule.lambda_": 1.0, "workers": 4})
        {'lr': 0.1, 'rule': 'sync', 'workers': 2}
        """
        from whet.distributed.together import rule_in

        if not rule_in(params):
            return params
        given = {"rule": self.rule, "workers": self.workers, "shuffle": self.shuffle}
        said = {n: word for n, word in given.items() if word is not None and n in params}
        kept = {n: v for n, v in params.items() if "rule" not in said or not n.startswith("rule.")}
        return {**kept, **said}

    def team(self, params: dict[str, Any]) -> Team | None:
        """Return who trains a configuration together, or None for one process; raise UsageError when they cannot.

        params: what `applied` returned.
        """
        from whet.distributed.channels import channel
        from whet.distributed.named import parse_rule
        from whet.distributed.shares import parse_shares
        from whet.distributed.together import Together, rule_in
        from whet.errors import UsageError
        from whet.recipe.many import Team

        named, workers, shuffle = rule_in(params), self.workers or 1, self.shuffle
        if named:
            workers = o.check_workers(Together.workers_in(params), self.on or "processes")
            shuffle = shuffle or params.get("shuffle")
        elif not self.many:
            for flag, given in (
                ("--shuffle", shuffle), ("--shares", self.shares), ("--on", self.on), ("--stages", self.stages),
            ):  # fmt: skip
                if given is not None:
                    raise UsageError(
                        f"{flag} {given}: is about several workers. Give --workers N or --rule NAME as well."
                    )
            return None
        words = {"rule": named or self.rule, "shuffle": shuffle, "on": self.on}
        shares = () if self.shares is None else parse_shares(self.shares, workers)
        found = Team(workers, **{n: word for n, word in words.items() if word}, stages=self.stages or 1, shares=shares)
        if found.workers % found.stages:
            raise UsageError(
                f"--stages {found.stages}: must be at least 1 and divide --workers {found.workers}. Use e.g. --stages 2 --workers 4."
            )
        parse_rule(found.rule)
        channel(found.on, stages=found.stages)
        return found
