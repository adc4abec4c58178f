"""Ready-made spaces of architectures, how many parameters a configuration has, and the network it describes.

A space is a row of layers, `layer1`, `layer2` ..., each of which is taken or not and brings its own width, activation, normalisation and skip
connection. So one change of one hyperparameter is one change of the network: a layer more or less, a wider one, another activation.

>>> space = mlp(layers=(1, 2), units=(16, 32), lr=Float(1e-4, 1e-1, log=True))
>>> [n for n in space if n != "layer1"], sorted(space["layer1"].branch("dense"))
(['layer2', 'dropout', 'lr'], ['activation', 'norm', 'skip', 'units'])
"""

from __future__ import annotations

from whet.spaces.built import build
from whet.spaces.size import parameters, within
from whet.spaces.structure import convnet, mlp
from whet.tune.space import Float  # noqa: F401  (the doctest above)

__all__ = ["build", "convnet", "mlp", "parameters", "within"]
