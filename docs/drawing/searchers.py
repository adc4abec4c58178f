"""The first proposals of each searcher on one function of two numbers."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np

from drawing.svg import LEFT, ORDER, PLOT_H, PLOT_W, TOP, framed, page, words
from whet import seed as streams
from whet.errors import UsedUp
from whet.tune.search import searcher
from whet.tune.space import Float, Params, Space
from whet.tune.trial import Point, State, Trial, Trials

__all__ = ["SPACE", "loss", "proposed", "recorded", "searched"]

SPACE = Space(rate=Float(1e-4, 1.0, log=True), dropout=Float(0.0, 0.6))
PROPOSALS, SEED = 40, 0
LEVELS = (0.12, 0.2, 0.32, 0.47, 0.64, 0.78, 0.92)  # of the contours


def loss(u: np.ndarray | float, v: np.ndarray | float) -> np.ndarray:
    """Return what a trial ends with: a valley aslant, and another one that is not so deep. u, v: places in the unit square."""
    along, across = (u - 0.62) + 0.7 * (v - 0.4), (v - 0.4) - 0.7 * (u - 0.62)
    deep = np.exp(-((along / 0.2) ** 2) - (across / 0.45) ** 2)
    other = np.exp(-(((u - 0.2) / 0.13) ** 2) - ((v - 0.8) / 0.2) ** 2)
    return np.asarray(1.0 - 0.92 * deep - 0.4 * other + 0.08 * (u - 0.62) ** 2)


def recorded(path: Path) -> list[Params] | None:
    """Return the proposals that a picture of a searcher holds."""
    found = re.search(r"<metadata>(.*?)</metadata>", path.read_text(encoding="utf-8")) if path.exists() else None
    return [dict(zip(SPACE, at, strict=True)) for at in json.loads(found[1])] if found else None


def proposed(name: str, before: list[Params] | None = None) -> list[Params]:
    """Return the first proposals of a searcher, each after those before it: in `before`, when that is given.

    Then they are `before` itself, when at most a tenth of them do not come out again.
    """
    made = searcher(name, SPACE, seed=SEED)
    done: list[Trial] = []
    out: list[Params] = []
    for i in range(PROPOSALS):
        try:
            said = made.propose(Trials([*done, Trial(i)], space=SPACE), streams.rng(SEED, i, "propose"))
        except UsedUp:
            break
        out.append(said.params)
        known = before[i] if before and i < len(before) else said.params
        value = float(loss(*SPACE.encode(known)))
        curve = (Point(1, value, metrics=sloping(known)),) if name == "hypergradient" else ()
        done.append(Trial(i, known, State.DONE, curve, value, origin=said.origin))
    if not before or len(before) != len(out):
        return out
    apart = [np.abs(SPACE.encode(a) - SPACE.encode(b)).max() for a, b in zip(before, out, strict=True)]
    return before if np.mean(np.array(apart) > 1e-3) <= 0.1 else out


def sloping(params: Params) -> dict[str, float]:
    """Return the gradient of the loss by the values of a configuration, as a trial reports it: by differences in the unit square."""
    u, h = SPACE.encode(params), 1e-5
    found = {}
    for j, (n, domain) in enumerate(SPACE.items()):
        low, high = (np.clip(u + s * h * np.eye(2)[j], 0, 1) for s in (-1, 1))
        by = domain.decode(float(high[j])) - domain.decode(float(low[j]))  # type: ignore[operator]
        found[f"gradient.{n}"] = float(loss(*high) - loss(*low)) / by
    return found


def searched(name: str, tried: list[Params]) -> str:
    """Return the picture of a searcher: contours, and what it proposed, coloured by order."""
    at = np.array([SPACE.encode(p) for p in tried])
    values = loss(at[:, 0], at[:, 1])
    fine = np.linspace(0, 1, 401)
    least = float(loss(fine[:, None], fine[None]).min())
    grid = np.linspace(0, 1, 45)
    over = loss(grid[:, None], grid[None])
    parts = [f'<path class="k" fill-rule="evenodd" d="{region(over, level)}"/>' for level in LEVELS]
    parts.append(f'<rect x="{LEFT}" y="{TOP}" width="{PLOT_W}" height="{PLOT_H}" fill="none" class="tl"/>')
    group = [min(len(ORDER) - 1, i * len(ORDER) // PROPOSALS) for i in range(len(at))]
    parts += [
        f'<circle class="o{g} tb" cx="{px(u):.1f}" cy="{py(v):.1f}" r="5.5"/>'
        for g, (u, v) in zip(group, at, strict=True)
    ]
    best = int(values.argmin())
    parts.append(
        f'<circle class="ti" fill="none" stroke-width="2" cx="{px(at[best, 0]):.1f}" cy="{py(at[best, 1]):.1f}" r="9"/>'
    )
    parts += [words(px(k / 4), TOP + PLOT_H + 17, f"{10.0 ** (k - 4):g}", "middle", "m") for k in range(5)]
    parts += [words(LEFT - 8, py(k / 3) + 4, f"{0.2 * k:g}", "end", "m") for k in range(4)]
    y, x = TOP + PLOT_H + 58, float(LEFT)
    for g in range(group[-1] + 1):
        of = [i for i, h in enumerate(group) if h == g]
        parts.append(
            f'<circle class="o{g} tb" cx="{x + 6:.1f}" cy="{y - 4}" r="5.5"/>'
            + words(x + 16, y, f"{of[0] + 1}" + f" to {of[-1] + 1}" * (len(of) > 1), "start", "m")
        )
        x += 86
    parts.append(
        f'<circle class="ti" fill="none" stroke-width="2" cx="{x + 8:.1f}" cy="{y - 4}" r="7"/>'
        + words(x + 21, y, "best", "start", "m")
    )
    told = f"{name}: best {values[best]:.2f} after {best + 1} of {len(at)} trials (least {least:.2f})"
    parts += framed("learning rate", "dropout", told)
    record = json.dumps([list(p.values()) for p in tried])
    return page(f"The first {len(at)} proposals of {name}", parts, TOP + PLOT_H + 74, f"<metadata>{record}</metadata>")


def px(u: float) -> float:
    """Return the pixel of a place along the rate."""
    return LEFT + PLOT_W * u


def py(v: float) -> float:
    """Return the pixel of a place along the dropout."""
    return TOP + PLOT_H * (1 - v)


def region(values: np.ndarray, level: float) -> str:
    """Return the path around where values (n, m), over the unit square, are below a level: marching triangles, closed along the edges."""
    n, m = values.shape
    z = np.pad(values, 1, constant_values=1e9) - level
    xs, ys = (np.r_[0.0, np.linspace(0, 1, k), 1.0] for k in (n, m))
    after: dict[tuple[int, int], tuple[int, int]] = {}  # an edge that is crossed -> the next one, inside on one side
    flat = z.ravel()
    for i in range(n + 1):
        for j in range(m + 1):
            a, b, c, d = (i * (m + 2) + j, (i + 1) * (m + 2) + j, (i + 1) * (m + 2) + j + 1, i * (m + 2) + j + 1)
            for three in ((a, b, c), (a, c, d)):
                edges = list(zip(three, (*three[1:], three[0]), strict=True))
                out = [(p, q) for p, q in edges if flat[p] < 0 <= flat[q]]
                if out:
                    into = next((p, q) for p, q in edges if flat[q] < 0 <= flat[p])
                    after[out[0]] = into[1], into[0]
    loops = []
    while after:
        edge = first = next(iter(after))
        points = []
        while edge in after:
            (p, q), edge = edge, after.pop(edge)
            part = flat[p] / (flat[p] - flat[q])
            x, y = (
                k[s] + part * (k[t] - k[s])
                for k, s, t in ((xs, p // (m + 2), q // (m + 2)), (ys, p % (m + 2), q % (m + 2)))
            )
            points.append(f"{px(x):.1f} {py(y):.1f}")
        assert edge == first
        loops.append("M" + "L".join(dict.fromkeys(points)) + "Z")
    return "".join(loops)
