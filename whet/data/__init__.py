"""Load data, look at it, divide it, and prepare it for a model.

>>> from whet.data import digits
>>> len(digits().train)
1257
"""

from __future__ import annotations

from whet.data.bundled import BUNDLED, diabetes, digits
from whet.data.divide import divide
from whet.data.duplicates import duplicates
from whet.data.idx import idx_folder
from whet.data.image import image_folder
from whet.data.load import load
from whet.data.look import Look, look
from whet.data.prepare import apply_encoding, fit_encoding
from whet.data.sample import Sample, samples
from whet.data.split import Data, Split
from whet.data.table import table
from whet.data.textfolder import text_folder

__all__ = [
    "BUNDLED", "Data", "Look", "Sample", "Split", "apply_encoding", "diabetes", "digits", "divide", "duplicates",
    "fit_encoding", "idx_folder", "image_folder", "load", "look", "samples", "table",
    "text_folder",
]  # fmt: skip
