"""The recipe: look, check, tune, squeeze, test, export, report, each a step with a block of results."""

from whet.recipe.block import Began as Began
from whet.recipe.block import Block as Block
from whet.recipe.block import Progress as Progress
from whet.recipe.job import Job as Job
from whet.recipe.recipe import recipe as recipe

__all__ = ["Began", "Block", "Job", "Progress", "recipe"]
