"""Where workers come to a server, on a clock of its own: who is late, who waits, and what the owner is shown."""

import pytest
import torch
from torch import nn

from whet.distributed.desk import Desk
from whet.distributed.flat import Flat
from whet.distributed.rule import chain
from whet.distributed.rules.ensemble import ensemble_compress
from whet.distributed.rules.gather import sync
from whet.distributed.rules.gradient import asynchronous, delay_compensated
from whet.distributed.rules.guard import finite
from whet.distributed.sampler import Sampler
from whet.distributed.server import Server
from whet.distributed.shuffle import Shuffle
from whet.errors import TaskError


class Table:
    """A channel within a process: what was given lies there until it is taken."""

    def __init__(self, rule=None, *, workers=2, deadline=10.0, **options):
        flat = Flat(nn.Linear(1, 1, bias=False))
        flat.weights.zero_()
        optimizer = torch.optim.SGD(flat.parameters, lr=1.0)
        self.server = Server(flat, rule or asynchronous(), Sampler(Shuffle(4, 1), 2), optimizer=optimizer)
        self.now, self.given, self.dropped, self.epochs, self.kept = 0.0, {}, [], [], []
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
        self.kept.append((self.server.merged, len(self.epochs), self.server.state()))

    def whole(self, epoch):
        self.epochs.append((epoch, float(self.server.held.weights)))

    def join(self, worker):
        client = self.desk.hello(worker, own=False)
        self.desk.ask(client)
        return client

    def push(self, client, step, value=-1.0):
        given = self.given.pop(client.worker)
        self.desk.push(client, step, torch.tensor([value]), torch.empty(0), examples=1, pulled=given.version, loss=1.0)


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
    given, at = table.given[0], table.server.ledger.at(0)
    table.push(client, 0)
    table.given[0] = given
    table.push(client, 2)
    assert table.desk.events["again"] == 2
    assert table.server.held.version == 1
    assert table.server.ledger.at(0) == at  # what it is at was not given up for something new
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


def test_time_begins_with_the_first_step_of_the_first_worker():
    table = Table(sync(), together=2)
    first = table.join(0)
    table.now = 9.0
    assert table.desk.status()["seconds"] == 0.0
    assert table.desk.status()["workers"]["0"]["rate"] == 0.0
    table.join(1)  # both begin
    table.now = 11.0
    table.push(first, 0)
    assert table.desk.status()["seconds"] == 2.0
    assert table.desk.status()["workers"]["0"]["rate"] == 0.5  # an update in two seconds
    table.now = 13.0
    late = Table(
        shown=0, spent=40.0
    )  # another server of a training that has begun: the clock goes on while it has no worker
    late.now = 3.0
    assert late.desk.status()["seconds"] == 43.0
    late.join(0)
    late.now = 5.0
    assert late.desk.epoch_status()["seconds"] == 45.0
    assert late.desk.status()["workers"]["0"]["rate"] == 0.0


def test_a_worker_that_gets_further_is_not_late_however_long_it_takes():
    table = Table()
    client = table.join(0)
    for now in (6.0, 12.0, 18.0):
        table.now = now
        table.desk.alive(client)
        assert table.desk.expire() == []
    table.now = 29.0
    assert table.desk.expire() == [client]


def test_a_refused_update_that_ends_an_epoch_ends_it():
    table = Table(chain(finite(quarantine=9), asynchronous()))
    client = table.join(0)
    for step in range(8):
        table.push(client, step, float("nan") if step in (3, 7) else -1.0)
        table.desk.seen(2)
    assert table.epochs == [(1, 3.0), (2, 6.0)]
    assert table.desk.over


def test_when_every_worker_is_refused_for_good_it_says_so_instead_of_waiting():
    table = Table(chain(finite(quarantine=1), asynchronous()))
    first = table.join(0)
    second = table.join(1)
    for step in range(2):
        table.push(first, step, float("nan"))
    assert not table.given.get(0)  # kept out; the other is not
    table.push(second, 0, float("nan"))
    with pytest.raises(
        TaskError, match=r"refused for good: 0, 1 \(in all: nan 2 times, quarantine 2 times\); no other"
    ):
        table.push(second, 1, float("nan"))


