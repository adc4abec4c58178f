"""What `whet study show NAME ID` says of where a trial came from."""

from __future__ import annotations

from typing import Any

import pytest

from whet.cli.study.one import _origin
from whet.tune.trial import Trial


@pytest.mark.parametrize(
    ("origin", "said"),
    [
        ({}, "not proposed yet"),
        ({"search": "sobol", "index": 3}, "search sobol, index 3"),
        ({"search": "cma", "cma": {"generation": 4, "at": [0.5], "ranked": [1, 2]}}, "search cma, generation 4"),
        ({"search": "zoom", "zoom": {"pass": 0}}, "search zoom, pass 0"),
        (
            {"search": "zoom", "zoom": {"pass": 2, "since": 0, "around": 7, "ranges": {"x": [0, 1]}}},
            "search zoom, pass 2, around 7",
        ),
        ({"search": "zoom", "zoom": "odd"}, "search zoom, zoom odd"),
        (
            {"search": "trego", "trego": {"step": "local", "length": 0.25, "around": 7}},
            "search trego, step local, around 7, length 0.25",
        ),
        (
            {"search": "evolution", "evolution": {"parent": 4, "changed": ["lr", "optimizer.momentum"]}},
            "search evolution, parent 4, changed lr and optimizer.momentum",
        ),
        (
            {"search": "hypergradient", "hypergradient": {"from": 3, "length": 0.05, "try": 2}},
            "search hypergradient, from 3, length 0.05, try 2",
        ),
        ({"search": "gp", "like": {"study": "a", "trial": 2}}, "search gp, from trial 2 of study a"),
    ],
)
def test_an_origin_in_words(origin: dict[str, Any], said: str) -> None:
    assert _origin(Trial(0, origin=origin)) == said
