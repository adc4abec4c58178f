"""Ready-made tasks for tables, texts and pictures, and the way from a command line's words to a task.

>>> resolve("diabetes").name
'diabetes'
"""

from __future__ import annotations

from whet.tasks.image import ImageTask
from whet.tasks.resolve import BUILT_IN, reference, resolve, restore
from whet.tasks.table import TableTask
from whet.tasks.template import TEMPLATE, write_task

__all__ = ["BUILT_IN", "TEMPLATE", "ImageTask", "TableTask", "reference", "resolve", "restore", "write_task"]
