"""MET: the metric of the validation split is that of all its predictions together, however they are batched."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from whet.checks.evaluation import close
from whet.checks.registry import Fact, Stage
from whet.checks.small import small
from whet.checks.subject import Subject
from whet.checks.unfit import unfit
from whet.finding import Finding, NotRun, Severity
from whet.metric import metric
from whet.train.loss import Loss
from whet.train.run import Run

__all__ = ["Metrics"]


class Metrics:
    """WARN when a metric that a run reports is not the one recomputed from predictions in batches of 7 (tolerance 1e-6);
    FAIL when outputs, targets, kind of data and metrics do not fit each other, so that nothing can be scored; INFO when the
    model returns several things, which a run of whet does not take.

    The predictions must differ by more than rounding as well (1e-4 of their size): then the model looks at the batch it
    is evaluated in, as batch statistics without running averages do, and no score is that of a single example. For an
    evaluation of your own see `whet.checks.metric_over`.

    >>> from whet.data.split import Data, Split
    >>> from whet.task import Task
    >>> class Centred(Task):
    ...     def data(self, params):
    ...         x = torch.randn(90, 4, generator=torch.Generator().manual_seed(0))
    ...         return Data(Split(x[:60], x[:60, 0]), Split(x[60:], x[60:, 0]), kind="regression")
    ...     def model(self, params):
    ...         return torch.nn.Sequential(torch.nn.BatchNorm1d(4, track_running_stats=False), torch.nn.Linear(4, 1))
    >>> from whet.checks.skeleton import check_task
    >>> [f.code for f in check_task(Centred(), {}, checks=["MET"]).findings]
    ['MET']
    """

    code, stage, passes = "MET", Stage.LATER, 12
    tolerance, rounding, chunk, most = 1e-6, 1e-4, 7, 200

    def look(self, subject: Subject) -> Iterator[Finding | Fact | NotRun]:
        """Evaluate a run that took a few steps, and evaluate it again by hand."""
        if subject.task is None or subject.data is None:
            yield NotRun(self.code, "needs a whole task; whet.checks.metric_over looks at an evaluation of your own")
            return
        with subject.look(self.code):
            short = small(subject, valid=self.most)
            why = unfit(subject, short)
            if why is not None:
                yield Fact("no run can score it", {"n": subject.n})
                yield Finding(self.code, why.severity, why.where, {"n": subject.n}, why.message, why.fix)
                return
            run = Run(short, subject.params, steps=1, seed=subject.seed, device="cpu")
            for _ in run:
                pass
            reported = run.evaluate()
            assert run.outputs is not None
            whole, valid = torch.from_numpy(run.outputs), run.data.valid
            pieces, again = (torch.cat(self._predict(run, size)) for size in (self.chunk, self.chunk))
            if not bool(torch.isfinite(pieces).all()):
                yield NotRun(self.code, "the predictions after a few steps are not finite")
                return
            if not torch.equal(pieces, again):
                yield NotRun(self.code, "two passes in eval mode differ already on the same batches (see MODE)")
                return
            loss = run.loss.plain() if isinstance(run.loss, Loss) else run.loss
            by_hand = {
                k: float(loss(pieces, valid.targets)) if k == "loss"
                else float(metric(k).compute(pieces.float().numpy(), valid.targets.numpy()))
                for k in reported
            }  # fmt: skip
        size = float(whole.abs().max()) or 1.0
        apart = float((pieces.float() - whole).abs().max()) / size
        wrong = (
            [k for k, v in reported.items() if not close(v, by_hand[k], self.tolerance)]
            if apart > self.rounding
            else []
        )
        numbers: dict[str, Any] = {"reported": reported, "recomputed": by_hand, "apart": apart, "n": len(valid),
                                   "tolerance": self.tolerance}  # fmt: skip
        yield Fact("metrics recomputed" if not wrong else f"{wrong[0]} depends on the batch", numbers)
        if wrong:
            k = wrong[0]
            yield Finding(self.code, Severity.WARN, subject.at("model"), numbers,
                          f"{k} on {len(valid)} validation examples is {reported[k]:.6g}, but {by_hand[k]:.6g} from predictions made "
                          f"{self.chunk} at a time: they depend on the batch",
                          "keep running statistics: BatchNorm(track_running_stats=True); no mean or softmax over dim 0")  # fmt: skip

    def _predict(self, run: Run, size: int) -> list[Tensor]:
        """Return the outputs on the validation split, `size` examples at a time."""
        run.model.eval()
        with torch.no_grad():
            chunks = torch.arange(len(run.data.valid)).split(size)
            return [run.model(*run.data.valid.batch(index)[0]) for index in chunks]
