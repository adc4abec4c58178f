"""One stage of a model that is cut into layers, in a pipeline with the others of its copy: PyTorch's pipelining does the work."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.pipelining import PipelineStage, Schedule1F1B, ScheduleGPipe

from whet.distributed.collective.cut import cut, parted, passed
from whet.distributed.collective.place import Place
from whet.distributed.collective.replica import parallel
from whet.distributed.shuffle import Shuffle
from whet.errors import TaskError
from whet.train.batches import sizes
from whet.train.run import Run
from whet.train.stream import stream

__all__ = ["Layers"]

_FILL = 4  # microbatches for each stage: of S stages (S - 1) / (4 S + S - 1), less than a fifth, is spent waiting


class Layers:
    """One stage of the model, in a pipeline with the others of its replica, and under DistributedDataParallel with its copies.

    A batch is divided evenly into microbatches. All have one shape, as the pipeline wants it: what is missing is filled up with an example
    of the batch, which the loss does not see. The losses of the microbatches are weighted by their examples.
    """

    def __init__(self, run: Run, shuffle: Shuffle, place: Place) -> None:
        self.run, self.place = run, place
        assert shuffle.shards is not None
        most = max(max(sizes(len(s), shuffle.batch, alone=shuffle.alone)) for s in shuffle.shards)
        self.count = min(most, _FILL * place.stages)
        self.size = -(-most // self.count)
        first = torch.arange(self.size) % len(run.train)
        example, _ = run.train.batch(first)
        run.model.train()
        with stream(run.seed, "try", device=place.device):
            pipe = cut(run.model, example, place.stages)
            parts = parted(pipe, place.stages)
            between = passed(parts, example, run.model)
        # this also moves the part to its device, with the devices that tracing wrote into it
        pipe.build_stage(place.stage, place.device, group=place.layers)
        self.module: nn.Module = parts[place.stage]
        module = parallel(self.module, place, unused=False) if place.replicas > 1 else self.module
        ends = [tuple(t.to(place.device) for t in each) for each in between]
        # with the shapes given here, nothing is pickled between the stages to find them out
        stage = PipelineStage(
            module, place.stage, place.stages, place.device, input_args=ends[place.stage],
            output_args=ends[place.stage + 1], group=place.layers,
        )  # fmt: skip
        schedule = Schedule1F1B if self.count >= place.stages else ScheduleGPipe
        self._schedule = schedule(stage, self.count, loss_fn=self._loss, scale_grads=False)
        self._targets = torch.empty(0)
        self._weight = 1.0

    def gradient(self, inputs: tuple[Tensor, ...], targets: Tensor, weight: float) -> Tensor:
        """See `whet.distributed.collective.replica.Holding`."""
        if len(targets) > self.count * self.size:
            raise TaskError(
                f"augment: made {len(targets)} examples of a batch; a pipeline takes {self.count * self.size} at most. Use --stages 1, or "
                "return as many as were given."
            )
        rows = spread(len(targets), self.count, self.size)
        self._targets, self._weight = targets, weight
        given: tuple[Tensor, ...] = ()
        losses: list[Tensor] = []
        if self.place.stage == 0:
            filled = rows.clamp(min=0).to(self.place.device)
            given = tuple(x[filled] for x in inputs)
        last: dict[str, Any] = {"target": rows, "losses": losses} if self.place.last else {}
        try:
            self._schedule.step(*given, **last, return_outputs=False)
        except RuntimeError as e:
            raise e.__cause__ or e from None  # what the model said, without all its inputs
        return torch.stack([x.detach() for x in losses]).sum() / (weight or 1.0) if losses else torch.zeros(())

    def _loss(self, outputs: Tensor, rows: Tensor) -> Tensor:
        """Return the part of the batch's mean loss that is this microbatch's; rows (size,) has its numbers in the batch, -1 for filling."""
        n = int((rows >= 0).sum())
        if n == 0:
            return outputs.sum() * 0.0
        targets = self._targets[rows[:n].to(self._targets.device)]
        loss: Tensor = self.run.loss(outputs[:n], targets)
        return loss * (self._weight * n / len(self._targets))


def spread(n: int, count: int, size: int) -> Tensor:
    """Return (count * size,) numbers of n examples dealt evenly to `count` microbatches, in order, each filled up with -1.

    >>> spread(5, 2, 4).tolist()
    [0, 1, 2, -1, 3, 4, -1, -1]
    """
    parts = torch.arange(n).tensor_split(count)
    return torch.cat([torch.nn.functional.pad(p, (0, size - len(p)), value=-1) for p in parts])
