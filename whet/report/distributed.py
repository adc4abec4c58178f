"""The report of a training on several workers: what came of it, how stale updates were, how each worker got on, and whether its shuffle was safe."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from whet.finding import Finding, Severity
from whet.report.block import Block, Code, Facts, Findings, Headline, Plot, Prose, Section, Table
from whet.report.document import Report
from whet.report.quantity import Id, Seconds, count, show

__all__ = ["distributed_report"]


def distributed_report(name: str, found: Mapping[str, Any], *, params: Mapping[str, Any], command: str = "") -> Report:
    """Return the report of a training on several workers.

    found: the data of its block, as `whet.recipe.many.train_many` gives them.
    """
    team = found["distributed"]
    blocks: list[Block] = [_headline(found, team)]
    warned = [*([] if team["advice"]["safe"] else [_unsafe(team)]), *([_once(team)] if team.get("once") else [])]
    if warned:
        blocks.append(Findings(tuple(warned), "What was found"))
    sections = [Section("answer", "The answer", sentence(found), tuple(blocks))]
    if found.get("curve"):
        sections.append(_course(found))
    sections.append(_workers(team))
    if team.get("ensemble"):
        sections.append(_ensemble(team["ensemble"]))
    advised = team["advice"]["why"]
    sections.append(Section("shuffle", "Who trained on what", advised[0].upper() + advised[1:], _who(team)))
    how: list[Block] = [Facts(dict(params), "Configuration")]
    if command:
        how.append(Code(command, "Command"))
    sections.append(Section("again", "How to do it again", "", tuple(how)))
    return Report(f"Training of {name} on {count(team['workers'], 'worker')}", tuple(sections))


def sentence(found: Mapping[str, Any]) -> str:
    """Return what came of it, in one sentence.

    >>> sentence({"step": 3, "diverged": True, "distributed": {"workers": 4, "rule": "async"}})
    '4 workers under async diverged after epoch 3.'
    """
    team = found["distributed"]
    who = f"{count(team['workers'], 'worker')} under {team['rule']}"
    if found.get("diverged"):
        return f"{who} diverged after epoch {found['step']}."
    if "value" not in found:
        return f"{who} ended before the first epoch was whole."
    low, high = found["interval"]
    return (
        f"{who} reach {found['metric']} {show(found['value'])} ({show(low)} to {show(high)}) on validation after "
        f"{count(found['step'], 'epoch')}."
    )


def _headline(found: Mapping[str, Any], team: Mapping[str, Any]) -> Headline:
    items: list[tuple[str, Any, str]] = []
    if "value" in found:
        low, high = found["interval"]
        items.append((f"{found['metric']} on validation", found["value"], f"{show(low)} to {show(high)}"))
    stale = team["mean_staleness"]
    items += [
        ("updates", team["updates"], f"{team['updates'] / max(team['seconds'], 1e-9):,.1f} a second"),
        ("mean staleness", stale, f"of {count(team['workers'], 'worker')}"),
        ("training", Seconds(team["seconds"]), f"after {show(Seconds(team['startup']))} of start-up"),
    ]
    return Headline(tuple(items))


def _unsafe(team: Mapping[str, Any]) -> Finding:
    why, _, fix = str(team["advice"]["why"]).rstrip(".").partition("; ")
    return Finding("SHUFFLE", Severity.WARN, f"--shuffle {team['shuffle']}", {"workers": team["workers"]}, why, fix)


def _once(team: Mapping[str, Any]) -> Finding:
    why, _, fix = str(team["once"]).partition(". ")
    return Finding("EXCHANGE", Severity.WARN, f"--rule {team['rule']}", {"workers": team["workers"]}, why, fix)


def _course(found: Mapping[str, Any]) -> Section:
    """Draw the metric and the training loss by epochs."""
    curve, plots = found["curve"], []
    for key, title in (("value", found.get("metric", "value")), ("train_loss", "training loss")):
        rows = [(p["step"], p[key]) for p in curve if p.get(key) is not None]
        if not rows:
            continue
        data = [{
            "type": "scatter", "mode": "lines+markers", "x": [x for x, _ in rows], "y": [y for _, y in rows],
            "line": {"color": "@accent", "width": 2}, "marker": {"size": 5},
            "hovertemplate": "epoch %{x}: %{y:.4g}<extra></extra>",
        }]  # fmt: skip
        layout = {"xaxis": {"title": {"text": "epochs"}, "rangemode": "tozero"}, "yaxis": {"title": {"text": title}}}
        table = Table(("epoch", title), [(Id(x), y) for x, y in rows])
        plots.append(Plot(title[0].upper() + title[1:], {"data": data, "layout": layout}, table, 320, half=True))
    return Section(
        "course", "How it went", "By epochs: so many merged batches as one pass over the examples has.", tuple(plots)
    )


def _workers(team: Mapping[str, Any]) -> Section:
    rows = [
        (Id(w), s["updates"], s["rate"], team["deaths"].get(f"worker {w}", 0))
        for w, s in sorted(team["each"].items(), key=lambda item: int(item[0]))
    ]
    blocks: list[Block] = []
    if team["staleness"]:
        blocks.append(_stale(team))
    if rows:
        note = "Updates and their rate are those since the worker, or the one before that it replaced, last joined."
        blocks.append(
            Table(("worker", "updates", "updates a second", "died"), rows, "Each worker", note=note, sortable=True)
        )
    facts = {
        "batches drawn again": team["drawn_again"],
        "updates lost with the server": team["lost"],
        **{f"{who} died": n for who, n in team["deaths"].items()},
        **{f"updates refused, {why}": n for why, n in team["refused"].items()},
    }
    blocks.append(Facts(facts, "What went wrong on the way"))
    calm = not team["deaths"] and not team["refused"] and not team["lost"]
    said = "Nobody died and nothing was refused." if calm else "What failed was replaced; the training went on."
    return Section("workers", "The workers", said, tuple(blocks))


def _stale(team: Mapping[str, Any]) -> Plot:
    counts = sorted((int(k), n) for k, n in team["staleness"].items())
    data = [{
        "type": "bar", "x": [k for k, _ in counts], "y": [n for _, n in counts], "marker": {"color": "@accent"},
        "hovertemplate": "%{x} updates: %{y} times<extra></extra>",
    }]  # fmt: skip
    layout = {
        "xaxis": {"title": {"text": "staleness (updates between a pull and its push)"}, "dtick": max(1, counts[-1][0] // 12)},
        "yaxis": {"title": {"text": "pushes"}},
    }  # fmt: skip
    note = "Where nobody waits, its mean tends to the number of workers less one, however unlike they are in speed."
    return Plot(
        f"Staleness is {show(team['mean_staleness'])} on average", {"data": data, "layout": layout},
        Table(("staleness", "pushes"), [(Id(k), n) for k, n in counts]), 300, note=note,
    )  # fmt: skip


def _ensemble(members: Mapping[str, Any]) -> Section:
    rows = [(Id(w), loss, "saved" if w == members["saved"] else "") for w, loss in members["each"].items()]
    better = members["loss"] <= members["mean"]
    whose = "one of them" if members["saved"] is not None else "none of them"
    said = (
        f"Together the members' outputs have a loss of {show(members['loss'])}, {'below' if better else 'above'} their mean "
        f"of {show(members['mean'])}. The model that is saved is {whose}; all are kept beside it, to be deployed together."
    )
    return Section("ensemble", "The members together", said, (Table(("worker", "loss on validation", ""), rows),))


def _who(team: Mapping[str, Any]) -> tuple[Prose, ...]:
    found = [_dealt(team), *(f"{said[0].upper()}{said[1:]}." for said in team.get("unlike", ()))]
    return tuple(Prose(said) for said in found)


def _dealt(team: Mapping[str, Any]) -> str:
    shares = team.get("shares")
    share = (
        f"a share of the examples of its own, as {' to '.join(map(str, shares))},"
        if shares
        else "its own equal share of the examples,"
    )
    return {
        "global": "All examples are shuffled anew for each epoch, and whoever is free takes the next batch.",
        "local": f"Each worker has {share} shuffled anew within itself for each epoch.",
        "once": f"Each worker has {share} always in the same order.",
    }[team["shuffle"]]  # fmt: skip
