"""Healthy programs outside plain supervised learning: what a session of physics, generation, control or graphs looks like."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["BEYOND", "Program"]

Program = tuple[nn.Module, Callable[..., Any], tuple[Any, Any], Mapping[str, Any]]  # and what else check is given


def tanh_net(inputs: int, outputs: int, width: int = 32) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(inputs, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh(), nn.Linear(width, outputs)
    )


def relu_net(inputs: int, outputs: int, width: int = 64) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, width), nn.ReLU(), nn.Linear(width, outputs))


def physics() -> Program:
    """A physics-informed network: u'' + u = 0, u(0) = 0, u'(0) = 1; the points become a leaf inside the loss."""
    net = tanh_net(1, 1)
    points = torch.rand(64, 1) * 3 - 1.5

    def loss(outputs: Tensor, targets: Any) -> Tensor:
        x = points.detach().requires_grad_()
        u = net(x)
        (first,) = torch.autograd.grad(u.sum(), x, create_graph=True)
        (second,) = torch.autograd.grad(first.sum(), x, create_graph=True)
        zero = torch.zeros(1, 1, requires_grad=True)
        at = net(zero)
        (slope,) = torch.autograd.grad(at.sum(), zero, create_graph=True)
        return (second + u).square().mean() + at.square().mean() + (slope - 1).square().mean()

    return net, loss, (points, None), {}


