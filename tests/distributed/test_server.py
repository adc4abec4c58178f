"""The server: an update is named once and for all, and what is lost is drawn again."""

import contextlib
import os

import pytest
import torch
from torch import nn

from whet.distributed.flat import Flat
from whet.distributed.keeper import Keeper, workers_in
from whet.distributed.named import parse_rule
from whet.distributed.rules.elastic import elastic
from whet.distributed.rules.gather import sync
from whet.distributed.rules.gradient import asynchronous, delay_compensated
from whet.distributed.sampler import Sampler
from whet.distributed.server import Server
from whet.distributed.shuffle import Shuffle
from whet.distributed.update import Update
from whet.errors import CheckpointError
from whet.journal.checkpoint import save
from whet.train.checkpoint import pack, unpack


def served(rule=None, workers=2):
    flat = Flat(nn.Linear(1, 1, bias=False))
    flat.weights.zero_()
    optimizer = torch.optim.SGD(flat.parameters, lr=1.0)
    server = Server(flat, rule or asynchronous(), Sampler(Shuffle(8, 1, workers), 1), optimizer=optimizer)
    buffers = [torch.empty(1) for _ in range(workers)]
    for w in range(workers):
        server.join(w)
    for w in range(workers):
        assert server.pull(w, buffers[w]) is not None
    return server, buffers


def pushed(server, worker, step, value=-1.0):
    return server.push(Update(worker, step, torch.tensor([value]), tickets=server.ledger.at(worker)))


def test_an_update_that_is_sent_again_is_not_applied_again():
    server, buffers = served()
    assert pushed(server, 0, 0)
    assert not pushed(server, 0, 0)
    assert server.held.weights.item() == 1.0
    assert (server.held.version, server.merged) == (1, 1)
    assert server.pull(0, buffers[0]) is not None
    assert pushed(server, 0, 1)
    assert server.held.weights.item() == 2.0


def test_what_a_worker_sends_after_it_was_given_up_is_not_applied():
    server, _ = served()
    ticket = server.ledger.at(0)[0]
    server.leave(0)
    assert not pushed(server, 0, 0)
    assert server.held.weights.item() == 0.0
    assert server.sampler.next(1) == ticket  # drawn again, by the other one
    assert server.join(0) == 0  # it may come back, and its steps go on where they were


def test_a_restarted_server_knows_what_was_applied_and_draws_the_rest_again():
    server, _ = served(sync())
    pushed(server, 0, 0)
    pushed(server, 1, 0)
    again, _ = served(sync())
    again.load(server.state())
    again.alone()
    assert again.held.weights.item() == server.held.weights.item() == 1.0
    assert again.join(0) == 1
    assert not pushed(again, 0, 0)
    assert again.merged == 2


@pytest.mark.parametrize("how", ["local", "once"])
def test_what_is_lost_of_a_shard_goes_to_whoever_asks_first(how):
    sampler = Sampler(Shuffle(8, 1, 2, how), 1)
    for worker in (0, 1):
        sampler.join(worker)
    sampler.next(0)
    lost = sampler.next(1)
    sampler.leave(1)
    sampler.lost([lost])
    assert sampler.next(0) == lost
    assert sampler.next(0).shard == 0


def test_a_worker_that_has_a_shard_keeps_it():
    sampler = Sampler(Shuffle(8, 1, 2, "local"), 1)
    sampler.join(0)
    sampler.join(1)
    sampler.leave(1)
    sampler.join(0)  # again: it had nothing to do, and has now
    assert sampler.orphans == [1]


def normed():
    flat = Flat(nn.Sequential(nn.Linear(1, 2, bias=False), nn.BatchNorm1d(2)))
    optimizer = torch.optim.SGD(flat.parameters, lr=1.0)
    return Server(flat, asynchronous(), Sampler(Shuffle(8, 2, 1), 2), optimizer=optimizer)


def test_statistics_outlive_their_worker_and_their_server():
    server = normed()
    into = torch.empty(server.flat.size)
    server.join(0)
    first = server.pull(0, into)
    assert first.buffers.tolist() == [0.0, 0.0, 1.0, 1.0, 0.0]  # means, variances, batches: as the model begins
    found = torch.tensor([0.5, -0.5, 2.0, 3.0, 1.0], dtype=torch.float64)
    zero = torch.zeros(server.flat.size)
    server.push(Update(0, 0, zero, examples=2, tickets=server.ledger.at(0), buffers=found))
    assert server.pull(0, into).buffers is None  # it has its own
    server.leave(0)
    server.settle_buffers()
    assert server.flat.model[1].running_var.tolist() == [2.0, 3.0]
    server.join(0)
    assert server.pull(0, into).buffers.tolist() == found.tolist()
    again = normed()
    again.load(unpack(pack(server.state(workers=False))))
    again.alone()
    again.join(0)
    assert again.pull(0, into).buffers.tolist() == found.tolist()


