"""Look at the data before anything else: what there is, and what is wrong with it, as a value to print, store or draw."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from whet.data.duplicates import duplicates, repeats, visible_digests
from whet.data.leak import leaks
from whet.data.seen.outcome import Example
from whet.data.seen.pick import ids_meet, spell
from whet.data.seen.series_words import told as told_series
from whet.data.seen.view import label_of
from whet.data.split import Data
from whet.data.textcolumn import text_columns
from whet.finding import Finding, NotRun, Severity

if TYPE_CHECKING:
    from whet.data.seen.closely import Told

__all__ = ["Look", "look"]

SHOWN = 6  # examples of a finding named in a command
COPIES = 200  # exact duplicates listed as examples
WIDTH = 70  # columns: lines stand beside a name on a terminal of 80


@dataclass(frozen=True)
class Look:
    """What looking at the data showed: facts (JSON), findings, the examples behind them, and what could not be looked at.

    >>> from whet.data.bundled import digits
    >>> print(look(digits()).lines()[0])
    1,797 examples, 64 features, 10 classes
    """

    facts: Mapping[str, Any] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()
    examples: tuple[Example, ...] = ()
    not_run: tuple[NotRun, ...] = ()

    def lines(self, command: str = "") -> list[str]:
        """Return the look as text, at most 78 characters a line: the size first, then the splits, classes and findings.

        command: what looks at this data ("whet look digits"); with it a finding says how to see its examples, on a line
        as long as it must be.
        """
        f = self.facts
        none = "a number to predict" if f.get("target") else "no label that counts"
        what = f"{len(f['classes'])} classes" if f.get("classes") else none
        features = f"{f['features']:,} feature{'' if f['features'] == 1 else 's'}"
        out = [f"{f['examples']:,} examples, {features}, {what}"]
        test = f["splits"]["test"]
        sealed = f", test {test:,} (sealed)" if test is not None else ", no test split"
        out.append(f"train {f['splits']['train']:,}, valid {f['splits']['valid']:,}{sealed}")
        if f.get("image"):
            i = f["image"]
            mode = {1: "grey", 3: "RGB"}.get(i["channels"], f"{i['channels']} channels")
            out.append(f"pictures {i['height']}x{i['width']} (height x width) {mode}, values {_range(f['inputs'][0])}")
        if f.get("classes"):
            some = [f"{c['name']} {c['share']:.1%}" for c in f["classes"][:12]]
            out += _wrap("classes: " + ", ".join(some) + (", ..." if len(f["classes"]) > 12 else ""))
            if (b := f.get("balance")) and b["classes"] < 0.9 * len(f["classes"]):
                out.append(f"as good as {b['classes']:.1f} even classes, {b['examples']:,.0f} balanced examples")
        elif t := f.get("target"):
            out.append(f"target {t['low']:.6g} to {t['high']:.6g}, mean {t['mean']:.6g}, sd {t['std']:.6g}")
        if n := f.get("lengths"):
            out.append(f"lengths {n['low']} to {n['high']}, median {n['median']:g}, {n['padding']:.1%} padding")
        for t in f.get("texts", ()):
            said = f"text `{t['name']}`: {t['words']:,} words, {t['once']:,} of them in one training text only; lengths {t['low']:,} to "
            said += (
                f"{t['high']:,}, median {t['median']:g}; unknown words {t['unknown']['valid']:.1%} of a validation text"
            )
            out += _wrap(f"{said}, {t['unknown']['train']:.1%} of a training text without itself")
        if s := f.get("series"):
            out += [y for x in told_series(s) for y in _wrap(x)]
        for finding in self.findings:
            head = f"{finding.severity} {finding.code} {finding.where}: {finding.message}"
            fix = "" if finding.fix in ("", "none needed") else f" ({finding.fix})"
            out += _wrap(head + fix)
            if command and (ids := self._named(finding)):
                out.append(f"  see: {command} --show {','.join(ids)}")
        for skipped in self.not_run:
            out += _wrap(f"not run {skipped.code}: {skipped.why}")
        if (seen := f.get("looked_at")) and seen["part"]:
            out.append(f"a part was looked at closely: {seen['n']:,} examples")
        return out

    def _named(self, finding: Finding) -> list[str]:
        """Return how the first examples of a finding are named; of duplicates both."""
        places = [(e.split, e.id) for e in self.examples if e.code == finding.code][:SHOWN]
        if places and (pairs := finding.evidence.get("pairs")):
            places = [place for s, i, t, j, *_ in pairs[: SHOWN // 2] for place in ((s, i), (t, j))]
        return list(dict.fromkeys(spell(s, i, bool(self.facts.get("ids_meet"))) for s, i in places))

    def json(self) -> dict[str, Any]:
        """Return the look as JSON values."""
        return {
            "facts": dict(self.facts),
            "findings": [f.json() for f in self.findings],
            "examples": [e.json() for e in self.examples],
            "not_run": [asdict(n) for n in self.not_run],
        }

    def __str__(self) -> str:
        return "\n".join(self.lines())


def _wrap(text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, subsequent_indent="  ", break_long_words=True)


def _range(fact: Mapping[str, Any]) -> str:
    return f"{fact['low']:g} to {fact['high']:g} ({fact['dtype']})"


def look(data: Data, *, told: Told | None = None) -> Look:
    """Return the facts and findings on the training and validation splits; the test split stays sealed.

    Findings: those of loading (kind inferred, columns dropped, files skipped ...), then DUPLICATE (examples equal to the last
    bit), LEAK (one column gives the target away), MISSING, NEAR-CONSTANT, IMBALANCE, RARE (classes of under 10 examples), then
    those of a closer look: NEAR-DUPLICATE, REDUNDANT, COUNTER, MISSING-TOGETHER, OUTLIER, BLANK, SHIFT, SCALED, LABEL; of a
    series GAP, MISSING-RUN, STUCK, OUTLIER, LEVEL, UNIT-ROOT, SHIFT.
    told: called with (what is looked at next, the share of the time that is over, roughly) as they go.

    >>> import torch
    >>> from whet.data.split import Split
    >>> same = Split(torch.zeros(30, 2), torch.arange(30) % 2)
    >>> [f.code for f in look(Data(same, same, classes=("a", "b"))).findings]
    ['DUPLICATE', 'NEAR-CONSTANT']
    """
    counts = data.meta.get("examples", {})
    splits = {"train": len(data.train), "valid": len(data.valid), "test": counts.get("test") if data.sealed else None}
    shapes = [p.shape[1:] for p in data.train.parts]
    facts: dict[str, Any] = {
        "source": data.source,
        "kind": data.kind,
        "splits": splits,
        "examples": sum(n for n in splits.values() if n is not None),
        "features": _features(data, shapes),
        "inputs": [_input_fact(data, i) for i in range(len(shapes))],
        "classes": _classes(data),
        "target": _target(data),
        "image": data.meta.get("image"),
        "files": data.meta.get("files"),
        "columns": data.meta.get("columns", []),
        "ids_meet": ids_meet(data),
        "cleaned": list(data.meta.get("cleaned", ())),
    }
    given: list[Finding] = []
    copied: tuple[Example, ...] = ()
    if "series" in data.meta:  # its examples overlap, and its inputs are one column many times
        found = (*data.findings, *_missing(data))
    else:
        given, copied = leaks(data), tuple(_copies(data))
        found = (
            *data.findings,
            *_duplicates(data),
            *given,
            *_missing(data),
            *_near_constant(data),
            *_balance(facts, data.train.targets.ndim > 1),
        )
    from whet.data.seen.closely import closely  # with it comes much that a worker process never needs

    close = closely(data, [f.where for f in given], told)
    return Look({**facts, **close.facts}, (*found, *close.findings), (*copied, *close.examples), close.not_run)


def _features(data: Data, shapes: list[Any]) -> int:
    if "encoding" in data.meta:
        return len(data.meta["encoding"]["columns"])
    return int(sum(np.prod(s) for s in shapes))


def _input_fact(data: Data, i: int) -> dict[str, Any]:
    x = data.train.parts[i]
    fact: dict[str, Any] = {"shape": list(x.shape[1:]), "dtype": str(x.dtype).removeprefix("torch.")}
    return fact | ({"low": float(x.min()), "high": float(x.max())} if x.numel() else {"low": 0.0, "high": 0.0})


def _classes(data: Data) -> list[dict[str, Any]] | None:
    if data.kind != "classification" or data.train.targets.is_floating_point():
        return None
    y = np.concatenate([data.train.targets.numpy().reshape(-1), data.valid.targets.numpy().reshape(-1)])
    y = y[y >= 0]  # of positions, those that count
    if not len(y):
        return None
    names = data.classes or tuple(str(i) for i in range(int(y.max()) + 1))
    n = np.bincount(y, minlength=len(names))
    return [{"name": c, "n": int(k), "share": float(k / len(y))} for c, k in zip(names, n, strict=False)]


def _target(data: Data) -> dict[str, float] | None:
    if data.kind == "classification" and not data.train.targets.is_floating_point():
        return None
    y = np.concatenate([data.train.targets.numpy(), data.valid.targets.numpy()]).astype(float)
    return {"low": float(y.min()), "high": float(y.max()), "mean": float(y.mean()), "std": float(y.std()),
            "median": float(np.median(y))}  # fmt: skip


def _duplicates(data: Data) -> list[Finding]:
    d = duplicates(data.train, data.valid, keys=visible_digests(data))
    if not d.any:
        return []
    # Rows of a table with few distinct values repeat by chance; pictures do not.
    pictures = data.train.parts[0].ndim > 2
    text = f"{d.train:,} training and {d.valid:,} validation examples repeat another of their split, {d.across:,} validation "
    text += f"examples are also in training; {d.disagree:,} equal examples differ in the target"
    evidence = {"train": d.train, "valid": d.valid, "across": d.across, "disagree": d.disagree,
                "pairs": [list(p) for p in d.pairs]}  # fmt: skip
    n = len(data.train) + len(data.valid)
    bad = d.across > 0.01 * len(data.valid) or d.disagree > 0.01 * n or (pictures and (d.across or d.disagree))
    fix = "drop repeats, or keep copies of one thing in one split"
    return [Finding("DUPLICATE", Severity.WARN if bad else Severity.INFO, "train, valid", evidence, text, fix)]


def _copies(data: Data) -> list[Example]:
    """Return the exact duplicates as examples: each that repeats an earlier one, what validation shares with training first."""
    n = len(data.train)

    def place(at: int) -> tuple[str, int, int]:
        split, i = (data.train, at) if at < n else (data.valid, at - n)
        return "train" if at < n else "valid", int(split.ids[i]), i

    out = []
    for first, again in sorted(repeats(data), key=lambda p: (p[0] >= n or p[1] < n, p[1]))[:COPIES]:
        (split, id, i), (other, of, j) = place(again), place(first)
        label, before = label_of(data, split, i), label_of(data, other, j)
        reason = f"same as {other} {of}" + (f", which is '{before}'" if before != label else "")
        out.append(Example("DUPLICATE", split, id, i, label, reason, 1.0))
    return out


def _missing(data: Data) -> list[Finding]:
    n = len(data.train)
    rates = {c["name"]: c["missing"] / n for c in data.meta.get("columns", []) if 0 < c["missing"] < n}
    if not rates:
        return []
    worst = sorted(rates, key=lambda k: -rates[k])
    # A step of time without any row is a GAP, a target without a value NO-TARGET.
    what = "values missing in training rows: " if "series" in data.meta else "missing values: "
    text = what + ", ".join(f"{k} {rates[k]:.1%}" for k in worst[:6]) + (", ..." if len(worst) > 6 else "")
    severity = Severity.WARN if rates[worst[0]] > 0.5 else Severity.INFO
    fix = "imputed by the median, or a code of their own, with a column that says so"
    fix = "filled with the last value before them" if "series" in data.meta else fix
    return [Finding("MISSING", severity, "columns", {k: round(rates[k], 6) for k in worst}, text, fix)]


def _near_constant(data: Data) -> list[Finding]:
    """Return a finding naming the columns of a table where at least 99.5 % of the training rows agree."""
    x = data.train.parts[0]
    names = data.features or tuple(f"column {i}" for i in range(x.shape[1] if x.ndim == 2 else 0))
    parts = data.train.parts[:-1] if text_columns(data.meta) else data.train.parts
    found: dict[str, float] = {}
    if any(p.ndim != 2 for p in parts):
        return []
    every = max(1, len(data.train) // 20_000)  # of a long table a part will do
    columns = [p[::every, j] for p in parts for j in range(p.shape[1])]
    for name, column in zip(names, columns, strict=False):
        share = float(np.unique(column.numpy(), return_counts=True)[1].max() / len(column))
        if share >= 0.995 and not name.endswith(" missing"):
            found[name] = round(share, 6)
    if not found:
        return []
    shown = ", ".join(f"{k} {v:.1%}" for k, v in list(found.items())[:6]) + (", ..." if len(found) > 6 else "")
    text = f"nearly constant, one value in most rows: {shown}"
    return [Finding("NEAR-CONSTANT", Severity.INFO, "columns", found, text, "delete them unless the rest matters")]


def _balance(facts: Mapping[str, Any], positions: bool = False) -> list[Finding]:
    classes, what = facts["classes"], "positions" if positions else "examples"
    if not classes:
        return []
    found = []
    most, least = max(classes, key=lambda c: c["n"]), min(classes, key=lambda c: c["n"])
    if most["n"] > 10 * max(least["n"], 1) or most["share"] > 0.9:
        evidence = {"most": most["n"], "least": least["n"]}
        text = (
            f"'{most['name']}' has {most['n']:,} {what}, '{least['name']}' {least['n']:,}; always '{most['name']}' is "
        )
        text += f"already {most['share']:.1%} accurate"
        found.append(
            Finding("IMBALANCE", Severity.WARN, "classes", evidence, text, "judge by f1 or balanced scores too")
        )
    rare = [c for c in classes if c["n"] < 10]
    if rare:
        shown = ", ".join(f"'{c['name']}' {c['n']}" for c in rare[:6]) + (", ..." if len(rare) > 6 else "")
        are = "class has" if len(rare) == 1 else "classes have"
        text = f"{len(rare)} {are} under 10 {what} outside the test split: {shown}"
        found.append(
            Finding("RARE", Severity.WARN, "classes", {"n": len(rare)}, text, "merge them, or find more examples")
        )
    return found
