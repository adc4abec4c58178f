"""The programs of benchmarks/distributed: their parts by hand, and each at its smallest on made-up images."""

from __future__ import annotations

import doctest
import gzip
import importlib
import json
import math
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats

import communication
import parting
import straggler
from evidence import figures, fixed, images, kept, training, tuning
from evidence.figures import interval, paired
from evidence.images import Images
from evidence.kept import Kept
from evidence.training import end, has, train
from evidence.tuning import tuned
from whet.distributed.flat import Flat
from whet.distributed.simulate import Simulation

PROGRAMS = ("staleness", "straggler", "communication", "reshuffle")
ALL = (*PROGRAMS, "parting")  # it compares no rules


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four IDX files: ten kinds of images, each a bright patch of its own, under noise."""
    where, draw = tmp_path_factory.mktemp("idx"), np.random.default_rng(0)
    for split, n in (("train", 900), ("t10k", 450)):
        labels = np.arange(n, dtype=np.uint8) % 10
        pixels = draw.integers(0, 90, (n, 28, 28), dtype=np.uint8)
        for one, label in zip(pixels, labels, strict=True):
            row, column = divmod(int(label), 4)
            one[7 * row : 7 * row + 7, 7 * column : 7 * column + 7] += 150
        for what, array in (("images", pixels), ("labels", labels)):
            head = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
            (where / f"{split}-{what}-idx{array.ndim}-ubyte.gz").write_bytes(gzip.compress(head + array.tobytes(), 1))
    return where


def setting(**changed: object) -> dict[str, object]:
    return {
        "rule": "async", "workers": 2, "epochs": 1, "batch": 32, "lr": 0.05, "seed": 3, "report": False, **changed
    }  # fmt: skip


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_at_its_smallest(
    name: str, place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["--quick", "--seeds", "2", "--data", str(place), "--json", str(tmp_path / "found.json")]
    monkeypatch.setattr("sys.argv", [name, *words])
    importlib.import_module(name).main()
    out = capsys.readouterr().out
    head, line, *rows = [x for x in out.splitlines() if x.startswith("|")]
    assert set(line) == {"|", "-"}
    assert rows
    assert {len(row) for row in rows} == {len(head)}
    assert len(head) <= 105  # two seeds have wide intervals; of five, at most 100
    found = json.loads((tmp_path / "found.json").read_text())["found"]
    tests = [t for f in found for t in (f["test"].values() if isinstance(f["test"], dict) else [f["test"]])]
    assert tests
    assert all(len(t) == 2 and all(0 <= error <= 100 for error in t) for t in tests)


def test_rare_exchanges_of_a_deep_network_at_its_smallest(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["--quick", "--seeds", "2", "--skews", "0", "--net", "deep", "--data", str(place)]
    monkeypatch.setattr("sys.argv", ["communication", *words, "--json", str(tmp_path / "found.json")])
    communication.main()
    out = capsys.readouterr().out
    assert [row.split("|")[3].strip() for row in out.splitlines() if row.startswith("| 0")] == [
        "MA", "members", "EC-L", "EC members", "EC-G"
    ]  # fmt: skip
    assert "skew 0, every 1 epochs: EC-L" in out
    found = json.loads((tmp_path / "found.json").read_text())["found"]
    assert [(f["setting"]["net"], f["setting"]["momentum"]) for f in found] == [("deep", 0.9)] * 2


def test_parting_at_its_smallest(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["--quick", "--seeds", "2", "--data", str(place), "--kept", str(tmp_path / "kept")]
    for name in ("first", "again"):
        monkeypatch.setattr("sys.argv", ["parting", *words, "--json", str(tmp_path / name)])
        parting.main()
    first, again = (json.loads((tmp_path / name).read_text())["found"] for name in ("first", "again"))
    assert first == again
    assert len((tmp_path / "kept").read_text().splitlines()) == 4 * 2  # networks, seeds
    head, line, *rows = [x for x in capsys.readouterr().out.splitlines() if x.startswith("|")][:7]
    assert set(line) == {"|", "-"}
    assert [row.split("|")[1].strip() for row in rows] == ["plain", "deep", "deeper", "normed", "normed"]
    assert {len(row) for row in rows} == {len(head)}
    assert all(
        0 <= row[what] <= 100 for f in first for r in f["results"] for row in r["curve"] for what in ("mean", "anew")
    )
    monkeypatch.setattr("sys.argv", ["parting", "--nets", "deep,wide"])
    with pytest.raises(SystemExit):
        parting.main()
    assert "--nets: got 'wide', allowed are plain, deep" in capsys.readouterr().err


def test_one_member_is_its_own_mean_and_many_have_what_average_saves(place: Path) -> None:
    task = Images(place, 256, 100)
    one = {"net": "normed", "lr": 0.05, "looks": [1, 2], "workers": 1, "skew": 0.0, "seed": 1000}
    alone, apart = (parting.part(task, {**one, "workers": k})["curve"] for k in (1, 4))
    assert [row["epoch"] for row in alone] == [row["epoch"] for row in apart] == [1, 2]
    assert all(row["members"] == row["mean"] == row["ensemble"] for row in alone)
    assert any(row["members"] != row["mean"] for row in apart)
    members = [parting.Normed() for _ in range(3)]
    for i, model in enumerate(members):
        model(torch.randn(16, 1, 28, 28, generator=torch.Generator().manual_seed(i)) * (i + 1))
    flats = [Flat(m) for m in (*members, parting.merged(members))]
    *own, mean = (torch.empty(f.buffer_size, dtype=torch.float64) for f in flats)
    for flat, found in zip(flats, (*own, mean), strict=True):
        flat.read_buffers(found)
    torch.testing.assert_close(flats[-1].weights, torch.stack([f.weights for f in flats[:-1]]).mean(0))
    torch.testing.assert_close(mean, torch.stack(own).mean(0), rtol=1e-6, atol=1e-7)


def test_members_that_diverge_are_counted(place: Path) -> None:
    task = Images(place, 128, 100)
    lost = parting.part(task, {"net": "plain", "lr": 1e6, "looks": [4], "workers": 2, "skew": 0.0, "seed": 1000})
    assert lost == {"curve": [], "diverged": True}
    assert parting.cell([lost], 4, "mean") == "1 div."


def test_given_settings_are_those_that_tuning_would_have_tried(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = fixed.fixed("average: rate 0.02 kept; ec: rate 0.05, weight 4, 512 steps")
    for rule, at in (("average", 1), ("ec", 3)):
        setting = communication.given_setting(rule, 512, words[rule], "deep")
        assert kept.name(setting) == kept.name(communication.deep_trials(rule, 512)[at])  # as a --kept file has it
    said = "average: rate 0.1 kept, 3 epochs; ec: rate 0.2, weight 1, 2 steps"
    words = ["--quick", "--seeds", "2", "--skews", "0", "--data", str(place), "--settings", said]
    monkeypatch.setattr("sys.argv", ["communication", *words, "--kept", str(tmp_path / "kept")])
    communication.main()
    done = [json.loads(json.loads(line)["key"]) for line in (tmp_path / "kept").read_text().splitlines()]
    assert [(d["rule"], d["lr"], d["falls"], d["epochs"], d["seed"], d["report"]) for d in done] == [
        (rule, lr, falls, epochs, seed, True)  # nothing was tuned
        for rule, lr, falls, epochs in (("average(every=2)", 0.1, False, 3), ("ec(every=2,share=1,weight=1,compress=2)", 0.2, True, 2))
        for seed in (0, 1)
    ]  # fmt: skip
    assert "0.1, kept, 3 epochs" in capsys.readouterr().out


@pytest.mark.parametrize(
    "words",
    ["sync: rate 1", "average", "average: rate x", "average: rate -1", "average: 64 epochs", "ec: rate 0.1, weight 1",
     "average: rate 1, 4 steps", "average: rate 1, rate 2", "average: rate 1; average: rate 2", "average: rate 1, kept"],
)  # fmt: skip
def test_settings_that_are_not_understood_end_in_one_line(words: str) -> None:
    with pytest.raises(SystemExit, match=r"^--settings: got .*\. Write it as: RULE: rate R .*$"):
        fixed.fixed(words)


@pytest.mark.parametrize("name", ALL)
def test_without_the_images_a_program_says_what_to_give(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", [name, "--data", str(tmp_path)])
    with pytest.raises(SystemExit, match=f"{name}: no IDX files .* Give --data"):
        importlib.import_module(name).main()
    monkeypatch.setattr("sys.argv", [name])
    monkeypatch.delenv("WHET_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        importlib.import_module(name).main()
    assert ended.value.code == 0  # nobody asked for them by name: the other programs of `make bench` go on
    assert f"{name}: no IDX files" in capsys.readouterr().out


def test_what_is_tuned_on_is_not_what_is_reported(place: Path) -> None:
    task = Images(place, 300, 200)
    tune, report = (task.data({"report": r}) for r in (False, True))
    assert torch.equal(tune.train.inputs, report.train.inputs)
    ids = set(tune.train.ids.tolist()), set(tune.valid.ids.tolist())
    assert not ids[0] & ids[1]
    assert not any(torch.equal(a, b) for a in report.valid.inputs[:20] for b in tune.valid.inputs)
    assert (len(tune.train), len(tune.valid), len(report.valid)) == (300, 200, 200)


def test_an_interval_is_students() -> None:
    values = [3.1, 2.9, 3.6, 3.3, 2.7]
    low, high = stats.t.interval(0.95, 4, np.mean(values), stats.sem(values))
    assert (interval(values).low, interval(values).high) == pytest.approx((low, high))
    other = [x + 0.5 + 0.01 * i for i, x in enumerate(values)]
    assert paired(other, values).half < 0.03 < interval(values).half
    lost = interval([*values, math.nan])
    assert (lost.mean, lost.n, lost.diverged) == (interval(values).mean, 5, 1)
    assert figures.apart(interval(values), interval([x + 2 for x in values]))
    assert not figures.apart(lost, interval([x + 2 for x in values]))


def test_the_best_of_the_finals_is_chosen_and_divergence_counts() -> None:
    said = {(0, 7): 20.0, (1, 7): 10.0, (2, 7): 12.0, (3, 7): 50.0, (0, 8): 1.0, (1, 8): None, (2, 8): 14.0}
    asked = []

    def do(one):
        asked.append((one["lr"], one["seed"]))
        assert one["report"] is False
        error = said[one["lr"], one["seed"]]
        return {"diverged": error is None, "curve": [{"error": error}]}

    found = tuned(Kept(None, do), [{"lr": i} for i in range(4)], (7, 8), "x", finals=3)
    assert found.setting == {"lr": 0}  # 10.5 beats (10 + 90) / 2 and 13
    assert found.errors == (10.5, 50.0, 13.0, 50.0)
    assert sorted(asked) == sorted(said)


def test_what_is_finished_is_not_done_again(tmp_path: Path) -> None:
    done = []

    def do(one):
        done.append(one["seed"])
        if one["seed"] == 2 and len(done) < 4:
            raise KeyboardInterrupt
        return {"value": one["seed"] / 3}

    path, settings = tmp_path / "kept", [{"seed": i, "lr": 0.1} for i in range(3)]
    with pytest.raises(KeyboardInterrupt):
        Kept(path, do).all(settings, "x")
    again = [Kept(path, do).all(settings[::-1], "x") for _ in range(2)]
    assert again == [[{"value": i / 3} for i in (2, 1, 0)]] * 2
    assert done == [0, 1, 2, 2]


def test_what_says_less_than_is_asked_now_is_done_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, settings = tmp_path / "kept", [{"seed": i} for i in range(3)]
    old = [{"curve": [{"error": 1.0}], "diverged": False}, {"curve": [], "diverged": True}]
    Kept(path, lambda one: old[one["seed"]]).all(settings[:2], "x")
    new = {"curve": [{"error": 1.0, "member_error": 2.0}], "diverged": False}

    def do(one):
        assert one["seed"] in (0, 2)
        return new

    for _ in range(2):
        found = Kept(path, do).all(settings, "x", lambda r: has(r, ["error", "member_error"]))
        assert found == [new, old[1], new]
    assert f"x: 1 in {path} say less than is reported now" in capsys.readouterr().err
    assert len(path.read_text().splitlines()) == 4
    assert Kept(path, do).all(settings[:1], "x") == [new]


def test_one_slow_worker_holds_up_sync_as_computed(place: Path) -> None:
    task = Images(place, 256, 100)
    runs = [train(task, setting(rule=r, workers=4, straggler=3.0)) for r in ("sync", "async")]
    ratio = straggler.speed(runs[1]["curve"]) / straggler.speed(runs[0]["curve"])
    assert ratio == pytest.approx(straggler.fitting(1, 4, 3.0), rel=0.25)


def test_a_skew_deals_unlike_shards(place: Path) -> None:
    task, labels = Images(place, 640, 100), []
    for skew in (0.0, 1.0):
        shards = training.shards(task.data({"report": False}).train.targets, 4, 0, skew)
        labels.append([len(set(task.data({"report": False}).train.targets[s].tolist())) for s in shards])
    assert labels[0] == [10] * 4
    assert max(labels[1]) <= 4


def test_the_ensemble_is_looked_at_after_each_exchange(place: Path) -> None:
    task = Images(place, 256, 100)
    one = setting(rule="ec(every=2)", workers=4, epochs=3, shuffle="local", skew=0.5, report=True)
    result = train(task, one, communication.Look())
    held, looked = communication.bound([result])
    assert held == looked == 3  # 6 steps of a worker, two between exchanges
    last = result["curve"][-1]
    assert 0 <= last["ensemble_error"] <= 100
    assert last["ensemble_loss"] < last["member_loss"]
    assert end(train(task, one)) == end(result)  # looking changes nothing


def test_the_members_of_averaging_are_those_that_its_mean_is_of(place: Path) -> None:
    found = []

    def look(simulation: Simulation, row: dict[str, object]) -> None:
        sent = [seat.weights for _, seat in sorted(simulation.workers.items())]
        found.append((torch.stack(sent), simulation.server.held.weights.clone()))

    one = setting(rule="average(every=4)", workers=4, epochs=2, shuffle="local", skew=0.0)
    train(Images(place, 256, 100), one, look)
    sent, mean = found[-1]
    torch.testing.assert_close(sent.mean(0), mean)
    assert all(float((w - mean).abs().max()) > 1e-4 for w in sent)
    last = train(Images(place, 256, 100), one, communication.Look())["curve"][-1]
    assert last["ensemble_loss"] <= last["member_loss"]
    assert last["member_loss"] != pytest.approx(last["loss"], rel=1e-6)  # theirs, not the mean's


def test_a_row_that_breaks_the_bound_is_counted() -> None:
    rows = [{"ensemble_loss": 1.0, "member_loss": 1.1}, {"ensemble_loss": 1.2, "member_loss": 1.1}, {"loss": 1.0}]
    assert communication.bound([{"curve": rows}]) == (1, 2)


@pytest.mark.parametrize("module", [figures, fixed, images, kept, training, tuning, *ALL])
def test_examples(module) -> None:
    module = importlib.import_module(module) if isinstance(module, str) else module
    assert doctest.testmod(module).failed == 0
