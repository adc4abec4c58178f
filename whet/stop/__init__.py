"""When to stop: one run, or a whole study. Criteria over a curve, alone or together (`a | b`, `a & b`), also as text.

A criterion is a frozen function of the curve so far, so it says the same after a resume; the curve's owner asks it.

    stop = parse("target 0.99 | patience 5", better="max")
    for point in run:
        curve.append(point)
        if why := stop(curve):
            break
"""

from __future__ import annotations

from whet.stop.combine import All, Any
from whet.stop.criterion import Cost, Diverged, Patience, Steps, Target, Time
from whet.stop.gain import Gain, expected_gain
from whet.stop.point import Better, Curve, Reading, Reported, Stop, best, curve
from whet.stop.text import RUN, STUDY, parse
from whet.stop.walk import divergence, needs_noise

__all__ = [
    "RUN", "STUDY", "All", "Any", "Better", "Cost", "Curve", "Diverged", "Gain", "Patience", "Reading", "Reported", "Steps",
    "Stop", "Target", "Time", "best", "curve", "divergence", "expected_gain", "needs_noise", "parse",
]  # fmt: skip
