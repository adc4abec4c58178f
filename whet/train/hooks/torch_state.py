"""The state of a PyTorch training in another's loop: weights, optimizers, rate schedules, random numbers."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

__all__ = ["Parts", "copied", "draws", "set_draws"]


class Parts:
    """A model with its optimizers and rate schedules; `whet.train.hooks.follow.Trained` for frameworks on PyTorch.

    Made when the optimizers stand as the configuration has them and nothing was trained. more: other objects with
    `state_dict` and `load_state_dict`, by name.

    A state goes into a training of the same configuration as it was. Into one whose optimizer was made with other settings (a child
    of a population goes on with another rate) it goes with the new settings; a rate that a schedule had changed keeps its
    share of the one it began with.

    >>> old = nn.Linear(2, 1); sgd = torch.optim.SGD(old.parameters(), lr=0.1)
    >>> state = Parts(old, [sgd]).state()
    >>> new = nn.Linear(2, 1); faster = torch.optim.SGD(new.parameters(), lr=0.2)
    >>> Parts(new, [faster]).restore(state)
    >>> torch.equal(old.weight, new.weight), faster.param_groups[0]["lr"]
    (True, 0.2)
    """

    def __init__(
        self,
        model: nn.Module,
        optimizers: Sequence[torch.optim.Optimizer] = (),
        schedules: Sequence[Any] = (),
        *,
        more: Mapping[str, Any] | None = None,
    ) -> None:
        self.model, self.optimizers, self.schedules = model, list(optimizers), list(schedules)
        self.more = dict(more or {})
        self._begun = [_settings(o) for o in self.optimizers]
        self._rates = [[_rates(part) for part in _all(s)] for s in self.schedules]

    def state(self) -> dict[str, Any]:
        """Return everything, the generators of random numbers included."""
        return {
            "model": copied(self.model.state_dict()),
            "optimizers": [copied(o.state_dict()) for o in self.optimizers],
            "schedules": [copied(s.state_dict()) for s in self.schedules],
            "more": {name: copied(part.state_dict()) for name, part in self.more.items()},
            "begun": {"settings": self._begun, "rates": self._rates},
            "draws": draws(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a state, random numbers included."""
        begun = state["begun"]
        self.model.load_state_dict(state["model"])
        for part, saved, own, theirs in zip(
            self.schedules, state["schedules"], self._rates, begun["rates"], strict=True
        ):
            part.load_state_dict(dict(saved))  # one of torch's takes something out of it
            for inner, mine, its in zip(_all(part), own, theirs, strict=True):
                for name in mine.keys() & its.keys():
                    if mine[name] != its[name]:
                        setattr(inner, name, list(mine[name]))
        for optimizer, saved, settings, others in zip(
            self.optimizers, state["optimizers"], self._begun, begun["settings"], strict=True
        ):
            optimizer.load_state_dict(saved)
            for group, new, old in zip(optimizer.param_groups, settings, others, strict=True):
                for key in new.keys() & old.keys():
                    if new[key] != old[key]:
                        group[key] = _carried(group[key], old[key], new[key])
                # where a schedule begins with 0, "lr" tells nothing of the configuration
                first, other = old.get("initial_lr"), new.get("initial_lr")
                if _real(first) and _real(other) and first and new["lr"] == old["lr"]:
                    group["lr"] *= other / first
        for name, part in self.more.items():
            part.load_state_dict(state["more"][name])
        set_draws(state["draws"])

    def weights(self) -> dict[str, Any]:
        """Return copies of the model's weights and buffers, on the CPU."""
        return copied(self.model.state_dict())

    def put(self, weights: Mapping[str, Any]) -> None:
        """Set the model's weights and buffers."""
        self.model.load_state_dict(weights)


def _all(schedule: Any) -> list[Any]:
    """Return a schedule with those that it is made of, as a `SequentialLR` is."""
    return [schedule, *(part for one in getattr(schedule, "_schedulers", ()) for part in _all(one))]


def _rates(schedule: Any) -> dict[str, list[Any]]:
    """Return the rates that a schedule was made with: `base_lrs`, which all go by, `max_lrs` and `min_lrs` of some."""
    return {k: list(v) for k, v in vars(schedule).items() if k.endswith("_lrs")}


def _settings(optimizer: torch.optim.Optimizer) -> list[dict[str, Any]]:
    return [{k: copied(v) for k, v in group.items() if k != "params"} for group in optimizer.param_groups]


def _carried(now: Any, began: Any, new: Any) -> Any:
    """Return a setting that began as `began` and stood at `now`, where the new configuration has it begin as `new`."""
    if not _real(new) or not _real(began) or not began or now == began:
        return new
    return new * now / began


def _real(value: Any) -> bool:
    """Return whether it is a real number; rates may be tensors."""
    return isinstance(value, float) or (isinstance(value, torch.Tensor) and value.numel() == 1)


def copied(node: Any) -> Any:
    """Return a copy of a tree of values; tensors on the CPU."""
    if isinstance(node, torch.Tensor):
        return node.detach().cpu().clone()
    if isinstance(node, Mapping):
        return {k: copied(v) for k, v in node.items()}
    if isinstance(node, (list, tuple)):
        return type(node)(map(copied, node)) if type(node) in (list, tuple) else [copied(v) for v in node]
    return node


def draws() -> dict[str, Any]:
    """Return the state of the generators of random numbers that trainings draw from: Python's, NumPy's and torch's."""
    found: dict[str, Any] = {
        "python": random.getstate(),
        "numpy": np.random.get_state(),
        "torch": torch.get_rng_state(),
    }
    if torch.cuda.is_available():
        found["cuda"] = torch.cuda.get_rng_state_all()
    return found


def set_draws(state: Mapping[str, Any]) -> None:
    """Set the generators as `draws` found them."""
    random.setstate(state["python"])
    np.random.set_state(state["numpy"])
    torch.set_rng_state(state["torch"])
    if "cuda" in state and len(state["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(state["cuda"])
