"""What each layer does at the beginning: how strong its gradient is, what enters its activations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from whet.report.block import Plot, Table, label
from whet.report.learning import number
from whet.report.quantity import Share, clean, count, show

__all__ = ["activations", "gradients"]

_DRAWN = 40  # layers


def _bars(names: Sequence[str], values: Sequence[float], axis: Mapping[str, Any], hover: str) -> dict[str, Any]:
    """Return a figure of horizontal bars, the first layer on top."""
    y = list(range(len(names)))[::-1]
    bar = {"type": "bar", "orientation": "h", "y": y, "x": list(values), "marker": {"color": "@accent"},
           "text": [label(n, 40) for n in names], "textposition": "none", "hovertemplate": "%{text}: " + hover + "<extra></extra>"}  # fmt: skip
    ticks = {"tickmode": "array", "tickvals": y, "ticktext": [label(n, 26) + " " for n in names], "showgrid": False}
    return {
        "data": [bar],
        "layout": {"bargap": 0.4, "xaxis": dict(axis), "yaxis": {**ticks, "title": {"text": "layer"}}},
    }


def _cut(n: int) -> str:
    return "" if n <= _DRAWN else f" Drawn: the first {_DRAWN} of {n}."


def gradients(fact: Mapping[str, Any]) -> Plot | None:
    """Return the strength of each layer's gradient, from the facts of the check GRAD; None without them.

    >>> gradients({"strength": {"0.weight": 0.5, "2.weight": 2.0}, "n": 64}).title
    'The gradient reaches 2 layers, the strongest 4 times the weakest'
    """
    found = {k: number(v) for k, v in (fact.get("strength") or {}).items()}
    if not found:
        return None
    ratio = max(found.values()) / min(found.values())
    times = f", the strongest {show(float(f'{ratio:.2g}'))} times the weakest" if len(found) > 1 else ""
    names = list(found)[:_DRAWN]
    axis = {"title": {"text": "strength: |gradient| |weight| / |loss|"}} | ({"type": "log"} if ratio > 100 else {})
    figure = _bars(names, [found[n] for n in names], axis, "%{x:.3g}")
    note = "By how many percent the loss changes when the layer's weights grow by 1 %, at most; healthy programs had 0.02 to 8."
    table = Table(("layer", "strength"), [(clean(k), v) for k, v in found.items()])
    return Plot(f"The gradient reaches {count(len(found), 'layer')}{times}", figure, table, 110 + 24 * len(names), half=True,
                note=note + _cut(len(found)))  # fmt: skip


def activations(fact: Mapping[str, Any]) -> Plot | None:
    """Return what enters each activation, from the facts of the check ACT; None without them.

    >>> site = {"layer": "1 (ReLU)", "kind": "relu", "units": 8, "mean": 0.0, "spread": 0.5, "dead": 0, "saturated": 0.0}
    >>> activations({"sites": [site], "n": 64}).title
    'No unit is dead and no layer is saturated; what enters the activations varies by 0.5'
    """
    sites = fact.get("sites") or ()
    if not sites:
        return None
    dead = sum(int(s["dead"]) for s in sites)
    flat = max(number(s["saturated"]) for s in sites)
    spreads = [number(s["spread"]) for s in sites]
    ends = " to ".join(dict.fromkeys(show(float(f"{v:.2g}")) for v in (min(spreads), max(spreads))))
    health = [f"{dead:,} of {count(sum(int(s['units']) for s in sites), 'unit')} are dead" if dead else "No unit is dead",
              f"up to {flat:.0%} of a layer's inputs are saturated" if flat > 0 else "no layer is saturated"]  # fmt: skip
    shown = sites[:_DRAWN]
    axis = {"title": {"text": "standard deviation of what enters"}, "rangemode": "tozero"}
    figure = _bars([s["layer"] for s in shown], spreads[:_DRAWN], axis, "%{x:.3g}")
    rows = [(clean(s["layer"]), s["kind"], int(s["units"]), number(s["mean"]), number(s["spread"]),
             Share(int(s["dead"]) / max(1, int(s["units"]))), Share(number(s["saturated"]))) for s in sites]  # fmt: skip
    table = Table(("layer", "function", "units", "mean", "spread (sd)", "dead", "saturated"), rows)
    return Plot(f"{' and '.join(health)}; what enters the activations varies by {ends}", figure, table, 110 + 24 * len(shown),
                half=True, note="At initialisation, in the order of the forward pass." + _cut(len(sites)))  # fmt: skip
