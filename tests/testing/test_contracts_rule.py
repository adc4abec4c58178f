"""Every rule keeps every promise of `RULE`, alone and in chains."""

from __future__ import annotations

import pytest

from whet.distributed.named import RULES, parse_rule
from whet.testing import RULE

OPTIONS = {
    "bounded": "s=2", "accumulate": "every=2", "average": "every=2", "diloco": "every=2", "elastic": "every=2, alpha=0.3",
    "ec": "every=2", "codistil": "every=2", "clip": "norm=1.5", "finite": "huge=20, quarantine=3",
}  # fmt: skip
ALONE = [f"{name}({OPTIONS[name]})" if name in OPTIONS else name for name in RULES]
CHAINS = [
    "finite(huge=1000, quarantine=2) + sync", "sync + finite", "finite + clip(norm=1) + weighted + dc-asgd",
    "dc-asgd + finite", "bounded(s=0) + discount", "dc-asgd-c(lambda=0.123456789) + sync + clip(norm=1)",
    "finite + average(every=3)", "finite(huge=50, quarantine=2) + elastic(every=1)", "finite + ec(every=2)", "finite + codistil(every=1)",
    "bounded(s=1) + elastic(every=2)", "accumulate(every=3) + weighted + bounded(s=1)", "finite + accumulate(every=2) + sync",
]  # fmt: skip


@pytest.mark.parametrize("clause", RULE, ids=lambda c: c.__name__)
@pytest.mark.parametrize("text", [*ALONE, *CHAINS])
def test_rule(text, clause):
    clause(lambda: parse_rule(text))
