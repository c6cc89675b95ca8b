"""What pages share: state, controls, figures in their frame, progress, background jobs."""

from ri_analysis.export.facts import command, suite_in_words
from ri_analysis.ui import (
    analysis,
    comparing,
    experts,
    facts,
    figure_page,
    guide,
    live,
    opening,
    resolving,
    sensitivity,
    studies,
)
from ri_analysis.ui.choosing import chosen_pair, mergeable
from ri_analysis.ui.explain import formulas, method_details
from ri_analysis.ui.frame import dark, figure
from ri_analysis.ui.headings import contents, header
from ri_analysis.ui.images import images_section
from ri_analysis.ui.measuring import compare, stages
from ri_analysis.ui.opening import evaluator
from ri_analysis.ui.recipes import describe, possible_tasks
from ri_analysis.ui.resources import suite_name
from ri_analysis.ui.sections import (
    accuracy_figure,
    accuracy_page,
    answer,
    by_task,
    measured_before,
    no_resolved_yet,
    recipe_line,
    subset_note,
)
from ri_analysis.ui.shell import ICON, preload, run
from ri_analysis.ui.terms import prose

__all__ = [
    "ICON",
    "accuracy_figure",
    "accuracy_page",
    "analysis",
    "answer",
    "by_task",
    "chosen_pair",
    "command",
    "compare",
    "comparing",
    "contents",
    "dark",
    "describe",
    "evaluator",
    "experts",
    "facts",
    "figure",
    "figure_page",
    "formulas",
    "guide",
    "header",
    "images_section",
    "live",
    "measured_before",
    "mergeable",
    "method_details",
    "no_resolved_yet",
    "opening",
    "possible_tasks",
    "preload",
    "prose",
    "recipe_line",
    "resolving",
    "run",
    "sensitivity",
    "stages",
    "studies",
    "subset_note",
    "suite_in_words",
    "suite_name",
]
