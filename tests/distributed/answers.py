"""Tasks of every kind of output that models can teach each other, and of kinds that they cannot."""

import torch
import torch.nn.functional as F
from torch import nn

from whet.data.split import Data, Split
from whet.models import Mlp
from whet.task import Task


class Answers(Task):
    """Points (n, 4), and what is asked of them; a small net whose outputs are `shaped`."""

    goal, metrics, steps, outputs = "min loss", ("loss",), 3, 3

    def asked(self, x):
        """Return targets."""
        return (x[:, :3] + 0.3 * x[:, 1:4].roll(1, 1) > 0).float()

    def shaped(self):
        return nn.Identity()

    def data(self, params):
        x = torch.randn(150, 4, generator=torch.Generator().manual_seed(0))
        y = self.asked(x)
        kind = getattr(self, "kind", "classification")
        return Data(Split(x[:100], y[:100]), Split(x[100:], y[100:]), kind=kind)

    def model(self, params):
        return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, self.outputs), self.shaped())

    def loss(self, params):
        return nn.BCEWithLogitsLoss()


class Labels(Answers):
    """Three labels an example, any of which may hold."""


class OneHot(Answers):
    """Labels of which exactly one holds, each told by itself."""

    def asked(self, x):
        return F.one_hot(x[:, :3].argmax(1), 3).float()


class Soft(OneHot):
    """Probabilities of classes, and a loss that whet does not know."""

    def loss(self, params):
        return lambda outputs, targets: -(targets * outputs.log_softmax(1)).sum(1).mean()


class Column(Answers):
    """One logit (n, 1), targets (n, 1)."""

    outputs = 1

    def asked(self, x):
        return (x[:, :1] > 0).float()


class Flat(Column):
    """One logit (n,), targets (n,)."""

    def asked(self, x):
        return (x[:, 0] > 0).float()

    def shaped(self):
        return nn.Flatten(0)


class Whole(Flat):
    """One logit (n,), class numbers (n,): the metrics of two classes are of it too."""

    goal, metrics = "max accuracy", ()

    def asked(self, x):
        return (x[:, 0] > 0).long()

    def loss(self, params):
        return lambda outputs, targets: F.binary_cross_entropy_with_logits(outputs, targets.float())


class Tokens(Answers):
    """A class for each of five positions, some of which are padding: outputs (n, C, T)."""

    outputs = 15

    def asked(self, x):
        y = (x @ torch.randn(4, 5, generator=torch.Generator().manual_seed(1))).clamp(-1, 1).round().long() + 1
        y[::3, 3:] = -100
        return y

    def shaped(self):
        return nn.Unflatten(1, (3, 5))

    def loss(self, params):
        return nn.CrossEntropyLoss()


class Last(Tokens):
    """The same with outputs (n, T, C), and a loss of one's own."""

    def shaped(self):
        return nn.Unflatten(1, (5, 3))

    def loss(self, params):
        return lambda outputs, targets: F.cross_entropy(outputs.movedim(-1, 1), targets)


class Two(Tokens):
    """One logit for each position, class numbers 0 and 1, and padding."""

    outputs = 5

    def asked(self, x):
        return super().asked(x).clamp(max=1)

    def shaped(self):
        return nn.Identity()

    def loss(self, params):
        def counted(outputs, targets):
            some = targets != -100
            return F.binary_cross_entropy_with_logits(outputs[some], targets[some].float())

        return counted


class Numbers(Answers):
    """Three numbers an example."""

    kind = "regression"

    def asked(self, x):
        return x[:, :3] ** 2

    def loss(self, params):
        return nn.MSELoss()


ANSWERS = Labels, OneHot, Soft, Column, Flat, Whole, Tokens, Last, Two, Numbers


# -- what cannot be


class Wide(Numbers):
    """A mean and a spread for each target: means may be averaged, spreads not."""

    outputs = 6

    def loss(self, params):
        return lambda outputs, targets: F.gaussian_nll_loss(outputs[:, :3], targets, outputs[:, 3:].exp())


class Chances(Labels):
    """A sigmoid in the model."""

    def shaped(self):
        return nn.Sigmoid()

    def loss(self, params):
        return nn.BCELoss()


class Quantities(Labels):
    """Labels that are said to be quantities."""

    kind = "regression"


class Signs(Labels):
    """Labels of -1 and 1."""

    def asked(self, x):
        return x[:, :3].sign()

    def loss(self, params):
        return lambda outputs, targets: F.softplus(-targets * outputs).mean()


class Odd(Tokens):
    """Scores that are of no target."""

    outputs = 7

    def shaped(self):
        return nn.Identity()

    def loss(self, params):
        return lambda outputs, targets: outputs.square().mean()


class Three(Whole):
    """One logit for three classes."""

    goal, metrics = "min loss", ("loss",)

    def asked(self, x):
        return x[:, :3].argmax(1)


REFUSED = {
    Wide: "Wide.model: where models teach each other, outputs are numbers of the targets' shape",
    Chances: "Chances.loss: models that teach each other give logits, and BCELoss takes probabilities",
    Quantities: "Quantities.data: numbers are averaged as they are, and the loss takes them for logits",
    Signs: "Signs.data: where models teach each other, real targets of kind 'classification' are probabilities or labels",
    Odd: "Odd.model: where models teach each other, there is a score for each class",
    Three: "Three.model: one logit each can tell classes 0 and 1 apart, got class 2",
}


def scaled():
    """Return a task whose numbers are of another unit, as tables have them."""
    from whet.train.loss import Loss

    class Scaled(Numbers):
        def loss(self, params):
            return Loss("mse", scale=100.0)

        def model(self, params):
            return Mlp(4, 3)

    return Scaled()
