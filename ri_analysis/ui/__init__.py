"""What pages share: state, controls, figures in their frame, progress, background jobs."""

from ri_analysis.export.facts import command, suite_in_words
from ri_analysis.figures.reading import resting_on
from ri_analysis.ui import crosstalk, experts, facts, figure_page, guide, live, opening, resolving, sensitivity, studies
from ri_analysis.ui.explain import concepts, method_details
from ri_analysis.ui.frame import dark, figure
from ri_analysis.ui.headline import numbers
from ri_analysis.ui.measuring import compare, stages
from ri_analysis.ui.opening import evaluator
from ri_analysis.ui.recipes import chosen_pair, describe, possible_tasks
from ri_analysis.ui.resources import suite_name
from ri_analysis.ui.sections import (
    accuracy_dataframe,
    accuracy_help,
    accuracy_table,
    by_task,
    no_resolved_yet,
    normalised_switch,
    subset_note,
)
from ri_analysis.ui.shell import ICON, preload, run

__all__ = [
    "ICON",
    "accuracy_dataframe",
    "accuracy_help",
    "accuracy_table",
    "by_task",
    "chosen_pair",
    "command",
    "compare",
    "concepts",
    "crosstalk",
    "dark",
    "describe",
    "evaluator",
    "experts",
    "facts",
    "figure",
    "figure_page",
    "guide",
    "live",
    "method_details",
    "no_resolved_yet",
    "normalised_switch",
    "numbers",
    "opening",
    "possible_tasks",
    "preload",
    "resolving",
    "resting_on",
    "run",
    "sensitivity",
    "stages",
    "studies",
    "subset_note",
    "suite_in_words",
    "suite_name",
]
