"""What the watch leaves in a model, and how it goes with what else is done to one: nothing that stands in the way."""

from __future__ import annotations

import copy
import gc
import io
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bugs.living import CE, adam, clusters, mlp
from whet.checks.live import Live
from whet.errors import UsageError

X = torch.ones(4, 20)
Pair = tuple[nn.Module, torch.optim.Optimizer]


def trained(live: Live, pair: Pair, until: str, steps: int = 40, **forward: Any) -> None:
    """Train until the watch is in the state `until`, or so many steps."""
    model, optimizer = pair
    x, y = clusters(64)
    for i in range(steps):
        optimizer.zero_grad()
        loss = CE(model(x), y)
        loss.backward()
        optimizer.step()
        live.step(loss)
        if i > 6 and live._watch.state == until:
            return
    assert until == "end"


def hooks(pair: Pair) -> int:
    model, optimizer = pair
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules()) + sum(
        map(len, (optimizer._optimizer_step_pre_hooks, optimizer._optimizer_step_post_hooks))  # type: ignore[attr-defined]
    )


def pair() -> Pair:
    torch.manual_seed(0)
    model = mlp()
    return model, adam(model, 1e-3)


DONE: dict[str, Callable[[nn.Module], Any]] = {
    "deepcopy": lambda m: copy.deepcopy(m)(X),
    "pickle": lambda m: pickle.loads(pickle.dumps(m))(X),
    "torch.save": lambda m: torch.save(m, io.BytesIO()),
    "trace": lambda m: torch.jit.trace(m, X)(X),
    "export": lambda m: torch.export.export(m, (X,)).module()(X),
    "export, strict": lambda m: torch.export.export(m, (X,), strict=True).module()(X),
    "compile": lambda m: torch.compile(m, backend="eager", fullgraph=True)(X),
}


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
@pytest.mark.parametrize("what", DONE)
@pytest.mark.parametrize("state", ["armed", "between"])
def test_a_model_in_the_middle_of_a_look_can_be_copied_saved_traced_exported_and_compiled(
    state: str, what: str
) -> None:
    made = pair()
    live = Live(*made, every=1, share=None)
    trained(live, made, state)
    assert hooks(made)
    looks = live.health.facts["TREND"]["looks"]
    wanted = made[0](X)
    got = DONE[what](made[0])
    if got is not None:
        torch.testing.assert_close(got, wanted)
    trained(live, made, "end", 6)  # and the watch goes on
    assert live.health.facts["TREND"]["looks"] > looks
    assert "ACT" in live.health.facts


def test_a_copy_made_in_the_middle_of_a_look_is_not_watched() -> None:
    made = pair()
    live = Live(*made, every=1, share=None)
    trained(live, made, "armed")
    twin = copy.deepcopy(made[0])
    twin(X)
    assert live._watch._seen is not None
    assert not live._watch._seen.sites


@pytest.mark.parametrize("state", ["armed", "between"])
def test_closing_takes_every_hook_away_and_the_watch_may_go_on(state: str) -> None:
    made = pair()
    with Live(*made, every=1, share=None) as live:
        trained(live, made, state)
        assert hooks(made)
    assert hooks(made) == 0
    before = live.health.facts["TREND"]["looks"]
    trained(live, made, "end", 10)
    assert live.health.facts["TREND"]["looks"] > before
    live.close()
    assert hooks(made) == 0


def test_an_error_in_the_loop_leaves_no_hook() -> None:
    made = pair()

    def loop() -> None:
        with Live(*made, every=1, share=None) as live:
            trained(live, made, "armed")
            assert hooks(made)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        loop()
    assert hooks(made) == 0
    Live().close()  # with no model yet


def test_the_hooks_go_with_the_watch() -> None:
    made = pair()
    trained(Live(*made, every=1, share=None), made, "armed")
    gc.collect()
    assert hooks(made) == 0


def test_between_looks_there_is_no_hook_from_the_first_step_on() -> None:
    made = pair()
    live = Live(*made, every=1000)
    assert hooks(made) == 1  # waits for the first step of the optimizer
    trained(live, made, "end", 8)
    assert hooks(made) == 0


