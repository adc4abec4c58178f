"""Which words name the cause of which bug.

For whet's own findings the catalogue says it (code and words). For all others, and for exceptions of the program that every tool shows,
the table below: an alarm that matches the first pattern names the cause of the bugs whose titles match the second one. It was made by
reading every alarm of a full run, in favour of the tools where in doubt: naming the part that is wrong is enough.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from checking.programs import Program

__all__ = ["named"]

UNTRAINED = (
    r"optimizer of|optimizer holds|detached|computed and not added|multiplied by 0|never sees the code|without an embedding|"
    r"input not used|replaced by zeros"
)
CAUSES: tuple[tuple[str, str], ...] = (
    # exceptions of PyTorch
    (r"raises RuntimeError: .*does not require grad", r"no_grad around|compared with themselves"),
    (r"Target \d+ is out of bounds", r"too few outputs|class too many|class number beyond"),
    (r"mat1 and mat2 shapes cannot be multiplied", r"wrong width"),
    (r"has no attribute 'backward'", r"loss is a float"),
    (r"grad can be implicitly created only for scalar", r"loss is a vector"),
    (r"more than 1 value per channel", r"batch of one example"),
    (r"modified by an inplace operation", r"addition in place"),
    (r"batch_size .* to match target batch_size", r"last example's states|over the examples in place of the steps"),
    (r"backward through the graph a second time", r"state carried on"),
    (r"target size .*different to the input size", r"\(n, 1\) against"),
    # parameters that do not learn: torchtest, Live
    (r"did not change!|^PC: .*no step seen so far changed", UNTRAINED),
    (r"^ACT: .* dead", r"dead relu"),
    # not finite: torchtest, trainproof, Live
    (r"NaN|loss is nan", r"log of negative inputs"),
    # trainproof
    (r"^TP-ZERO-GRAD", r"clamped"),
    (r"^TP-OBJ-LABEL-SHIFT-DOUBLE", r"not shifted"),
    # Lightning's own exceptions, and what a person reads
    (r"training_step` must return a Tensor", r"loss is a float"),
    (r"`self\.log\(train_loss, tensor\(\[", r"loss is a vector"),
    (r"^lr_find: the rate is", r"learning rate 1"),
    # TrainCheck
    (r"changes Parameter\.(data|grad)\b", UNTRAINED),
)


def named(program: Program, alarms: Mapping[str, str]) -> bool:
    """Whether the words of an alarm say what is wrong with the program."""
    bug = program.bug
    assert bug is not None
    for kind, words in alarms.items():
        if kind in bug.code.split() and bug.words in words:
            return True
        text = f"{kind}: {words}"
        if any(re.search(said, text) and re.search(titles, program.name) for said, titles in CAUSES):
            return True
    return False
