"""What is reported of a running training at once, without waiting for looks in a row."""

from __future__ import annotations

from whet.finding import Finding, Severity

__all__ = ["broken", "not_finite", "stuck"]


def not_finite(loss: float, step: int, where: str) -> Finding:
    """Return the finding of a loss that is no number, or infinite.

    >>> not_finite(float("nan"), 3, "net").message
    'the loss is nan at step 3'
    """
    return Finding(
        "TREND", Severity.FAIL, where, {"loss": str(loss), "step": step, "n": step, "threshold": "finite"},
        f"the loss is {loss} at step {step}",
        "lower the learning rate; look for log(0), division by 0 or overflow; torch.nn.utils.clip_grad_norm_",
    )  # fmt: skip


def broken(what: str, name: str, step: int, where: str) -> Finding:
    """Return the finding of a gradient or weight (`what`) of a parameter (`name`) that is not finite.

    >>> broken("gradient", "0.weight", 3, "net").message
    'the gradient of 0.weight is not finite at step 3'
    """
    return Finding(
        "GRAD", Severity.FAIL, where, {"layer": name, "step": step, "n": step, "threshold": "finite"},
        f"the {what} of {name} is not finite at step {step}",
        "lower the learning rate; look for sqrt, log, norm or division at 0; torch.autograd.detect_anomaly()",
    )  # fmt: skip


def stuck(losses: int, where: str) -> Finding:
    """Return the finding of an optimizer that has taken no step for so many losses.

    >>> stuck(200, "net").message
    '200 losses and no step of the optimizer'
    """
    return Finding(
        "PC", Severity.WARN, where, {"n": losses, "threshold": losses},
        f"{losses} losses and no step of the optimizer", "call optimizer.step() after loss.backward()",
    )  # fmt: skip
