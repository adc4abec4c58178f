"""What trials failed of, in one line: what differs in its numbers alone is one reason."""

from __future__ import annotations

import pytest

from whet.tune.failure import commonest
from whet.tune.space import Space
from whet.tune.trial import State, Trial, Trials


@pytest.mark.parametrize(
    ("messages", "said"),
    [
        ([], ""),
        (["nan at step 7"], "1 failed: E: nan at step 7"),
        (["nan at step 7"] * 2, "2 failed: E: nan at step 7"),
        (["nan at step 7", "nan at step 1"], "2 failed: all like E: nan at step 7"),
        (["no", "nan at step 1", "nan at step 7", "nan at step 7"], "4 failed: most often (3 times) like E: nan at step 7"),
        (["no", "nan", "nan"], "3 failed: most often (2 times) E: nan"),
        (["no", "nan"], "2 failed: each for another reason, such as E: no"),
    ],
)  # fmt: skip
def test_the_commonest_reason(messages, said):
    failed = [Trial(i, {}, State.FAILED, error={"type": "E", "message": m}) for i, m in enumerate(messages)]
    assert commonest(Trials([*failed, Trial(len(failed), {}, State.DONE, value=1.0)], space=Space())) == said