def test_a_checkpoint_leaves_out_what_goes_with_the_workers():
    server, _ = served(delay_compensated(0.5))
    assert len(server.state()["backups"]) == 2
    assert server.state(workers=False)["backups"] == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"rule": sync()}, "was made with rule async, and here it is sync"),
        ({"shuffle": Shuffle(8, 1, 2, seed=1)}, "was made with seed 0, and here it is 1"),
        ({"shuffle": Shuffle(8, 2, 2)}, "was made with batch 1, and here it is 2"),
        ({"shuffle": Shuffle(8, 1, 2, "local")}, "was made with shuffle global, and here it is local"),
    ],
)
def test_a_checkpoint_of_another_training_is_refused(change, said, tmp_path):
    server, _ = served()
    keeper = Keeper(server, tmp_path / "server.safetensors", 30.0)
    keeper.begin(resume=False)
    flat = Flat(nn.Linear(1, 1, bias=False))
    sampler = Sampler(change.get("shuffle", Shuffle(8, 1, 2)), 1)
    other = Server(
        flat, change.get("rule", asynchronous()), sampler, optimizer=torch.optim.SGD(flat.parameters, lr=1.0)
    )
    with pytest.raises(CheckpointError, match=said):
        Keeper(other, keeper.path, 30.0).begin(resume=True)


def test_another_number_of_workers_may_go_on_unless_each_has_a_shard():
    for how, fits in (("global", True), ("local", False)):
        flat = Flat(nn.Linear(1, 1, bias=False))
        made = [
            Server(
                flat,
                asynchronous(),
                Sampler(Shuffle(8, 1, m, how), 1),
                optimizer=torch.optim.SGD(flat.parameters, lr=1.0),
            )
            for m in (4, 2)
        ]
        with contextlib.nullcontext() if fits else pytest.raises(CheckpointError, match="workers 4, and here it is 2"):
            made[1].load(made[0].state())


def test_a_training_that_begins_anew_leaves_nothing_of_the_one_before(tmp_path):
    path = tmp_path / "server.safetensors"
    old, _ = served()
    pushed(old, 0, 0)
    keeper = Keeper(old, path, 30.0)
    keeper.write()
    keeper.part.write_bytes(b"of a server that was killed while it wrote")
    new, _ = served()
    Keeper(new, path, 30.0).begin(resume=False)
    again, _ = served()
    Keeper(again, path, 30.0).begin(resume=True)
    assert again.merged == 0
    assert [p.name for p in tmp_path.iterdir()] == ["server.safetensors"]


def test_an_epoch_that_ends_with_a_restart_is_not_one_that_was_read(tmp_path):
    """Half a round waits in the checkpoint; it is merged since nobody is there any more, and ends the epoch."""
    server, buffers = served(sync())
    for step in range(3):
        for worker in (0, 1):
            pushed(server, worker, step)
            server.pull(worker, buffers[worker])
    pushed(server, 0, 3)
    keeper = Keeper(server, tmp_path / "s", 30.0)
    server.merged = 7
    keeper.write()
    again, _ = served(sync())
    Keeper(again, tmp_path / "s", 30.0).begin(resume=True)
    assert (again.epochs, again.seen) == (1.0, 0)


