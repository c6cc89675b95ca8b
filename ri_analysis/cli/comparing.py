"""`ri-analysis compare`: many recipes in one table."""

from __future__ import annotations

import argparse
import re
from typing import TYPE_CHECKING, Any

from ri_analysis.cli.flags import command
from ri_analysis.cli.opening import open_suite
from ri_analysis.errors import InputError
from ri_analysis.json_text import to_json
from ri_analysis.markdown import csv_text
from ri_analysis.progress import Parts

if TYPE_CHECKING:
    import pandas as pd

    from ri_analysis.engine import Evaluator
    from ri_analysis.merging import MergeRecipe

FORMATS = ("text", "json", "csv", "markdown", "latex")


def add_commands(commands: Any) -> None:
    """Declare the command."""
    compare = command(commands, "compare", _compare, "compare recipes: means, worst task, difference from a baseline")
    compare.add_argument(
        "--recipe",
        action="append",
        default=[],
        metavar="TEXT",
        help="'[NAME: ]METHOD[,METHOD…] [experts=A,B] [HYPERPARAMETER=V1,V2…] [tasks=A,B] [seed=0,1]', every "
        "combination of the listed values; `all`: every method, or every expert set; may be given more than once "
        "(default: every recipe measured so far)",
    )
    compare.add_argument("--baseline", metavar="TEXT", help="recipe to show differences from (default: none)")
    compare.add_argument("--crosstalk", action="store_true", help="also measure crosstalk where it is not known yet")
    compare.add_argument("--format", choices=FORMATS, default="text", help="output format (default %(default)s)")


def _compare(options: argparse.Namespace) -> int:
    from ri_analysis.engine.comparing import Collection
    from ri_analysis.export.comparing import crosstalk, explained_rows, recipe_rows, task_rows

    opened = open_suite(options)
    evaluator = opened.evaluator
    names: dict[MergeRecipe, str] = {}
    recipes: list[MergeRecipe] = []
    for text in options.recipe:
        name, found = _named(evaluator, text)
        recipes += found
        names |= {} if name is None else {found[0]: name}
    evaluator.choose_number_format()
    baseline = None if options.baseline is None else _one(evaluator, options.baseline)
    collection, show = Collection(), opened.progress("measuring")
    if not options.recipe:
        collection.look(evaluator)
        recipes = collection.recipes(evaluator)
    recipes = list(dict.fromkeys(recipes))
    if not recipes:
        raise InputError("compare: nothing is measured yet on this suite; name recipes by --recipe")
    asked = list(dict.fromkeys([*recipes, *([] if baseline is None else [baseline])]))
    opened.note_files(evaluator.suite.tasks, sorted({recipe.experts for recipe in asked}))
    parts = Parts(show, len(asked) + (len(recipes) if options.crosstalk else 0))
    for place, recipe in enumerate(asked):
        collection.measure(evaluator, [recipe], parts.part(place))
    for place, recipe in enumerate(recipes if options.crosstalk else []):
        crosstalk(evaluator, recipe, parts.part(len(asked) + place) or show)
    show.end()
    table = recipe_rows(evaluator, collection, recipes, baseline, names)
    if options.format == "json":
        measured = [each for recipe in recipes if (each := collection.get(evaluator, recipe)) is not None]
        answer = {
            "suite": evaluator.suite.name,
            "number_format": str(evaluator.number_format).removeprefix("torch."),
            "baseline": None if baseline is None else _written(evaluator, baseline),
            "recipes": _rows(table),
            "tasks": _rows(task_rows(evaluator, collection, recipes, names)),
            "explained": _rows(explained_rows(evaluator, measured)),
        }
        print(to_json(answer, indent=2))
    else:
        print(_printed(evaluator, table, baseline, names, options.format), end="")
    return 0


def _named(evaluator: Evaluator, text: str) -> tuple[str | None, list[MergeRecipe]]:
    """Return the name in front of a recipe's text, None without one, and its recipes."""
    from ri_analysis.engine.recipe_texts import begins_recipe, expand

    # Both the name and a task may hold ": "; a recipe begins with a method.
    starts = [0, *(each.end() for each in re.finditer(": ", text))]
    start = max((each for each in starts if begins_recipe(text[each:])), default=starts[-1])
    name, found = text[: max(0, start - 2)], expand(evaluator, text[start:])
    if start and len(found) > 1:
        raise InputError(f"--recipe: expected one recipe after the name {name!r}, found {len(found)}")
    return (name if start else None), found


def _one(evaluator: Evaluator, text: str) -> MergeRecipe:
    from ri_analysis.engine.recipe_texts import expand

    found = expand(evaluator, text)
    if len(found) != 1:
        raise InputError(f"--baseline: expected one recipe, found {len(found)} in {text!r}")
    return found[0]


def _written(evaluator: Evaluator, recipe: MergeRecipe) -> str:
    from ri_analysis.engine.recipe_texts import written

    return written(recipe, evaluator.suite)


def _rows(table: pd.DataFrame) -> list[dict[Any, Any]]:
    rows: list[dict[Any, Any]] = table.to_dict(orient="records")
    return rows


def _printed(
    evaluator: Evaluator,
    table: pd.DataFrame,
    baseline: MergeRecipe | None,
    names: dict[MergeRecipe, str],
    form: str,
) -> str:
    from ri_analysis.export.comparing import label, latex, markdown

    said = "" if baseline is None else names.get(baseline) or label(baseline, evaluator.suite)
    if form == "latex":
        return latex(table, said)
    if form == "markdown":
        return markdown(table, said)
    if form == "csv":
        return csv_text(table)
    columns = ["name", "accuracy", "worst_accuracy", "worst_task", "normalised_accuracy", "interference", "crosstalk"]
    columns += [] if baseline is None else ["difference", "difference_low", "difference_high"]
    return table[[*columns, "n"]].to_string(index=False, float_format="{:.4g}".format, na_rep="-") + "\n"
