"""The page of a training on several workers says what is so, also of one that ended early or diverged."""

from __future__ import annotations

import pytest

from whet.report.distributed import distributed_report, sentence


def found(**more):
    team = {
        "workers": 3, "rule": "async", "shuffle": "local", "on": "processes", "seconds": 4.0, "startup": 75.0, "updates": 90, "mean_staleness": 1.5,
        "staleness": {"0": 10, "1": 20, "10": 5}, "refused": {"nan": 1}, "drawn_again": 2, "lost": 0, "deaths": {"worker 1": 1},
        "each": {str(w): {"updates": 30, "rate": 7.5, "waits": False, "ahead": 0} for w in (10, 2, 0)}, "ensemble": None,
        "advice": {"safe": False, "why": "local shuffle may cost accuracy: K is large; use global, or fewer workers."},
    }  # fmt: skip
    curve = [{"step": s, "value": 0.5 + s / 10, "train_loss": 1 / s} for s in (1, 2, 3)]
    whole = {"step": 3, "metric": "accuracy", "value": 0.8, "interval": [0.7, 0.9], "curve": curve}
    return {**whole, "distributed": {**team, **more.pop("team", {})}, **more}


def test_everything_that_was_found_is_on_it():
    report = distributed_report("<digits>", found(), params={"lr": 0.1}, command="whet train digits --workers 3")
    text = report.text()
    for part in (
        "3 workers under async reach accuracy 0.8", "WARN", "local shuffle may cost accuracy: K is large", "use global, or fewer workers",
        "Staleness is 1.5 on average", "worker 1 died", "updates refused, nan", "its own equal share", "after 1 min 15 s of start-up", "whet train digits --workers 3",
    ):  # fmt: skip
        assert part in text, (part, text)
    assert max(map(len, text.splitlines())) <= 80
    assert "<digits>" not in report.html()
    (table,) = [b for s in report.json()["sections"] for b in s["blocks"] if b["kind"] == "table"]
    assert [row[0] for row in table["rows"]] == [0, 2, 10], "in the order of their numbers"


def test_unlike_shares_are_said():
    text = distributed_report("x", found(team={"shares": [1, 1, 2]}), params={}).text()
    assert "a share of the examples of its own, as 1 to 1 to 2, shuffled" in " ".join(text.split())


def test_one_exchange_and_unlike_shards_are_on_it():
    once = "diloco: 4 workers take 500 steps each, but there are 430 batches in all: they exchange once, at the end. Set e.g. every=10."
    team = {"once": once, "unlike": ["shards were gone through unlike often: shard 0 2.4 times, shard 1 7.0 times"]}
    text = " ".join(distributed_report("x", found(team=team), params={}).text().split())
    for part in (
        "they exchange once, at the end",
        "Set e.g. every=10",
        "Shards were gone through unlike often: shard 0 2.4 times",
    ):
        assert part in text, text
    assert text.count("WARN") == 2
    assert "exchange once" not in distributed_report("x", found(), params={}).text()


def test_members_are_compared_with_their_ensemble():
    members = {"loss": 0.2, "mean": 0.3, "each": {"0": 0.25, "1": 0.35}, "saved": "0"}
    text = distributed_report("x", found(team={"ensemble": members}), params={}).text()
    assert "loss of 0.2, below their mean of 0.3" in text
    assert "The model that is saved is one of them; all are kept beside it" in " ".join(text.split())
    worse = {**members, "loss": 0.4}
    assert "above their mean" in distributed_report("x", found(team={"ensemble": worse}), params={}).text()


@pytest.mark.parametrize("end", ["diverged", "never"])
def test_a_training_without_a_result_has_a_page_too(end):
    whole = found(team={"staleness": {}, "mean_staleness": None, "each": {}, "deaths": {}, "refused": {}})
    for name in ("value", "interval", "metric", "curve"):
        del whole[name]
    whole |= {"diverged": True} if end == "diverged" else {}
    report = distributed_report("x", whole, params={})
    assert sentence(whole) in report.text().replace("\n", " ")
    assert ("diverged after epoch 3" in sentence(whole)) is (end == "diverged")
    assert "Nobody died" in report.text()
    assert report.html()
