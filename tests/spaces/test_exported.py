"""Networks of the spaces are exported as any other: what ONNX computes is what PyTorch does, for sizes that are no powers of two too."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from whet import Space, spaces
from whet import seed as streams
from whet.deploy import export, predict
from whet.models import Standardize

CASES = [(spaces.mlp(layers=(0, 3)), (1, 8, 8))] + [
    (spaces.convnet(layers=(1, 4), filters=(2, 4, 8)), shape)
    for shape in [(1, 8, 8), (3, 9, 13), (1, 21, 30), (2, 57, 60)]
]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("space", "shape"), CASES, ids=lambda x: "x".join(map(str, x)) if isinstance(x, tuple) else "")
def test_what_is_exported_computes_the_same(space: Space, shape: tuple[int, ...], seed: int, tmp_path: Path) -> None:
    rng = streams.rng(seed, "export")
    torch.manual_seed(seed)
    x = torch.from_numpy(rng.integers(0, 256, (5, *shape)).astype(np.uint8))
    for i in range(2):
        model = spaces.build(space.sample(rng), shape, 3, standardize=Standardize.fit(x)).eval()
        done = export(model, x, tmp_path / f"{i}.onnx")
        np.testing.assert_allclose(predict(done.path, x), model(x).detach().numpy(), rtol=1e-3, atol=1e-4)
