"""A real search for an architecture: every network that was trained, and the ancestors of the best one, layer by layer.

Another machine trains to other digits, so the study is on record here: `python docs/drawing/grown.py` runs it again (a minute of a core) and
writes architectures.json, from which the picture is drawn.
"""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # as docs/draw.py has it

from drawing.svg import LEFT, PLOT_H, PLOT_W, TOP, framed, page, words

__all__ = ["ancestors", "grown", "growing"]

RECORD = Path(__file__).with_name("architectures.json")
TRIALS, EPOCHS, SEED = 80, 3, 0
ROW, MOST, STRIP = 15.0, 6, 62  # pixels of a layer; ancestors that are shown; where their names stand below the plot


def growing() -> list[dict[str, Any]]:
    """Return the trials of the study on record: id, parent, changed, layers, value."""
    return list(json.loads(RECORD.read_text(encoding="utf-8")))


def ancestors(trials: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the best trial and those it descends from, the first one first."""
    found = [min((t for t in trials if t["value"] is not None), key=lambda t: t["value"])]
    while found[0]["parent"] is not None:
        found.insert(0, trials[found[0]["parent"]])
    return found


def grown(trials: list[dict[str, Any]]) -> str:
    """Return the picture as SVG: a dot for each trial, a line through the ancestors of the best, and below what they are made of."""
    values = [t["value"] for t in trials if t["value"] is not None]
    low, high = math.log(min(values)) - 0.1, math.log(2.5)  # what is worse stands at the top

    def x(i: float) -> float:
        return LEFT + PLOT_W * (i + 0.5) / len(trials)

    def y(value: float) -> float:
        return TOP + PLOT_H * (high - min(math.log(value), high)) / (high - low)

    marks = [v for v in (0.05, 0.1, 0.2, 0.5, 1, 2) if low <= math.log(v) <= high]
    parts = [f'<path class="tl" fill="none" d="M{LEFT} {y(v):.1f}H{LEFT + PLOT_W}"/>' for v in marks]
    parts += [words(LEFT - 8, y(v) + 4, f"{v:g}", "end", "m") for v in marks]
    line = ancestors(trials)
    path = "L".join(f"{x(t['id']):.1f} {y(t['value']):.1f}" for t in line)
    parts.append(f'<path class="tn" fill="none" stroke-width="1.5" d="M{path}"/>')
    kept = {t["id"] for t in line}
    for t in trials:
        if t["value"] is not None:
            kind = "n" if t["id"] in kept else "m" if t["parent"] is None else "a"
            parts.append(f'<circle class="{kind}" cx="{x(t["id"]):.1f}" cy="{y(t["value"]):.1f}" r="3.5"/>')
    parts += [words(x(k), TOP + PLOT_H + 17, str(k), "middle", "m") for k in range(0, len(trials), 10)]
    shown = line[-MOST:]
    deepest = max(len(t["layers"]) for t in shown)
    bottom = TOP + PLOT_H + STRIP + 36 + ROW * deepest
    for i, t in enumerate(shown):
        middle = LEFT + PLOT_W * (i + 0.5) / len(shown)
        parts.append(words(middle, TOP + PLOT_H + STRIP, f"trial {t['id']}: {t['value']:.3f}", "middle", "n", size=10))
        parts.append(words(middle, TOP + PLOT_H + STRIP + 15, t["said"], "middle", "m", size=10))
        for k, layer in enumerate(t["layers"]):
            wide = 13.0 * math.log2(layer["filters"])
            at = bottom - ROW * (k + 1)
            parts.append(
                f'<rect class="s" x="{middle - wide / 2:.1f}" y="{at:.1f}" width="{wide:.1f}" height="{ROW - 2:.0f}" rx="2"/>'
            )
            text = f"{layer['filters']} {layer['activation']}{' +' if layer['skip'] else ''}{' /2' if layer['pool'] else ''}"
            parts.append(words(middle, at + 10, text, "middle", "i", size=10))
    parts += framed(
        "trial", "validation loss", f"{len(trials)} networks of {EPOCHS} epochs, and how the best one came about"
    )
    return page("Evolution of an architecture", parts, int(bottom + 14))


def record() -> list[dict[str, Any]]:
    """Run the study and return what is kept of it."""
    from whet import Float, Study, Task, spaces
    from whet.data.bundled import digits
    from whet.models import Standardize, prior
    from whet.train.run import Run

    data = digits(seed=SEED)

    class Digits(Task):
        space = spaces.within(
            spaces.convnet(filters=(8, 16, 32), lr=Float(5e-4, 3e-2, log=True)), 20_000, (1, 8, 8), 10
        )
        goal = "min loss"

        def data(self, params: Any) -> Any:
            return data

        def model(self, params: Any) -> Any:
            pixels = Standardize.fit(data.train.inputs)
            return spaces.build(params, (1, 8, 8), 10, standardize=pixels, prior=prior(data.train.targets, 10))

    def trained(params: Any, run: Any) -> float:
        *_, last = Run(Digits(), params, steps=EPOCHS, seed=run.id)
        return last.value

    study = Study(Digits.space, goal="min loss", search="evolution", schedule="full", seed=SEED)
    study.run(trained, trials=TRIALS)
    found: list[dict[str, Any]] = []
    for t in study.trials:
        names = [n for n in (f"layer{i}" for i in range(1, 5)) if t.params[n] != "none"]
        layers = [
            {k: t.params[f"{n}.{k}"] for k in ("filters", "kernel", "activation", "norm", "skip", "pool")}
            for n in names
        ]
        origin = t.origin.get("evolution", {"parent": None, "changed": []})
        said = "drawn"
        if origin["parent"] is not None:
            before = found[origin["parent"]]["layers"]
            said = ", ".join(_edit(n, before, layers) for n in origin["changed"])
        found.append({"id": t.id, "parent": origin["parent"], "said": said, "layers": layers, "value": t.value})
    return found


def _edit(name: str, before: list[dict[str, Any]], after: list[dict[str, Any]]) -> str:
    """Return a change in words."""
    layer, _, gene = name.partition(".")
    if not layer.startswith("layer"):
        return f"another {name}"
    if not gene:
        return f"layer {layer[5:]} {'in' if len(after) > len(before) else 'out'}"
    return f"{gene} of {layer[5:]}" if len(before) == len(after) else f"{gene}"


if __name__ == "__main__":
    RECORD.write_text("[\n" + ",\n".join(json.dumps(t) for t in record()) + "\n]\n", encoding="utf-8")
