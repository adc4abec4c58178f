"""A realistic synthetic study: trials as ASHA leaves them, a digits-like data set, a model's outputs, an ensemble.

Nothing is trained: curves follow a made-up law of the configuration, so a study of 1,000 trials takes a second.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from whet.finding import Finding, Health, NotRun, Severity
from whet.metric import Interval
from whet.report import Judged, Look, Report, study_report
from whet.tune.space import Choice, Float, Int, Ordered, Space
from whet.tune.trial import Goal, Point, State, Trial, Trials

SPACE = Space(
    lr=Float(1e-5, 1e-1, log=True),
    optimizer=Choice({"sgd": Space(momentum=Float(0.0, 0.99)), "adam": Space(), "adamw": Space()}),
    weight_decay=Float(1e-6, 1e-1, log=True),
    model=Choice(["mlp", "linear"]),
    width=Int(16, 512, log=True),
    depth=Int(1, 4),
    dropout=Float(0.0, 0.6),
    batch=Ordered([16, 32, 64, 128, 256]),
)
TRACE = """Traceback (most recent call last):
  File "whet/train/run.py", line 141, in __iter__
    loss.backward()
RuntimeError: not enough memory: you tried to allocate 1073741824 bytes."""


@dataclass(frozen=True)
class Study:
    """Everything `study_report` takes."""

    trials: Trials
    history: list[tuple[int, int, float]]
    more: dict[str, Any]

    def report(self, **changes: Any) -> Report:
        return study_report("digits", self.trials, **{"history": self.history, **self.more, **changes})


def quality(params: dict[str, Any]) -> float:
    """The error that a configuration ends at: a bowl in log10 lr, and a little of the rest."""
    off = (math.log10(params["lr"]) + 2.2) / 1.4
    linear = 0.03 if params["model"] == "linear" else 0.0
    return 0.014 + 0.02 * off**2 + linear + 0.01 * abs(params["dropout"] - 0.2) + 0.002 * abs(params["depth"] - 2)


def trial(id: int, rng: np.random.Generator, steps: int, state: State, better: str) -> Trial:
    params = SPACE.sample(rng)
    end, speed = quality(params), 0.25 + rng.random()
    scale = 1.0 if better == "max" else 150.0
    points = []
    for step in range(1, steps + 1):
        error = min(0.9, end + 0.85 * math.exp(-speed * step) + abs(rng.normal(0, 0.003)))
        value = 1 - error if better == "max" else error * scale + 52
        points.append(Point(step, value, 0.11 + 0.05 * rng.random(), {"loss": 3 * error}))
    return Trial(
        id, params, state, tuple(points), points[-1].value, None, {"search": "sobol"}, None, sum(p.cost for p in points)
    )


def broken(t: Trial, steps: int) -> Trial:
    """The trial as it is when it fails after `steps` epochs."""
    if t.id % 3:
        size = 100_000_000 + 7_919 * t.id
        error = {
            "type": "RuntimeError",
            "message": f"not enough memory: you tried to allocate {size} bytes.",
            "traceback": TRACE,
        }
    else:
        error = {"type": "FloatingPointError", "message": f"loss is nan at epoch {steps}", "traceback": ""}
    curve = t.curve[:steps]
    value = curve[-1].value if curve else None
    return replace(t, state=State.FAILED, curve=curve, value=value, error=error, cost=sum(p.cost for p in curve))


def make_trials(
    n: int = 61, seed: int = 0, better: str = "max", failed: float = 0.05
) -> tuple[Trials, list[tuple[int, int, float]]]:
    """Trials as successive halving leaves them: of those at a rung the best third is trained on."""
    rng = np.random.default_rng(seed)
    full = [trial(id, rng, 27, State.PAUSED, better) for id in range(n)]
    sick = {id for id in range(n) if rng.random() < failed}
    steps = dict.fromkeys(range(n), 1)
    alive = [id for id in range(n) if id not in sick]
    sign = -1 if better == "max" else 1
    for rung, above in ((1, 3), (3, 9), (9, 27)):
        alive = (
            sorted(alive, key=lambda id: sign * full[id].curve[rung - 1].value)[: max(1, round(len(alive) / 3))]
            if alive
            else []
        )
        steps |= dict.fromkeys(alive, above)
    made = []
    for t in full:
        if t.id in sick:
            made.append(broken(t, int(rng.integers(0, 3))))
            continue
        curve = t.curve[: steps[t.id]]
        state = State.DONE if len(curve) == 27 else State.PAUSED
        made.append(replace(t, state=state, curve=curve, value=curve[-1].value, cost=sum(p.cost for p in curve)))
    made.append(Trial(n, {"lr": 0.01}, State.WAITING, origin={"search": "enqueue"}))
    goal = Goal("accuracy", "max") if better == "max" else Goal("rmse", "min")
    clock, history = 0.0, []
    order = sorted((p.step > 9, p.step > 3, p.step > 1, t.id, p.step, p.cost) for t in made for p in t.curve)
    for *_, id, step, cost in order:
        clock += cost
        history.append((id, step, clock))
    return Trials(made, space=SPACE, goals=(goal,), steps=27), history


def digit(label: int, rng: np.random.Generator) -> np.ndarray:
    """An 8 x 8 picture that differs from class to class."""
    y, x = np.mgrid[0:8, 0:8]
    ring = np.exp(-((((x - 3.5) ** 2 + (y - 3.5) ** 2) ** 0.5 - 1 - label / 4) ** 2))
    return np.clip(255 * ring + rng.normal(0, 18, (8, 8)), 0, 255).astype(np.uint8)


def make_study(n: int = 61, seed: int = 0, kind: str = "classification") -> Study:
    rng = np.random.default_rng(seed + 1)
    trials, history = make_trials(n, seed, "max" if kind == "classification" else "min")
    m = 270
    best = trials.best
    assert best is not None
    if kind == "classification":
        classes: tuple[str, ...] | None = tuple(str(k) for k in range(10))
        truth = rng.integers(0, 10, m)
        outputs = rng.normal(0, 1, (m, 10))
        outputs[np.arange(m), truth] += 5.2
        outputs[truth == 8, 1] += 1.6
        pictures: Any = np.stack([digit(int(k), rng) for k in truth])
        targets = {"train": rng.integers(0, 10, 1257), "validation": truth, "test": rng.integers(0, 10, 270)}
        samples = [(digit(k % 10, rng), f"{k % 10}") for k in range(20)]
        scores = {
            "validation": Interval(best.value or 0.0, 0.958, 0.992, m),
            "ensemble": Interval(0.9889, 0.968, 0.996, m),
            "test": Interval(0.9778, 0.952, 0.990, m),
        }
        columns: list[dict[str, Any]] = []
    else:
        classes, pictures, samples = None, None, []
        truth = rng.normal(152, 77, m)
        outputs = truth + rng.normal(0, 50, m) + 0.15 * (152 - truth)
        targets = {"train": rng.normal(152, 77, 309), "validation": truth, "test": rng.normal(150, 75, 67)}
        value = best.value or 0.0
        scores = {
            "validation": Interval(value, value - 4, value + 5, m),
            "test": Interval(value + 1, value - 6, value + 9, 67),
        }
        columns = [
            {
                "column": c,
                "kind": "number",
                "missing": 0.0,
                "mean": float(rng.normal()),
                "lowest": -0.11,
                "highest": 0.19,
            }
            for c in ("age", "sex", "bmi", "bp", "s1", "s2", "s3", "s4", "s5", "s6")
        ]
    health = Health(
        (
            Finding(
                "DUP",
                Severity.WARN,
                "train and validation",
                {"n": 2},
                "2 examples of validation are in train",
                "whet look digits --drop-duplicates",
            ),
            Finding("FLAT", Severity.INFO, "pixel_0_0", {"n": 3}, "3 features never change", ""),
        ),
        (NotRun("LEAK", "there is no time column"),),
        {
            "INIT": {"loss": 2.31, "expected": 2.303, "tolerance": 0.05},
            "OF": {"loss": 0.001, "steps": 48},
            "BLIND": {"real": 0.36, "blind": 2.30},
        },
    )
    look = Look(
        {"source": "scikit-learn", "features": 64, "missing values": 0},
        targets,
        classes,
        samples,
        columns,
        health.findings[:1],
    )
    finished = [t.id for t in trials if t.state is State.DONE]
    squeezed = {
        "members": [{"trial": id, "weight": w, "step": 27} for id, w in zip(finished, (3, 2, 1), strict=False)],
        "path": [0.9815, 0.9815, 0.9852, 0.9889, 0.9889, 0.9889] if kind == "classification" else [55.0, 54.2, 54.0],
        "single": best.value,
    }
    records = {
        "unsealed": [{"why": "whet run digits, step test", "time": "2026-01-01 12:00:00"}],
        "export": [
            {
                "path": "runs/digits/model.onnx",
                "bytes": 52_341,
                "latency_ms": 0.034,
                "largest_difference": 1.4e-6,
                "tolerance": 1e-4,
            }
        ],
        "environment": [
            {
                "machine": "x86_64, 2 cores",
                "seed": 0,
                "budget": "60s",
                "versions": {"whet": "0.1.0", "python": "3.11.2", "torch": "2.13.0", "numpy": "2.4.6"},
            }
        ],
    }
    commands = {
        "The same again": "whet run digits --budget 60s --seed 0 --fresh",
        "This configuration alone": "whet train digits --set lr=0.0071",
    }
    judged = Judged(outputs, truth, classes, np.arange(m) * 7, pictures)
    more = {
        "scores": scores,
        "health": health,
        "look": look,
        "judged": judged,
        "squeezed": squeezed,
        "records": records,
        "commands": commands,
    }
    return Study(trials, history, more)


# -- odd and hostile studies

NAN = float("nan")


def done(id: int, value: float, steps: int = 2, **changes: Any) -> Trial:
    curve = tuple(Point(k, value, 0.1) for k in range(1, steps + 1))
    return replace(Trial(id, {"lr": 0.01, "act": "relu"}, State.DONE, curve, value, cost=0.1 * steps), **changes)


def failed(id: int) -> Trial:
    error = {"type": "RuntimeError", "message": "CUDA out of memory, 12 MiB"}
    return Trial(id, {"lr": 0.01, "act": "relu"}, State.FAILED, error=error)


ODD = {
    "none": [],
    "waiting": [Trial(0), Trial(1, {"lr": 0.1})],
    "running": [Trial(0, {"lr": 0.1, "act": "relu"}, State.RUNNING)],
    "all failed": [failed(k) for k in range(5)],
    "failed without a word": [Trial(0, {}, State.FAILED), Trial(1, {}, State.FAILED, error={})],
    "one": [done(0, 0.9)],
    "one step": [done(0, 0.9, 1), done(1, 0.8, 1)],
    "nan": [done(0, NAN), done(1, 0.5), done(2, math.inf)],
    "only nan": [done(0, NAN), done(1, NAN)],
    "equal": [done(k, 0.5) for k in range(30)],
    "told without a curve": [
        Trial(0, {"lr": 0.1, "act": "relu"}, State.DONE, (), 0.7),
        Trial(1, {"lr": 0.2, "act": "relu"}, State.DONE, (), 0.6),
    ],
    "perfect": [done(0, 1.0), done(1, 0.0), done(2, 0.99)],
    "child": [done(0, 0.5), done(1, 0.6, 3, parent=(0, 2))],
    "foreign": [done(0, 0.5), done(1, 0.6, params={"unknown": object(), "lr": "x"})],
    "huge": [done(0, 1e30), done(1, -1e30), done(2, 1e-30)],
}


EVIL = "<script>alert(1)</script>"
NASTY = f'{EVIL}<img src=x onerror="window.pwned=1"></script>&amp;%{{x}}"\'\u2028\udcff\x00' + "long" * 60


def make_hostile() -> Report:
    space = Space(act=Choice([NASTY, "b"]), lr=Float(0, 1))
    error = {"type": NASTY, "message": NASTY, "traceback": NASTY}
    trials = [
        Trial(
            k,
            {"act": [NASTY, "b"][k % 2], "lr": k / 20},
            State.DONE,
            (Point(1, k / 20, 0.1),),
            k / 20,
            note=NASTY,
            cost=1.0,
        )
        for k in range(20)
    ]
    trials.append(Trial(20, {"act": NASTY, "lr": 0.5, NASTY: 1}, State.FAILED, error=error))
    finding = Finding(NASTY, "WARN", NASTY, {NASTY: NASTY}, NASTY, NASTY)  # type: ignore[arg-type]
    picture = np.zeros((3, 3), np.uint8)
    return study_report(
        NASTY,
        Trials(trials, space=space, goals=(Goal(NASTY, "max"),)),
        scores={NASTY: Interval(0.5, 0.4, 0.6, 9), "test": Interval(0.6, 0.4, 0.7, 9)},
        health=Health((finding,), (), {NASTY: {NASTY: NASTY}}),
        look=Look(
            {NASTY: NASTY}, {NASTY: np.array([0, 1])}, (NASTY, "b"), [(picture, NASTY)], [{NASTY: NASTY}], [finding]
        ),
        judged=Judged(
            np.random.default_rng(0).normal(size=(60, 2)),
            np.arange(60) % 2,
            (NASTY, NASTY),
            pictures=[picture] * 60,
            split=NASTY,
            model=NASTY,
        ),
        squeezed={"members": [{"trial": 0, "weight": 1, NASTY: NASTY}], "path": [0.5]},
        records={
            "unsealed": [{"why": NASTY, NASTY: NASTY}],
            "export": [{NASTY: NASTY}],
            "environment": [{NASTY: NASTY, "v": {NASTY: NASTY}}],
        },
        commands={NASTY: NASTY},
    )


@pytest.fixture(scope="session")
def study() -> Study:
    return make_study()


@pytest.fixture(scope="session")
def regression() -> Study:
    return make_study(40, 3, "regression")


@pytest.fixture(scope="session")
def make() -> Callable[..., Study]:
    return make_study


@pytest.fixture(scope="session")
def some_trials() -> Callable[..., tuple[Trials, list[tuple[int, int, float]]]]:
    return make_trials


@pytest.fixture(scope="session")
def odd_trials() -> dict[str, list[Trial]]:
    """Lists of trials at the edge, over the space `lr` (log) and `act`."""
    return ODD


@pytest.fixture(scope="session")
def hostile() -> Report:
    """A report in which everything a user can name is markup, a template, too long, or not even Unicode."""
    return make_hostile()
