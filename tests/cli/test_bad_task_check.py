"""`whet check` of tasks that are awkward in the ways people's are: one line, in the person's words, with the file and line."""

from __future__ import annotations

import json

import pytest

DATA = "Data.from_arrays(x, (x[:, 0] + x[:, 1] + noise > 0).long(), seed=self.seed)"
NET = "return nn.Seq"
SPLITS = "Data(whet.data.Split({}, x[:9, 0].long()), whet.data.Split(x, x[:, 0].long()))"


@pytest.mark.parametrize(
    ("new", "needed"),
    [
        (SPLITS.format("{'a': x[:9]}"), ("tiny.py, line 16: ", "inputs are dict", "tuple(x.values())")),
        (SPLITS.format("x[:9].numpy()"), ("tiny.py, line 16: ", "inputs are ndarray", "torch.as_tensor(x)")),
        (SPLITS.format("x[:8]"), ("tiny.py, line 16: ", "9 targets but 8 inputs")),
        (SPLITS.format("x[:9]").replace("[:9", "[:0"), ("tiny.py, line 16: ", "the train split is empty")),
    ],
)
def test_data_are_refused_with_the_line(refused, task, new, needed):
    made = task("return " + DATA, "import whet.data\n        return " + new)
    refused("check", made, needed=needed)


def test_a_model_method_that_returns_nothing(refused, task):
    refused(
        "check", task(NET, "nn.Seq"), needed=("Tiny.model returns NoneType", "tiny.py:", "return the model"), out=True
    )


def test_a_task_that_wants_a_gpu_as_it_is_made(whet, task, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    made = task(NET, "raise AssertionError('Torch not compiled with CUDA enabled')\n        return nn.Seq")
    said = whet("check", made, "--json")
    assert said.code == 1
    assert json.loads(said.out)["findings"][0]["fix"].startswith("this machine has no GPU")


def test_a_loss_that_returns_a_vector_is_no_failure(whet, task):
    made = task(more="\n    def loss(self, params):\n        return nn.CrossEntropyLoss(reduction='none')\n")
    said = whet("check", made, "--json")
    found = json.loads(said.out)
    assert said.code == 0, found["findings"]
    assert [(f["code"], f["severity"]) for f in found["findings"] if f["code"] in ("RUN", "MET")] == [
        ("RUN", "INFO"),
        ("MET", "INFO"),
    ]
    assert "(64,) numbers" in next(f["message"] for f in found["findings"] if f["code"] == "MET")
    assert "next " not in whet("check", made).out  # no run takes it


def test_numbers_taken_for_classes_end_the_command_with_the_fix_and_no_hint_to_train(whet, task):
    text = f"Data(*(type(s)(s.inputs, s.targets.float()) for s in (lambda d: (d.train, d.valid))({DATA})))"
    made = task(DATA, text)
    made.write_text(made.read_text().replace("nn.Linear(16, 2)", "nn.Linear(16, 1)"))
    said = whet("check", made)
    assert said.code == 1
    assert "FAIL MET tiny.py:" in said.out
    assert 'kind="regression"' in " ".join(said.out.split())
    assert "\nnext " not in said.out
    said = whet("train", made)
    assert (said.code, len(said.err.splitlines())) == (2, 1)
    assert 'kind="regression"' in said.err
