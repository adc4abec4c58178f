"""The weights of a trial are those that its value is of."""

import pytest
import torch
from torch import nn

import whet
from whet.errors import StudyError
from whet.train.hooks.follow import Follow
from whet.train.hooks.kept import weights
from whet.train.hooks.torch_state import Parts

LOSSES = (0.5, 0.25, 0.375, 0.4375, 0.125)


def searched(stop=None, *, save=True, value=None, losses=LOSSES, parts=Parts):
    """Return a study of one trial whose one weight is its loss at every step."""

    def objective(params, run):
        model, hook = nn.Linear(1, 1, bias=False), Follow(run, None, stop, save)
        hook.begin(parts(model))
        for loss in losses:
            with torch.no_grad():
                model.weight.fill_(loss)
            if not hook.point({"loss": loss}):
                break
        hook.close()
        assert value is not None or hook.value == float(model.weight)
        return hook.value if value is None else value

    return whet.Study(whet.Space(x=whet.Float(0, 1)), steps=5, schedule="full", seed=0).run(objective, trials=1)


class Within(Parts):
    """A state that has the parts beside other things, as Lightning's."""

    def state(self):
        return {"parts": super().state(), "counters": {}}


@pytest.mark.parametrize(
    ("stop", "losses", "weight"),
    [
        (None, LOSSES, 0.125),  # all steps
        (None, LOSSES[:3], 0.375),  # ended by itself
        ("patience 2", LOSSES, 0.25),  # the best came back
        ("target 0.25", LOSSES, 0.25),  # the last is the best
        ("patience 3", LOSSES, 0.125),  # the criterion was not met
    ],
)
def test_they_are_those_of_the_value(stop, losses, weight):
    for parts in (Parts, Within):
        study = searched(stop, losses=losses, parts=parts)
        assert study.best.value == weight
        assert float(weights(study)["weight"]) == weight
        assert float(weights(study, 0)["weight"]) == weight


def test_what_is_not_there_is_refused():
    with pytest.raises(StudyError, match="no weights of trial 0: it left no checkpoint"):
        weights(searched(save=False))
    with pytest.raises(
        StudyError, match="its loss is not that of the state at step 3, so its framework put others back"
    ):
        weights(searched(losses=LOSSES[:3], value=0.25))
    with pytest.raises(StudyError, match="trial 7: no such trial"):
        weights(searched(), 7)
    empty = whet.Study(whet.Space(x=whet.Float(0, 1)))
    with pytest.raises(StudyError, match="no trial has a value yet"):
        weights(empty)

    def other(params, run):
        for _ in run:
            run.report(1.0, {"mine": 1})

    study = whet.Study(whet.Space(x=whet.Float(0, 1)), steps=2, schedule="full").run(other, trials=1)
    with pytest.raises(StudyError, match="its checkpoint is none of a hook's"):
        weights(study)
