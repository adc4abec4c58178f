"""A closer look at a series: gaps, stretches, outliers, jumps, season, trend, and whether training and validation are alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from whet.data.column import as_numbers
from whet.data.seen.outcome import Example, Outcome
from whet.data.seen.series_drift import drifted
from whet.data.seen.series_odd import hampel, jump, runs, stuck
from whet.data.seen.series_root import dickey_fuller, kpss
from whet.data.seen.series_season import decompose, filled, periods
from whet.data.series_lags import lagged
from whet.data.series_step import Step
from whet.data.series_time import day, moments
from whet.data.split import Data
from whet.errors import one_line
from whet.finding import Finding, NotRun, Severity

__all__ = ["Line", "line_of", "series_look"]

ALPHA = 1e-3
LISTED = 100
ROOT = 5000  # values, the last ones, that tests of a unit root are given
WINDOWS = "windows of a series overlap: near ones are expected"


@dataclass(frozen=True)
class Line:
    """The visible part of a series: times (n,), places on the grid (n,), ids of the rows (n,), and its columns (n,) float each.

    >>> Line("y", Step("row"), np.arange(3.0), np.arange(3), np.arange(3), {"y": np.zeros(3)}).target.tolist()
    [0.0, 0.0, 0.0]
    """

    name: str
    step: Step
    times: np.ndarray
    places: np.ndarray
    ids: np.ndarray
    columns: Mapping[str, np.ndarray]

    @property
    def target(self) -> np.ndarray:
        """(n,) values of the target, NaN where it is missing."""
        return self.columns[self.name]

    def grid(self, values: np.ndarray) -> np.ndarray:
        """Return values (n,) at their places on the grid, NaN where there is no row; as they are when gaps would be most."""
        if len(values) == 0 or self.places[-1] + 1 > 4 * len(values):
            return values
        out = np.full(int(self.places[-1]) + 1, np.nan)
        out[self.places] = values
        return out

    def at(self, i: int) -> str:
        """Return the time of row i in words."""
        return day(str(self.times[i]))


def line_of(data: Data) -> Line:
    """Return the visible part of the series that `data` was made of.

    >>> import pandas as pd
    >>> from whet.data.table import table
    >>> frame = pd.DataFrame({"day": pd.date_range("2024-01-01", periods=60).astype(str), "y": np.arange(60) ** 1.5})
    >>> len(line_of(table(frame, "y")).target)
    52
    """
    plan, history = data.meta["series"], data.raw["history"]
    times, step = moments(history, tuple(plan["time"]), plan["form"]), Step.of(plan["step"])
    names = [plan["target"], *(n for n, k in plan["kinds"].items() if k == "number")]
    columns = {n: as_numbers(history[n]) for n in names}
    return Line(plan["target"], step, times, step.places(times), history.index.to_numpy(), columns)


def series_look(data: Data) -> Outcome:
    """Return what a closer look at the visible part of a series shows.

    Findings: GAP, MISSING-RUN, STUCK, OUTLIER, LEVEL, UNIT-ROOT, SHIFT. Facts: from, to, step, gaps, season, trend, and the
    errors on validation of two rules: the last value again, and the value of a season ago.

    >>> import pandas as pd
    >>> from whet.data.table import table
    >>> frame = pd.DataFrame({"day": pd.date_range("2024-01-01", periods=300).astype(str)})
    >>> frame["y"] = np.random.default_rng(0).normal(size=300); frame.loc[99, "y"] = 50
    >>> [f.code for f in series_look(table(frame, "y")).findings]
    ['OUTLIER']
    """
    line = line_of(data)
    dense = line.grid(line.target)
    found = periods(dense, line.step.periods)
    season = found[0][0] if found else 0
    parts = decompose(dense, season)
    facts: dict[str, Any] = {
        "time": list(data.meta["series"]["time"]), "from": line.at(0), "to": line.at(-1), "step": str(line.step),
        "n": len(line.times), "season": season, "seasons": [p for p, _ in found],
        "season_strength": parts.season_strength, "trend_strength": parts.trend_strength, "trend": _slope(dense),
    }  # fmt: skip
    facts["naive"] = _naive(data, line, season)
    looks: dict[str, Callable[[], Outcome]] = {
        "GAP": lambda: _gaps(line, facts),
        "MISSING-RUN": lambda: _missing(line),
        "STUCK": lambda: _still(line),
        "OUTLIER": lambda: _far(data, line, season),
        "LEVEL": lambda: _level(line, season),
        "UNIT-ROOT": lambda: _root(dense, season, facts),
        "SHIFT": lambda: drifted(data, line.columns, line.ids, season),
    }
    outcomes = []
    for code, one in looks.items():
        try:
            outcomes.append(one())
        except Exception as e:  # odd data may raise anything, and the other looks are worth having
            outcomes.append(Outcome(not_run=(NotRun(code, one_line(f"{type(e).__name__}: {e}")[:200]),)))
    skipped = [NotRun(code, WINDOWS) for code in ("DUPLICATE", "NEAR-DUPLICATE")]
    skipped += [
        NotRun("LEAK", "all inputs are earlier than the target"),
        NotRun("LABEL", "targets are numbers: only classes are judged"),
    ]
    return Outcome(
        {
            "looked_at": {"n": len(line.times), "part": False, "kind": "series"},
            "series": facts,
            **{k: x for o in outcomes for k, x in o.facts.items()},
        },
        tuple(f for o in outcomes for f in o.findings),
        tuple(e for o in outcomes for e in o.examples),
        (*skipped, *(n for o in outcomes for n in o.not_run)),
    )


def _slope(x: np.ndarray) -> float:
    """Return the change from end to end along a straight line, in standard deviations of the series."""
    y = filled(x)
    return float(np.polyfit(np.linspace(0, 1, len(y)), y, 1)[0] / (y.std() or 1.0))


def _naive(data: Data, line: Line, season: int) -> dict[str, Any]:
    """Return root mean squared and mean absolute error, on validation, of the last value and of that a season ago."""
    order = {int(i): k for k, i in enumerate(line.ids)}
    at = np.array([order[int(i)] for i in data.valid.ids])
    y, out = data.valid.targets.numpy().astype(float), {}
    for name, lag in (("last", 1), ("season", season)):
        if lag:
            error = lagged(line.target, line.places, line.places[at], lag) - y
            error = error[np.isfinite(error)]
            if len(error):
                out[name] = {
                    "rmse": float(np.sqrt((error**2).mean())),
                    "mae": float(np.abs(error).mean()),
                    "n": len(error),
                }
    return out


def _gaps(line: Line, facts: dict[str, Any]) -> Outcome:
    ahead = np.diff(line.places) - 1
    lost, stretches = int(ahead.sum()), int((ahead > 0).sum())
    facts["gaps"] = {"missing": lost, "stretches": stretches, "longest": int(ahead.max(initial=0))}
    if not lost:
        return Outcome()
    worst = int(ahead.argmax())
    share = lost / (len(line.times) + lost)
    text = f"{lost:,} of {len(line.times) + lost:,} steps have no row ({share:.2%}), in {stretches:,} gap{'s' * (stretches > 1)}; the longest "
    text += f"{int(ahead[worst]):,} step{'s' * bool(ahead[worst] > 1)} after {line.at(worst)}"
    evidence = {**facts["gaps"], "share": share, "after": line.at(worst), "n": len(line.times)}
    severity = Severity.WARN if share > 0.05 else Severity.INFO
    fix = "lags keep to time, gaps are filled with the last value; find out why"
    return Outcome(findings=(Finding("GAP", severity, "time", evidence, text, fix),))


def _missing(line: Line) -> Outcome:
    found = []
    for name, x in line.columns.items():
        gone = np.isnan(x)
        n, lost = len(x), int(gone.sum())
        if not 0 < lost < n:
            continue
        starts, lengths, values = runs(np.where(gone, np.nan, 1.0))
        starts, lengths = starts[np.isnan(values)], lengths[np.isnan(values)]
        worst = int(lengths.argmax())
        p = float(n * (lost / n) ** lengths[worst])  # so long a run of values missing one by one
        if p < ALPHA:
            text = f"{lost:,} values are missing in {len(lengths):,} stretch{'es' * (len(lengths) > 1)}, the longest {lengths[worst]:,} from {line.at(starts[worst])}"
            evidence = {
                "missing": lost,
                "stretches": len(lengths),
                "longest": int(lengths[worst]),
                "p": p,
                "threshold": ALPHA,
                "n": n,
            }
            fix = "filled with the last value before; leave long stretches out"
            found.append(Finding("MISSING-RUN", Severity.INFO, name, evidence, text, fix))
    return Outcome(findings=tuple(found))


def _still(line: Line) -> Outcome:
    found = []
    for name, x in line.columns.items():
        stretches = stuck(x, alpha=ALPHA / len(line.columns))
        if not stretches:
            continue
        low, high = np.nanmin(x), np.nanmax(x)
        ends = all(r.value in (low, high) for r in stretches)  # it may rest there
        shown = ", ".join(f"{r.length:,} at {r.value:g} from {line.at(r.start)}" for r in stretches[:3])
        text = f"stands still in {len(stretches):,} stretch{'es' * (len(stretches) > 1)}, longer than chance lets it: {shown}"
        evidence = {"stretches": [[r.length, r.value, line.at(r.start)] for r in stretches[:20]], "n": len(x),
                    "p": max(r.p for r in stretches), "threshold": ALPHA / len(line.columns)}  # fmt: skip
        severity = Severity.INFO if ends else Severity.WARN
        found.append(
            Finding("STUCK", severity, name, evidence, text, "a sensor that hangs, or a fill-in? Mark it as missing")
        )
    return Outcome(findings=tuple(found))


def _far(data: Data, line: Line, season: int) -> Outcome:
    where = {int(i): ("train", k) for k, i in enumerate(data.train.ids)}
    where |= {int(i): ("valid", k) for k, i in enumerate(data.valid.ids)}
    findings, examples, counts = [], [], {}
    for name, x in line.columns.items():
        dense = line.grid(x)
        place = line.places if len(dense) != len(x) else np.arange(len(x))
        back = {int(p): i for i, p in enumerate(place)}
        ends = hampel(dense, season, alpha=ALPHA / len(line.columns))
        at = [(back[int(i)], float(z)) for t in ends for i, z in zip(t.index, t.z, strict=True) if int(i) in back]
        if not at:
            continue
        counts[name] = len(at)
        at.sort(key=lambda pair: -abs(pair[1]))
        p, shape = min(t.p for t in ends), min(t.shape for t in ends)
        shown = ", ".join(f"{x[i]:.6g} at {line.at(i)}" for i, _ in at[:3])
        text = (
            f"{len(at):,} value{'s' * (len(at) > 1)} far from those around, robust z up to {abs(at[0][1]):.3g}: {shown}"
        )
        evidence = {"count": len(at), "z": abs(at[0][1]), "p": p, "shape_p": shape, "threshold": ALPHA / len(line.columns), "n": len(x),
                    "times": [line.at(i) for i, _ in at[:20]], "ids": [int(line.ids[i]) for i, _ in at[:20]],
                    "values": [float(x[i]) for i, _ in at[:20]]}  # fmt: skip
        severity = Severity.WARN if p < ALPHA else Severity.INFO
        fix = "look at them: a placeholder such as 9999, a unit, a typing error?"
        findings.append(Finding("OUTLIER", severity, name, evidence, text, fix))
        for i, z in at[:LISTED]:
            split, index = where.get(int(line.ids[i]), ("", -1))
            if split:  # the first rows are inputs only
                reason = f"{name} {x[i]:.6g} at {line.at(i)}"
                examples.append(
                    Example("OUTLIER", split, int(line.ids[i]), index, f"{line.target[i]:.6g}", reason, abs(z))
                )
    return Outcome(
        {"outliers": {"axes": len(line.columns), "outliers": counts, "part": False}}, tuple(findings), tuple(examples)
    )


def _level(line: Line, season: int) -> Outcome:
    dense = line.grid(line.target)
    found = jump(dense, season)
    if isinstance(found, str):
        return Outcome() if found == "no step" else Outcome(not_run=(NotRun("LEVEL", found),))
    at = found.at if len(dense) == len(line.target) else int(np.searchsorted(line.places, found.at))
    text = f"the level jumps by {found.size:+.4g} at about {line.at(at)} and stays"
    evidence = {"size": found.size, "at": line.at(at), "p": found.p, "threshold": 1e-6, "n": len(line.target)}
    fix = "a new instrument, unit or rule? Say which with a column, or begin there"
    return Outcome(findings=(Finding("LEVEL", Severity.INFO, line.name, evidence, text, fix),))


def _root(dense: np.ndarray, season: int, facts: dict[str, Any]) -> Outcome:
    x = filled(dense)[-ROOT:]
    x = x - (decompose(x, season).season if season and len(x) >= 2 * season else 0.0)
    if len(x) < 50 or np.ptp(x) < 1e-9 * (1 + np.abs(x).max()):
        return Outcome(not_run=(NotRun("UNIT-ROOT", "under 50 values, or one value"),))
    (t, p, lags), (level, q) = dickey_fuller(x), kpss(x)
    facts["root"] = {"t": t, "p": p, "lags": lags, "kpss": level, "kpss_p": q, "n": len(x)}
    if p < 0.05 or q > 0.01:
        return Outcome()
    text = f"it wanders: a unit root is not ruled out (Dickey-Fuller p {p:.2g}), one level is (KPSS {level:.2f}, p {q:g} or less)"
    fix = "predict differences or log ratios; the last value is the rule to beat"
    return Outcome(findings=(Finding("UNIT-ROOT", Severity.INFO, "target", facts["root"], text, fix),))
