"""The line-up of the benchmarks of searchers: every player at every kind of domain, and what a comparison says."""

from __future__ import annotations

import importlib.util
import math
from pathlib import Path

import numpy as np
import pytest

import whet
from peers import PEERS, Kept, Player, error, lineup, play, verdicts
from peers.flat import configuration, labels, unconstrained

SPACE = whet.Space(
    lr=whet.Float(1e-5, 1.0, log=True),
    width=whet.Int(3, 300, log=True),
    depth=whet.Int(1, 4),
    batch=whet.Ordered([16, 32, 64]),
    fixed=whet.Const("so"),
    only=whet.Choice({"this": whet.Space(part=whet.Float(0, 1))}),
    optimizer=whet.Choice({
        "sgd": whet.Space(m=whet.Float(0.5, 0.99)),
        "adam": whet.Space(m=whet.Int(1, 3), amsgrad=whet.Choice({True: whet.Space(x=whet.Float(2, 3)), False: None})),
        None: None,
    }),
)  # fmt: skip


def objective(params: dict) -> float:
    """The value of a configuration of SPACE, which it must be; deep networks fail."""
    SPACE.check(params)
    if params["depth"] == 4:
        return float("nan")
    return (math.log10(params["lr"]) + 3) ** 2 + abs(math.log(params["width"] / 30)) + (params["optimizer"] != "sgd")


def test_labels_of_two_branches_with_the_same_name_differ() -> None:
    found = {label: parent for label, _, parent in labels(SPACE)}
    assert found == {
        "lr": None, "width": None, "depth": None, "batch": None, "only=0.part": None, "optimizer": None,
        "optimizer=0.m": ("optimizer", 0), "optimizer=1.m": ("optimizer", 1),
        "optimizer=1.amsgrad": ("optimizer", 1), "optimizer=1.amsgrad=0.x": ("optimizer=1.amsgrad", 0),
    }  # fmt: skip


def test_a_configuration_is_asked_for_what_exists_and_nothing_else() -> None:
    told = {
        "lr": 0.1, "width": 5, "depth": 2, "batch": 32, "only=0.part": 0.5, "optimizer": "adam", "optimizer=1.m": 2,
        "optimizer=1.amsgrad": True, "optimizer=1.amsgrad=0.x": 2.5,
    }  # fmt: skip
    asked = []

    def take(label: str, domain: object) -> object:
        asked.append(label)
        return told[label]

    params = configuration(SPACE, take)
    assert sorted(asked) == sorted(told)
    SPACE.check(params)
    assert (params["fixed"], params["optimizer.m"], params["optimizer.amsgrad.x"]) == ("so", 2, 2.5)


def test_a_constraint_is_refused_as_peers_cannot_be_told() -> None:
    with pytest.raises(ValueError, match="constraints"):
        unconstrained(whet.Space(a=whet.Int(1, 3), b=whet.Int(1, 3)).where("a < b"))


@pytest.mark.parametrize("name", ["random", "gp", *PEERS])
def test_a_player_proposes_configurations_of_the_space_and_plays_the_same_again(name: str) -> None:
    ours = name not in PEERS
    if not ours and importlib.util.find_spec(PEERS[name][0]) is None:
        pytest.skip(f"needs {PEERS[name][0]}: pip install 'whet[bench]'")
    (player,) = lineup(*((name, "none") if ours else ("none", name)))
    n = 14 if name in ("optuna-gp", "smac") else 25
    first, again, other = (
        play(player, "task", SPACE, objective, seed=seed, evaluations=n).values for seed in (0, 0, 1)
    )
    assert len(first) == n
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other, equal_nan=True)
    assert np.isfinite(first).any()
    assert np.isnan([*first, *other]).any(), "no failure was told: this test shows nothing of them"


