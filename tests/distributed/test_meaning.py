"""What outputs mean: averaged as probabilities or numbers, compared by the task's own loss, refused before anything is trained."""

import copy

import pytest
import torch
import torch.nn.functional as F
from answers import ANSWERS, REFUSED, Labels, Last, Tokens, Two, Wide, scaled
from lessons import PARAMS

from whet.distributed.ensemble import member_losses
from whet.distributed.flat import Flat
from whet.distributed.local.train import Training
from whet.distributed.meaning import Meaning
from whet.distributed.member import become
from whet.distributed.named import parse_rule
from whet.distributed.simulate import Simulation
from whet.distributed.together import Together
from whet.errors import TaskError
from whet.train.predict import forward
from whet.train.run import Run

RULES = ["ec(every=3, compress=2)", "codistil(every=3, burn_in=2)"]
KINDS = {
    "Labels": "labels", "OneHot": "labels", "Soft": "classes", "Column": "labels", "Flat": "labels", "Whole": "labels",
    "Tokens": "classes", "Last": "classes", "Two": "labels", "Numbers": "numbers",
}  # fmt: skip


def run_of(task):
    return Run(task, PARAMS, device="cpu")


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("task", ANSWERS)
def test_members_have_the_loss_that_the_task_has_for_them_and_together_no_more(task, rule, seed):
    """Whatever is asked: the loss of each is PyTorch's of its model, and the convex bound holds."""
    simulation = Simulation(task(), PARAMS, rule=parse_rule(rule), workers=3, steps=3, shuffle="local", seed=seed)
    list(simulation)
    run, models = simulation.run, simulation.server.models
    found = member_losses(run, models)
    flat = Flat(copy.deepcopy(run.model))
    for (_, model), loss in zip(models, found.each, strict=True):
        become(flat, model)
        assert loss == pytest.approx(float(run.loss(forward(flat.model, run.valid), run.valid.targets)), rel=1e-5)
    assert found.ensemble <= found.mean
    assert len(set(found.each)) == 3


@pytest.mark.parametrize("task", ANSWERS)
def test_it_is_known_by_the_kind_of_data_the_loss_and_the_shapes(task):
    meaning = Meaning.of(run_of(task()))
    assert meaning.kind == KINDS[task.__name__]
    assert meaning.axis == (2 if task is Last else 1)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("task", ANSWERS)
def test_who_says_what_is_taught_has_nothing_to_learn(task, seed):
    """The gradient of the agreement is 0 there, and elsewhere a step along it comes nearer."""
    run = run_of(task())
    meaning, targets = Meaning.of(run), run.valid.targets
    g = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        shape = forward(run.model, run.valid).shape
    own, other = (torch.randn(shape, generator=g).double().requires_grad_() for _ in range(2))
    taught = meaning.said(own.detach())
    (zero,) = torch.autograd.grad(meaning.agree(own, taught, targets), own)
    assert zero.abs().max() < 1e-12
    before = meaning.agree(other, taught, targets)
    (slope,) = torch.autograd.grad(before, other)
    assert slope.abs().max() > 1e-4
    assert meaning.agree(other - slope, taught, targets) < before


@pytest.mark.parametrize("task", [Tokens, Last, Two])
def test_padding_teaches_nothing(task):
    run = run_of(task())
    meaning, (inputs, targets) = Meaning.of(run), run.train.batch(torch.arange(9))
    outputs = run.model(*inputs).detach().requires_grad_()
    taught = meaning.said(torch.randn_like(outputs))
    (slope,) = torch.autograd.grad(meaning.agree(outputs, taught, targets), outputs)
    padding = (targets == -100).unsqueeze(meaning.axis) if meaning.kind == "classes" else targets == -100
    assert padding.any()
    assert not slope.masked_select(padding).any()
    assert slope.masked_select(~padding).all()


def test_labels_are_independent():
    """What is taught of one label has nothing to do with the others."""
    meaning = Meaning.of(run_of(Labels()))
    x = torch.randn(20, 3)
    changed = x.clone()
    changed[:, 0] += 5
    assert torch.equal(meaning.said(x)[:, 1:], meaning.said(changed)[:, 1:])
    taught = meaning.said(torch.randn(20, 3))
    assert meaning.agree(x, taught) == pytest.approx(F.binary_cross_entropy_with_logits(x, taught).item())


def test_an_agreement_on_numbers_has_the_unit_of_the_loss():
    """The loss is divided by the square of the targets' scale: an agreement that is not would count 10,000 times as much."""
    run = run_of(scaled())
    (inputs, targets), meaning = run.train.batch(torch.arange(30)), Meaning.of(run)
    outputs = run.model(*inputs).detach()
    assert float(meaning.agree(outputs, targets)) == pytest.approx(float(run.loss(outputs, targets)))


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("task", REFUSED)
def test_what_has_no_mean_is_refused_in_one_line_before_anything_is_trained(task, rule):
    """By the simulator, by processes, and by a trial of a search."""
    name, _, options = rule.partition("(")
    space = {
        **PARAMS,
        "workers": 2,
        "rule": name,
        **{f"rule.{k}": int(v) for k, v in (o.split("=") for o in options[:-1].split(", "))},
    }
    makes = (
        lambda: Simulation(task(), PARAMS, rule=parse_rule(rule), workers=2),
        lambda: Training(task(), PARAMS, rule=rule, workers=2),
        lambda: Together(task(), space, steps=2),
    )
    said = []
    for make in makes:
        with pytest.raises(TaskError) as error:
            make()
        said.append(str(error.value))
    assert len(set(said)) == 1
    assert said[0].startswith(REFUSED[task])
    assert "\n" not in said[0]


@pytest.mark.parametrize("task", REFUSED)
def test_who_exchanges_weights_trains_it_all_the_same(task):
    simulation = Simulation(task(), PARAMS, rule=parse_rule("average(every=2)"), workers=2, steps=1)
    assert len(list(simulation)) == 1


def test_asking_changes_nothing():
    run, other, before = run_of(Labels()), run_of(Labels()), torch.get_rng_state()
    Meaning.of(run)
    with pytest.raises(TaskError):
        Meaning.of(run_of(Wide()))
    assert torch.equal(before, torch.get_rng_state())
    for a, b in zip(run.model.state_dict().values(), other.model.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    assert run.model.training == other.model.training
