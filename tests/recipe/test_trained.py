"""What a training saved is read back as the modules it was."""

import pytest
import torch
from torch import nn

from whet.data.split import Data, Split
from whet.distributed.flat import Flat
from whet.errors import UsageError
from whet.journal.checkpoint import load, save
from whet.recipe.job import Job
from whet.recipe.single import train_once
from whet.recipe.trained import kept, trained
from whet.squeeze import Average
from whet.task import Task
from whet.tasks import resolve
from whet.train.checkpoint import pack, unpack


class Labels(Task):
    """Three labels an example, any of which may be true."""

    goal, metrics, steps = "min loss", ("loss",), 1

    def data(self, params):
        x = torch.randn(60, 4, generator=torch.Generator().manual_seed(0))
        y = (x[:, :3] > 0).float()
        return Data(Split(x[:40], y[:40]), Split(x[40:], y[40:]), kind="classification")

    def model(self, params):
        return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 3))

    def loss(self, params):
        return nn.BCEWithLogitsLoss()


def ended(task, params, tmp_path, members):
    """Train on one process, and leave `members` models beside it, as several workers would; return the folder, the model and their weights."""
    job = Job(task, runs=tmp_path, steps=1)
    list(train_once(job, params))
    folder = job.folder / "train"
    model, _ = trained(task, folder)
    size = sum(p.numel() for p in model.parameters() if p.requires_grad)
    weights = [torch.randn(size, generator=torch.Generator().manual_seed(w)) for w in range(members)]
    path = folder / "last.safetensors"
    save(path, pack({**unpack(load(path)), "members": kept(model, list(enumerate(weights)))}))
    return folder, model, weights


@pytest.mark.parametrize("members", [1, 3])
def test_each_member_has_its_weights_and_the_statistics_of_the_model(tmp_path, members):
    task, params = resolve("digits"), {"net": "conv", "net.width": 8, "lr": 0.01}
    folder, model, weights = ended(task, params, tmp_path, members)
    made, of = trained(task, folder, members=True)
    assert not made.training
    assert isinstance(made, Average) == (members > 1)
    assert of == [(params, pytest.approx(1 / members))] * members
    models = made.models if members > 1 else [made]
    for own, vector in zip(models, weights, strict=True):
        assert torch.equal(Flat(own).weights, vector)  # whatever its memory layout is
        for (name, a), b in zip(own.named_buffers(), model.buffers(), strict=True):
            assert torch.equal(a, b), name


def test_several_labels_have_no_ensemble(tmp_path):
    """Its probabilities would be those of one label among three."""
    task = Labels()
    folder, _, _ = ended(task, {"lr": 0.01}, tmp_path, 2)
    with pytest.raises(UsageError, match=r"targets are several labels \(3,\).*Leave members out"):
        trained(task, folder, members=True)