def test_the_published_evolution_has_children_with_one_change_of_the_last_ten() -> None:
    space = whet.Space(**{n: whet.Choice(list("wxyz")) for n in "abcdef"})
    (player,) = lineup("none", "aging")
    turn, tried = player.begin(space, 3, 60), []
    for _ in range(60):
        tried.append(turn.ask())
        turn.tell(float(sum(v != "y" for v in tried[-1].values())))
    for i in range(10, 60):
        apart = [sum(tried[i][n] != p[n] for n in space) for p in tried[i - 10 : i]]
        assert 1 in apart
    values = [sum(v != "y" for v in p.values()) for p in tried]
    assert np.mean(values[-10:]) < np.mean(values[:10]) - 1


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(SystemExit, match="no peer 'optune'"):
        lineup("random", "optune")
    with pytest.raises(SystemExit, match="rando"):
        lineup("rando", "none")


def test_a_peer_that_is_not_installed_is_left_out_with_a_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(PEERS, "smac", ("no_such_package_here", "peers.of_smac", "Forest"))
    assert [p.name for p in lineup("random", "smac")] == ["random"]
    assert capsys.readouterr().out.startswith("smac is left out: ")


def test_a_player_may_have_fewer_seeds() -> None:
    few, all_of_them = lineup("random:2,sobol", "none")
    assert (few.seeds(10), few.seeds(1), all_of_them.seeds(10)) == (range(2), range(1), range(10))


class Counting:
    """A peer that proposes the same again and again; `begun` counts its studies."""

    begun = 0

    def __init__(self, space: whet.Space, seed: int, evaluations: int) -> None:
        Counting.begun += 1

    def ask(self) -> dict:
        return {"x": 0.5}

    def tell(self, value: float) -> None:
        pass

    def close(self) -> None:
        pass


def test_what_a_peer_did_is_kept_and_what_whet_did_is_not(tmp_path: Path) -> None:
    space, kept = whet.Space(x=whet.Float(0, 1)), Kept(tmp_path / "kept")
    Counting.begun = 0

    def go(player: Player, **more: int) -> list[float]:
        how = {"seed": 0, "evaluations": 3, **more}
        return play(player, "task", space, lambda p: p["x"], kept=kept, **how).values

    peer, newer = (Player("peer", Counting, False, version) for version in ("1", "2"))
    ours = Player("ours", Counting, True, "1")
    assert go(peer) == go(peer) == [0.5] * 3
    assert Counting.begun == 1
    go(newer), go(peer, seed=1), go(peer, evaluations=4)
    assert Counting.begun == 4
    go(ours), go(ours)
    assert Counting.begun == 6


def test_verdicts_by_hand() -> None:
    players = [
        Player("gp", Counting, True, ""), Player("random", Counting, True, ""),
        Player("a", Counting, False, ""), Player("b", Counting, False, ""),
    ]  # fmt: skip
    spread = np.array([-0.01, 0.01, -0.01, 0.01])  # its standard error is 0.01 / sqrt(3)
    regrets = {
        "gp": np.array([0.11 + spread, 0.22 + spread, 0.205 + spread]),
        "random": np.ones((3, 4)),
        "a": np.array([0.20 + spread, 0.20 + spread, 0.20 + spread]),
        "b": np.array([0.40 + spread, 0.40 + spread, 0.40 + spread]),
    }
    assert error(regrets["gp"][0]) == pytest.approx(0.01 / 3**0.5)
    (line,) = verdicts(regrets, players, ["ahead", "worse", "within"], "mean regret")
    # 0.22 against 0.20 is beyond 2 sqrt(2) 0.01 / sqrt(3) = 0.016, 0.205 against 0.20 is not
    assert line == (
        "gp: mean regret 0.1783, 0.89 of the best peer's (a, 0.2000). Worse than the best peer beyond noise on: "
        "worse (0.2200, a 0.2000). Behind within noise on: within (0.2050, a 0.2000)."
    )
    assert list(verdicts({"gp": regrets["gp"]}, players[:1], ["x", "y", "z"], "mean regret")) == []
