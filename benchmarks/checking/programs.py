"""The programs that all tools look at: the catalogue of bugs, each beside the program without the bug, and a zoo of healthy ones.

They are those of whet's own tests (tests/checks), so that what is claimed there is what is compared here.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

TESTS = Path(__file__).resolve().parents[2] / "tests" / "checks"
if not TESTS.is_dir():
    raise SystemExit(f"benchmarks/checks.py: {TESTS} is missing; it needs the repository or the source distribution.")
if str(TESTS) not in sys.path:
    sys.path.insert(0, str(TESTS))

from bugs import ahead, catalogue, dense, language, pictures, sequences, several  # noqa: E402
from bugs.case import CE, Bug  # noqa: E402

__all__ = ["Program", "Ready", "healthy", "seeded"]

RATE = 1e-3  # of Adam, for a program that brings no optimizer


@dataclass(frozen=True)
class Ready:
    """A program that can be trained: loss(outputs, targets) after call(model, inputs)."""

    model: nn.Module
    loss: Callable[[Any, Any], Any]
    inputs: Any
    targets: Any
    optimizer: torch.optim.Optimizer

    def call(self) -> Any:
        """Return the model's outputs: a tuple of inputs is spread, a dict is given by name."""
        if isinstance(self.inputs, Mapping):
            return self.model(**self.inputs)
        return self.model(*self.inputs) if isinstance(self.inputs, tuple) else self.model(self.inputs)


@dataclass(frozen=True)
class Program:
    """A program by name. bug: what is wrong with it, or None; fixed: the name of the same program without the bug."""

    name: str
    make: Callable[[], dict[str, Any]]
    bug: Bug | None = None
    fixed: str = ""

    def ready(self, seed: int) -> Ready:
        """Build it: model and data depend on the seed alone."""
        torch.manual_seed(seed)
        made = self.make()
        optimizer = made.get("optimizer")
        if optimizer is None:
            optimizer = torch.optim.Adam([p for p in made["model"].parameters() if p.requires_grad], RATE)
        return Ready(made["model"], made["loss"], *made["batch"], optimizer)


def _prior(make: Callable[[], dict[str, Any]], last: int) -> Callable[[], dict[str, Any]]:
    """Return the program with the classes' shares in the bias of its last layer."""

    def made() -> dict[str, Any]:
        program = make()
        layer, y = program["model"][last], program["batch"][1]
        with torch.no_grad():
            layer.bias.copy_((torch.bincount(y, minlength=layer.out_features) / len(y)).log())
            layer.weight.mul_(0.1)
        return program

    return made


class Listed(nn.Module):
    """The layers of `sequences.Listed`, in a ModuleList."""

    def __init__(self) -> None:
        super().__init__()
        self.layers, self.head = nn.ModuleList(nn.Linear(6, 6) for _ in range(3)), nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = x.mean(1)
        for layer in self.layers:
            x = torch.relu(layer(x)) + x
        return self.head(x)


def _answers(n: int = 64) -> tuple[Tensor, Tensor]:
    return torch.randn(n, 20), torch.randint(0, 2, (n, 1)).float()


def _rare() -> dict[str, Any]:
    """Nine of a hundred are positive, and the last bias knows it."""
    x, y = several.uneven()
    model = several.net(1, nn.Flatten(0))
    with torch.no_grad():
        share = (y > 0).float().mean()
        model[2].bias.fill_(torch.logit(share))
        model[2].weight.mul_(0.1)
    return several.imbalanced(model, nn.BCEWithLogitsLoss(), (x, (y > 0).float()))


def _given(program: ahead.Program) -> dict[str, Any]:
    return dict(zip(("model", "loss", "batch"), program, strict=True))


def _adam(model: nn.Module, make: Callable[..., Any], batch: Any) -> dict[str, Any]:
    return make(model, batch=batch, optimizer=torch.optim.Adam(model.parameters(), RATE))


