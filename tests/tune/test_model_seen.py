"""Trials as arrays: the same whether they were seen to grow or at once, and in the order of their ids."""

from __future__ import annotations

import numpy as np

from whet import seed as streams
from whet.testing import SPACES, Play
from whet.tune.search.model.climb import fingerprint
from whet.tune.search.model.seen import Seen
from whet.tune.trial import State


def test_what_was_seen_to_grow_is_what_is_seen_at_once():
    study, rng, growing = Play(SPACES["branches"], steps=9), streams.rng(0), Seen()
    for n in range(400):
        id = study.ask()
        growing.look(study.trials)
        study.set(id, params=study.space.sample(rng), state=State.RUNNING)
        late = max(0, n - int(rng.integers(5)))  # ends come in another order than starts
        if study.trials[late].state is State.RUNNING:
            if rng.random() < 0.2:
                study.set(late, state=State.FAILED, error={"type": "MemoryError"})
            elif rng.random() < 0.5:
                study.report(late, 3, float(n), State.PAUSED)
            else:
                study.tell(late, float(-n))
        if n % 7 == 0 or n > 390:
            seen, once = growing.look(study.trials), Seen().look(study.trials)
            for name in ("ids", "rows", "scores", "failed", "failed_ids", "running"):
                np.testing.assert_array_equal(getattr(seen, name), getattr(once, name), err_msg=f"{name}, {n}")
    trials, view = study.trials, growing.look(study.trials)
    assert len(view.ids) + len(view.failed_ids) + len(view.running) == 400
    assert view.failed_ids.tolist() == [t.id for t in trials if t.state is State.FAILED]
    told = dict(zip(view.ids.tolist(), view.scores.tolist(), strict=True))
    assert list(told) == [t.id for t in trials if t.value is not None and t.state is not State.FAILED]
    done = [t for t in trials if t.state is State.DONE]
    assert [told[t.id] for t in done] == [t.value for t in done]
    assert growing.tried == {fingerprint(study.space.encode(t.params)) for t in trials}


def test_views_do_not_change_when_more_is_seen():
    study, seen = Play(SPACES["line"]), Seen()
    study.set(study.ask(), params={"x": 0.5}, state=State.RUNNING)
    study.tell(0, 1.0)
    before = seen.look(study.trials)
    study.set(0, value=7.0)
    assert seen.look(study.trials).scores.tolist() == [7.0]
    assert before.scores.tolist() == [1.0]


def test_who_went_on_from_weights_of_another_configuration_says_nothing_of_its_own():
    """What a child of a population comes to is not what its last configuration does; one that kept its parent's configuration is counted, and a failure too."""
    study, seen = Play(SPACES["line"], steps=9), Seen()
    for _ in range(2):
        study.set(study.ask(), params={"x": 0.5}, state=State.RUNNING)
    study.report(0, 3, 4.0, State.STOPPED)
    study.report(1, 3, 2.0, State.STOPPED)
    for x, parent in ((0.4, 1), (0.4, 2), (0.5, 1), (0.6, 1), (0.6, 1)):
        study.set(study.ask(), params={"x": x}, parent=(parent, 3), state=State.RUNNING)
        seen.look(study.trials)
    assert len(seen.look(study.trials).running) == 1, "the one with its parent's configuration"
    for id in (2, 3, 4):
        study.tell(id, 1.0 / id)
    study.set(5, state=State.FAILED, error={"type": "MemoryError"})
    for view in (seen.look(study.trials), Seen().look(study.trials)):
        assert view.ids.tolist() == [0, 1, 4]
        assert view.inherited.tolist() == [2, 3, 6]
        assert view.failed_ids.tolist() == [5]
        assert len(view.running) == 0
    assert len(seen.tried) == 3, "what they have is not proposed again"