def heat() -> Program:
    """A physics-informed network whose model returns the residual: the points become a leaf inside the forward pass."""

    class Residual(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = tanh_net(2, 1)

        def forward(self, at: Tensor) -> tuple[Tensor, Tensor]:
            with torch.enable_grad():
                at = at.detach().requires_grad_()
                u = self.net(at)
                (g,) = torch.autograd.grad(u.sum(), at, create_graph=True)
                (gg,) = torch.autograd.grad(g[:, 0].sum(), at, create_graph=True)
            return u[:, 0], g[:, 1] - gg[:, 0]

    def loss(outputs: tuple[Tensor, Tensor], targets: Tensor) -> Tensor:
        return (outputs[0] - targets).square().mean() + outputs[1].square().mean()

    at = torch.rand(64, 2)
    return Residual(), loss, (at, torch.sin(3 * at[:, 0])), {}


def spacing(x: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """How far atoms a and b are from one another, less what is usual."""
    return (x[:, a] - x[:, b]).square().sum(-1).add(1e-4).sqrt() - 2


class Field(nn.Module):
    """Energies of small molecules, and forces as their slope with respect to the positions."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(1, 32), nn.SiLU(), nn.Linear(32, 32), nn.SiLU(), nn.Linear(32, 1))
        self.register_buffer("pairs", torch.triu_indices(4, 4, 1))

    def forward(self, positions: Tensor) -> dict[str, Tensor]:
        with torch.enable_grad():
            x = positions if positions.requires_grad else positions.detach().requires_grad_()
            energy = self.net(spacing(x, *self.pairs)[..., None]).sum((1, 2))
            (slope,) = torch.autograd.grad(energy.sum(), x, create_graph=True)
        return {"energy": energy, "forces": -slope}


def molecules() -> tuple[Tensor, dict[str, Tensor]]:
    """Positions of four atoms held together by springs, with their energies and forces."""
    x = torch.randn(32, 4, 3, requires_grad=True)
    energy = spacing(x, *torch.triu_indices(4, 4, 1)).square().sum(1) / 4
    (slope,) = torch.autograd.grad(energy.sum(), x)
    return x.detach(), {"energy": energy.detach(), "forces": -slope}


def force_field() -> Program:
    def loss(outputs: Mapping[str, Tensor], targets: Mapping[str, Tensor]) -> Tensor:
        return F.mse_loss(outputs["energy"], targets["energy"]) + F.mse_loss(outputs["forces"], targets["forces"])

    return Field(), loss, molecules(), {}


def forces_alone() -> Program:
    class Forces(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.field = Field()

        def forward(self, positions: Tensor) -> Tensor:
            return self.field(positions)["forces"]

    x, truth = molecules()
    return Forces(), nn.MSELoss(), (x, truth["forces"]), {}


def critic() -> Program:
    """The critic of a Wasserstein GAN with a gradient penalty, made in its own call."""
    judge = nn.Sequential(nn.Linear(8, 64), nn.LeakyReLU(0.2), nn.Linear(64, 64), nn.LeakyReLU(0.2), nn.Linear(64, 1))

    def loss(scores: Tensor, targets: tuple[Tensor, Tensor]) -> Tensor:
        real, fake = targets
        mix = torch.rand(len(real), 1, generator=torch.Generator().manual_seed(1))
        between = (mix * real + (1 - mix) * fake).detach().requires_grad_()
        (slope,) = torch.autograd.grad(judge(between).sum(), between, create_graph=True)
        return judge(fake).mean() - scores.mean() + 10 * (slope.norm(dim=1) - 1).square().mean()

    real, fake = torch.randn(64, 8), torch.randn(64, 8) + 1
    return judge, loss, (real, (real, fake)), {}


def generator() -> Program:
    judge = nn.Sequential(nn.Linear(8, 64), nn.LeakyReLU(0.2), nn.Linear(64, 1))

    def fooled(fake: Tensor, targets: Any) -> Tensor:
        return F.softplus(-judge(fake)).mean()

    return relu_net(4, 8), fooled, (torch.randn(64, 4), None), {}


def discriminator() -> Program:
    x = torch.cat([torch.randn(32, 8), torch.randn(32, 8) * 0.5 + 1])
    y = (torch.arange(64) < 32).float()[:, None]
    judge = nn.Sequential(nn.Linear(8, 64), nn.LeakyReLU(0.2), nn.Linear(64, 1))
    return judge, nn.BCEWithLogitsLoss(), (x, y), {}


class Variational(nn.Module):
    """Draws in training mode alone."""

    def __init__(self, always: bool = False) -> None:
        super().__init__()
        self.encode, self.decode, self.always = relu_net(12, 8), relu_net(4, 12), always

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        mean, log_variance = self.encode(x).chunk(2, 1)
        z = mean
        if self.training or self.always:
            z = mean + torch.randn_like(mean) * (log_variance / 2).exp()
        return self.decode(z), mean, log_variance


def evidence(outputs: tuple[Tensor, Tensor, Tensor], x: Tensor) -> Tensor:
    made, mean, log_variance = outputs
    divergence = -(1 + log_variance - mean**2 - log_variance.exp()).sum(1).mean() / 2
    return (made - x).square().sum(1).mean() + divergence


def variational(always: bool) -> Program:
    x = torch.randn(64, 12)
    return Variational(always), evidence, (x, x), {"allow": ("MODE",)} if always else {}


def reinforce() -> Program:
    def loss(scores: Tensor, targets: tuple[Tensor, Tensor]) -> Tensor:
        chosen = scores.log_softmax(1).gather(1, targets[0][:, None])[:, 0]
        return -(chosen * targets[1]).mean()

    returns = torch.randn(128)
    return tanh_net(6, 4), loss, (torch.randn(128, 6), (torch.randint(0, 4, (128,)), returns - returns.mean())), {}


def proximal() -> Program:
    """Clipped policy, value and entropy in one loss: an actor and its critic."""

    class Actor(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.policy, self.value = nn.Linear(6, 64), nn.Linear(64, 4), nn.Linear(64, 1)

        def forward(self, state: Tensor) -> tuple[Tensor, Tensor]:
            hidden = torch.tanh(self.body(state))
            return self.policy(hidden), self.value(hidden)[:, 0]

    actor, states, actions = Actor(), torch.randn(128, 6), torch.randint(0, 4, (128,))
    with torch.no_grad():
        old = actor(states)[0].log_softmax(1).gather(1, actions[:, None])[:, 0]

    def loss(outputs: tuple[Tensor, Tensor], targets: tuple[Tensor, ...]) -> Tensor:
        scores, value = outputs
        taken, before, gain, returns = targets
        log = scores.log_softmax(1)
        ratio = (log.gather(1, taken[:, None])[:, 0] - before).exp()
        policy = -torch.minimum(ratio * gain, ratio.clamp(0.8, 1.2) * gain).mean()
        entropy = -(log.exp() * log).sum(1).mean()
        return policy + 0.5 * (value - returns).square().mean() - 0.01 * entropy

    return actor, loss, (states, (actions, old, torch.randn(128), torch.randn(128))), {}


def q_learning() -> Program:
    """The loss of a DQN: a frozen copy says what the next state is worth."""
    net, target = relu_net(6, 4), relu_net(6, 4)
    target.load_state_dict(net.state_dict())

    def loss(values: Tensor, targets: tuple[Tensor, ...]) -> Tensor:
        action, reward, after, done = targets
        with torch.no_grad():
            wanted = reward + 0.99 * (1 - done) * target(after).max(1).values
        return F.smooth_l1_loss(values.gather(1, action[:, None])[:, 0], wanted)

    done = (torch.rand(128) < 0.1).float()
    return (
        net,
        loss,
        (torch.randn(128, 6), (torch.randint(0, 4, (128,)), torch.randn(128), torch.randn(128, 6), done)),
        {},
    )


class Reverse(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return -gradient


class Adversarial(nn.Module):
    """Domain-adversarial: one head for the classes, one for the domain behind a reversal of the gradient."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(10, 32), nn.ReLU())
        self.kind, self.domain = nn.Linear(32, 3), nn.Linear(32, 2)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        hidden = self.body(x)
        return self.kind(hidden), self.domain(Reverse.apply(hidden))


def domains() -> Program:
    def loss(outputs: tuple[Tensor, Tensor], targets: tuple[Tensor, Tensor]) -> Tensor:
        return F.cross_entropy(outputs[0], targets[0]) + F.cross_entropy(outputs[1], targets[1])

    kind, domain = torch.randint(0, 3, (64,)), torch.arange(64) % 2
    x = torch.randn(64, 10) + domain[:, None]
    x[:, :3] += 2 * F.one_hot(kind, 3)
    return Adversarial(), loss, (x, (kind, domain)), {}


def contrastive() -> Program:
    """Two views of each example, alike to one another and to no other: the loss compares examples, the model does not."""

    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = relu_net(10, 16)

        def forward(self, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
            return F.normalize(self.body(a), dim=1), F.normalize(self.body(b), dim=1)

    def loss(outputs: tuple[Tensor, Tensor], targets: Any) -> Tensor:
        scores = outputs[0] @ outputs[1].T / 0.1
        return F.cross_entropy(scores, torch.arange(len(scores)))

    x = torch.randn(32, 10)
    return Two(), loss, ((x + 0.1 * torch.randn_like(x), x + 0.1 * torch.randn_like(x)), None), {}


def siamese() -> Program:
    class Twin(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = relu_net(10, 16)

        def forward(self, a: Tensor, b: Tensor) -> Tensor:
            return (self.body(a) - self.body(b)).square().sum(1).add(1e-6).sqrt()

    def loss(apart: Tensor, alike: Tensor) -> Tensor:
        return (alike * apart.square() + (1 - alike) * F.relu(1 - apart).square()).mean()

    alike = (torch.arange(64) % 2).float()
    a = torch.randn(64, 10)
    b = torch.where(alike[:, None] > 0, a + 0.1 * torch.randn(64, 10), torch.randn(64, 10))
    return Twin(), loss, ((a, b), alike), {}


class Graph(nn.Module):
    """Messages along edges, added up at each node by index_add."""

    def __init__(self) -> None:
        super().__init__()
        self.message, self.update, self.head = nn.Linear(8, 32), nn.Linear(40, 32), nn.Linear(32, 3)

    def forward(self, nodes: Tensor, edges: Tensor) -> Tensor:
        sent = torch.relu(self.message(nodes))[edges[0]]
        count = torch.zeros(len(nodes), 1).index_add(0, edges[1], torch.ones(edges.shape[1], 1)).clamp(min=1)
        got = torch.zeros(len(nodes), 32).index_add(0, edges[1], sent) / count
        return self.head(torch.relu(self.update(torch.cat([nodes, got], 1))))


def graph() -> Program:
    """Nodes of one graph mix by design."""
    nodes, edges = torch.randn(40, 8), torch.randint(0, 40, (2, 120))
    return Graph(), nn.CrossEntropyLoss(), ((nodes, edges), torch.randint(0, 3, (40,))), {"allow": ("DEP",)}


def mixture() -> Program:
    """A mixture density network."""

    class Mixture(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.share, self.mean, self.scale = nn.Linear(2, 32), *(nn.Linear(32, 3) for _ in range(3))

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            h = torch.tanh(self.body(x))
            return self.share(h), self.mean(h), self.scale(h).clamp(-4, 4)

    def loss(outputs: tuple[Tensor, Tensor, Tensor], y: Tensor) -> Tensor:
        share, mean, log_scale = outputs
        each = torch.distributions.Normal(mean, log_scale.exp()).log_prob(y[:, None])
        return -(share.log_softmax(1) + each).logsumexp(1).mean()

    x = torch.randn(128, 2)
    return Mixture(), loss, (x, torch.sin(3 * x[:, 0]) + 0.1 * torch.randn(128)), {}


def energy() -> Program:
    """An energy-based model with noise for negatives: low where data are, high elsewhere."""
    net = nn.Sequential(nn.Linear(4, 64), nn.SiLU(), nn.Linear(64, 1))

    def loss(energies: Tensor, noise: Tensor) -> Tensor:
        other = net(noise)
        return F.softplus(energies).mean() + F.softplus(-other).mean() + 1e-3 * (energies**2 + other**2).mean()

    return net, loss, (torch.randn(64, 4) * 0.5, torch.randn(64, 4) * 2), {}


class Denoiser(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(16, 64), nn.SiLU(), nn.Linear(64, 64), nn.SiLU(), nn.Linear(64, 8))

    def forward(self, noisy: Tensor, t: Tensor) -> Tensor:
        waves = t[:, None] * torch.exp(-torch.arange(4.0))[None]
        return self.body(torch.cat([noisy, waves.sin(), waves.cos()], 1))


def diffusion() -> Program:
    x, t, noise = torch.randn(64, 8), torch.rand(64), torch.randn(64, 8)
    kept = torch.cos(t * 1.5)[:, None]
    return Denoiser(), nn.MSELoss(), ((kept * x + (1 - kept**2).sqrt() * noise, t * 10), noise), {}


def score_matching() -> Program:
    """Denoising by the gradient of an energy with respect to what is noisy."""
    net = tanh_net(6, 1, 64)

    class Score(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.energy = net

        def forward(self, x: Tensor) -> Tensor:
            with torch.enable_grad():
                x = x.detach().requires_grad_()
                return torch.autograd.grad(self.energy(x).sum(), x, create_graph=True)[0]

    x, noise = torch.randn(64, 6), torch.randn(64, 6)
    return Score(), nn.MSELoss(), (x + 0.5 * noise, noise), {}


class Labelled(nn.Module):
    """Computes its own loss when it is given labels, as the models of a well-known library do."""

    def __init__(self) -> None:
        super().__init__()
        self.body = relu_net(10, 4)

    def forward(self, inputs: Tensor, labels: Tensor | None = None) -> dict[str, Tensor]:
        logits = self.body(inputs)
        return {"logits": logits} if labels is None else {"loss": F.cross_entropy(logits, labels), "logits": logits}


def loss_inside(targets: bool) -> Program:
    x, y = torch.randn(64, 10), torch.randint(0, 4, (64,))
    return Labelled(), lambda o, t: o["loss"], ({"inputs": x, "labels": y}, y if targets else None), {}


class TimeFirst(nn.Module):
    """A language model of tokens (time, examples) whose scores are flattened to (time * examples, tokens)."""

    def __init__(self, tokens: int = 30) -> None:
        super().__init__()
        self.embed, self.rnn, self.head = nn.Embedding(tokens, 32), nn.GRU(32, 48), nn.Linear(48, tokens)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.rnn(self.embed(x))[0]).flatten(0, 1)


def time_first(steps: int, examples: int) -> Program:
    tokens = torch.randint(0, 30, (steps + 1, examples))
    return TimeFirst(), nn.CrossEntropyLoss(), (tokens[:-1], tokens[1:].reshape(-1)), {}


class Waves(nn.Module):
    """Complex weights: a filter of frequencies, and the real part of what comes back."""

    def __init__(self) -> None:
        super().__init__()
        self.filter = nn.Parameter(torch.randn(9, 9, dtype=torch.complex64) / 4)
        self.head = nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.relu(torch.fft.irfft(torch.fft.rfft(x) @ self.filter, n=16)))


def waves() -> Program:
    return Waves(), nn.CrossEntropyLoss(), (torch.randn(64, 16), torch.randint(0, 4, (64,))), {}


class Complex(nn.Module):
    """Complex in, complex through, complex out."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(6, 32, dtype=torch.complex64), nn.Linear(32, 6, dtype=torch.complex64)

    def forward(self, z: Tensor) -> Tensor:
        h = self.one(z)
        return self.two(torch.complex(torch.relu(h.real), torch.relu(h.imag)))


def complex_values() -> Program:
    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        return (outputs - targets).abs().square().mean()

    z = torch.randn(64, 6, dtype=torch.complex64)
    return Complex(), loss, (z, torch.randn(64, 6, dtype=torch.complex64)), {}


def quasi_newton() -> Program:
    net = tanh_net(4, 1)
    x = torch.randn(64, 4)
    return (
        net,
        nn.MSELoss(),
        (x, x[:, :1].sin()),
        {"optimizer": torch.optim.LBFGS(net.parameters(), line_search_fn="strong_wolfe")},
    )


BEYOND: dict[str, Callable[[], Program]] = {
    "physics-informed": physics,
    "physics-informed, in the model": heat,
    "force field": force_field,
    "forces alone": forces_alone,
    "critic with a gradient penalty": critic,
    "generator": generator,
    "discriminator": discriminator,
    "variational": lambda: variational(False),
    "variational, always drawing": lambda: variational(True),
    "policy gradient": reinforce,
    "actor and critic": proximal,
    "q-learning": q_learning,
    "domain-adversarial": domains,
    "contrastive": contrastive,
    "siamese": siamese,
    "graph": graph,
    "mixture density": mixture,
    "energy": energy,
    "denoiser": diffusion,
    "score matching": score_matching,
    "loss inside": lambda: loss_inside(True),
    "loss inside, no targets": lambda: loss_inside(False),
    "time first, flat targets": lambda: time_first(12, 16),
    "complex weights": waves,
    "complex throughout": complex_values,
    "LBFGS": quasi_newton,
}
