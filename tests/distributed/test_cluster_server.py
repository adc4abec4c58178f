"""The server that is an actor, called in this process: what it answers to those that are late, twice or wrong."""

import asyncio
import sys

import pytest
import torch
from lessons import PARAMS
from test_cluster import task

from whet.distributed.cluster import serve
from whet.distributed.cluster.parcel import Answer, ParcelError, unwrap, wrap
from whet.distributed.cluster.serve import Service
from whet.distributed.cluster.work import Labour
from whet.distributed.local.job import Job
from whet.tasks import reference


@pytest.fixture(autouse=True)
def no_cluster():
    """Nothing here may ask Ray for anything: outside a cluster that begins one, which this process would be part of to its end."""
    yield
    assert "ray" not in sys.modules or not sys.modules["ray"].is_initialized()


def job(folder, rule="async", workers=1, *, steps=1, deadline=60.0, name=""):
    return Job(
        reference(task("Tally")), {}, rule, workers, steps, 0, "global", str(folder), deadline=deadline,
        checkpoint=str(folder / "server.safetensors"), name=name,
    ).json()  # fmt: skip


async def started(folder, epoch=0, *, resume=False, shown=None, **options):
    service = Service(job(folder, **options), epoch, put=lambda model: model)
    found = await service.start(resume=resume, shown=shown)
    return service, found


async def joined(service, worker, *, own=False):
    life, step = await service.hello(worker, 0, own=own)
    return life, step, await service.pull(worker, life, seconds=5.0)


async def both(service):
    """Have two workers begin together; return of each its life and what it was given."""
    (one, _), (two, _) = await service.hello(0, 0, own=False), await service.hello(1, 0, own=False)
    return (one, await service.pull(0, one, seconds=5.0)), (two, await service.pull(1, two, seconds=5.0))


def push(service, worker, life, step, answer, *, seconds=5.0):
    gradient = torch.zeros(120)
    order = service.server.sampler.shuffle
    for ticket in answer.tickets:
        gradient[order.indices(ticket)] = -1.0
    return service.push(
        worker, life, step, vector=wrap(gradient), buffers=wrap(torch.empty(0, dtype=torch.float64)),
        about=(4, answer.version, 1.0), seconds=seconds,
    )  # fmt: skip


def run(main):
    asyncio.run(asyncio.wait_for(main, 60))


def test_a_push_that_comes_twice_is_merged_once(tmp_path):
    async def main():
        service, _ = await started(tmp_path)
        life, step, given = await joined(service, 0)
        assert (given.kind, given.version, step) == ("given", 0, 0)
        first = await push(service, 0, life, 0, given)
        assert (first.kind, first.version) == ("given", 1)
        again = await push(service, 0, life, 0, given, seconds=0.01)
        assert again.kind == "wait"  # what it is at, it has
        assert service.desk.events["again"] == 1
        assert service.server.ledger.at(0) == first.tickets
        assert service.server.held.version == 1
        assert service.server.held.weights.sum() == 4  # a batch of four

    run(main())


def test_a_push_of_a_life_that_is_over_is_refused(tmp_path):
    async def main():
        service, _ = await started(tmp_path)
        life, _, given = await joined(service, 0)
        later, step, again = await joined(service, 0, own=True)
        assert step == 0
        assert again.tickets == given.tickets
        assert (await push(service, 0, life, 0, given)).kind == "stale"
        assert service.server.held.version == 0
        assert (await push(service, 0, later, 0, again)).version == 1

    run(main())


def test_a_server_that_was_given_up_merges_and_writes_nothing_more(tmp_path):
    async def main():
        old, _ = await started(tmp_path)
        life, _, given = await joined(old, 0)
        given = await push(old, 0, life, 0, given)
        new, found = await started(tmp_path, 1, resume=True, shown=0)
        assert found == {"lost": 1, "version": 0, "shown": 0}  # its checkpoint is that of the beginning
        written = (tmp_path / "server.safetensors").read_bytes()
        assert (await push(old, 0, life, 1, given)).kind == "lost"
        assert old.server.held.version == 1
        await old.halt()
        assert "result" in await old.hear(0, seconds=5.0)
        assert (tmp_path / "server.safetensors").read_bytes() == written
        assert (await push(new, 0, life, 1, given)).kind == "stale"  # an update made for the old one
        _, step, given = await joined(new, 0, own=True)
        assert step == 0
        assert given.weights is not None
        assert not unwrap(given.weights, torch.ones(120)).any()

    run(main())


