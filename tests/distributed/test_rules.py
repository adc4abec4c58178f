"""Each rule against its formula, written out by hand."""

import math

import pytest
import torch

from whet.distributed.rule import chain
from whet.distributed.rules.elastic import elastic
from whet.distributed.rules.ensemble import codistil, ensemble_compress
from whet.distributed.rules.gather import average, diloco, sync
from whet.distributed.rules.gradient import asynchronous, bounded, delay_compensated, discount, weighted
from whet.distributed.rules.guard import clip, finite
from whet.distributed.update import Held, Refused, Update
from whet.errors import UsageError


def held(weights, clocks=(), backups=None, version=0):
    found = Held(torch.as_tensor(weights), version, backups or {})
    for worker, clock in enumerate(clocks):
        found.tick(worker, clock)
        found.here.add(worker)
    return found


def sent(rule, memory, update, held):
    """Merge as the server does: the clock of the worker says that it has sent something."""
    held.tick(update.worker, held.clocks[update.worker] + 1)
    return rule.merge(memory, update, held)


def update(worker, vector, **more):
    return Update(worker, 0, torch.as_tensor(vector, dtype=torch.float32).clone(), **more)


def test_asynchronous_lets_through_what_comes():
    rule, g = asynchronous(), torch.randn(3)
    assert torch.equal(rule.merge(None, update(0, g), held([0.0] * 3))[1].vector, g)


@pytest.mark.parametrize("seed", range(3))
def test_constant_compensation_is_its_formula(seed):
    torch.manual_seed(seed)
    w, back, g = torch.randn(3, 9)
    rule, h = delay_compensated(0.3), held(w, backups={2: back})
    out = rule.merge(rule.init(h), update(2, g), h)[1].vector
    assert torch.allclose(out, g + 0.3 * g * g * (w - back))


@pytest.mark.parametrize("seed", range(3))
def test_adaptive_compensation_is_its_formula_with_a_mean_square_per_worker(seed):
    torch.manual_seed(seed)
    w = torch.randn(9)
    h = held(w, backups={0: torch.randn(9), 1: torch.randn(9)})
    rule = delay_compensated(2.0, adaptive=True, decay=0.95)
    memory = rule.init(h)
    squares = {0: torch.zeros(9), 1: torch.zeros(9)}
    for worker in (0, 1, 1, 0, 1):
        g = torch.randn(9)
        squares[worker] = 0.95 * squares[worker] + 0.05 * g * g
        memory, out = rule.merge(memory, update(worker, g), h)
        expected = g + 2.0 / (squares[worker] + 1e-7).sqrt() * g * g * (w - h.backups[worker])
        assert torch.allclose(out.vector, expected, rtol=1e-5)


def test_compensation_does_nothing_without_delay_or_strength():
    g, w = torch.randn(5) * 1e25, torch.randn(5)  # g * g is infinite: 0 * inf must not come in
    h = held(w, backups={0: w - 1})
    rule = delay_compensated(0.0)
    assert torch.equal(rule.merge(rule.init(h), update(0, g), h)[1].vector, g)
    h = held(w, backups={0: w.clone()})
    for rule in (delay_compensated(0.7), delay_compensated(adaptive=True)):
        g = torch.randn(5)
        assert torch.equal(rule.merge(rule.init(h), update(0, g), h)[1].vector, g)


def test_a_stale_gradient_counts_less():
    rule, h = discount(), held([0.0], version=9)
    for pulled, expected in ((9, 1.0), (8, 1.0), (5, 0.25)):
        assert rule.merge(None, update(0, [1.0], pulled=pulled), h)[1].vector.item() == expected


def test_gradients_of_unlike_batches_are_weighted():
    rule, h = weighted(), held([0.0])
    memory, sizes, found = rule.init(h), [8, 8, 2, 32], []
    for n in sizes:
        memory, out = rule.merge(memory, update(0, [1.0], examples=n), h)
        found.append(out.vector.item())
    assert found == pytest.approx([1, 1, 2 / 6, 32 / 12.5])


