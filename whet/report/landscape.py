"""What a model of the trials expects: slices along the dimensions it expects to differ most along, a map over two, what it would try next.

What matters is for `whet.report.importance` alone to say, which asks whether it is more than chance.
"""

from __future__ import annotations

from whet import seed as streams
from whet.errors import WhetError
from whet.report.block import Block, Prose, Section
from whet.report.frame import Frame
from whet.report.maps import maps
from whet.report.marks import shown, word
from whet.report.parallel import listed
from whet.report.quantity import clean, count, show
from whet.report.slices import slice_plot
from whet.tune.domain import same
from whet.tune.importance.result import Importance
from whet.tune.landscape import Landscape, landscape
from whet.tune.layout import apart
from whet.tune.slice import Slice
from whet.tune.told import told
from whet.tune.trial import Trials

__all__ = ["expected", "landscape_section"]

_LEAST, _MOST = 8, 300  # trials with a value in whose report there is such a section
_FEW = 20  # trials with a value below which a report does not say what matters
_SLICES = 4
_SIDE = 33  # values of each axis of a map


def expected(trials: Trials, seed: int = 0, *, matter: Importance | None = None) -> Section | None:
    """Return the section as a report has it, None for fewer than 8 trials with a value of their own, more than 300, or where no model can be made.

    seed: the study's, so that what is tried next is what the study would; matter: what the same report says of what matters.

    >>> from whet.tune.space import Float, Space
    >>> from whet.tune.trial import State, Trial
    >>> done = [Trial(k, {"lr": k / 9}, State.DONE, value=(k / 9 - 0.3) ** 2) for k in range(10)]
    >>> expected(Trials(done, space=Space(lr=Float(0, 1)))).sentence
    'The best is expected near lr 0.3.'
    """
    if not _LEAST <= len(told(trials)) <= _MOST or not trials.space.dims:
        return None
    try:
        found = landscape(trials, rng=streams.rng(seed, len(trials), 0, "propose"))
        return landscape_section(found, found.slices(_SLICES), matter=matter)
    except WhetError:  # trials that are no configurations of the space: other sections say what there is
        return None


def landscape_section(
    found: Landscape,
    slices: tuple[Slice, ...],
    *,
    map: Slice | None = None,
    whole: bool = False,
    matter: Importance | None = None,
) -> Section:
    """Return the section of some slices, the most telling first.

    map: over two dimensions (default: the first two of `Landscape.weights`); whole: with the maps of doubt and of the chance of
    failing; matter: what is known of what matters, so that what may be chance is said to be that.
    """
    best = found.trials.best
    id = None if best is None else best.id
    names = list(found.weights)
    if map is None and len(names) > 1:
        map = found.slice(*names[:2], points=_SIDE)
    frame = Frame.of(found.trials.goal, slices)
    blocks: list[Block] = [Prose(_how(found))]
    blocks += [slice_plot(s, frame, first=s.axes[0].name == names[0], best=id) for s in slices]
    if map is not None:
        blocks += maps(map, best=id, all=whole)
    return Section(
        "landscape",
        "What the model expects",
        _sentence(found) + _doubt(found, matter, "whet study importance tells more" if whole else "see What matters"),
        tuple(blocks),
    )


def _how(found: Landscape) -> str:
    n, held = found.worth.n, len(found.posterior.process.rows)
    of = f"the {held} most telling of {count(n, 'trial')}" if held < n else count(n, "trial")
    text = (
        f"A Gaussian process with a Matern 5/2 kernel and a length scale for each dimension, fitted to {of} with a value:"
        f" the model that --search gp proposes from. A picture changes one value of {found.origin} and keeps its others:"
        " a cut through the space, not an average over it. The line is the value expected when trained to the end, the band or bar holds it"
        " with 95 %. A dot is a trial, the darker the more it tells of this cut; the star is the best trial"
    )
    kinds = found.kinds
    text += "; a ring was not trained to the end" if "partial" in kinds else ""
    text += "; a cross failed" if "failed" in kinds else ""
    text += "; a triangle still runs" if "running" in kinds else ""
    if "inherited" in kinds:
        text += "; a square went on from weights of another configuration, and is left out of the model"
    worst = found.pulled
    if found.next is not None:
        text += "; the diamond is what the model would try next, with its own other values"
    text += f". To the model what is worse than {show(worst)} is no worse than that" if worst is not None else ""
    text += ". The strip below says how much a place is worth trying, 1 being the best of the picture"
    if len(found.weights) > 1:
        text += ". Percentages are of what the model expects to differ over the whole space: the part that a dimension has in it, be it more than chance or not"
    return text + "."


def _sentence(found: Landscape) -> str:
    slices = [s for s in found.slices(_SLICES) if s.clear]
    goal = clean(found.trials.goal.name)
    if not slices:
        return (
            f"No dimension stands out: along each, what the model expects of {goal} differs by less than it is sure of."
        )
    places = [f"{clean(s.axes[0].name)} {word(s.axes[0].values[s.best[0]], s.axes[0].domain)}" for s in slices]
    names = [f"{clean(s.axes[0].name)} ({shown(s.weight[0])})" for s in slices]
    text = f"The best is expected near {listed(places)}"
    if len(found.weights) == 1:
        return text + "."
    if slices[0].axes[0].name == next(iter(found.weights)):
        text += f"; most of what differs is expected along {names[0]}"
        return text + (f", then {listed(names[1:])}." if len(names) > 1 else ".")
    return f"{text}; along {listed(names)} a difference is expected."


def _doubt(found: Landscape, matter: Importance | None, more: str) -> str:
    """Return what of the sentence may be chance, by what the section of what matters says, or as there are too few trials for one; "" when nothing is.

    more: where that is told.
    """
    named = [s.axes[0].name for s in found.slices(_SLICES) if s.clear]
    if not named or len(found.weights) < 2:
        return ""
    if matter is None:
        return f" With {count(found.worth.n, 'trial')} that may be chance." if found.worth.n < _FEW else ""
    verdicts = {p.name: p.verdict for p in matter.parts}
    dims = found.trials.space.dims
    here = {
        dim.name: verdicts.get(name)
        for dim, name in zip(dims, apart(dims), strict=True)
        if all(same(found.around.get(choice), option) for choice, option in dim.when)
    }
    some = [clean(n) for n in named if here.get(n) != "matters"]
    if not some:
        return ""
    which = "That" if len(some) == len(named) else f"What is expected along {listed(some)}"
    return f" {which} may be chance: {more}."