def test_who_may_not_go_on_waits_without_keeping_others(tmp_path):
    async def main():
        service, _ = await started(tmp_path, rule="sync", workers=2)
        (life, first), (other, second) = await both(service)
        assert (await push(service, 0, life, 0, first, seconds=0.01)).kind == "wait"
        waits = asyncio.create_task(service.pull(0, life, seconds=60.0))
        given = await push(service, 1, other, 0, second)
        assert (await waits).version == given.version == 1
        assert service.server.merged == 2

    run(main())


def test_what_a_worker_was_given_is_its_backup_and_stays_as_it_is(tmp_path):
    async def main():
        service, _ = await started(tmp_path, rule="dc-asgd", workers=2)
        (_, given), (other, second) = await both(service)
        for step in range(3):
            second = await push(service, 1, other, step, second)
        assert service.server.held.version == 3
        for worker, answer in ((0, given), (1, second)):
            backup = service.server.held.backups[worker]
            assert torch.equal(backup, unwrap(answer.weights, torch.empty(120)))
        assert not service.server.held.backups[0].any()
        assert service.server.held.backups[1].sum() == 12

    run(main())


def test_a_worker_that_ends_is_known_by_its_process(tmp_path):
    async def main():
        service, _ = await started(tmp_path, rule="sync", workers=2)
        (life, given), _ = await both(service)
        waits = asyncio.create_task(push(service, 0, life, 0, given, seconds=60.0))
        await asyncio.sleep(0)
        await service.left(1, 7)  # another process than the one that said hello
        assert 1 in service.desk.clients
        await service.left(1, 0)
        assert (await waits).version == 1

    run(main())


def test_the_owner_hears_of_each_epoch_and_of_the_end(tmp_path):
    async def main():
        service, _ = await started(tmp_path)
        life, _, given = await joined(service, 0)
        for step in range(29):
            given = await push(service, 0, life, step, given)
        last = asyncio.create_task(push(service, 0, life, 29, given))
        (news,) = (await service.hear(0, seconds=60.0))["told"]
        assert (news["epoch"], news["merged"]) == (1, 30)
        assert unwrap(news["weights"], torch.empty(120)).tolist() == [1.0] * 120
        again, found = await started(tmp_path, 1, resume=True, shown=0)  # had it died before it was heard
        assert found["lost"] == 0
        (same,) = (await again.hear(0, seconds=60.0))["told"]
        assert same["weights"].tolist() == news["weights"].tolist()
        assert same["loss"] == news["loss"]
        assert (await last).kind == "lost"
        assert (await again.hear(1, seconds=60.0))["result"]["done"]

    run(main())


@pytest.mark.parametrize("shown", [None, 0])
def test_a_new_owner_hears_of_an_epoch_that_was_saved_and_that_nobody_has_read(tmp_path, shown):
    async def main():
        service, _ = await started(tmp_path, steps=2)
        life, _, given = await joined(service, 0)
        for step in range(30):
            given = await push(service, 0, life, step, given, seconds=0.01)
        assert service.server.epochs == 1.0  # and with that its owner and its process are gone
        again, found = await started(tmp_path, resume=True, shown=shown, steps=2)
        assert found == {"lost": 0, "version": 30, "shown": 0}
        (news,) = (await again.hear(0, seconds=5.0))["told"]
        assert (news["epoch"], news["loss"]) == (1, 1.0)
        assert unwrap(news["weights"], torch.empty(120)).tolist() == [1.0] * 120

    run(main())


@pytest.mark.parametrize("shown", [None, 1])
def test_a_new_owner_does_not_hear_again_of_what_was_told_before_the_training_was_halted(tmp_path, shown):
    async def main():
        service, _ = await started(tmp_path, steps=2)
        life, _, given = await joined(service, 0)
        for step in range(30):
            given = await push(service, 0, life, step, given, seconds=0.01)
        await service.halt()
        assert [news["epoch"] for news in (await service.hear(0, seconds=5.0))["told"]] == [1]
        assert "result" in await service.hear(1, seconds=5.0)
        again, found = await started(tmp_path, resume=True, shown=shown, steps=2)
        assert found["shown"] == 1
        assert (await again.hear(1, seconds=0.01))["told"] == []

    run(main())


def test_when_all_is_done_a_new_owner_gets_the_weights_all_the_same(tmp_path):
    async def main():
        service, _ = await started(tmp_path)
        life, _, given = await joined(service, 0)
        for step in range(30):
            given = await push(service, 0, life, step, given, seconds=0.01)
        await service.hear(0, seconds=5.0)
        assert (await service.hear(1, seconds=5.0))["result"]["done"]
        again, found = await started(tmp_path, resume=True)
        assert found["shown"] == 1
        (news,) = (await again.hear(1, seconds=5.0))["told"]
        assert unwrap(news["weights"], torch.empty(120)).tolist() == [1.0] * 120
        assert (await again.hear(1, seconds=5.0))["result"]["done"]

    run(main())


