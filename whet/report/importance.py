"""What matters in a study: shares with their intervals, what two do together, and the curve of each dimension with its band."""

from __future__ import annotations

from typing import Any

from whet.errors import WhetError
from whet.report.block import Block, Plot, Prose, Section, Table, label
from whet.report.marginal import marginal_plot
from whet.report.marks import shown
from whet.report.parallel import listed
from whet.report.quantity import Share, clean, count, show
from whet.tune.importance import importance
from whet.tune.importance.result import Importance, Part
from whet.tune.told import told
from whet.tune.trial import Trials

__all__ = ["importance_section", "in_short", "sentence", "weighed"]

_LEAST, _MOST = 20, 5000  # trials with a value in whose report there is such a section
_QUICK = 400
_CURVES = 4
_PAIRS = 6


def weighed(trials: Trials) -> Importance | None:
    """Return what a report says of what matters, None for fewer than 20 trials with a value of their own, more than 5,000, one dimension, or where nothing can be said.

    >>> from whet.tune.space import Float, Space
    >>> from whet.tune.trial import State, Trial
    >>> drawn = [{"lr": k / 39, "wd": k * 7 % 40 / 39} for k in range(40)]
    >>> done = [Trial(k, p, State.DONE, value=(p["lr"] - 0.3) ** 2) for k, p in enumerate(drawn)]
    >>> weighed(Trials(done, space=Space(lr=Float(0, 1), wd=Float(0, 1)))).parts[0].name
    'lr'
    """
    dims = sum(dim.varies for dim in trials.space.dims)
    if not _LEAST <= len(told(trials)) <= _MOST or dims < 2:
        return None
    try:
        return importance(trials, pairs=dims <= 12)
    except WhetError:  # trials that are no configurations of the space: other sections say what there is
        return None


def in_short(trials: Trials) -> str:
    """Return `sentence`, "" where nothing is said to matter, for fewer than 20 trials with a value of their own, and for more than 400, of which it takes seconds.

    >>> from whet.tune.space import Space
    >>> in_short(Trials([], space=Space()))
    ''
    """
    if not _LEAST <= len(told(trials)) <= _QUICK:
        return ""
    try:
        found = importance(trials)
    except WhetError:
        return ""
    return sentence(found) if found.said("matters") else ""


def sentence(found: Importance) -> str:
    """Return what matters, what does not, and of what one cannot tell, in words."""
    near = f" among the best {shown(found.top)}" if found.top is not None else ""
    goal = clean(found.goal.name)
    if not found.predicts:
        return f"Cannot tell what matters{near}: from {count(found.trials, 'trial')} the model does not predict {goal} (R2 {found.r2:.2f})."
    yes, no, open_ = (found.said(v) for v in ("matters", "does not matter", "cannot tell"))
    pieces = []
    if yes:
        first, rest = yes[0], [f"{clean(p.name)} ({shown(p.alone.value)})" for p in yes[1:4]]
        more = f", and {len(yes) - 4} more" if len(yes) > 4 else ""
        lead = f"{clean(first.name)} matters most{near} ({shown(first.alone.value)})"
        pieces.append(lead + (f", then {listed(rest)}{more}" if rest else ""))
    else:
        pieces.append(f"nothing stands out{near}")
    if no:
        pieces.append(f"{_several(no)} {'does' if len(no) == 1 else 'do'} not matter")
    if open_ and len(open_) < len(found.parts):
        pieces.append(f"of {_several(open_)} one cannot tell")
    text = "; ".join(pieces) + "."
    return text if yes else text[0].upper() + text[1:]


def _several(parts: tuple[Part, ...]) -> str:
    names = [clean(p.name) for p in parts[:5]]
    return listed([*names, f"{len(parts) - 5} more"] if len(parts) > 5 else names)


def importance_section(found: Importance, *, curves: int = _CURVES) -> Section:
    """Return the section: the shares, the pairs where they were asked for, and the curves of the first dimensions."""
    blocks: list[Block] = [Prose(_how(found)), _shares(found)]
    if found.pairs:
        blocks.append(_pairs(found))
    blocks += [marginal_plot(found, p) for p in found.parts[:curves] if p.verdict != "does not matter"]
    return Section("importance", "What matters", sentence(found), tuple(blocks))


