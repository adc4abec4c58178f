"""Take a neural network from raw data to a small, verified, deployed model by a recipe one can trust.

Names are imported when they are first used, so `import whet` costs next to nothing and loads no torch:

>>> import whet
>>> whet.Float(1e-5, 1e-1, log=True).log
True
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

__version__ = "0.1.0"

__all__ = [
    "Attempt",
    "Callback",
    "CheckpointError",
    "Choice",
    "Comparison",
    "Const",
    "Data",
    "DataError",
    "ExportError",
    "Finding",
    "Float",
    "Health",
    "Idle",
    "Int",
    "MissingExtra",
    "Ordered",
    "Point",
    "Proposal",
    "Report",
    "Resume",
    "Run",
    "Scheduler",
    "Searcher",
    "Space",
    "SpaceError",
    "Split",
    "Start",
    "State",
    "Store",
    "StoreError",
    "Study",
    "StudyError",
    "Task",
    "TaskError",
    "Trial",
    "Trials",
    "UsageError",
    "Verdict",
    "WhetError",
    "check",
    "compare",
]

_HOMES = {
    "whet.checks": "check",
    "whet.data.split": "Data Split",
    "whet.errors": "CheckpointError DataError ExportError MissingExtra SpaceError StoreError StudyError TaskError "
    "UsageError WhetError",
    "whet.finding": "Finding Health",
    "whet.journal": "Store",
    "whet.report": "Report",
    "whet.task": "Task",
    "whet.train.callback": "Callback",
    "whet.train.run": "Run",
    "whet.tune.attempt": "Attempt",
    "whet.tune.compare": "Comparison compare",
    "whet.tune.space": "Choice Const Float Int Ordered Space",
    "whet.tune.strategy": "Proposal Resume Scheduler Searcher Start",
    "whet.tune.study": "Study",
    "whet.tune.trial": "Idle Point State Trial Trials Verdict",
}
_HOME = {name: module for module, names in _HOMES.items() for name in names.split()}

if TYPE_CHECKING:  # the same names once more, for type checkers and editors; tests/house holds the two lists equal
    from whet.checks import check as check
    from whet.data.split import Data as Data
    from whet.data.split import Split as Split
    from whet.errors import CheckpointError as CheckpointError
    from whet.errors import DataError as DataError
    from whet.errors import ExportError as ExportError
    from whet.errors import MissingExtra as MissingExtra
    from whet.errors import SpaceError as SpaceError
    from whet.errors import StoreError as StoreError
    from whet.errors import StudyError as StudyError
    from whet.errors import TaskError as TaskError
    from whet.errors import UsageError as UsageError
    from whet.errors import WhetError as WhetError
    from whet.finding import Finding as Finding
    from whet.finding import Health as Health
    from whet.journal import Store as Store
    from whet.report import Report as Report
    from whet.task import Task as Task
    from whet.train.callback import Callback as Callback
    from whet.train.run import Run as Run
    from whet.tune.attempt import Attempt as Attempt
    from whet.tune.compare import Comparison as Comparison
    from whet.tune.compare import compare as compare
    from whet.tune.space import Choice as Choice
    from whet.tune.space import Const as Const
    from whet.tune.space import Float as Float
    from whet.tune.space import Int as Int
    from whet.tune.space import Ordered as Ordered
    from whet.tune.space import Space as Space
    from whet.tune.strategy import Proposal as Proposal
    from whet.tune.strategy import Resume as Resume
    from whet.tune.strategy import Scheduler as Scheduler
    from whet.tune.strategy import Searcher as Searcher
    from whet.tune.strategy import Start as Start
    from whet.tune.study import Study as Study
    from whet.tune.trial import Idle as Idle
    from whet.tune.trial import Point as Point
    from whet.tune.trial import State as State
    from whet.tune.trial import Trial as Trial
    from whet.tune.trial import Trials as Trials
    from whet.tune.trial import Verdict as Verdict


def __getattr__(name: str) -> object:
    """Import the public name `name` from the module it lives in (PEP 562)."""
    if name not in _HOME:
        raise AttributeError(f"module 'whet' has no attribute {name!r}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value  # the next look-up finds it without this function
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