_norm = lambda: nn.Sequential(nn.Linear(20, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, 10))  # noqa: E731
FIXED: dict[str, Callable[[], dict[str, Any]]] = {
    "dense": lambda: dense.program(dense.net()),
    "dense, batch norm": lambda: dense.program(_norm()),
    "dense, regression": lambda: dense.program(dense.net(outputs=1), nn.MSELoss(), (torch.randn(32, 20), torch.randn(32, 1))),
    "dense, binary": lambda: dense.program(dense.net(outputs=1), nn.BCEWithLogitsLoss(), _answers()),
    "dense, nll": lambda: dense.program(dense.net(nn.LogSoftmax(1)), nn.NLLLoss()),
    "dense, uneven": _prior(lambda: dense.program(dense.net(), batch=dense.uneven()), 2),
    "dense, small cnn": lambda: _adam(dense.small_cnn(), lambda m, **k: dense.program(m, CE, **k), dense.noisy_pictures()),
    "CNN": lambda: pictures.program(pictures.cnn()),
    "CNN, dropout": lambda: pictures.program(pictures.cnn(drop=0.2)),
    "CNN, batch norm": lambda: pictures.program(pictures.cnn(norm=True)),
    "residual": lambda: pictures.program(pictures.Residual(lambda x, f: x + f(x))),
    "segmentation": lambda: pictures.segmented(pictures.Segmenter()),
    "segmentation, binary": lambda: pictures.segmented(
        pictures.Segmenter(into=1), nn.BCEWithLogitsLoss(), (lambda b: (b[0], (b[1][:, None] > 1).float()))(pictures.masks())),
    "autoencoder": lambda: pictures.program(pictures.Auto(nn.Sigmoid()), nn.MSELoss(), pictures.itself()),
    "recurrent": lambda: sequences.program(sequences.Recurrent()),
    "recurrent, vectors": lambda: sequences.program(sequences.Recurrent(tokens=False), sequences.vectors()),
    "transformer": lambda: sequences.program(sequences.Attentive(), sequences.vectors()),
    "transformer, class token": lambda: sequences.program(
        sequences.Attentive(token="parameter", pool=lambda h: h[:, 0]), sequences.vectors()),
    "transformer, listed": lambda: sequences.program(Listed(), sequences.vectors()),
    "transformer, by hand": lambda: sequences.program(sequences.Scores(-1), sequences.vectors()),
    "language model": lambda: language.program(language.Language()),
    "multi-task": lambda: several.program(_both),
    "imbalanced": _prior(lambda: several.imbalanced(several.net()), 2),
    "imbalanced, binary": _rare,
    "sequence": lambda: _given(ahead.shifted(ahead.Language())),
    "sequence, a loss that shifts": lambda: _given((lambda d: (ahead.Language(), ahead.shifts, (d, d)))(ahead.tokens())),
    "sequence, translation": lambda: _given(ahead.translated()),
    "sequence, padded": lambda: _given(ahead.padded(ahead.Language(), ahead.ignores_zero)),
    "sequence, attention mask": lambda: _given(ahead.with_mask(ahead.by_token, -100)),
    "sequence, GRU": lambda: _given(ahead.shifted(ahead.Recurrent())),
    "sequence, padded GRU": lambda: _given(ahead.padded(ahead.Recurrent(), ahead.ignores_zero)),
    "sequence, convolution": lambda: _given(ahead.shifted(ahead.Convolution())),
    "sequence, waves": lambda: _given(ahead.waves(ahead.Convolution(channels=3))),
}  # fmt: skip
HARMLESS = ("dense: log-softmax before ce",)  # idempotent: the loss is the same with and without
# Whose program without the bug is not the first of its family.
OTHERWISE = {
    "dense: eval does not reach": "dense, batch norm",
    "dense: raw input, hidden by batchnorm": "dense, batch norm",
    "dense: reshape for permute": "recurrent, vectors",
    "dense: batch_first forgotten": "recurrent, vectors",
    "dense: batch_first forgotten, tokens": "recurrent",
    "dense: (n, 1) against (n,)": "dense, regression",
    "dense: sign of mse": "dense, regression",
    "dense: mean left out": "dense, regression",
    "dense: relu before regression": "dense, regression",
    "dense: two sigmoids": "dense, binary",
    "dense: nll of scores": "dense, nll",
    "dense: nll of probabilities": "dense, nll",
    "dense: prior left out": "dense, uneven",
    "dense: learning rate 1": "dense, small cnn",
    "CNN: learning rate 1": "dense, small cnn",
    "CNN: dropout that drops everything": "CNN, dropout",
    "segmentation: two sigmoids": "segmentation, binary",
    "recurrent: batch_first forgotten, vectors": "recurrent, vectors",
    "recurrent: a state carried on from batch to batch": "recurrent, vectors",
    "transformer: a class token that is no parameter": "transformer, class token",
    "transformer: attention normalised over the examples": "transformer, by hand",
    "transformer: layers in a plain list": "transformer, listed",
    "imbalanced: a sigmoid before BCEWithLogits": "imbalanced, binary",
    "sequence: a mask off by one, under a loss that shifts": "sequence, a loss that shifts",
    "sequence: no causal mask, translation": "sequence, translation",
    "sequence: no causal mask, padded rows": "sequence, padded",
    "sequence: a GRU in both directions": "sequence, GRU",
    "sequence: convolution padded on both sides": "sequence, convolution",
    "sequence: convolution padded on both sides, of waves": "sequence, waves",
    "sequence: targets not shifted, GRU": "sequence, GRU",
    "sequence: padding has a part in the loss": "sequence, padded",
    "sequence: padding in the loss, with an attention mask": "sequence, attention mask",
    "sequence: padding in the loss, GRU": "sequence, padded GRU",
}


def _both(outputs: dict[str, Tensor], targets: tuple[Tensor, Tensor]) -> Tensor:
    return CE(outputs["kind"], targets[0]) + nn.functional.mse_loss(outputs["value"], targets[1])


def seeded() -> list[Program]:
    """Return the programs with a bug: those of the catalogue that are a model, a loss and a batch, less one that does no harm."""
    bugs = [b for b in catalogue() if b.how == "check" and b.title not in HARMLESS]
    unknown = OTHERWISE.keys() - {b.title for b in bugs}
    assert not unknown, f"no such bugs: {unknown}"
    return [Program(b.title, b.make, b, OTHERWISE.get(b.title, b.family)) for b in bugs]


def _zoo(name: str, make: Callable[[], tuple[Any, Any, Any]]) -> Program:
    # The loss of these two wants one of several outputs; whet finds it by itself, a plain loop has to be told.
    pick = {"named": lambda o: o["logits"], "pair": lambda o: o[0]}.get(name)

    def made() -> dict[str, Any]:
        model, loss, batch = make()
        return {"model": model, "loss": (lambda o, t: loss(pick(o), t)) if pick else loss, "batch": batch}

    return Program(f"zoo: {name}", made, fixed=f"zoo: {name}")


def healthy() -> list[Program]:
    """Return the programs without a bug: those beside the bugs, and the zoo."""
    from test_check_healthy import HEALTHY

    return [Program(k, v, fixed=k) for k, v in FIXED.items()] + [_zoo(k, v) for k, v in HEALTHY.items()]
