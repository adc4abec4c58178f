"""Hypergradients: the derivative of what a training ends with by the real numbers it was configured with.

Import from the modules: `whet.train.hypergradient.found.hypergradient`.
"""
