from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import torch

from whet.data.bundled import diabetes, digits
from whet.data.duplicates import duplicates
from whet.data.leak import leaks, separates
from whet.data.look import look
from whet.data.sample import samples
from whet.data.split import Data, Split
from whet.data.table import table


def noise(n=400, seed=0, **more):
    rng = np.random.default_rng(seed)
    columns = {
        "a": rng.normal(size=n),
        "b": rng.normal(size=n),
        "c": rng.choice(list("xyz"), n),
        "y": rng.choice(["no", "yes"], n),
    }
    return pd.DataFrame(columns | more)


def found(data):
    return {f.code: f for f in look(data).findings}


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_healthy_data_has_no_warning(seed):
    for data in (digits(seed=seed), diabetes(seed=seed), table(noise(seed=seed), "y", seed=seed)):
        assert not [f for f in look(data).findings if f.severity == "WARN"]


def test_the_look_is_json_and_fits_78_columns():
    frame = noise(a="text " * 30, b=[None, 1.0] * 200)
    for data in (digits(), diabetes(), table(frame, "y"), table(noise(), "a")):
        seen = look(data)
        json.dumps(seen.json(), allow_nan=False)
        assert all(len(line) <= 78 for line in seen.lines())
    assert look(digits()).lines()[:3] == [
        "1,797 examples, 64 features, 10 classes", "train 1,257, valid 270, test 270 (sealed)",
        "pictures 8x8 (height x width) grey, values 0 to 255 (uint8)",
    ]  # fmt: skip


def test_looking_does_not_open_the_test_split():
    data = digits()
    opened = []
    guarded = Data(data.train, data.valid, classes=data.classes, sealed=lambda: opened.append(1), meta=data.meta)
    look(guarded), samples(guarded)
    assert not opened
    assert look(data.visible).facts["splits"]["test"] is None