@pytest.mark.parametrize("rule", ["ec(every=1)", "codistil(every=1, burn_in=0)"])
@pytest.mark.parametrize(("before", "after"), [(3, 1), (1, 3)])
def test_models_of_more_or_fewer_workers_than_before_are_given_and_shown(tmp_path, rule, before, after):
    async def round(service, workers, *, steps=(0,)):
        lives = [await service.hello(w, 0, own=False) for w in range(workers)]
        given = [await service.pull(w, life, seconds=5.0) for w, (life, _) in enumerate(lives)]
        pushes = [
            push(service, w, life, step, answer, seconds=0.01)
            for w, ((life, step), answer) in enumerate(zip(lives, given, strict=True))
        ]
        return given, await asyncio.gather(*pushes)

    async def main():
        service, _ = await started(tmp_path, rule=rule, workers=before)
        await round(service, before)
        assert [w for w, _ in service.server.models] == list(range(before))
        await service.halt()
        assert "result" in await service.hear(0, seconds=5.0)
        again, _ = await started(tmp_path, rule=rule, workers=after, resume=True)
        first, then = await round(again, after)
        assert [w for w, _ in first[0].models] == list(range(before))  # what was learned is not forgotten
        assert [w for w, _ in then[-1].models] == list(range(after))

    run(main())


def test_an_array_of_another_size_is_an_error_of_the_training_not_of_the_server(tmp_path):
    with pytest.raises(ParcelError, match=r"vector: got uint8 \(8,\), expected 12 bytes"):
        unwrap(wrap(torch.zeros(2)), torch.zeros(3))

    async def main():
        service, _ = await started(tmp_path)
        life, _, _ = await joined(service, 0)
        sent = {"buffers": wrap(torch.empty(0)), "about": (4, 0, 1.0), "seconds": 5.0}
        assert (await service.push(0, life, 0, vector=wrap(torch.zeros(3)), **sent)).kind == "lost"
        assert (await service.hear(0, seconds=5.0))["error"] == "vector: got uint8 (12,), expected 480 bytes."

    run(main())


def test_weights_are_sent_only_where_the_rule_has_a_worker_go_on_from_them(tmp_path):
    async def main():
        service, _ = await started(tmp_path, rule="codistil(every=2)")
        _, _, first = await joined(service, 0)
        assert first.weights is not None  # it has none of its own yet
        _, _, again = await joined(service, 0, own=True)
        assert again.weights is None
        _, _, new = await joined(service, 0)  # another process
        assert new.weights is not None

    run(main())


def test_going_on_from_nothing_is_an_error(tmp_path):
    async def main():
        _, found = await started(tmp_path, resume=True)
        assert "resume: nothing to go on from at" in found["error"]
        assert not (tmp_path / "server.safetensors").exists()
        _, found = await started(
            tmp_path, epoch=1, resume=True
        )  # another server, whose owner knows that there was none
        assert found["version"] == 0

    run(main())


def test_one_training_at_a_time_writes_a_folder(tmp_path, monkeypatch):
    """Another waits for a server whose owner may be gone, and is refused when that does not end; it does end when it is halted."""

    async def main():
        one, _ = await started(tmp_path, name="one")
        monkeypatch.setattr(serve, "GONE", 0.3)
        _, found = await started(tmp_path, name="two", resume=True)
        assert "another training is writing there" in found["error"]
        assert "\n" not in found["error"]
        monkeypatch.setattr(serve, "GONE", 60.0)
        two = asyncio.create_task(started(tmp_path, name="two", resume=True))
        life, _, given = await joined(one, 0)
        await push(one, 0, life, 0, given)
        await one.halt()
        assert not two.done()
        assert "result" in await one.hear(0, seconds=5.0)
        assert (await two)[1]["version"] == 1  # it begins at what the other wrote last
        assert (await one.hear(0, seconds=5.0))["result"]["version"] == 1

    run(main())


def test_a_worker_takes_the_statistics_that_come_with_weights(tmp_path):
    told = Job(
        reference(task("Normed")), PARAMS, "async", 1, 1, 0, "global", str(tmp_path), checkpoint=str(tmp_path / "s")
    ).json()
    labour = Labour(told, 0, 0, 1)
    assert labour.begin() == {}
    flat = labour._worker.flat
    weights, buffers = torch.full_like(flat.weights, 2.0), torch.full((flat.buffer_size,), 3.0, dtype=torch.float64)
    assert flat.buffer_size
    given = labour._taken(labour._worker, Answer("given", 4, (), wrap(weights), (), 7, wrap(buffers)))
    assert (given.version, given.handed) == (4, 7)
    assert torch.equal(given.buffers, buffers)
    assert torch.equal(flat.weights, weights)
