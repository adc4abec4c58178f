"""Where workers come to a server, on a clock of its own: who is late, who waits, and what the owner is shown."""

import torch
from torch import nn

from whet.distributed.desk import Desk
from whet.distributed.flat import Flat
from whet.distributed.rules.ensemble import ensemble_compress
from whet.distributed.rules.gather import sync
from whet.distributed.rules.gradient import asynchronous
from whet.distributed.sampler import Sampler
from whet.distributed.server import Server
from whet.distributed.shuffle import Shuffle


class Table:
    """A channel within a process: what was given lies there until it is taken."""

    def __init__(self, rule=None, *, workers=2, deadline=10.0, **options):
        flat = Flat(nn.Linear(1, 1, bias=False))
        flat.weights.zero_()
        optimizer = torch.optim.SGD(flat.parameters, lr=1.0)
        self.server = Server(flat, rule or asynchronous(), Sampler(Shuffle(4, 1, workers), 2), optimizer=optimizer)
        self.now, self.given, self.dropped, self.epochs = 0.0, {}, [], []
        self.weights = {w: torch.empty(1) for w in range(workers)}
        self.desk = Desk(
            self.server, self, workers=workers, epoch=0, deadline=deadline, clock=lambda: self.now, **options
        )

    def into(self, worker):
        return self.weights[worker]

    def give(self, client, given):
        self.given[client.worker] = given

    def drop(self, client):
        self.dropped.append(client.life)

    def merged(self):
        pass

    def whole(self, epoch):
        self.epochs.append((epoch, float(self.server.held.weights)))

    def join(self, worker):
        client = self.desk.hello(worker, own=False)
        self.desk.ask(client)
        return client

    def push(self, client, step):
        given = self.given.pop(client.worker)
        self.desk.push(client, step, torch.tensor([-1.0]), torch.empty(0), examples=1, pulled=given.version, loss=1.0)


def test_a_worker_that_does_not_answer_is_late_and_one_that_waits_is_not():
    table = Table(sync())
    first = table.join(0)
    second = table.join(1)
    table.now = 5.0
    table.push(first, 0)  # and waits for the second
    assert first.asks
    table.now = 11.0
    assert table.desk.expire() == [second]
    assert table.dropped == [second.life]
    assert table.server.held.version == 1  # the first waits for it no longer
    assert table.given[0].version == 1
    assert table.desk.events == {"joined": 2, "left": 1, "late": 1}


def test_a_life_ends_with_the_next_and_its_tickets_are_given_again():
    table = Table()
    first = table.join(0)
    lost = table.given[0].tickets
    second = table.join(0)
    assert (first.step, second.step) == (0, 0)
    assert second.life > first.life
    assert table.dropped == [first.life]
    assert table.given[0].tickets == lost
    assert table.desk.hello(2, own=False) is None  # there are two


def test_nothing_is_given_until_the_owner_has_seen_a_whole_epoch():
    table = Table()
    client = table.join(0)
    for step in range(4):
        table.push(client, step)
    assert table.epochs == [(1, 4.0)]
    assert not table.given
    table.desk.seen(1)
    for step in range(4, 8):
        table.push(client, step)
    assert table.epochs == [(1, 4.0), (2, 8.0)]
    assert table.desk.finished
    assert not table.desk.over
    table.desk.seen(2)
    assert table.desk.over


def test_an_owner_is_shown_again_what_it_missed():
    table = Table()
    client = table.join(0)
    for step in range(4):
        table.push(client, step)
    later = Table(shown=0)
    later.server.load(table.server.state())
    later.server.alone()
    later.desk.show()
    assert later.epochs == [(1, 4.0)]
    later.join(0)
    assert not later.given
    later.desk.seen(1)
    assert later.given[0].version == 4


def test_what_is_sent_twice_or_was_not_asked_for_changes_nothing():
    table = Table()
    client = table.join(0)
    table.push(client, 0)
    given, at = table.given[0], table.server.at(0)
    table.push(client, 0)
    table.given[0] = given
    table.push(client, 2)
    assert table.desk.events["again"] == 2
    assert table.server.held.version == 1
    assert table.server.at(0) == at  # what it is at was not given up for something new
    idle = table.desk.hello(1, own=False)
    table.given[1] = given
    table.push(idle, 0)
    assert table.server.held.version == 1


def test_a_newcomer_that_had_to_wait_for_work_gets_the_weights_whatever_the_rule():
    table = Table(ensemble_compress(every=8), workers=2)
    first = table.join(0)  # takes all there is
    second = table.join(1)
    assert second.resting
    table.weights[1].fill_(7.0)
    table.desk.leave(first)
    assert table.given[1].tickets
    assert table.weights[1].item() == 0.0


def test_workers_begin_together_but_wait_for_none_for_long():
    table = Table(sync(), together=2)
    first = table.join(0)
    assert not table.given
    table.join(1)
    assert sorted(table.given) == [0, 1]
    table.push(first, 0)
    assert table.server.held.version == 0  # it did not go ahead
    alone = Table(sync(), together=2, deadline=10.0)
    alone.join(0)
    alone.now = 10.0
    assert not alone.desk.expire()
    assert not alone.given
    alone.now = 11.0
    assert not alone.desk.expire()
    assert sorted(alone.given) == [0]
