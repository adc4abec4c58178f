from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from whet.errors import CheckpointError
from whet.tune.codec import pack, unpack


class Mine:
    pass


@pytest.mark.parametrize(
    "state",
    [
        {"epoch": 3, "rows": [1, 2.5, None, True, "x"]},
        {"w": np.arange(6.0).reshape(2, 3), "n": np.int64(4), "pair": (1, (2,)), 7: b"seven", "big": 10**40},
        {"inf": float("inf"), ("a", 1): [float("-inf")]},
        (np.zeros((0, 3), np.float16), {"d": np.array(["a", "bc"])}),
    ],
)
def test_plain_and_numpy_states_come_back_exactly(state):
    back = unpack(pack(state))
    assert repr(back) == repr(state)
    assert type(back) is type(state)


def test_they_need_no_torch():
    code = (
        "import sys, numpy as np\nfrom whet.tune.codec import pack, unpack\n"
        "assert unpack(pack({'w': np.ones(2), 't': (1, float('nan'))}))['w'][1] == 1\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_torch_inside_numpy_takes_torchs_codec():
    import torch

    state = {"a": np.ones(2), "b": [torch.ones(3), {"c": torch.zeros(1, dtype=torch.bfloat16)}]}
    back = unpack(pack(state))
    assert torch.equal(back["b"][0], torch.ones(3))
    assert back["b"][1]["c"].dtype is torch.bfloat16
    assert np.array_equal(back["a"], np.ones(2))


@pytest.mark.parametrize(
    ("state", "path"),
    [
        ({"a": [1, {"b": Mine()}]}, "a.1.b: Mine"),
        ({"f": print}, "f: builtin"),
        ({"w": np.ones(1), "m": Mine()}, "m: Mine"),
    ],
)
def test_what_nobody_takes_is_refused_by_its_path(state, path):
    with pytest.raises(CheckpointError, match=path) as e:
        pack(state)
    assert len(str(e.value).splitlines()) == 1


def test_a_state_that_contains_itself_is_refused():
    state: list = [(1, 2)]
    state.append(state)
    with pytest.raises(CheckpointError, match="without end"):
        pack(state)


def test_a_state_of_a_package_that_is_not_here():
    with pytest.raises(CheckpointError, match="no codec for values of `theirs`"):
        unpack({"$codec": "theirs", "tree": {}})
