from __future__ import annotations

from whet.testing import SPACES, Play
from whet.tune.follow import Follow
from whet.tune.trial import State, Trials


def ids(news):
    return news[0], [t.id for t in news[1]]


def test_only_what_changed_is_told():
    study, follow = Play(SPACES["line"], 3), Follow()
    assert ids(follow.news(study.trials)) == (True, [])
    for _ in range(3):
        study.ask()
    assert ids(follow.news(study.trials)) == (False, [0, 1, 2])
    study.report(1, 1, 0.5)
    study.report(1, 2, 0.5)
    now = study.trials
    assert ids(follow.news(now)) == (False, [1])
    assert ids(follow.news(now)) == (False, [])


def test_a_trial_shown_ahead_of_its_event_is_told_again():
    study, follow = Play(SPACES["line"], 3), Follow()
    study.ask()
    study.ask()
    follow.news(study.trials)
    _, ahead = study.ahead(1, 1, 0.5)
    assert [t.step for t in follow.news(ahead)[1]] == [1]
    assert [t.step for t in follow.news(study.trials)[1]] == [0]  # the event was never written
    assert ids(follow.news(study.trials)) == (False, [])
    follow.news(ahead)
    study.report(1, 1, 0.5, State.PAUSED)
    assert [t.state for t in follow.news(study.trials)[1]] == [State.PAUSED]


def test_another_study_or_an_earlier_moment_begins_again():
    one, other, follow = Play(SPACES["line"]), Play(SPACES["line"]), Follow()
    one.ask()
    early = one.trials
    one.ask()
    other.ask()
    assert [ids(follow.news(t)) for t in (one.trials, early, one.trials, other.trials, one.trials)] == [
        (True, [0, 1]),
        (True, [0]),
        (False, [1]),
        (True, [0]),
        (True, [0, 1]),
    ]


def test_trials_without_a_log_are_taken_in_whole():
    trials, follow = Trials([], space=SPACES["line"]), Follow()
    assert [ids(follow.news(trials)) for _ in range(2)] == [(True, [])] * 2
