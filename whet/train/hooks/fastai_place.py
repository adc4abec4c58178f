"""Where a Learner of fastai stands: its optimizer's state, counts, and the random numbers of its loaders."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

__all__ = ["Place", "Plain", "plain"]


def plain(value: Any) -> Any:
    """Return a tensor of fastai's own kinds as one of torch, another value as it is."""
    return value.as_subclass(torch.Tensor) if isinstance(value, torch.Tensor) else value


class Plain:
    """fastai's optimizer as `Parts` takes one: plain values, and tensors that go to their parameter's device."""

    def __init__(self, optimizer: Any) -> None:
        self.optimizer = optimizer

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """The hyperparameters of each group."""
        return list(self.optimizer.hypers)

    def state_dict(self) -> dict[str, Any]:
        """Return the hyperparameters, and what it keeps of each parameter, in their order."""
        states = [{k: plain(v) for k, v in state.items()} for _, _, state, _ in self.optimizer.all_params()]
        return {"state": states, "hypers": [dict(group) for group in self.optimizer.hypers]}

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Take in what `state_dict` returned."""
        parts = self.optimizer.all_params()
        for (parameter, *_), state in zip(parts, saved["state"], strict=True):
            self.optimizer.state[parameter] = {
                k: v.to(parameter.device) if isinstance(v, torch.Tensor) else v for k, v in state.items()
            }
        for group, old in zip(self.optimizer.hypers, saved["hypers"], strict=True):
            group.update(old)


class Place:
    """Where a Learner stands beside weights and optimizer: counts, and the random numbers of its loaders."""

    def __init__(self, learn: Any) -> None:
        self.learn = learn
        self.done = 0  # epochs trained before this training, which the Learner counts from 0

    def number(self) -> None:
        """Count the epochs of before; the Learner has just set its own number, by which its schedules go."""
        self.learn.epoch += self.done
        self.learn.pct_train = self.learn.epoch / self.learn.n_epoch
        self.learn.recorder.log[0] = self.learn.epoch

    @property
    def ends(self) -> bool:
        """Whether a training that went on has all its epochs."""
        return self.done > 0 and self.learn.epoch + 1 >= self.learn.n_epoch

    def _draws(self) -> list[Any]:
        """Return the loaders' own generators of random numbers: Python's in fastai's, perhaps one of torch in torch's."""
        found = [
            getattr(loader, "rng", None) or getattr(loader, "generator", None) for loader in self.learn.dls.loaders
        ]
        return [g for g in found if hasattr(g, "getstate") or hasattr(g, "get_state")]

    def state_dict(self) -> dict[str, Any]:
        """Return the counts, the smoothed loss and the loaders' random numbers."""
        smooth = self.learn.recorder.smooth_loss
        return {
            "epochs": self.learn.epoch + 1,
            "iterations": self.learn.train_iter,
            "smooth": {"count": smooth.count, "val": plain(smooth.val)},
            "draws": [g.getstate() if hasattr(g, "getstate") else g.get_state() for g in self._draws()],
        }

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Go on from there."""
        self.done, self.learn.train_iter = saved["epochs"], saved["iterations"]
        smooth = self.learn.recorder.smooth_loss
        smooth.count, smooth.val = saved["smooth"]["count"], saved["smooth"]["val"]
        for own, state in zip(self._draws(), saved["draws"], strict=True):
            (own.setstate if hasattr(own, "setstate") else own.set_state)(state)