@pytest.mark.parametrize("how", ["torch.compile", "in place", "a part"])
def test_what_is_compiled_is_not_compiled_anew_for_a_look(how: str) -> None:
    torch._dynamo.reset()
    torch.manual_seed(0)
    compiled: list[Any] = []

    def backend(graph: Any, inputs: Any) -> Any:
        compiled.append(graph)
        return graph.forward

    plain = Net()
    model: nn.Module = plain
    if how == "torch.compile":
        model = torch.compile(plain, backend=backend)  # type: ignore[assignment]
    elif how == "in place":
        plain.compile(backend=backend)
    else:
        model = nn.Sequential(torch.compile(plain, backend=backend))  # type: ignore[arg-type]
    optimizer = adam(plain, 1e-3)
    live = Live(model, optimizer, every=2, share=None, batch=X)
    trained(live, (model, optimizer), "end", 12)
    assert len(compiled) == 1
    health = live.health
    assert health.facts["TREND"]["looks"] >= 3
    assert {"GRAD", "PC", "JITTER"} <= set(health.facts)
    assert [(n.code, n.why) for n in health.not_run] == [("ACT", "the model is compiled")]
    torch._dynamo.reset()


class Net(nn.Module):
    """A module of one's own: in place, nothing else is compiled."""

    def __init__(self) -> None:
        super().__init__()
        self.body = mlp()

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)


class Scaled:
    """A loop in mixed precision whose first steps overflow."""

    def __init__(self, fused: bool, dtype: torch.dtype) -> None:
        torch.manual_seed(0)
        self.model = mlp()
        self.optimizer = torch.optim.Adam(self.model.parameters(), 1e-3, fused=fused)
        self.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**60)  # type: ignore[attr-defined]
        self.x, self.y = clusters(64)
        self.dtype = dtype

    def step(self) -> Tensor:
        self.optimizer.zero_grad()
        with torch.autocast("cpu", dtype=self.dtype):
            loss = CE(self.model(self.x), self.y)
        self.scaler.scale(loss).backward()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return loss


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_fused_optimizer_under_a_gradient_scaler_is_measured_as_the_plain_one_is(dtype: torch.dtype) -> None:
    norms = []
    for fused in (False, True):
        loop = Scaled(fused, dtype)
        live = Live(loop.model, loop.optimizer, every=5, share=None, stop=True)
        for _ in range(90):
            live.step(loop.step())
        health = live.health
        assert not health.findings, str(health)
        norms.append(health.facts["GRAD"]["norm"])
        assert {"GRAD", "PC", "ACT", "JITTER"} <= set(health.facts)
    assert norms[0] > 0
    assert norms[1] == pytest.approx(norms[0], rel=0.05)


@pytest.mark.parametrize("each", [True, False])
def test_gradients_that_are_accumulated_are_looked_at_once_a_step(each: bool) -> None:
    torch.manual_seed(0)
    model, (x, y) = mlp(), clusters(256)
    optimizer = adam(model, 3e-3)
    live = Live(model, optimizer, every=5, share=None)
    for i in range(240):
        at = torch.arange(16) + 16 * (i % 16)
        loss = CE(model(x[at]), y[at]) / 4
        loss.backward()
        if i % 4 == 3:
            optimizer.step()
            optimizer.zero_grad()
        if each or i % 4 == 3:
            live.step(loss)
    health = live.health
    assert not health.findings, str(health)
    assert health.facts["TREND"]["looks"] >= 5
    assert health.facts["ACT"]["n"] <= 64  # one step's batches


def test_several_optimizers_have_a_watch_each() -> None:
    torch.manual_seed(0)
    model, (x, y) = mlp(), clusters(64)
    two = adam(model[0], 3e-3), adam(model[2], 3e-3)  # type: ignore[index]
    lives = [Live(model, o, every=4, share=None) for o in two]
    for _ in range(60):
        loss = CE(model(x), y)
        for optimizer in two:
            optimizer.zero_grad()
        loss.backward()
        for optimizer, live in zip(two, lives, strict=True):
            optimizer.step()
            live.step(loss)
    for live in lives:
        assert not live.health.findings, str(live.health)
        assert live.health.facts["GRAD"]["n"] == 2
        assert live.health.facts["ACT"]["n"] == 64
    with pytest.raises(UsageError, match="make one Live for each"):
        Live(model, list(two))  # type: ignore[arg-type]


def test_closed_before_the_first_step_it_does_not_say_that_there_was_none() -> None:
    model = mlp()
    optimizer = adam(model, 1e-3)
    live = Live(model, optimizer)
    live.close()
    x, y = clusters(64)
    for _ in range(260):
        optimizer.zero_grad()
        loss = CE(model(x), y)
        loss.backward()
        optimizer.step()
        live.step(loss)
    assert [f for f in live.health.findings if f.code == "PC"] == []


def test_gradients_added_up_for_long_are_no_step_that_is_missing() -> None:
    model = mlp()
    optimizer = adam(model, 1e-3)
    live = Live(model, optimizer)
    x, y = clusters(64)
    for i in range(600):
        loss = CE(model(x), y) / 256
        loss.backward()
        if i % 256 == 255:
            optimizer.step()
            optimizer.zero_grad()
        live.step(loss)
    assert [f for f in live.health.findings if f.code == "PC"] == []
