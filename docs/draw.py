"""Draw the pictures of the pages, as small SVG files in docs/pictures. Run it after a change of what they show.

    python docs/draw.py            write them all
    python docs/draw.py --check    say which are not what the code does now (exit code 1)

search-NAME.svg: the first 40 proposals of each searcher on one function of two numbers. schedule-NAME.svg: how far each scheduler trains the same 25
trials of one made-up task (a population has one of its own, with weights to share, and a race one over folds). gp.svg: what a Gaussian process believes of a function of one number, and what it would try next.
hyperband.svg: one round of Hyperband, trial by trial. zoom.svg: what each pass of a zoom looks at. importance.svg: what matters, told from 100 trials, beside
what is true. front.svg: what a study with two goals trades; front-gp.svg: the same by gp, as it was proposed once. front-stopping.svg: which of its trials are trained to the end.
winner.svg: the best of a study as trials come in, raw and less the luck of choosing.
portfolio.svg: who makes each trial of a portfolio.
evolution.svg: who is whose child.
architectures.svg: a recorded search for a network.
comparing.svg: strategies on the digits, from figures measured once.
Searchers are played without noise, seed 0; nothing is random beside them.

Another processor may round a model otherwise and so propose something else after many trials. So each picture of a searcher holds its
proposals, and the check makes every one of them again from those before it.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from drawing.believed import believed, sliced
from drawing.compared import compared, measured
from drawing.descended import descended, descending
from drawing.grown import growing, grown
from drawing.lucky import lucky, trying
from drawing.mattering import mattered, weighed
from drawing.populated import populated
from drawing.raced import Folds, raced, racing
from drawing.schedulers import brackets, scheduled
from drawing.searchers import proposed, recorded, searched
from drawing.shared import shared, sharing
from drawing.stopped import stopped, stopping
from drawing.traded import recorded as recorded_front
from drawing.traded import traded, trading
from drawing.zoomed import zoomed, zooming

from whet.tune.schedule import NAMES as SCHEDULERS
from whet.tune.search import NAMES as SEARCHERS

PICTURES = Path(__file__).resolve().parent / "pictures"


def main(argv: list[str]) -> int:
    """Write the pictures, or look whether they are what the code does now."""
    PICTURES.mkdir(exist_ok=True)
    wrong = []
    for name, text in pictures(kept="--check" in argv):
        path = PICTURES / name
        if "--check" not in argv:
            path.write_text(text, encoding="utf-8")
            print(f"{path.relative_to(PICTURES.parent)}  {path.stat().st_size:,} bytes")
        elif not path.exists() or not same(text, path.read_text(encoding="utf-8")):
            wrong.append(name)
            print(f"{name}: not what the code does now. Run python docs/draw.py.")
    return 1 if wrong else 0


def pictures(*, kept: bool = False) -> Iterator[tuple[str, str]]:
    """Yield (file name, SVG) of every picture; kept: go by the proposals of the pictures there are, where made again they are the same."""
    for name in dict.fromkeys(["auto", *SEARCHERS.known]):
        there = PICTURES / f"search-{name}.svg"
        yield there.name, searched(name, proposed(name, recorded(there) if kept else None))
    for name in dict.fromkeys(["auto", *SCHEDULERS.known]):
        if name == "race":
            yield f"schedule-{name}.svg", raced(folds := Folds(), racing(folds))
            continue
        yield f"schedule-{name}.svg", populated() if name == "population" else scheduled(name)
    yield "gp.svg", sliced(believed())
    yield "hyperband.svg", brackets()
    yield "zoom.svg", zoomed(zooming())
    yield "importance.svg", weighed(mattered())
    yield "front.svg", traded(trading())
    yield "front-gp.svg", traded(recorded_front())
    yield "front-stopping.svg", stopped(stopping("min error"), stopping("min error", "min ms"))
    yield "winner.svg", lucky(trying())
    yield "portfolio.svg", shared(sharing())
    yield "evolution.svg", descended(descending())
    yield "architectures.svg", grown(growing())
    yield "comparing.svg", compared(measured())


def same(a: str, b: str, apart: float = 2.0) -> bool:
    """Return whether two pictures say the same, with places that are less than `apart` pixels from each other."""
    number, words = r"-?\d+(?:\.\d+)?", r">([^<]+)<"
    if re.findall(words, a) != re.findall(words, b) or re.sub(number, "#", a) != re.sub(number, "#", b):
        return False
    x, y = (np.array(re.findall(number, t), float) for t in (a, b))
    return len(x) == 0 or float(np.abs(x - y).max()) < apart


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