def _how(found: Importance) -> str:
    text = (
        f"Functional ANOVA of a random forest grown on {count(found.trials, 'trial')}: how much of what {clean(found.goal.name)} varies over the whole space is"
        " due to each dimension alone, and with all it does together with others. The interval is what 95 % of the trees lie between, each grown on a"
        f" bootstrap of the trials. Of trials it was not shown the forest predicts R2 {found.r2:.2f}"
    )
    if not found.predicts:
        text += f", less than the {found.limit:.2f} from which it would be believed: take the shares for nothing"
    if found.top is not None and found.pulled is not None:
        text += f". Only the best {shown(found.top)} tell: what is worse than {show(found.pulled)} counts as that"
    elif found.pulled is not None:
        text += f". What is worse than {show(found.pulled)} counts as that"
    if found.partial:
        text += f". {count(found.partial, 'trial')} not trained to the end count with the value they are forecast to end with"
    if found.inherited:
        text += f". {count(found.inherited, 'trial')} that went on from weights of another configuration {'is' if found.inherited == 1 else 'are'} left out"
    if found.failed:
        text += f". It knows nothing of the {found.failed} that failed"
    if any(p.exists < 1.0 for p in found.parts):
        text += ". What exists in a branch only counts as often as it exists"
    return text + "."


def _shares(found: Importance) -> Plot:
    parts = found.parts[::-1]  # Plotly begins below
    names = [label(p.name, 20) for p in parts]
    texts = [
        f"{label(p.name)}: alone {shown(p.alone.value)} ({shown(p.alone.low)} to {shown(p.alone.high)}), in all {shown(p.total.value)}"
        for p in parts
    ]
    looks = {"matters": "@accent", "does not matter": "@faint", "cannot tell": "@doubt"}
    data: list[dict[str, Any]] = [
        {
            "type": "bar", "orientation": "h", "y": names, "x": [p.total.value for p in parts], "marker": {"color": "@soft"}, "width": 0.7,
            "text": texts, "textposition": "none", "hovertemplate": "%{text}<extra></extra>", "opacity": 0.55,
        },
        {
            "type": "bar", "orientation": "h", "y": names, "x": [p.alone.value for p in parts], "width": 0.4,
            "marker": {"color": [looks[p.verdict] for p in parts]}, "text": texts, "textposition": "none", "hovertemplate": "%{text}<extra></extra>",
            "error_x": {
                "type": "data", "symmetric": False, "array": [max(p.alone.high - p.alone.value, 0.0) for p in parts],
                "arrayminus": [max(p.alone.value - p.alone.low, 0.0) for p in parts], "color": "@ink", "thickness": 1.2, "width": 4,
            },
        },
    ]  # fmt: skip
    layout = {
        "barmode": "overlay", "showlegend": False, "yaxis": {"automargin": True, "ticklabelstandoff": 6, "tickmode": "array", "tickvals": names, "ticktext": names},
        "xaxis": {"title": {"text": "share of the variance (%)"}, "tickformat": ".0%", "rangemode": "tozero", "range": [0, 1]},
    }  # fmt: skip
    columns = ("dimension", "alone", "from", "to", "in all", "by chance", "said", "where")
    rows = [
        [
            clean(p.name), _part(p.alone.value), _part(p.alone.low), _part(p.alone.high), _part(p.total.value),
            _part(p.chance) if found.predicts else None, p.verdict,
            f"with {clean(p.when)}, {shown(p.exists)} of the space" if p.when else "everywhere",
        ]
        for p in found.parts
    ]  # fmt: skip
    note = "Dark: alone, with its interval; light: with others. Grey does not matter, ochre: cannot tell."
    height = 130 + 26 * len(parts)
    return Plot(sentence(found), {"data": data, "layout": layout}, Table(columns, rows), height, note=note)


def _part(share: float) -> Share:
    """Return a share for a table, to a tenth of a percent: no forest tells it more finely."""
    return Share(round(share, 3))


def _pairs(found: Importance) -> Table:
    rows = [
        [*map(clean, p.names), _part(p.share.value), _part(p.share.low), _part(p.share.high)]
        for p in found.pairs[:_PAIRS]
    ]
    left = len(found.pairs) - len(rows)
    note = f"{count(left, 'smaller pair')} left out. " if left > 0 else ""
    if found.rest is not None:
        note += f"Due to three or more together: {shown(found.rest)}."
    first = found.pairs[0]
    title = f"Together: most by {clean(first.names[0])} and {clean(first.names[1])} ({shown(first.share.value)})"
    return Table(("one", "other", "together", "from", "to"), rows, title, note=note)
