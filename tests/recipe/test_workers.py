"""What is told of workers: rows that fit a terminal, lines that say what went wrong."""

from __future__ import annotations

from whet.distributed.ensemble import Members
from whet.recipe.block import WIDTH
from whet.recipe.words import BARS, bars
from whet.recipe.workers import ensemble, lines, mean_staleness, rows


def worker(updates: int, rate: float, *, waits: bool = False, ahead: int = 0) -> dict:
    return {"updates": updates, "rate": rate, "waits": waits, "ahead": ahead}


def test_each_worker_has_a_row_that_fits_and_the_rest_share_one():
    there = {str(w): worker(1_234_567, 6172.8, waits=w == 1, ahead=w) for w in range(12) if w != 2}
    status = {"workers": there, "staleness": {str(k): 1 + k for k in range(200)}}
    found = rows(status, {"worker 1": 3, "worker 2": 1, "server": 1}, 14, every=16)
    assert len(found) == 10
    assert max(map(len, found)) <= WIDTH
    assert "98,765 steps/s" in found[0], "a push is 16 steps"
    assert found[1].endswith("waits, died 3x")
    assert found[2] == "worker 2   died; another one starts"
    assert found[8].startswith("4 of 6 more: ")
    assert rows({}, {}, 2) == ("worker 0   starts", "worker 1   starts")


def test_a_histogram_keeps_its_width_and_every_number_that_occurs():
    for last in (0, 1, 23, 24, 25, 1000):
        drawn = bars({0: 10**6, last: 1})
        assert len(drawn) <= 24 + 2 + 2 + len(str(last))
        assert drawn.endswith(f" {last}")
        assert drawn.split()[1][0] == BARS[-1]
        assert last == 0 or drawn.split()[-2][-1] == BARS[0]
    assert bars({}) == "0   0"


def test_what_went_wrong_is_said_and_what_did_not_is_not():
    calm = {"status": {"version": 90, "staleness": {"0": 90}}, "deaths": {}, "lost": 0, "seconds": 3.2}
    said = lines(calm, workers=1, rule="async", members=None, advice="it is safe.", normed=True)
    assert said == ["1 worker, 90 updates in 3 s, rule async", "staleness 0: nothing was merged between a pull and its push", "it is safe."]  # fmt: skip
    waited = lines({**calm, "startup": 12.4}, workers=1, rule="async", members=None, advice="it is safe.", normed=True)
    assert waited == [said[0], "start-up 12 s before that, until the first step", *said[1:]]
    status = {
        "version": 1, "staleness": {"0": 1, "2": 1}, "refused": {"nan": 2, "huge": 1}, "drawn_again": 1, "events": {"late": 2},
    }  # fmt: skip
    told = {"status": status, "deaths": {"worker 3": 2, "server": 1}, "lost": 1, "seconds": 90}
    members = ensemble(Members(0.25, (0.5, 0.3)), [0, 3], 3)
    said = lines(told, workers=4, rule="ec", members=members, advice="x", normed=True)
    assert max(map(len, said)) <= WIDTH
    whole = " ".join(" ".join(said).split())
    for part in (
        "1 update in 1:30 min", "staleness 1.0 on average", "3 updates refused: 1 huge, 2 nan",
        "server died once, worker 3 died 2 times and was replaced", "2 times a worker did not answer in time",
        "1 batch drawn again; 1 update lost with the server", "ensemble of 2: loss 0.25; its members 0.4 on average",
        "saved: the model of worker 3, loss 0.3; all members beside it, to deploy together", "batch normalisation: each member's own statistics are saved",
    ):  # fmt: skip
        assert part in whole, (part, said)


def test_shards_that_were_seen_unlike_often_are_told_and_which():
    def told(**status):
        status = {"version": 9, "merged": 100, **status}
        found = {"status": status, "deaths": {}, "lost": 0, "seconds": 1}
        said = lines(found, workers=3, rule="average(every=4)", members=None, advice="x", normed=False)
        return " ".join(" ".join(said).split())

    assert "shard" not in told(passes=[]) + told(passes=[6.0, 6.9, 6.4], lent=0)
    said = told(passes=[6.0, 4.2, 5.5], lent=7)
    assert "7 of 100 batches were taken over" in said
    assert "unlike often: shard 1 4.2 times, shard 0 6.0 times" in said


def test_the_mean_staleness_counts_every_push():
    assert mean_staleness({"staleness": {"0": 3, "4": 1}}) == 1.0
    assert mean_staleness({"staleness": {}}) is None
