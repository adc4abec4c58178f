"""The hook for Keras 3: report to a study, stop by its verdict or by a criterion, go on from a checkpoint."""

from __future__ import annotations

import hashlib
import importlib
import random
from collections.abc import Mapping
from typing import Any

import numpy as np

from whet.errors import UsageError
from whet.stop import Stop
from whet.train.hooks.follow import Follow, Followed, Stretch, missing
from whet.tune.trial import Point

try:
    import keras
except ImportError as e:
    absent = (e.name or "keras").partition(".")[0]
    if absent != "keras":  # Keras is there, and the backend it was told to take is not
        absent += " (or another backend, e.g. KERAS_BACKEND=torch)"
    raise missing("keras", absent, e) from e

__all__ = ["Hook"]


class Hook(Followed, keras.callbacks.Callback):  # type: ignore[misc]
    """Attach `model.fit` to a study, or stop it by a criterion. Put it last among the callbacks.

    run: what the objective was handed, None outside a study; goal: the metric as Keras logs it and its direction, None: the
    study's; stop: a criterion or its text (`whet.stop`), which also brings the best weights back; save: whether the state
    goes into the study at every step; every: the `validation_freq` that `fit` is given, one step of the trial is so many
    epochs; plateau: a `ReduceLROnPlateau` among the callbacks, whose counters are to go on too.

    What a callback behind it does at the end of an epoch is not in the state that was saved. A resumed `fit` begins at the
    epoch where the trial stands, and is bit for bit one that was never paused on the CPU with the backend torch, and with JAX
    as far as Keras shuffles by NumPy. What is not restored: the orders a `tf.data` pipeline draws, and `keras.random` without
    a seed. No backend is imported by this module: the state is of NumPy arrays.

    >>> import keras, numpy as np
    >>> keras.utils.set_random_seed(0)
    >>> x = np.random.normal(size=(64, 2)).astype("float32")
    >>> y = x.sum(1, keepdims=True)
    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    >>> model.compile(keras.optimizers.SGD(0.1), "mse")
    >>> hook = Hook(goal="min val_loss", stop="target 0.01")
    >>> history = model.fit(x, y, validation_data=(x, y), epochs=50, verbose=0, callbacks=[hook])
    >>> hook.value < 0.01, len(history.epoch) < 50
    (True, True)
    """

    def __init__(
        self,
        run: Stretch | None = None,
        goal: str | None = None,
        *,
        stop: Stop | str | None = None,
        save: bool = True,
        every: int = 1,
        plateau: Any = None,
    ) -> None:
        super().__init__()
        self._follow = Follow(run, goal, stop, save)
        self._every, self.plateau = every, plateau
        self._training: _Training | None = None
        self._own: Any = None  # the epoch at which the model was to begin
        self._at: dict[bytes, Point] = {}  # by a mark of the weights

    def on_train_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        """Go on from the trial's checkpoint; nothing is trained when nothing is left to do."""
        if (processes := _processes()) > 1:
            raise UsageError(
                f"hook: the training has {processes} processes, allowed: 1. Train each trial in one process, "
                "and more of them at a time: study.run(objective, workers=N)."
            )
        training = _Training(self)
        going = self._follow.begin(training)
        self._training = training
        self._own = self.model._initial_epoch  # what Keras' own BackupAndRestore goes on by; there is no public name
        if not going:
            self.model._initial_epoch = max(self.params["epochs"], 1)
        elif training.epoch:
            self.model._initial_epoch = training.epoch

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Leave the model as it was for another `fit`."""
        self.model._initial_epoch = self._own

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Report the epoch's metrics, and end the training by the verdict."""
        if (epoch + 1) % self._every or self._training is None:
            return
        self._training.epoch = epoch + 1
        if not self._follow.point(logs or {}):
            self.model.stop_training = True
        self._at[self._training.mark()] = self.points[-1]

    def on_train_end(self, logs: Mapping[str, Any] | None = None) -> None:
        """Bring the best weights back, and close the trial, where the criterion ended it."""
        self.model._initial_epoch = self._own
        self._follow.close()
        if self._at and self._training is not None and not self.why:
            point = self._at.get(self._training.mark())  # `EarlyStopping` may have brought earlier ones back
            if point is not None and point is not self.points[-1]:
                self._follow.back(point)


