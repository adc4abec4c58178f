"""The part of a hook that knows no framework, around a plain loop."""

import torch
from torch import nn

import whet
from whet.train.hooks.follow import Follow
from whet.train.hooks.torch_state import Parts


class Loop:
    """A training by hand, in the place of a framework: it goes on from 0 whatever the hook did."""

    def __init__(self, lr: float, *, seed: int = 0) -> None:
        torch.manual_seed(seed)
        self.model = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.2), nn.Linear(8, 1))
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=lr, momentum=0.9)
        self.schedule = torch.optim.lr_scheduler.StepLR(self.optimizer, 3, gamma=0.5)
        self.x = torch.randn(64, 4, generator=torch.Generator().manual_seed(1))
        self.y = self.x.sum(1, keepdim=True)

    def fit(self, follow: Follow, epochs: int) -> int:
        """Train; return how many epochs were trained."""
        going, done = follow.begin(Parts(self.model, [self.optimizer], [self.schedule])), 0
        while going and done < epochs:
            self.model.train()
            for rows in torch.randperm(64).split(16):
                self.optimizer.zero_grad()
                nn.functional.mse_loss(self.model(self.x[rows]), self.y[rows]).backward()
                self.optimizer.step()
            self.schedule.step()
            done += 1
            going = follow.point({"val_loss": self.loss(), "epoch": done, "note": "text", "table": torch.zeros(2)})
        follow.close()
        return done

    def loss(self) -> torch.Tensor:
        with torch.no_grad():
            return nn.functional.mse_loss(self.model.eval()(self.x), self.y)


def study(**more):
    return whet.Study(whet.Space(lr=whet.Float(1e-3, 0.1, log=True)), goal="min val_loss", seed=0, **more)


def objective(params, run):
    follow = Follow(run, None, None, True)
    Loop(params["lr"]).fit(follow, run.steps)
    return follow.value