def test_a_server_that_wakes_up_while_it_writes_spoils_nothing_of_the_one_after_it(tmp_path, monkeypatch):
    """It is given up in the middle of the file; another begins, merges and writes, and then it writes the other half."""
    path = tmp_path / "server.safetensors"
    old, buffers = served()
    first = Keeper(old, path, 30.0, epoch=0)
    first.begin(resume=False)
    pushed(old, 0, 0)
    new, _ = served()
    second = Keeper(new, path, 30.0, epoch=1)
    opened = os.fdopen

    def hangs(handle, mode):
        file = opened(handle, mode)
        monkeypatch.setattr(os, "fdopen", opened)

        class Halves:
            def __enter__(self):
                return self

            def __exit__(self, *_):
                file.close()

            def flush(self):
                file.flush()

            def write(self, data):
                file.write(data[: len(data) // 2])
                file.flush()
                second.begin(resume=True)
                new.join(0)
                new.pull(0, buffers[0])
                for step in range(3):
                    pushed(new, 0, step)
                    new.pull(0, buffers[0])
                second.write()
                file.write(data[len(data) // 2 :])

        return Halves()

    monkeypatch.setattr(os, "fdopen", hangs)
    with pytest.raises(CheckpointError, match="cannot be written"):  # what it had begun is removed
        first.write()
    third, _ = served()
    Keeper(third, path, 30.0, epoch=2).begin(resume=True)
    assert third.merged == new.merged == 3
    assert [p.name for p in tmp_path.iterdir()] == ["server.safetensors"]


def test_a_server_whose_turn_is_over_writes_nothing_even_if_it_had_begun_to(tmp_path):
    server, _ = served()
    turns = [True, True, True, False]  # each time it asks: before and after the state is put together
    keeper = Keeper(server, tmp_path / "s", 30.0, turn=lambda: turns.pop(0))
    keeper.begin(resume=False)
    before = keeper.path.read_bytes()
    pushed(server, 0, 0)
    keeper.write()
    assert turns == []
    assert keeper.path.read_bytes() == before


@pytest.mark.parametrize("rested", [True, False])
def test_who_was_refused_for_good_has_another_chance_in_another_process_and_after_a_restart(tmp_path, rested):
    rule = "finite(quarantine=2) + async"
    server, buffers = served(parse_rule(rule))
    for step in range(3):
        pushed(server, 0, step, float("nan"))
        found = server.pull(0, buffers[0])
    assert found is None
    assert server.ledger.banned == {0}
    if rested:
        server.rest(0)
    keeper = Keeper(server, tmp_path / "s", 30.0)
    keeper.write()
    again, _ = served(parse_rule(rule))
    Keeper(again, tmp_path / "s", 30.0).begin(resume=True)
    server.leave(0)
    for one in (server, again):
        assert one.ledger.banned == set()
        one.join(0)
        assert one.pull(0, buffers[0]) is not None
        assert pushed(one, 0, 3)  # and it is not refused at its first
    assert again.merged == server.merged


def test_a_checkpoint_says_how_many_workers_there_were_and_no_vector_is_read_for_it(tmp_path):
    server, _ = served(workers=5)
    for worker in (0, 3):
        pushed(server, worker, 0)
    keeper = Keeper(server, tmp_path / "s", 30.0)
    keeper.begin(resume=False)
    assert workers_in(keeper.path) == 4
    whole = keeper.path.read_bytes()
    keeper.path.write_bytes(whole[: 8 + int.from_bytes(whole[:8], "little")])
    assert workers_in(keeper.path) == 4
    for damaged in (b"", whole[:40], b"{}" * 20):
        keeper.path.write_bytes(damaged)
        with pytest.raises(CheckpointError, match="damaged, or not a checkpoint"):
            workers_in(keeper.path)
    save(keeper.path, {"made": {}})
    with pytest.raises(CheckpointError, match="is no checkpoint of a server"):
        workers_in(keeper.path)


def test_one_that_rested_before_it_was_given_anything_still_begins_at_the_servers_weights():
    server, _ = served(elastic(every=4))  # the two have all eight batches
    buffer = torch.full((1,), 7.0)
    server.join(2)
    assert server.pull(2, buffer) is None
    server.rest(2)
    server.leave(0)
    server.join(2, own=None)
    given = server.pull(2, buffer)
    assert given is not None
    assert given.fresh
    assert buffer.item() == 0.0


@pytest.mark.parametrize("lend", [False, True])
def test_what_is_lost_near_the_end_is_anybodys(lend):
    """Its shard has an owner again, who does not come for it: the others do not take other batches in its place."""
    sampler = Sampler(Shuffle(8, 1, workers=2, how="local"), epochs=1)
    sampler.join(0)
    sampler.join(1)
    lost = [sampler.next(0) for _ in range(4)]
    drawn = [sampler.next(1) for _ in range(4)]
    sampler.lost(lost)
    found = [sampler.next(1, lend=lend) for _ in range(5)]
    assert found == [*lost, None]
    assert len({*drawn, *lost}) == 8
    assert sampler.passes == [1.0, 1.0]


@pytest.mark.parametrize("rule", ["ec(every=2)", "average(every=2)", "sync"])
def test_all_begin_with_the_same_statistics_however_quick_one_of_them_is(rule):
    """One that asked, worked and sent before another had asked: its statistics are no part of what the other begins with."""
    flat = Flat(nn.BatchNorm1d(1))
    server = Server(
        flat, parse_rule(rule), Sampler(Shuffle(16, 1, 2), 2), optimizer=torch.optim.SGD(flat.parameters, lr=0.1)
    )
    own = server.statistics.own()
    for w in (0, 1):
        server.join(w)
    begun = {1: server.pull(1, torch.empty(flat.size)).buffers}
    vector = torch.ones(flat.size)
    server.push(
        Update(1, 0, vector, server.local.sends, tickets=server.ledger.at(1), buffers=torch.full_like(own, 7.0))
    )
    begun[0] = server.pull(0, torch.empty(flat.size)).buffers
    assert torch.equal(begun[0], own)
    assert torch.equal(begun[1], own)
    assert server.held.version == 0
