"""The engine: evaluates recipes on a suite and keeps each answer once."""

from ri_analysis.encoder import pick_device
from ri_analysis.engine.check import FileAccount, Finding, Report, check_suite
from ri_analysis.engine.comparison import Comparison
from ri_analysis.engine.evaluation import Change, Evaluation, accuracy_change, interference_change, on_tasks
from ri_analysis.engine.evaluator import Evaluator
from ri_analysis.engine.store import Store, default_workspace

__all__ = [
    "Change",
    "Comparison",
    "Evaluation",
    "Evaluator",
    "FileAccount",
    "Finding",
    "Report",
    "Store",
    "accuracy_change",
    "check_suite",
    "default_workspace",
    "interference_change",
    "on_tasks",
    "pick_device",
]
