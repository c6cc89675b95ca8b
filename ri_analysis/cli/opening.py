"""What commands open and use: a suite and a recipe."""

from __future__ import annotations

import argparse
import shlex
import sys
from typing import TYPE_CHECKING, NoReturn

from ri_analysis.cli.flags import Parser, names, number, pairs, recipe_flags, seed_flag
from ri_analysis.errors import InputError

if TYPE_CHECKING:
    from ri_analysis.api import OpenedSuite
    from ri_analysis.merging import MergeRecipe


def open_suite(options: argparse.Namespace) -> OpenedSuite:
    """Open the suite that a command is about; remarks and progress go to stderr."""
    from ri_analysis import api
    from ri_analysis.api.opened import Voice

    return api.open_suite(
        options.suite,
        workspace=options.workspace,
        device=options.device,
        float32=options.float32,
        fresh=options.fresh,
        voice=Voice(_remark, lines=True),
    )


def _remark(text: str) -> None:
    print(f"note  {text}", file=sys.stderr)


def chosen_recipe(opened: OpenedSuite, options: argparse.Namespace) -> MergeRecipe:
    """Return the recipe that a command's flags give."""
    coefficients = {}
    for task, text in pairs(options.coefficient, "--coefficient").items():
        coefficients[task] = number(text, f"--coefficient {task}")
    lines = None
    if options.lines is not None:
        parts = options.lines.split(",")
        if len(parts) != 2:
            raise InputError(f"--lines: expected ALPHA,BETA, found {options.lines!r}")
        lines = (number(parts[0], "--lines ALPHA"), number(parts[1], "--lines BETA"))
    return opened.evaluator.recipe(
        options.method,
        pairs(options.set, "--set"),
        experts=options.experts,
        tasks=names(options.tasks),
        coefficients=coefficients,
        lines=lines,
        seed=options.seed,
    )


class _FlagsInText(Parser):
    """A parser of flags that are another flag's value: what is wrong with them is said of that."""

    def error(self, message: str) -> NoReturn:
        raise ValueError(message)


def another_recipe(opened: OpenedSuite, text: str) -> MergeRecipe:
    """Return the recipe that a flag's text gives by the recipe's own flags."""
    parser = _FlagsInText(add_help=False)
    recipe_flags(parser)
    seed_flag(parser)
    try:
        return chosen_recipe(opened, parser.parse_args(shlex.split(text)))
    except ValueError as error:
        raise InputError(f"--against: expected a recipe's flags, found {text!r}: {error}") from error