def test_synchronous_waits_for_all_and_takes_the_mean_by_examples_whoever_came_first():
    torch.manual_seed(0)
    vectors, sizes = torch.randn(3, 50), [7, 16, 3]
    results = []
    for order in ((0, 1, 2), (2, 0, 1)):
        rule, h = sync(), held(torch.zeros(50), (0, 0, 0))
        memory = rule.init(h)
        for w in order[:-1]:
            memory, out = sent(rule, memory, update(w, vectors[w], examples=sizes[w]), h)
            assert out is None
        memory, out = sent(rule, memory, update(order[-1], vectors[order[-1]], examples=sizes[order[-1]]), h)
        results.append(out.vector.clone())
        assert out.examples == 26
    assert torch.equal(*results)
    assert torch.allclose(results[0], (torch.tensor(sizes)[:, None] * vectors).sum(0) / 26, atol=1e-6)


def test_a_round_is_complete_when_the_one_it_waited_for_has_left():
    rule, h = sync(), held([0.0], (0, 0))
    memory = rule.init(h)
    memory, out = sent(rule, memory, update(0, [4.0]), h)
    assert out is None
    h.tick(1, None)
    memory, out = rule.merge(memory, None, h)
    assert out.vector.item() == 4.0
    assert rule.merge(memory, None, h)[1] is None


def test_who_may_go_on():
    h = held([0.0], (5, 3, 4))
    assert [bounded(1).admit(h, w) for w in range(3)] == [False, True, True]
    assert [bounded(2).admit(h, w) for w in range(3)] == [True, True, True]
    assert [sync().admit(h, w) for w in range(3)] == [False, True, False]
    assert all(asynchronous().admit(h, w) for w in range(3))
    h.tick(1, None)  # the slowest died
    assert [sync().admit(h, w) for w in (0, 2)] == [False, True]


def test_averaging_sets_the_mean_of_the_weights():
    rule, h = average(4), held([9.0, 9.0], (0, 0))
    memory = rule.init(h)
    memory, _ = sent(rule, memory, update(0, [1.0, 2.0], kind="weights", examples=30), h)
    _, out = sent(rule, memory, update(1, [3.0, 6.0], kind="weights", examples=10), h)
    assert out.kind == "weights"
    assert out.vector.tolist() == [1.5, 3.0]
    assert rule.local.every == 4


def test_diloco_is_nesterov_on_what_the_workers_moved():
    w = torch.tensor([1.0, -2.0], requires_grad=True)
    reference = torch.optim.SGD([w], lr=0.7, momentum=0.9, nesterov=True)
    h = held(w.detach().clone(), (0, 0))
    rule = diloco(5)
    memory = rule.init(h)
    torch.manual_seed(0)
    for _ in range(4):
        moved = torch.randn(2, 2)
        for k in range(2):
            memory, out = sent(rule, memory, update(k, h.weights - moved[k], kind="weights"), h)
        h.weights.copy_(out.vector)
        w.grad = moved.mean(0)
        reference.step()
        assert torch.allclose(h.weights, w.detach(), atol=1e-6)


def test_elastic_moves_centre_and_worker_by_the_same_pull():
    rule, h = elastic(0.25, every=3), held([0.0, 8.0])
    _, out = rule.merge(None, update(1, [4.0, 4.0], kind="weights"), h)
    assert out.vector.tolist() == [1.0, 7.0]
    assert out.reply.tolist() == [3.0, 5.0]


def test_ensemble_compression_gives_all_models_and_keeps_the_best_member():
    rule, h = ensemble_compress(4), held([0.0], (0, 0))
    memory = rule.init(h)
    memory, out = sent(rule, memory, update(1, [1.0], kind="weights", loss=0.2, examples=3), h)
    assert out is None
    _, out = sent(rule, memory, update(0, [2.0], kind="weights", loss=0.5, examples=1), h)
    assert out.vector.item() == 1.0
    assert [(w, m.item()) for w, m in out.models] == [(0, 2.0), (1, 1.0)]
    assert out.loss == pytest.approx(0.275)


