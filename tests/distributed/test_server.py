"""The server: an update is named once and for all, and what is lost is drawn again."""

import torch
from torch import nn

from whet.distributed.flat import Flat
from whet.distributed.rules.gather import sync
from whet.distributed.rules.gradient import asynchronous
from whet.distributed.sampler import Sampler
from whet.distributed.server import Server
from whet.distributed.shuffle import Shuffle
from whet.distributed.update import Update


def served(rule=None, workers=2):
    flat = Flat(nn.Linear(1, 1, bias=False))
    flat.weights.zero_()
    optimizer = torch.optim.SGD(flat.parameters, lr=1.0)
    server = Server(flat, rule or asynchronous(), Sampler(Shuffle(8, 1, workers), 1), optimizer=optimizer)
    buffers = [torch.empty(1) for _ in range(workers)]
    for w in range(workers):
        server.join(w)
        assert server.pull(w, buffers[w]) is not None
    return server, buffers


def pushed(server, worker, step, value=-1.0):
    return server.push(Update(worker, step, torch.tensor([value]), tickets=server.at(worker)))


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
    ticket = server.at(0)[0]
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
