"""What a look at a series must find, and must not."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from whet.data import Data, Look, clean, look, table
from whet.data.seen.proposal import proposals
from whet.data.seen.rows import rows
from whet.data.seen.series_odd import Jump, hampel, jump, runs, stuck
from whet.data.seen.series_root import dickey_fuller, kpss
from whet.data.seen.series_season import autocorrelation, decompose, periods

SEEDS = (0, 1, 2)
OWN = {"GAP", "MISSING-RUN", "STUCK", "OUTLIER", "LEVEL", "UNIT-ROOT", "SHIFT"}


def follow(n: int, seed: int, rho: float = 0.5) -> np.ndarray:
    draw = np.random.default_rng(seed).normal(size=n + 100)
    out = np.zeros(n + 100)
    for i in range(1, n + 100):
        out[i] = rho * out[i - 1] + draw[i]
    return out[100:]


def frame(y: np.ndarray, freq: str = "h", **more: np.ndarray) -> pd.DataFrame:
    return pd.DataFrame({"when": pd.date_range("2024-01-01", periods=len(y), freq=freq).astype(str), "y": y, **more})


def seen(given: pd.DataFrame) -> Look:
    return look(table(given, "y"))


def found(given: pd.DataFrame) -> set[str]:
    return {f.code for f in seen(given).findings} & OWN


def test_healthy_series_show_nothing() -> None:
    t = np.arange(700)
    for seed in SEEDS:
        noise = follow(700, seed)
        assert found(frame(noise, wind=follow(700, seed + 50, 0.8))) == set()
        assert found(frame(noise + 4 * np.sin(t * 2 * np.pi / 24))) == set()
        heavy = np.exp(0.6 * noise)
        assert found(frame(heavy)) == set()
        rain = np.maximum(follow(700, seed + 9, 0.8) - 1, 0)
        assert found(frame(noise, rain=rain)) == set()


def test_planted_faults_are_found_where_they_are() -> None:
    for seed in SEEDS:
        y = follow(700, seed).round(3) + 3 * np.sin(np.arange(700) * 2 * np.pi / 24)
        given = frame(y)
        gap = given.drop(index=range(200, 230)).drop(index=[400]).reset_index(drop=True)
        f = next(f for f in seen(gap).findings if f.code == "GAP")
        assert (f.evidence["missing"], f.evidence["stretches"], f.evidence["longest"]) == (31, 2, 30)
        assert f.evidence["after"] == str(pd.Timestamp("2024-01-01") + pd.Timedelta(hours=199))[:16]
        far = given.copy()
        far.loc[[150, 333], "y"] = [90.0, -80.0]
        result = seen(far)
        assert {e.id for e in result.examples if e.code == "OUTLIER"} == {150, 333}
        assert {f.code for f in result.findings} & OWN == {"OUTLIER"}
        table_ = rows(table(far, "y"), result.examples)
        assert set(table_.query("suspect == 'OUTLIER'").id) == {150, 333}
        still = given.copy()
        still.loc[300:340, "y"] = still.loc[300, "y"]
        f = next(f for f in seen(still).findings if f.code == "STUCK")
        assert f.evidence["stretches"][0][0] == 41
        lost = given.copy()
        lost.loc[100:119, "y"] = np.nan
        f = next(f for f in seen(lost).findings if f.code == "MISSING-RUN")
        assert f.evidence["longest"] == 20
        step = given.copy()
        step.loc[300:, "y"] += 9
        f = next(f for f in seen(step).findings if f.code == "LEVEL")
        assert abs(f.evidence["size"] - 9) < 2
        assert f.evidence["at"].startswith("2024-01-13")


def test_later_rows_of_another_kind_are_a_shift_and_a_trend_is_said_to_be_one() -> None:
    for seed in SEEDS:
        y = follow(1000, seed)
        y[720:] = 3 + 0.2 * y[720:]  # validation begins at about 717
        shift = [f for f in seen(frame(y)).findings if f.code == "SHIFT"]
        assert "WARN" in {f.severity for f in shift}
        rising = follow(400, seed) + np.arange(400) / 10
        shift = [f for f in seen(frame(rising)).findings if f.code == "SHIFT"]
        assert any(f.severity == "INFO" and "expected of a trend" in f.message for f in shift)
        walk = np.cumsum(follow(400, seed, 0.0))
        assert not [f for f in seen(frame(walk)).findings if f.severity == "WARN"]


def test_seasons_are_found_and_noise_has_none() -> None:
    for seed in SEEDS:
        for n, season in ((200, 12), (400, 7), (1500, 24), (2500, 365)):
            t = np.arange(n)
            wave = 2 * np.sin(t * 2 * np.pi / season) + np.cos(t * 4 * np.pi / season) + 0.01 * t
            natural = (season,) if season == 365 else ()
            assert periods(wave + follow(n, seed, 0.3), natural)[0][0] == season
        for rho in (0.0, 0.9, 1.0):
            assert periods(follow(600, seed, rho), (24, 168)) == []
        week = np.repeat([1.0, 1, 1, 1, 1, 0, 0], 24)
        day = np.sin(np.arange(24 * 7 * 8) * 2 * np.pi / 24)
        both = day + 2 * np.tile(week, 8) + 0.3 * follow(24 * 56, seed)
        assert {p for p, _ in periods(both, (24, 168))} == {24, 168}


def test_autocorrelation_is_the_plain_sum() -> None:
    x = follow(50, 0)
    z = x - x.mean()
    plain = [float((z[k:] * z[: 50 - k]).sum() / (z * z).sum()) for k in range(50)]
    assert np.allclose(autocorrelation(x), plain)


# What statsmodels 0.15.0 gives for the series of `follow`: adfuller(x), kpss(x, "c", nlags="auto").
REFERENCE = (
    (0, 0.5, -6.87311484, 0.00000000, 0, 0.03850877, 0.10000000),
    (1, 1.0, 0.42503449, 0.98240738, 2, 1.39778967, 0.01000000),
    (2, 0.9, -4.69687250, 0.00008530, 0, 0.10911049, 0.10000000),
    (3, 1.0, -1.84539346, 0.35816916, 0, 0.96278894, 0.01000000),
)  # fmt: skip


@pytest.mark.parametrize(("seed", "rho", "t", "p", "lags", "statistic", "q"), REFERENCE)
def test_tests_of_a_unit_root_are_those_of_statsmodels(
    seed: int, rho: float, t: float, p: float, lags: int, statistic: float, q: float
) -> None:
    x = follow(150, seed, rho)
    assert dickey_fuller(x) == (pytest.approx(t, abs=1e-6), pytest.approx(p, abs=1e-6), lags)
    assert kpss(x) == (pytest.approx(statistic, abs=1e-6), pytest.approx(q, abs=1e-6))


def test_a_library_agrees_where_there_is_one() -> None:
    tools = pytest.importorskip("statsmodels.tsa.stattools")
    seasonal = pytest.importorskip("statsmodels.tsa.seasonal")
    x = np.cumsum(follow(240, 5))
    assert dickey_fuller(x)[:2] == pytest.approx(tools.adfuller(x)[:2])
    parts, known = decompose(x, 12), seasonal.seasonal_decompose(x, period=12)
    inside = np.isfinite(known.trend)
    assert np.allclose(parts.trend[inside], known.trend[inside])
    assert np.allclose(parts.season, known.seasonal)


def test_decomposing_gives_back_what_was_put_together() -> None:
    t = np.arange(96)
    season = np.tile(np.random.default_rng(0).normal(size=12), 8)
    season -= season[:12].mean()
    parts = decompose(3 + 0.5 * t + season, 12)
    assert np.allclose(parts.season, season, atol=1e-9)
    assert np.allclose(parts.trend, 3 + 0.5 * t, atol=1e-9)
    assert parts.season_strength == pytest.approx(1)
    noise = decompose(follow(400, 1, 0.0), 12)
    assert noise.season_strength < 0.2


def test_stretches() -> None:
    x = np.array([1.0, 1, np.nan, np.nan, np.nan, 2, 1])
    starts, lengths, values = runs(x)
    assert starts.tolist() == [0, 2, 5, 6]
    assert lengths.tolist() == [2, 3, 1, 1]
    assert np.isnan(values[1])
    for seed in SEEDS:
        whole = np.random.default_rng(seed).integers(0, 4, 600).astype(float)  # stands still by chance all the time
        assert stuck(whole) == []
        rain = np.where(np.random.default_rng(seed).random(600) < 0.05, follow(600, seed), 0.0)
        assert stuck(rain) == []


def test_jumps_and_outliers_of_noise_are_rare() -> None:
    for seed in range(30):
        assert not isinstance(jump(follow(200, seed, 0.3)), Jump)
        assert hampel(follow(200, seed, 0.9)) == []


def test_the_facts_name_the_rules_to_beat() -> None:
    y = follow(300, 0) + 5 * np.sin(np.arange(300) * 2 * np.pi / 24)
    given = frame(y)
    data = table(given, "y")
    facts = look(data).facts["series"]
    at = data.valid.ids
    assert facts["naive"]["last"]["rmse"] == pytest.approx(np.sqrt(((y[at] - y[at - 1]) ** 2).mean()), rel=1e-4)
    assert facts["naive"]["season"]["mae"] == pytest.approx(np.abs(y[at] - y[at - 24]).mean(), rel=1e-4)
    assert (facts["season"], facts["step"], facts["from"]) == (24, "hour", "2024-01-01")
    assert "to beat on valid" in str(look(data))
    assert {n.code for n in look(data).not_run} >= {"DUPLICATE", "NEAR-DUPLICATE", "LEAK", "LABEL"}
    assert all(len(line) <= 78 for line in look(data).lines())


@pytest.mark.parametrize(
    "y",
    [
        np.arange(200.0),
        np.arange(200.0) % 2,
        np.r_[np.zeros(50), 1.0, np.zeros(149)],
        np.exp(np.arange(300) / 10),
        1e30 * follow(200, 0),
        np.where(np.arange(200) % 2, follow(200, 0), np.nan),
        np.arange(24) ** 1.1,
    ],
)
def test_odd_series_are_looked_at_to_the_end(y: np.ndarray) -> None:
    result = look(table(frame(y), "y", time="when"))
    assert json.loads(json.dumps(result.json(), allow_nan=False)) == result.json()
    assert not [n for n in result.not_run if "Error" in n.why]


def test_missing_values_and_missing_rows_are_named_apart() -> None:
    rng = np.random.default_rng(0)
    given = frame(rng.normal(size=400), wind=rng.normal(size=400))
    given.loc[[20, 60, 61], "wind"] = np.nan
    given.loc[[90, 91], "y"] = np.nan
    given = given.drop(index=range(150, 157)).reset_index(drop=True)
    told = {f.code: f.message for f in seen(given).findings}
    assert told["NO-TARGET"].startswith("2 of 393 values of the target are missing: they are not predicted")
    assert told["MISSING"].startswith("values missing in training rows: wind 0.8%")
    assert told["GAP"].startswith("7 of ")
    assert " steps have no row (" in told["GAP"]
    assert "in 1 gap; the longest 7 steps after" in told["GAP"]
    assert "7 steps without a row" in " ".join(line.strip() for line in seen(given).lines())
    run = given.copy()
    run.loc[30:50, "wind"] = np.nan
    said = {f.code: f.message for f in seen(run).findings}["MISSING-RUN"]
    assert said.startswith("24 values are missing in 3 stretches, the longest 21 from")


def test_a_few_wild_values_hide_no_season() -> None:
    for seed in SEEDS:
        draw = np.random.default_rng(seed)
        t = np.arange(600)
        y = 10 + np.sin(2 * np.pi * t / 7) + 0.3 * draw.normal(size=600)
        y[draw.choice(600, 3, replace=False)] = 9999
        assert [p for p, _ in periods(y)] == [7]
        y = np.where(
            draw.random(600) < 0.1, draw.lognormal(size=600), 0
        )  # few values differ at all: nothing is left out
        assert periods(y) == []


def test_what_is_far_out_once_a_season_is_the_season() -> None:
    for seed in range(6):
        draw = np.random.default_rng(seed)
        y = draw.normal(size=4000)
        y[::120] += 30
        assert [p for p, _ in periods(y)] == [120]
        wild = draw.normal(size=4000)
        wild[draw.choice(4000, 34, replace=False)] += 30
        assert periods(wild) == [], "as many at no regular times"


def test_an_outlier_of_a_series_is_blanked_not_dropped() -> None:
    given = frame(follow(400, 0), wind=follow(400, 1))
    given.loc[3, "y"], given.loc[[100, 200], "wind"] = 500, -999
    data = table(given, "y")
    steps = proposals(data, look(data))
    assert [(p.step, [literal for literal, _ in p.items], p.options.get("column"), p.live) for p in steps] == [
        ("blank", ["3"], None, False),
        ("blank", ["100", "200"], '"wind"', False),
    ]
    cleaned = data
    for p in steps:
        cleaned = _done(p.text(), cleaned)
    assert not [f for f in look(cleaned).findings if f.code == "OUTLIER"]
    assert [r["n"] for r in cleaned.meta["cleaned"]] == [1, 2]


def _done(step: str, data: Data) -> Data:
    here: dict[str, object] = {"clean": clean, "data": data}
    exec(step, here)
    assert isinstance(here["data"], Data)
    return here["data"]