class _Training:
    """A compiled model; `whet.train.hooks.follow.Trained` on any backend."""

    def __init__(self, hook: Hook) -> None:
        self.hook = (
            hook  # not the model: with JAX it is only asked for through the callback that it is brought up to date
        )
        self.epoch = 0
        self.rates = [_rate(o) for o in _optimizers(hook.model)]

    def state(self) -> dict[str, Any]:
        model, plateau = self.hook.model, self.hook.plateau
        counters = None
        if plateau is not None:
            best = None if plateau.best is None else float(plateau.best)
            counters = {"best": best, "wait": plateau.wait, "cooldown_counter": plateau.cooldown_counter}
        return {
            "weights": self.weights(),
            "optimizer": _arrays(model.optimizer.variables),
            "seeds": _arrays(_seeds(model)),
            "rates": self.rates,
            "epoch": self.epoch,
            "plateau": counters,
            "draws": _draws(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        model = self.hook.model
        if not model.built:
            raise UsageError(
                "hook: the model has no weights yet into which the trial's could go. Give it a keras.Input, or call its "
                "build() before fit()."
            )
        if not model.optimizer.built:
            model.optimizer.build(model.trainable_variables)
        self.put(state["weights"])
        for variables, values in ((model.optimizer.variables, state["optimizer"]), (_seeds(model), state["seeds"])):
            for variable, value in zip(variables, values, strict=True):
                variable.assign(value)
        for optimizer, own, theirs in zip(_optimizers(model), self.rates, state["rates"], strict=True):
            if own is not None and theirs and own != theirs:  # another configuration: as much of its rate is left
                optimizer.learning_rate = own * (_rate(optimizer) / theirs)
        if self.hook.plateau is not None:
            for name, value in (state["plateau"] or {}).items():
                setattr(self.hook.plateau, name, value)
        self.epoch = state["epoch"]
        _set_draws(state["draws"])

    def weights(self) -> list[Any]:
        return _arrays(self.hook.model.weights)

    def mark(self) -> bytes:
        """Return what tells these weights from others."""
        found = hashlib.blake2b(digest_size=16)
        for variable in self.hook.model.weights:
            found.update(np.array(keras.ops.convert_to_numpy(variable)).tobytes())
        return found.digest()

    def put(self, weights: list[Any]) -> None:
        self.hook.model.set_weights(weights)


def _arrays(variables: Any) -> list[Any]:
    found = [np.array(keras.ops.convert_to_numpy(v)) for v in variables]
    # NumPy lacks bfloat16 and shorter ones: another package's, each of whose values float32 has too
    return [v.astype(np.float32) if v.dtype.kind == "V" else v for v in found]


def _seeds(model: Any) -> list[Any]:
    """Return the states of the seed generators of a model's layers."""
    weights = {id(v) for v in model.weights}
    return [v for v in model.variables if id(v) not in weights]


def _optimizers(model: Any) -> list[Any]:
    return list(getattr(model.optimizer, "optimizers", [model.optimizer]))


def _rate(optimizer: Any) -> Any:
    """Return an optimizer's learning rate, None when a schedule of its own gives it: that goes by the number of iterations."""
    rate = optimizer.learning_rate
    return float(keras.ops.convert_to_numpy(rate)) if isinstance(rate, keras.Variable) else None


def _processes() -> int:
    if keras.backend.backend() == "torch":
        distributed = importlib.import_module("torch.distributed")
        return int(distributed.get_world_size()) if distributed.is_available() and distributed.is_initialized() else 1
    return int(importlib.import_module("jax").process_count()) if keras.backend.backend() == "jax" else 1


def _draws() -> dict[str, Any]:
    """Return the state of the generators that belong to no layer."""
    if keras.backend.backend() == "torch":
        return {"torch": importlib.import_module("whet.train.hooks.torch_state").draws()}
    return {"python": random.getstate(), "numpy": np.random.get_state()}


def _set_draws(state: Mapping[str, Any]) -> None:
    if "torch" in state:
        if keras.backend.backend() == "torch":  # else the trial began on another backend
            importlib.import_module("whet.train.hooks.torch_state").set_draws(state["torch"])
        return
    random.setstate(state["python"])
    np.random.set_state(state["numpy"])
