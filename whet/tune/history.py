"""The fold: events of a journal in, trials out. The only place that knows what an event does to a trial."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from whet.errors import SpaceError, StudyError
from whet.journal.event import Event
from whet.tune.created import Terms
from whet.tune.curve import Curve
from whet.tune.draft import Draft
from whet.tune.moments import Frozen, Moments
from whet.tune.trial import Point, State, Trial, Trials
from whet.tune.whole import complete, configuration

__all__ = ["History", "with_point"]

_NOTHING: Mapping[str, Any] = {}


class History:
    """The trials of a study, kept up to date event by event.

    trials: as frozen values; progress: the same with what is known beside (`Draft`); started: how many trials were
    given to workers; steps, cost: what all of them spent; open: the ids of trials that a worker has or should have;
    waiting: those that a person put in the queue; keys: when (seq) each configuration was first proposed; promised: when a complete guess of it came; unproposed: how many trials have no configuration yet;
    stored: the bytes of each checkpoint that exists, by name; racing: whether nothing but guesses is started.
    """

    def __init__(self) -> None:
        self.seq = 0
        self.terms: Terms | None = None
        self.progress: list[Draft] = []
        self.trials: Sequence[Trial] = Frozen(self.progress)
        self.records: list[tuple[str, Mapping[str, Any]]] = []
        self.racing = False
        self.open: set[int] = set()
        self.waiting: list[int] = []
        self.keys: dict[str, int] = {}
        self.promised: dict[str, int] = {}
        self.unproposed = 0
        self.stored: dict[str, int] = {}
        self.started = 0
        self.steps = 0
        self.cost = 0.0
        self._moments = Moments(self.progress)
        self._origin: Mapping[str, Any] = {}  # the last one: mostly all are the same

    def apply(self, events: Iterable[Event]) -> None:
        """Take in the next events, in order; raise StudyError when one is missing."""
        progress, log, touched = self.progress, self._moments.log.ids.append, self._moments.stale.add
        here, last = self.seq, None
        for seq, kind, id, data, _, _ in events:
            if seq != here + 1:
                raise StudyError(f"journal: event {here + 1} is missing (next is {seq}). Restore a backup.")
            if id is not None:
                if id != last:
                    if id == len(progress):
                        progress.append(Draft(id))
                        self.unproposed += 1
                    elif not 0 <= id < len(progress):
                        raise StudyError(
                            f"journal: event {seq} is about trial {id}, which there is not. Restore a backup."
                        )
                    draft, last = progress[id], id
                    touched(id)
                if kind == "reported":  # nine events of ten
                    # step, value and seconds alone, on a curve nobody has seen: the bulk of a long journal
                    if len(data) == 3 and (steps := draft.go_on(data["step"], data["value"])) is not None:
                        self.steps += steps
                        self.cost += steps
                    else:
                        self._reported(draft, data)
                        draft.changed()
                else:
                    self._other(kind, seq, draft, data)
                    draft.changed()
            elif kind == "created":
                self.terms = Terms.of(data)
            elif kind == "recorded":
                self.records.append((data["topic"], data["data"]))
                if data["topic"] == "race":
                    self.racing = bool(data["data"]["on"])
            elif kind == "collected":
                self._gone(data["names"])
            else:
                raise _unknown(kind)
            log(-1 if id is None else id)
            self.seq = here = seq

    def _other(self, kind: str, seq: int, draft: Draft, data: Mapping[str, Any]) -> None:
        match kind:
            case "enqueued":
                draft.params, draft.note, draft.given = data["params"], data["note"], data["params"]
                draft.origin = {"search": "enqueue"}
                draft.tags = tuple(data.get("tags", ()))
                draft.again = bool(data.get("again"))
                self._promise(seq, draft)
            case "asked":
                self._asked(seq, draft, data)
            case "proposed":
                self._named(seq, draft, data["params"])
                origin = {**draft.origin, **data["origin"]}
                if origin == self._origin:
                    origin = self._origin  # type: ignore[assignment]
                draft.origin = self._origin = origin
                draft.state = State.RUNNING
            case "resumed":
                draft.state = State.RUNNING
                self.open.add(draft.id)
            case "repeated":
                self._spent(1, data["cost"])
                draft.cost += data["cost"]
            case "told":
                self._told(draft, data)
                draft.state, draft.value = State.DONE, data["value"]
                self._close(draft)
            case "failed" if data["transient"]:
                draft.strikes += 1
            case "failed":
                self._spent(data.get("step", draft.step) - draft.step, data.get("cost", 0.0))
                draft.cost += data.get("cost", 0.0)
                draft.state, draft.error = State.FAILED, data["error"]
                if not draft.proposed and not self._whole(draft):
                    draft.params = {}  # a part of one has no place in the space
                self._close(draft)
            case "noted":
                draft.note, draft.tags = data["note"], tuple(data["tags"])
            case "imported":
                self._imported(seq, draft, data)
            case _:
                raise _unknown(kind)
        if "dropped" in data:
            self._gone(data["dropped"], draft)

    def _asked(self, seq: int, draft: Draft, data: Mapping[str, Any]) -> None:
        draft.seen = seq
        if draft.id in self.waiting:
            self.waiting.remove(draft.id)
        if data.get("params") is not None:
            draft.given = data["params"]
        if data.get("parent"):
            parent = draft.parent = (int(data["parent"][0]), int(data["parent"][1]))
            point = self.progress[parent[0]].trial.at(parent[1])
            if point is not None:
                draft.curve, draft.value = Curve([replace(point, cost=0.0)]), point.value
        if data.get("origin"):
            draft.origin = {**draft.origin, **data["origin"]}
        self.started += 1
        self.open.add(draft.id)

    def _named(self, seq: int, draft: Draft, params: Mapping[str, Any]) -> None:
        """Take in the complete configuration of a trial."""
        if not draft.proposed:
            self.unproposed -= 1
        draft.params, draft.proposed = params, True
        self.keys.setdefault(configuration(params), seq)

    def _promise(self, seq: int, draft: Draft) -> None:
        """Put a guess in the queue; one that is complete has its configuration from here on."""
        self.waiting.append(draft.id)
        if (whole := self._whole(draft)) is not None:
            self.promised.setdefault(configuration(whole), seq)

    def _whole(self, draft: Draft) -> dict[str, Any] | None:
        """Return the one configuration that a guess can mean, None when it leaves something open."""
        try:
            return complete(self.terms.space, draft.given) if draft.given and self.terms else None
        except SpaceError:
            return None  # a record that was damaged: whoever verifies it says so

    def taken(self, key: str) -> int | None:
        """Return the event since which a trial has the configuration with this key, or a guess will; None when none has."""
        found = [seq for seq in (self.keys.get(key), self.promised.get(key)) if seq is not None]
        return min(found, default=None)

    def _imported(self, seq: int, draft: Draft, data: Mapping[str, Any]) -> None:
        draft.state, draft.value, draft.error = State(data["state"]), data["value"], data["error"]
        draft.note, draft.tags, draft.origin = data["note"], tuple(data["tags"]), data["origin"]
        draft.curve = Curve(Point(*row) for row in data["curve"])
        cost, parent = data.get("cost"), data.get("parent")
        draft.cost = float(sum(p.cost for p in draft.curve)) if cost is None else cost
        draft.parent = None if parent is None else (int(parent[0]), int(parent[1]))
        draft.reported = bool(draft.curve)
        if draft.state is State.WAITING:
            draft.params = data["params"]
            draft.given = data["params"] or None  # nothing given: the searcher is asked
            self._promise(seq, draft)
            return
        if draft.state is State.FAILED and not data["params"]:
            self.unproposed -= 1  # it failed before it had a configuration
            return
        self._named(seq, draft, data["params"])
        if draft.state is State.RUNNING:  # nobody works on it: whoever asks next goes on with it
            self.open.add(draft.id)

    @property
    def _steps(self) -> int:
        return self.terms.steps if self.terms else 1

    def _spent(self, steps: int, cost: float) -> None:
        self.steps += steps
        self.cost += cost

    def _close(self, draft: Draft) -> None:
        if not draft.proposed and (draft.id in self.open or draft.id in self.waiting):
            self.unproposed -= 1  # it takes no configuration
        self.open.discard(draft.id)
        if draft.id in self.waiting:
            self.waiting.remove(draft.id)

    def _told(self, draft: Draft, data: Mapping[str, Any]) -> None:
        if draft.step >= self._steps:  # no second point: what was measured at the end joins the last one
            if data["metrics"]:
                last = draft.curve[-1]
                draft.curve = Curve([*draft.curve[:-1], replace(last, metrics={**last.metrics, **data["metrics"]})])
            return
        # a trial that never reported was trained to the end all the same
        steps = 0 if draft.reported else self._steps - draft.step
        self._spent(steps, float(steps))
        draft.curve = draft.curve.extended(self._steps, data["value"], float(steps), data["metrics"])
        draft.cost += steps

    def _reported(self, draft: Draft, data: Mapping[str, Any]) -> None:
        step, value, get = data["step"], data["value"], data.get
        steps = step - draft.curve.last
        cost = get("cost", float(steps))
        self.steps += steps
        self.cost += cost
        metrics = get("metrics", _NOTHING)
        if draft.fresh:  # nobody has seen this curve
            draft.curve.grow(step, value, cost, metrics)
        else:
            draft.curve = draft.curve.extended(step, value, cost, metrics)
        draft.value = value
        draft.cost += cost
        draft.reported, draft.strikes = True, 0
        if "verdict" in data and data["verdict"] != "GO":
            draft.state = State.PAUSED if data["verdict"] == "PAUSE" else State.STOPPED
            self.open.discard(draft.id)
        if "checkpoint" in data:
            name = data["checkpoint"]
            draft.checkpoints = (*draft.checkpoints, (step, name))
            self.stored[name] = data.get("bytes", 0)
        if "dropped" in data:
            self._gone(data["dropped"], draft)

    def _gone(self, names: Iterable[str], draft: Draft | None = None) -> None:
        """Take in that checkpoints were deleted."""
        for name in names:
            self.stored.pop(name, None)
            owner = self.progress[int(name.partition("/")[0])] if draft is None else draft
            owner.checkpoints = tuple(c for c in owner.checkpoints if c[1] != name)

    def repeatable(self, id: int) -> bool:
        """Return whether trial `id` may have the configuration of another one: unless it is a guess that did not ask for it."""
        draft = self.progress[id]
        return draft.again or draft.origin.get("search") != "enqueue"

    def checkpoints(self, id: int) -> list[tuple[int, str]]:
        """Return (step, file name) of the checkpoints trial `id` can go on from, the latest last; its parent's comes before its own."""
        own = list(self.progress[id].checkpoints)
        if (parent := self.progress[id].parent) is not None:
            own[:0] = [c for c in self.progress[parent[0]].checkpoints if c[0] == parent[1]]
        return own

    def moment(self, *, instead: Trial | None = None) -> Trials:
        """Return the trials as they are now; `instead` stands in the place of the trial with its id, to be judged."""
        assert self.terms is not None
        t = self.terms
        return self._moments.take(t.space, t.goals, t.steps, seq=self.seq, like=t.like, instead=instead)


def _unknown(kind: str) -> StudyError:
    return StudyError(f"journal: unknown event {kind!r}. It may be from a newer version of whet: upgrade.")


def with_point(trial: Trial, point: Point) -> Trial:
    """Return the trial with one more report."""
    return replace(trial, curve=trial.curve.plus(point), value=point.value, cost=trial.cost + point.cost)
