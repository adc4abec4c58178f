"""What model-based searchers are made of: points of the unit cube, outcomes, models of them, and what to do with a model."""
