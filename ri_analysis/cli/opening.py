"""What commands open and use: a suite, its files, a recipe."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ri_analysis.cli.flags import Parser, names, number, pairs, recipe_flags, seed_flag
from ri_analysis.errors import InputError

if TYPE_CHECKING:
    from ri_analysis.engine import Evaluator
    from ri_analysis.merging import MergeRecipe
    from ri_analysis.suite import Suite


def open_evaluator(options: argparse.Namespace) -> Evaluator:
    import torch

    from ri_analysis.engine import Evaluator, default_workspace
    from ri_analysis.suite import open_suite

    workspace = options.workspace or default_workspace()
    number_format = torch.float32 if options.float32 else None
    suite = open_suite(options.suite, workspace)
    return Evaluator(suite, workspace, options.device, number_format=number_format, fresh=options.fresh)


def chosen_recipe(evaluator: Evaluator, options: argparse.Namespace) -> MergeRecipe:
    coefficients = {}
    for task, text in pairs(options.coefficient, "--coefficient").items():
        coefficients[task] = number(text, f"--coefficient {task}")
    lines = None
    if options.lines is not None:
        parts = options.lines.split(",")
        if len(parts) != 2:
            raise InputError(f"--lines: expected ALPHA,BETA, found {options.lines!r}")
        lines = (number(parts[0], "--lines ALPHA"), number(parts[1], "--lines BETA"))
    return evaluator.recipe(
        options.method,
        pairs(options.set, "--set"),
        experts=options.experts,
        tasks=names(options.tasks),
        coefficients=coefficients,
        lines=lines,
        seed=options.seed,
    )


def another_recipe(evaluator: Evaluator, text: str) -> MergeRecipe:
    """Return the recipe that a flag's text gives by the recipe's own flags."""
    parser = Parser(prog="--against", add_help=False)
    recipe_flags(parser)
    seed_flag(parser)
    try:
        return chosen_recipe(evaluator, parser.parse_args(shlex.split(text)))
    except ValueError as error:
        raise InputError(f"--against: expected a recipe's flags, found {text!r}: {error}") from error


def note(remarks: Sequence[str]) -> None:
    """Print the remarks on the files that a command uses."""
    for line in remarks:
        print(f"note  {line}", file=sys.stderr)


def note_files(evaluator: Evaluator, tasks: Sequence[str], experts: Sequence[str], split: str = "test") -> None:
    """Print the remarks on the files that a measurement uses."""
    from ri_analysis.engine.remarks import suite_remarks
    from ri_analysis.suite import ORIGINAL

    sets = (ORIGINAL, *experts)  # interference is always from the original experts
    store, heads = evaluator.store, evaluator.heads
    note(suite_remarks(evaluator.suite, tasks, sets, heads=heads, splits=(split,), store=store))


def check_output(suite: Suite, path: Path) -> None:
    """Raise InputError where a file can't be written, or is one that the suite reads: before any long work."""
    from ri_analysis.files import check_target

    check_target(path)
    if (read := suite.reads(path)) is not None:
        raise InputError(f"--out {path}: expected a new file, found one that the suite reads ({read})")