def test_codistillation_waits_for_nobody_and_knows_each_ones_last_model():
    rule, h = codistil(4), held([0.0], (0, 0))
    memory = rule.init(h)
    memory, out = sent(rule, memory, update(1, [1.0], kind="weights", loss=0.2), h)
    assert [(w, m.item()) for w, m in out.models] == [(1, 1.0)]
    memory, out = sent(rule, memory, update(0, [2.0], kind="weights", loss=0.5), h)
    assert out.vector.item() == 1.0
    assert [(w, m.item()) for w, m in out.models] == [(0, 2.0), (1, 1.0)]


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_refused_and_its_worker_in_the_end(bad):
    rule, h = finite(quarantine=3), held([0.0, 0.0])
    memory = rule.init(h)
    for _ in range(3):
        memory, out = rule.merge(memory, update(0, [1.0, bad]), h)
        assert out == Refused("nan")
    memory, out = rule.merge(memory, update(0, [1.0, 1.0]), h)
    assert out == Refused("quarantine")
    assert isinstance(rule.merge(memory, update(1, [1.0, 1.0]), h)[1], Update)  # the other is untouched


def test_a_huge_gradient_is_refused_by_the_median_of_the_others():
    rule, h = finite(huge=100), held([0.0])
    memory = rule.init(h)
    for _ in range(20):
        memory, out = rule.merge(memory, update(0, [1.0]), h)
        assert isinstance(out, Update)
    memory, out = rule.merge(memory, update(1, [101.0]), h)
    assert out == Refused("huge")
    assert isinstance(rule.merge(memory, update(1, [99.0]), h)[1], Update)


def test_clip_shortens_only_what_is_too_long():
    rule, h = clip(1.0), held([0.0, 0.0])
    assert rule.merge(None, update(0, [3.0, 4.0]), h)[1].vector.tolist() == pytest.approx([0.6, 0.8])
    assert rule.merge(None, update(0, [0.3, 0.4]), h)[1].vector.tolist() == pytest.approx([0.3, 0.4])


def test_a_chain_hands_on_and_stops_at_what_is_refused_or_held_back():
    rule = chain(finite(), clip(1.0), sync())
    h = held([0.0, 0.0], (0, 0))
    memory = rule.init(h)
    memory, out = sent(rule, memory, update(0, [math.nan, 0.0]), h)
    assert out == Refused("nan")
    memory, out = sent(rule, memory, update(1, [0.0, 0.5]), h)
    assert out.vector.tolist() == [0.0, 0.5]  # what was refused is not waited for
    memory, out = sent(rule, memory, update(0, [3.0, 4.0]), h)
    assert out is None
    memory, out = sent(rule, memory, update(1, [0.0, 0.5]), h)
    assert out.vector.tolist() == pytest.approx([0.3, 0.65])
    assert not rule.admit(held([0.0], (1, 0)), 0)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: delay_compensated(-0.1), "lambda must be a number >= 0, got -0.1. Use e.g. 0.04."),
        (lambda: delay_compensated(math.nan), "lambda must be a number >= 0, got nan"),
        (lambda: delay_compensated(adaptive=True, decay=1.0), "decay must be in [0, 1), got 1.0. Use e.g. 0.95."),
        (lambda: bounded(-1), "s must be a whole number >= 0, got -1. Use e.g. bounded(3)."),
        (lambda: bounded(1.5), "got 1.5"),
        (lambda: average(0), "every must be a whole number of steps >= 1, got 0"),
        (lambda: elastic(1.0), "alpha must be in (0, 1), got 1.0. Use e.g. 0.9 / workers."),
        (lambda: diloco(lr=0), "needs lr > 0 and 0 <= momentum < 1, got 0 and 0.9"),
        (lambda: ensemble_compress(share=0), "needs 0 < share <= 1"),
        (lambda: ensemble_compress(compress=0), "compress must be a whole number of steps >= 1"),
        (lambda: codistil(burn_in=-1), "burn_in must be a whole number of steps >= 0"),
        (lambda: clip(0), "norm must be > 0, got 0. Use e.g. 1.0."),
        (lambda: finite(huge=1), "needs huge > 1"),
        (chain, "got no rules"),
        (lambda: chain(average(2), elastic()), "average and elastic both say what a worker does"),
    ],
)
def test_wrong_options_are_refused_in_one_line(make, says):
    with pytest.raises(UsageError) as e:
        make()
    assert says in str(e.value)
    assert "\n" not in str(e.value)
