"""Search spaces of every shape that a strategy must cope with."""

from __future__ import annotations

from whet.tune.space import Choice, Const, Float, Int, Ordered, Space

__all__ = ["SPACES"]

#: Spaces by what is peculiar about them.
#:
#: >>> SPACES["finite"].size
#: 18
SPACES: dict[str, Space] = {
    "line": Space(x=Float(-1.0, 2.0)),
    "mixed": Space(
        lr=Float(1e-5, 1e-1, log=True),
        width=Int(16, 512, log=True),
        batch=Ordered((16, 32, 64, 128)),
        norm=Choice(["batch", "none", True, 1]),
        classes=Const(10),
    ),
    "branches": Space(
        optimizer=Choice(
            {
                "sgd": Space(momentum=Float(0.0, 0.99), nesterov=Choice([True, False])),
                "adam": Space(),
                "other": Space(kind=Choice({"a": Space(depth=Int(1, 3)), "b": None})),
            }
        ),
        decay=Float(1e-6, 1e-2, log=True, prior=(1e-4, 0.2), live=True),
    ),
    "constrained": Space(width=Int(1, 40), depth=Int(1, 12), p=Float(0.0, 1.0)).where("width * depth <= 60"),
    "finite": Space(a=Int(1, 3), b=Choice({"x": Space(c=Ordered((1, 2, 4, 8, 16))), "y": None})),
    "one point": Space(k=Const("only")),
    # members of two branches that have the same name and nothing else in common
    "namesakes": Space(
        optimizer=Choice(
            {
                "sgd": Space(rate=Float(1e-2, 1.0, log=True), decay=Choice([True, False]), warm=Ordered((0, 1, 5))),
                "adam": Space(rate=Float(1e-5, 1e-2, log=True), decay=Float(0.0, 0.3), warm=Const(0)),
                "other": Space(rate=Int(1, 9), decay=Choice({"some": Space(by=Float(0.0, 1.0)), True: None})),
            }
        ),
        width=Int(1, 64, log=True),
    ),
}
