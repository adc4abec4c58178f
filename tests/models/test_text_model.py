"""The average of words and the perceptron over it: against a reference, blind to order and padding, learnable, exportable."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from whet.data.prepare import apply_encoding
from whet.deploy.deployed import Deployed
from whet.deploy.export import export
from whet.deploy.verify import verify
from whet.models import TextMlp, WordAverage
from whet.tasks.table import TableTask
from whet.train.run import Run

SEEDS = [0, 1]


def texts(n=240, seed=0):
    draw = np.random.default_rng(seed)
    good = draw.integers(0, 2, n)
    words = [[*draw.choice([f"word{i}" for i in range(60)], 8), ("dull", "fine")[g]] for g in good]
    return pd.DataFrame({"said": [" ".join(draw.permutation(w)) for w in words], "x": draw.normal(size=n),
                         "size": draw.choice(["big", "small"], n), "good": np.where(good, "yes", "no")})  # fmt: skip


@pytest.mark.parametrize("seed", SEEDS)
def test_the_average_is_that_of_an_embedding_bag_over_the_root_of_the_length(seed):
    generator = torch.Generator().manual_seed(seed)
    layer = WordAverage(30, 5)
    with torch.no_grad():
        layer.embedding.weight[1] = 0.3
    words = torch.randint(1, 30, (12, 9), generator=generator)
    for row, size in zip(words, range(12), strict=True):
        row[min(size, 9) :] = 0
    bag = torch.nn.functional.embedding_bag(words, layer.embedding.weight, mode="sum", padding_idx=0)
    count = (words != 0).sum(1, keepdim=True).clamp(min=1)
    assert torch.allclose(layer(words), bag / count.sqrt(), atol=1e-6)
    shuffled = words.flip(1)
    assert torch.allclose(layer(shuffled), layer(words), atol=1e-6)
    wider = torch.cat([words, torch.zeros(12, 4, dtype=torch.int64)], 1)
    assert torch.allclose(layer(wider), layer(words), atol=1e-6)


def test_padding_learns_nothing_and_the_unknown_word_starts_at_nothing():
    layer = WordAverage(6, 3)
    assert not layer.embedding.weight[:2].any()
    layer(torch.tensor([[2, 1, 0]])).sum().backward()
    grad = layer.embedding.weight.grad
    assert grad is not None
    assert not grad[0].any()
    assert grad[1].any()


def test_each_text_column_has_words_of_its_own():
    model = TextMlp(1, 2, texts=[(9, 4), (7, 3)], depth=1, width=8, embedding=6).eval()
    numbers, codes = torch.randn(5, 1), torch.zeros(5, 0, dtype=torch.int64)
    words = torch.randint(2, 7, (5, 7))
    before = model(numbers, codes, words)
    with torch.no_grad():
        model.averages[1].embedding.weight.zero_()
    assert not torch.allclose(model(numbers, codes, words), before)
    words[:, 4:] = 0
    after = model(numbers, codes, words)
    words[:, 4:] = 3
    assert torch.allclose(model(numbers, codes, words), after)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("net", ["mlp", "linear"])
def test_words_are_learned_from_text_alone(seed, net):
    task = TableTask(texts(seed=seed)[["said", "good"]], "good", seed=seed)
    params = task.first | {"net": net, "optimizer.lr": 1e-2}
    run = Run(task, {k: v for k, v in params.items() if net == "mlp" or not k.startswith("net.")}, steps=15, seed=seed)
    points = list(run)
    assert points[-1].value > 0.95
    assert "net.embedding" in task.space.names


@pytest.mark.parametrize("columns", [["said"], ["said", "x"], ["said", "size"], ["said", "x", "size"]])
@pytest.mark.parametrize("net", ["mlp", "linear"])
def test_exported_it_answers_as_it_did_on_new_rows(tmp_path, columns, net):
    frame = texts()
    task = TableTask(frame[[*columns, "good"]], "good")
    data = task.data({})
    model = task.model(task.first | {"net": net}).eval()
    done = export(model, data.valid.inputs, tmp_path / "m.onnx", classes=data.classes, meta=data.meta)
    assert [i["name"] for i in done.inputs] == ["numbers", "categories", "words"]
    assert verify(done.path, model, data.valid.inputs, timed=False).equal
    # Elsewhere, with the file alone: the encoding travels in it.
    deployed = Deployed(done.path)
    new = pd.DataFrame(
        {"said": ["A FINE word1!", "quite unknown", None], "x": [0.1, None, 9.0], "size": ["big", "?", None]}
    )
    inputs = apply_encoding(deployed.meta["meta"]["encoding"], new)
    got = deployed(tuple(p.numpy() for p in inputs))
    with torch.no_grad():
        assert np.allclose(got, model(*inputs).numpy(), atol=1e-5)
