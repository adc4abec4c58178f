"""Which few examples of a batch to learn by heart."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from whet.checks.subject import Subject, tensors

__all__ = ["choose"]


def choose(subject: Subject, most: int) -> tuple[Tensor, int]:
    """Return which examples to learn, and how many the weights can hold: parameters, lookup tables aside, per output.

    Different inputs, the classes in turn, at most `most` and half of what the weights can hold.

    >>> model = nn.Linear(6, 2)
    >>> s = Subject(model, nn.CrossEntropyLoss(), (torch.arange(24.0).reshape(4, 6),), torch.tensor([0, 0, 1, 1]))
    >>> choose(s, 16)
    (tensor([0, 2, 1]), 7)
    """
    n = subject.n
    flat: dict[bytes | int, int] = {}
    first = tensors(subject.inputs)
    for i in range(n):
        same = b"".join(
            t[i].detach().cpu().reshape(-1).to(torch.complex128 if t.is_complex() else torch.float64).numpy().tobytes()
            for t in first
            if len(t) == n
        )
        flat.setdefault(same or i, i)
    index = list(flat.values())
    targets = subject.targets
    queues: dict[int, list[int]] = {}
    if isinstance(targets, Tensor) and targets.ndim == 1 and not targets.is_floating_point() and len(targets) == n:
        for i in index:
            queues.setdefault(int(targets[i]), []).append(i)
        index = [q[k] for k in range(n) for q in queues.values() if k < len(q)]
    with torch.no_grad():
        subject.model.eval()
        wide = max((t[0].numel() for t in tensors(subject.forward()) if t.ndim and len(t)), default=1)
    tables = {
        id(p) for m in subject.model.modules() if isinstance(m, (nn.Embedding, nn.EmbeddingBag)) for p in m.parameters()
    }
    free = {id(p): p.numel() for p in subject.model.parameters() if p.requires_grad}
    room = sum(size for k, size in free.items() if k not in tables or len(free) == len(tables)) // max(1, wide)
    return torch.tensor(index[: max(2, min(most, room // 2))], dtype=torch.int64), room