def test_when_those_that_are_left_are_refused_for_good_another_has_its_time_to_come():
    table = Table(chain(finite(quarantine=1), asynchronous()), workers=3, deadline=200.0)
    first, second = table.join(0), table.join(1)
    for step in range(2):
        table.push(first, step, float("nan"))
    table.desk.leave(second)
    assert table.desk.expire() == []
    table.now = 190.0
    third = table.join(2)  # a node came to the cluster
    table.push(third, 0)
    assert table.server.held.version == 1
    table.now = 210.0
    assert table.desk.expire() == []
    table.desk.leave(third)
    assert table.desk.expire() == []
    table.now = 410.0
    assert table.desk.expire() == []
    table.now = 411.0
    with pytest.raises(
        TaskError, match=r"finite\(.*workers refused for good: 0 \(in all: nan 1 times, quar.*Resuming gives"
    ):
        table.desk.expire()


def test_another_process_of_a_worker_that_was_refused_for_good_may_train():
    table = Table(chain(finite(quarantine=1), asynchronous()))
    first = table.join(0)
    for step in range(2):
        table.push(first, step, float("nan"))
    assert not table.given
    again = table.join(0)
    table.push(again, 2)
    assert table.server.held.weights.item() == 1.0


def test_what_the_owner_has_not_read_is_shown_after_a_restart_and_what_it_was_told_at_the_end_is_not():
    table = Table()
    client = table.join(0)
    for step in range(4):
        table.push(client, step)
    unread = table.server.state()
    table.desk.end()
    for state, shown, expected in ((unread, None, [1]), (table.server.state(), None, []), (unread, 1, [])):
        later = Table()
        later.server.load(state)
        later.server.alone()
        later.desk = Desk(later.server, later, workers=2, epoch=1, deadline=10.0, shown=shown)
        later.desk.show()
        assert [e for e, _ in later.epochs] == expected


def test_weights_that_the_owner_reads_stay_as_they_are_while_updates_are_under_way():
    table = Table(workers=5)  # four make an epoch; the fifth is under way
    clients = [table.join(w) for w in range(5)]
    for client in clients:
        table.push(client, 0)
    assert table.epochs == [(1, 4.0)]
    assert table.server.held.weights.item() == 4.0
    table.now = 9.0
    for client in clients[:3]:
        table.desk.alive(client)
    table.now = 11.0
    assert table.desk.expire() == []  # the fifth has sent what it had
    table.desk.seen(1)
    assert table.server.held.weights.item() == 5.0
    assert sorted(table.given) == [0, 1, 2]  # nothing is left for the others
    table.desk.leave(clients[0])
    assert sorted(table.given) == [0, 1, 2, 3]


def test_what_is_held_back_for_the_owner_goes_with_its_worker():
    table = Table(workers=5)
    clients = [table.join(w) for w in range(5)]
    for client in clients:
        table.push(client, 0)
    table.desk.leave(clients[4])
    table.desk.seen(1)
    assert table.server.held.weights.item() == 4.0
    assert table.server.sampler.drawn_again == 1


def test_an_epoch_is_in_the_checkpoint_before_the_owner_hears_of_it():
    table = Table()
    client = table.join(0)
    for step in range(4):
        table.push(client, step)
    merged, told, state = table.kept[-1]
    assert (merged, told) == (4, 0)
    later = Table(shown=1, spent=40.0)
    later.server.load(state)
    later.server.alone()
    assert later.desk.epoch_status()["loss"] == 1.0
    later.now = 2.0
    assert later.desk.epoch_status()["seconds"] == 42.0  # the clock of the training goes on


def test_a_push_of_nothing_and_a_second_question_change_nothing():
    table = Table(delay_compensated(0.5))
    client = table.desk.hello(0, own=False)
    table.desk.push(client, 0, torch.tensor([-1.0]), torch.empty(0), examples=1, pulled=0, loss=1.0)
    assert table.server.held.version == 0
    given = table.given.pop(0, None)
    client = table.join(0)
    given = table.given[0]
    table.desk.ask(client)
    assert table.given[0] is given
    table.push(client, 0)
    assert (table.server.merged, table.server.sampler.given) == (1, 2)
