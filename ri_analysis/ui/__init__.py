"""What pages share: state, controls, figures in their frame, progress, background jobs."""

from ri_analysis.export.facts import command, suite_in_words
from ri_analysis.ui import analysis, experts, facts, figure_page, guide, live, opening, resolving, sensitivity, studies
from ri_analysis.ui.explain import concepts, method_details
from ri_analysis.ui.frame import dark, figure
from ri_analysis.ui.headline import numbers
from ri_analysis.ui.images import images_section
from ri_analysis.ui.measuring import compare, stages
from ri_analysis.ui.opening import evaluator
from ri_analysis.ui.recipes import chosen_pair, describe, possible_tasks
from ri_analysis.ui.resources import suite_name
from ri_analysis.ui.sections import (
    accuracy_figure,
    accuracy_page,
    by_task,
    measured_before,
    no_resolved_yet,
    subset_note,
)
from ri_analysis.ui.shell import ICON, preload, run

__all__ = [
    "ICON",
    "accuracy_figure",
    "accuracy_page",
    "analysis",
    "by_task",
    "chosen_pair",
    "command",
    "compare",
    "concepts",
    "dark",
    "describe",
    "evaluator",
    "experts",
    "facts",
    "figure",
    "figure_page",
    "guide",
    "images_section",
    "live",
    "measured_before",
    "method_details",
    "no_resolved_yet",
    "numbers",
    "opening",
    "possible_tasks",
    "preload",
    "resolving",
    "run",
    "sensitivity",
    "stages",
    "studies",
    "subset_note",
    "suite_in_words",
    "suite_name",
]
