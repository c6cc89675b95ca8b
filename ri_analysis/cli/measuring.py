"""`ri-analysis measure` and `interference`: the numbers of one merge."""

from __future__ import annotations

import argparse
from typing import Any

from ri_analysis.cli.flags import command, limit_flag, pairs, recipe_flags, to_path
from ri_analysis.cli.opening import another_recipe, chosen_recipe, open_suite
from ri_analysis.errors import InputError
from ri_analysis.json_text import to_json


def add_commands(commands: Any) -> None:
    """Declare the commands."""
    measure = command(commands, "measure", _measure, "merge by a recipe and measure accuracy and interference")
    recipe_flags(measure)
    measure.add_argument("--merged", type=to_path, metavar="FILE", help="measure this merged checkpoint instead")
    measure.add_argument("--tower", metavar="PREFIX", help="which vision tower of --merged, if it holds several")
    measure.add_argument(
        "--split",
        choices=("test", "validation"),
        default="test",
        help="images to measure on (default %(default)s)",
    )
    measure.add_argument(
        "--sets", action="store_true", help="measure every expert set this way, and compare them with the original"
    )
    measure.add_argument(
        "--against",
        metavar="RECIPE",
        help="also print the paired difference from another recipe, given as its flags in quotes",
    )
    limit_flag(measure)
    measure.add_argument("--json", action="store_true", help="print JSON")

    text = "analyse a merge: where it drifts from the experts, and which expert causes it"
    interference = command(commands, "interference", _interference, text)
    recipe_flags(interference)
    interference.add_argument(
        "--after", metavar="NAME", help="also merge this expert set, and compare: ri, or its name"
    )
    interference.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="ANALYSIS",
        help="run this analysis instead of the usual ones; may be given more than once (see docs/tables.md)",
    )
    interference.add_argument(
        "--option",
        action="append",
        default=[],
        metavar="K=V",
        help="option of an analysis; ANALYSIS.K=V if there are several analyses",
    )
    limit_flag(interference)
    interference.add_argument("--blame", action="store_true", help="also compute which expert causes the drift")
    interference.add_argument("--json", action="store_true", help="print JSON")


def _measure_sets(options: argparse.Namespace) -> int:
    """Print one row for each expert set."""
    from ri_analysis.engine.sets import compare_sets, sets_to_compare
    from ri_analysis.export.facts import sets_table

    if options.merged is not None or options.split != "test":
        raise InputError("--sets: expected a recipe on test images, found --merged or --split")
    opened = open_suite(options)
    evaluator, recipe = opened.evaluator, chosen_recipe(opened, options)
    opened.note_files(recipe.tasks, sets_to_compare(evaluator))
    with opened.progress("measuring") as show:
        table = compare_sets(evaluator, recipe, options.limit, show)
    if options.json:
        rows = table.astype(object).where(table.notna(), None).to_dict(orient="records")
        print(to_json({"suite": evaluator.suite.name, "recipe": recipe.to_dict(), "sets": rows}, indent=2))
    else:
        print(sets_table(table).to_string(index=False))
    return 0


def _measure(options: argparse.Namespace) -> int:
    if options.sets:
        return _measure_sets(options)
    opened, limits = open_suite(options), {"split": options.split, "limit": options.limit}
    if options.merged is not None:
        measured = opened.measure_file(options.merged, tower=options.tower, **limits)
    else:
        measured = opened.measure(chosen_recipe(opened, options), **limits)
    found: dict[str, float] = {}
    if options.against is not None:
        found = measured.difference(opened.measure(another_recipe(opened, options.against), **limits))
    if options.json:
        print(to_json(measured.to_dict() | ({"difference": found} if found else {}), indent=2))
        return 0
    print(measured)
    for name in ("accuracy", "interference") if found else ():
        change, low, high = (found[f"{name}_change{end}"] for end in ("", "_low", "_high"))
        print(f"difference of {name}: {change:+.4f}  [{low:+.4f}, {high:+.4f}]")
    return 0


def _interference(options: argparse.Namespace) -> int:
    from ri_analysis.analyses.report import chosen

    chosen(options.only)  # before a suite is opened
    opened = open_suite(options)
    found = opened.interference(
        chosen_recipe(opened, options),
        after=options.after,
        only=options.only,
        options=pairs(options.option, "--option"),
        limit=options.limit,
        blame=options.blame,
    )
    print(to_json(found.to_dict(), indent=2) if options.json else found)
    return 0
