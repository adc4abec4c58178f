"""Bugs that no check can name: the program is a correct one, of something else. A test holds each to be silent."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from bugs import dense, pictures, sequences, several, steps
from bugs.case import Program, Through, Undetectable
from task_zoo import Line, Plain, clusters
from whet.data.split import Data, Split

__all__ = ["UNDETECTABLE"]


class Shifted(Plain):
    """Every label is one too high, modulo the number of classes."""

    def data(self, params: Any) -> Data:
        train, valid = (Split(s.inputs, (s.targets + 1) % 5) for s in (clusters(400, 1), clusters(150, 2)))
        return Data(train, valid)


class Miles(Line):
    """Its targets are in another unit than the person believes."""

    def data(self, params: Any) -> Data:
        data = super().data(params)
        train, valid = (Split(s.inputs, 1.609 * s.targets) for s in (data.train, data.valid))
        return Data(train, valid, kind="regression")


class Flips(Plain):
    """Turns pictures upside down, though their classes are not what they were then."""

    def data(self, params: Any) -> Data:
        patterns = torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))
        patterns = torch.stack([patterns[0], patterns[0].flip(1), patterns[1]])  # a six, a nine and a one
        draw = torch.Generator().manual_seed(1)
        y = torch.arange(400) % 3
        x = patterns[y] + torch.randn(400, 1, 8, 8, generator=draw)
        return Data(Split(x[:300], y[:300]), Split(x[300:], y[300:]), classes=("6", "9", "1"))

    def model(self, params: Any) -> nn.Module:
        return nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(288, 3))

    def augment(self, params: Any) -> Any:
        def flip(inputs: tuple[Tensor, ...], targets: Tensor, generator: torch.Generator) -> Any:
            turned = torch.rand(len(targets), generator=generator) < 0.5
            return (torch.where(turned[:, None, None, None], inputs[0].flip(2), inputs[0]),), targets

        return flip


class Persons(Plain):
    """Several examples of one person, divided over both splits."""

    def data(self, params: Any) -> Data:
        draw = torch.Generator().manual_seed(5)
        persons = torch.randn(60, 8, generator=draw)
        who = torch.randperm(600, generator=draw) % 60
        x = persons[who] + 0.5 * torch.randn(600, 8, generator=draw)
        y = torch.randint(0, 5, (60,), generator=draw)[who]  # nothing but the person decides
        return Data(Split(x[:400], y[:400]), Split(x[400:], y[400:]))


def whole(task: Plain) -> Program:
    return {"task": task, "params": {}}


def renamed() -> Program:
    split = {"train": clusters(400, 1), "valid": clusters(150, 2)}
    return {"data": Data(**split, classes=("cat", "dog", "eel", "fox", "gnu")[::-1])}


def known_later() -> Program:
    """A column that is filled in after the outcome, and says much of it, not all."""
    draw = torch.Generator().manual_seed(0)
    y = torch.randint(0, 2, (600,), generator=draw)
    x = torch.cat([torch.randn(600, 3, generator=draw), y[:, None] + torch.randn(600, 1, generator=draw)], 1)
    return {"data": Data(Split(x[:450], y[:450]), Split(x[450:], y[450:]), classes=("stays", "leaves"))}


def colours(change: Any) -> Program:
    x, y = pictures.pictures(channels=3)
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(200, 10))
    return pictures.program(Through(lambda m, x: m(change(x)), net), batch=(x, y))


def turned_weights() -> Program:
    x, y = torch.randn(200, 20), (torch.arange(200) % 10 == 0).long()
    share = y.double().mean().float()
    return dense.program(dense.net(outputs=2), nn.CrossEntropyLoss(weight=torch.stack([1 - share, share])), (x, y))


def unequal(outputs: dict[str, Tensor], targets: tuple[Tensor, Tensor]) -> Tensor:
    kind, value = (
        nn.functional.cross_entropy(outputs["kind"], targets[0]),
        nn.functional.mse_loss(outputs["value"], targets[1]),
    )
    return 1e-3 * kind + value


def each_batch() -> Program:
    p = steps.Program(torch.initial_seed() % 1000)
    return {"model": p.net, "loss": p.loss, "batch": p.batch, "optimizer": p.optimizer, "step": steps.with_scheduler(p)}


def last_step() -> Program:
    """Reads the state at the end of the row, which is padding for all but the longest."""
    x = torch.randint(1, 20, (32, 9))
    x[torch.arange(9) >= torch.randint(3, 10, (32, 1))] = 0
    return sequences.program(sequences.Recurrent(), (x, torch.arange(32) % 4))


SHEETS = "`whet look TASK --html`, _Typical and extreme_: "
ENTERS = "`whet check TASK --html`, _what enters the network_: "
UNDETECTABLE = [
    Undetectable("labels one too high, modulo the number of classes", "any one-to-one renaming of classes can be learned as well",
        SHEETS + "each class shows its pictures under its name", lambda: whole(Shifted()), 14, "task"),
    Undetectable("class names in the wrong order", "names have no part in learning",
        SHEETS + "each class shows its pictures under its name", renamed, None, "look"),
    Undetectable("targets in another unit", "a factor changes neither fit nor correlation",
        "`whet look TASK`: the line _target ... to ..._; is that a price, a length, an age?", lambda: whole(Miles()), None, "task"),
    Undetectable("class numbers learned as values", "numbers may have an order",
        "`whet check TASK --html`, _Targets and predictions_: values between two classes",
        lambda: dense.program(dense.net(outputs=1), nn.MSELoss(), (torch.randn(64, 20), torch.randint(0, 3, (64, 1)).float() - 1))),
    Undetectable("pixels and channels mixed by view, within an example", "each example still depends on itself alone, and can be learned",
        ENTERS + "pictures that are stripes or tiles of themselves",
        lambda: colours(lambda x: x.permute(0, 2, 3, 1).reshape(x.shape))),
    Undetectable("channels in the order BGR for a net trained on RGB", "a permutation of features; only the pretrained weights mind",
        ENTERS + "false colours: blue skin, red sky", lambda: colours(lambda x: x.flip(1))),
    Undetectable("normalised by other numbers than the pretrained net was", "mean and deviation are sane, only not those of the weights",
        "`whet check TASK`: INP's mean and deviation beside those in the weights' model card", lambda: colours(lambda x: x * 0.5 + 0.3)),
    Undetectable("flips that make a 9 of a 6", "what a picture means is not in its pixels",
        ENTERS + "augmented pictures beside their labels", lambda: whole(Flips()), None, "task"),
    Undetectable("one person's examples in both splits", "no two are equal or nearly so, and who they are of is not in the inputs",
        "where the examples come from: split by person, place or day, never by row", lambda: whole(Persons()), None, "task"),
    Undetectable("a column that is filled in after the outcome", "it predicts the target as an honest column might",
        "`whet look TASK --html`, _The columns_: the strongest first; would you know it in time?", known_later, None, "look"),
    Undetectable("class weights turned around", "any weights are a legitimate wish",
        "`whet run TASK`'s report, _confusion_: the recall of the rare class", turned_weights),
    Undetectable("one of two losses a thousand times too small", "any balance is a legitimate wish",
        "each loss by itself, in numbers, over the first steps", lambda: several.program(unequal)),
    Undetectable("probability of keeping in place of that of dropping", "0.9 is a legal dropout",
        "`print(model)`; training accuracy far below that of validation",
        lambda: dense.program(nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Dropout(0.9), nn.Linear(64, 10)))),
    Undetectable("a schedule made for epochs, stepped each batch", "nothing in the step says how long an epoch is",
        "`scheduler.get_last_lr()`, printed each epoch beside the plan", each_batch, None, "step"),
    Undetectable("an activation forgotten between two layers", "a linear model is a model",
        "`print(model)`; a wider net that is no better (CAP)",
        lambda: dense.program(nn.Sequential(nn.Linear(20, 64), nn.Linear(64, 10)))),
    Undetectable("positions forgotten in a transformer", "a bag of words is a model",
        "exchange two words of an example: its prediction must change",
        lambda: sequences.program(sequences.Attentive(), sequences.vectors())),
    Undetectable("the state at the end of a padded row is read", "the state has seen the example, and fades slowly",
        "accuracy by length: the shorter the row, the worse", last_step),
]  # fmt: skip
