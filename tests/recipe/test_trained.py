"""What a training saved is read back as the modules it was."""

import copy

import pytest
import torch
from torch import nn

from whet import deploy
from whet.data.split import Data, Split
from whet.distributed.ensemble import member_losses
from whet.distributed.flat import Flat
from whet.distributed.member import member, parted
from whet.journal.checkpoint import load, save
from whet.recipe.job import Job
from whet.recipe.single import train_once
from whet.recipe.trained import kept, trained
from whet.squeeze import Average
from whet.task import Task
from whet.tasks import resolve
from whet.train.checkpoint import pack, unpack
from whet.train.run import Run


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
    """Train on one process, and leave `members` models beside it, as several workers would; return the folder, the model and theirs."""
    job = Job(task, runs=tmp_path, steps=1)
    list(train_once(job, params))
    folder = job.folder / "train"
    model, _ = trained(task, folder)
    flat = Flat(copy.deepcopy(model))
    draws = [torch.Generator().manual_seed(w) for w in range(members)]
    weights = [
        member(torch.randn(flat.size, generator=g), torch.randint(1, 9, (flat.buffer_size,), generator=g).double())
        for g in draws
    ]
    path = folder / "last.safetensors"
    save(path, pack({**unpack(load(path)), "members": kept(model, list(enumerate(weights)))}))
    return folder, model, weights


@pytest.mark.parametrize("members", [1, 3])
def test_each_member_has_its_weights_and_its_statistics(tmp_path, members):
    task, params = resolve("digits"), {"net": "conv", "net.width": 8, "lr": 0.01}
    folder, _, vectors = ended(task, params, tmp_path, members)
    made, of = trained(task, folder, members=True)
    assert not made.training
    assert isinstance(made, Average) == (members > 1)
    assert of == [(params, pytest.approx(1 / members))] * members
    models = made.models if members > 1 else [made]
    for own, vector in zip(models, vectors, strict=True):
        flat = Flat(own)
        weights, buffers = parted(vector, flat.size)
        assert torch.equal(flat.weights, weights)  # whatever its memory layout is
        found = torch.empty_like(buffers)
        flat.read_buffers(found)
        assert torch.equal(found, buffers)
    assert members == 1 or not torch.equal(parted(vectors[0], flat.size)[1], parted(vectors[1], flat.size)[1])


def test_several_labels_are_averaged_each_by_itself_also_when_deployed(tmp_path):
    """The mean of three sigmoids each, and what is read from the folder of a deployed model says the same."""
    task, params = Labels(), {"lr": 0.01}
    folder, _, vectors = ended(task, params, tmp_path, 3)
    made, of = trained(task, folder, members=True)
    valid = task.data(params).valid
    with torch.no_grad():
        truth = torch.stack([m(valid.inputs).double().sigmoid() for m in made.models]).mean(0)
        assert torch.allclose(made(valid.inputs).double().sigmoid(), truth, atol=1e-6)
        bundle, _ = deploy.save(tmp_path / "model", made, valid.inputs[:4], task="labels.py", members=of)
        again = deploy.load(bundle.folder).model(task.model)
        assert torch.equal(again(valid.inputs), made(valid.inputs))
    run = Run(task, params, device="cpu")
    told = member_losses(run, list(enumerate(vectors))).ensemble
    assert float(run.loss(made(valid.inputs).detach(), valid.targets)) == pytest.approx(told, rel=1e-5)