def test_duplicates_within_across_and_with_another_target():
    x = torch.randint(0, 256, (40, 1, 6, 6), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    y = torch.arange(40) % 4
    train, valid = Split(x[:30], y[:30]), Split(x[30:], y[30:], np.arange(30, 40))
    assert not duplicates(train, valid).any
    twice = Split(torch.cat([x[:30], x[:2]]), torch.cat([y[:30], torch.tensor([y[0], 3])]))
    d = duplicates(twice, Split(torch.cat([x[30:], x[5:8]]), torch.cat([y[30:], y[5:8]])))
    assert (d.train, d.valid, d.across, d.disagree) == (2, 0, 3, 2)
    assert d.pairs[:2] == (("train", 1, "train", 31), ("train", 5, "valid", 10))  # another target, then across
    assert found(Data(twice, valid, classes=tuple("abcd")))["DUPLICATE"].severity == "WARN"


def test_minus_zero_is_zero_and_integer_parts_count():
    a = Split((torch.tensor([[0.0], [-0.0]]), torch.tensor([[1], [1]])), torch.tensor([0, 0]))
    assert duplicates(a, a.take([0])).train == 1
    b = Split((torch.tensor([[0.0], [0.0]]), torch.tensor([[1], [2]])), torch.tensor([0, 0]))
    assert duplicates(b, b.take([0])).train == 0


@pytest.mark.parametrize("seed", [0, 1])
def test_a_column_that_gives_the_target_away(seed):
    frame = noise(seed=seed)
    frame["late"] = np.where(frame["y"] == "yes", "approved", "refused")
    frame["amount"] = np.where(frame["y"] == "yes", 5, -5) + np.random.default_rng(seed).normal(size=400)
    assert {f.where for f in leaks(table(frame, "y", seed=seed))} == {"late", "amount"}
    frame = noise(seed=seed)
    frame["celsius"] = frame["a"] * 1.8 + 32
    frame["near"] = frame["a"] + 0.01 * frame["b"]
    assert {f.where for f in leaks(table(frame, "a", seed=seed))} == {"celsius"}


def test_a_leak_in_a_long_table_is_found_behind_the_first_rows():
    n = 5000
    y = torch.arange(n) % 2
    x = torch.stack((torch.randn(n, generator=torch.Generator().manual_seed(0)), y * 3.0, torch.zeros(n)), 1)
    x[2000:, 2] = 1.0
    both = Split(x, y)
    assert [f.where for f in leaks(Data(both, both, classes=("a", "b")))] == ["column 1"]


def test_any_data_can_be_looked_at():
    n = 60
    y = torch.randn(n, 2, generator=torch.Generator().manual_seed(0))
    look(Data(Split(torch.randn(n, 5, 3), y), Split(torch.randn(n, 5, 3), y), kind="regression"))
    tokens = torch.randint(0, 9, (n, 12), generator=torch.Generator().manual_seed(0))
    seen = look(Data(Split(tokens, tokens[:, 0]), Split(tokens[:9], tokens[:9, 0])))
    assert seen.facts["features"] == 12
    assert seen.lines()


def test_labels_of_which_none_counts():
    tokens = torch.randint(0, 9, (60, 6), generator=torch.Generator().manual_seed(0))
    for shape in ((60, 6), (60,)):
        y = torch.full(shape, -100)
        seen = look(Data(Split(tokens[:40], y[:40]), Split(tokens[40:], y[40:])))
        assert seen.facts["classes"] is None
        assert "no label that counts" in seen.lines()[0]
        assert "LEAK" not in {f.code for f in seen.findings}, "one label is predicted by anything"
    y = torch.where(torch.arange(60) % 3 == 0, -100, torch.arange(60) % 2)
    seen = look(Data(Split(tokens[:40], y[:40]), Split(tokens[40:], y[40:])))
    assert [c["n"] for c in seen.facts["classes"]] == [20, 20]
    assert seen.facts["balance"]["classes"] == pytest.approx(2)


def test_separates():
    y = np.array([0, 0, 1, 1, 2, 2])
    assert separates(np.array([1, 1, 5, 6, 8, 9.0]), y)
    assert not separates(np.array([1, 1, 8, 9, 5, 8.0]), y)
    assert separates(np.repeat([3, 1, 2, 1], 5), np.repeat([0, 1, 0, 1], 5), ordered=False)
    assert not separates(np.arange(6), y, ordered=False), "every example its own value says nothing"
    assert not separates(np.zeros(6), y)


def test_missing_near_constant_imbalance_and_rare_classes():
    frame = noise(n=1000)
    frame.loc[frame.index[:700], "a"] = np.nan
    frame["still"] = [1.0] * 997 + [2.0] * 3
    frame["y"] = ["no"] * 960 + ["yes"] * 36 + ["may"] * 4
    seen = found(table(frame, "y"))
    assert seen["MISSING"].severity == "WARN"
    assert "a 69" in seen["MISSING"].message
    assert "still" in seen["NEAR-CONSTANT"].evidence
    assert "'no' has" in seen["IMBALANCE"].message
    assert "'may'" in seen["RARE"].message
    assert seen["RARE"].message.startswith("1 class has under 10 examples")


def test_samples_are_of_each_class_and_the_same_each_time():
    data = digits(seed=1)
    a, b = samples(data, 3, seed=0), samples(data, 3, seed=0)
    assert [s.index for s in a] == [s.index for s in b] != [s.index for s in samples(data, 3, seed=1)]
    assert [s.label for s in a] == [str(i // 3) for i in range(30)]
    assert a[0].picture.shape == (8, 8)
    assert all(data.train.ids[s.index] == s.id and int(data.train.targets[s.index]) == int(s.label) for s in a)
    numbers = samples(diabetes(), 2)
    assert len(numbers) == 6
    assert numbers[0].picture is None
    assert sorted(float(s.label) for s in numbers) == [float(s.label) for s in numbers]


def test_colour_pictures_have_channels_last():
    x = torch.randint(0, 256, (20, 3, 4, 5), dtype=torch.uint8)
    data = Data(Split(x, torch.arange(20) % 2), Split(x, torch.arange(20) % 2), classes=("a", "b"))
    sample = samples(data, 1)[0]
    assert np.array_equal(sample.picture, x[sample.index].permute(1, 2, 0).numpy())
