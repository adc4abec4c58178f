"""Rules that exchange outputs instead of weights: ensemble-compression and codistillation."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from whet.distributed.member import member, parted
from whet.distributed.rule import Distil, Local, Rule
from whet.distributed.rules.gather import gathered, joint, level, seats
from whet.distributed.rules.gradient import Merged, steps
from whet.distributed.update import Held, Update
from whet.errors import UsageError

__all__ = ["codistil", "ensemble_compress"]


def ensemble_compress(every: int = 16, *, share: float = 0.5, weight: float = 1.0, compress: int | None = None) -> Rule:
    """EC-DNN (Sun et al. 2016, arXiv:1606.00575): average what the workers' models say, and teach it to each of them.

    A round: `every` local steps; exchange of models; each worker relabels `share` of its own examples with the mean of the K
    models' outputs (probabilities for classes), and from its own weights takes `compress` steps (every // 2 unless given, at
    least 1) on CE(y, f) + weight CE(mean_k f_k, f) over the relabelled. For a loss convex in the outputs, the ensemble's is at most the mean of the
    members', a promise that the mean of weights lacks. It costs K forward passes over the relabelled examples, and K models of
    traffic and memory. The paper's values of weight and share could not be recovered; these are to be tuned.

    The last round has its compression too: a training ends with one by each worker that is there then, and what they come to is exchanged once more.
    Its learning rate is what the schedule says after all epochs: one that ends at 0 (a cosine without a floor) leaves the last
    compression without effect. One that has nothing left to do is a member with the model it sent last.

    The server's weights are those of one member: in between, of whose loss was lowest in its last stretch; at the end, of whose loss is lowest after
    the compression, on the same examples for all (as many as cost what the teachers' outputs did, of all shards: a loss on a worker's own says how
    easy those are). Raises UsageError for values outside 0 < share <= 1, weight >= 0, compress >= 1.
    """
    half = max(1, steps(every, "ec") // 2)
    compress = half if compress is None else compress
    _within("ec", share, weight)
    if not isinstance(compress, int) or isinstance(compress, bool) or compress < 1:
        raise UsageError(f"ec: compress must be a whole number of steps >= 1, got {compress!r}. Use e.g. {every}.")
    distil = Distil(weight, share, compress)

    def merge(memory: dict[str, Any], update: Update | None, held: Held) -> Merged:
        found = gathered(memory, update, held)
        if not found:
            return memory, None
        members: dict[int, Tensor] = memory["members"]
        for gone in set(members) - held.here:
            del members[gone]
        best = min(found, key=lambda u: (u.loss, u.worker))
        members |= {
            u.worker: member(u.vector, u.buffers) for u in found
        }  # of one that was here twice in the round, its last
        models = tuple(sorted(members.items()))  # one that has nothing left to do is a member with what it sent last
        return memory, joint(found)._replace(vector=best.vector, models=models, statistics=best.buffers)

    return Rule(
        "ec", merge=merge, init=lambda held: {**seats(), "members": {}}, admit=level, gathers=True,
        local=Local(every, "weights", "own", peers=True, distil=distil, closes=True),
        options=(("every", every), ("share", share), ("weight", weight), ("compress", compress)),
    )  # fmt: skip


def codistil(every: int = 50, *, weight: float = 1.0, burn_in: int = 500) -> Rule:
    """Codistillation (Anil et al. 2018, arXiv:1804.03235): each worker also learns from the others' last known models.

    Worker i minimises phi(y, F_i) + weight psi(mean_{j != i} F_j, F_i), psi the cross-entropy to the mean of the peers' outputs, from
    step `burn_in` of its own on. The model of a worker that left is forgotten. Nobody waits: the peers' models are as old as their last exchange, one in `every` steps. It costs the
    forward passes of the peers in each step.

    The server's weights are those of the member whose loss was lowest in its last stretch. Raises UsageError for values outside weight >= 0,
    burn_in >= 0.
    """
    _within("codistil", 1.0, weight)
    if not isinstance(burn_in, int) or isinstance(burn_in, bool) or burn_in < 0:
        raise UsageError(f"codistil: burn_in must be a whole number of steps >= 0, got {burn_in!r}. Use e.g. 500.")

    def merge(memory: dict[str, Any], update: Update | None, held: Held) -> Merged:
        members: dict[int, Update] = memory["members"]
        for gone in (
            set(members) - held.here
        ):  # a model that nobody trains any more would be a teacher for ever, or the best
            del members[gone]
        if update is None:
            return memory, None
        members[update.worker] = update._replace(vector=member(update.vector, update.buffers))
        best = min(members.values(), key=lambda u: (u.loss, u.worker))
        models = tuple(
            (w, members[w].vector) for w in sorted(members)
        )  # each made once: a channel sees that it is the same
        vector, _ = parted(best.vector, len(held.weights))
        return memory, update._replace(vector=vector, models=models, statistics=best.buffers)

    return Rule(
        "codistil", merge=merge, init=lambda held: {"members": {}},
        local=Local(steps(every, "codistil"), "weights", "own", peers=True, distil=Distil(weight, 1.0, 0, burn_in)),
        options=(("every", every), ("weight", weight), ("burn_in", burn_in)),
    )  # fmt: skip


def _within(name: str, share: float, weight: float) -> None:
    if not 0 < share <= 1 or not 0 <= weight < float("inf"):
        raise UsageError(f"{name}: needs 0 < share <= 1 and weight >= 0, got share {share!r}, weight {weight!r}.")
