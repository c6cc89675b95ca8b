"""`ri-analysis measure` and `interference`: the numbers of one merge."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ri_analysis.cli.flags import command, limit_flag, pairs, recipe_flags
from ri_analysis.cli.opening import another_recipe, chosen_recipe, note, note_files, open_evaluator
from ri_analysis.cli.progress import Progress
from ri_analysis.errors import InputError
from ri_analysis.json_text import to_json
from ri_analysis.progress import Parts


def add_commands(commands: Any) -> None:
    """Declare the commands."""
    measure = command(commands, "measure", _measure, "merge by a recipe and measure accuracy and interference")
    recipe_flags(measure)
    measure.add_argument("--merged", type=Path, metavar="FILE", help="measure this merged checkpoint instead")
    measure.add_argument("--tower", metavar="PREFIX", help="which vision tower of --merged, if it holds several")
    measure.add_argument(
        "--split",
        choices=("test", "validation"),
        default="test",
        help="images to measure on (default %(default)s)",
    )
    measure.add_argument(
        "--sets", action="store_true", help="measure every expert set in this way, and compare them with the original"
    )
    measure.add_argument(
        "--against", metavar="RECIPE", help="also print the paired difference from another recipe: its flags, quoted"
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
        help="this analysis instead of the usual ones; may be given more than once (see docs/tables.md)",
    )
    interference.add_argument(
        "--option",
        action="append",
        default=[],
        metavar="K=V",
        help="an option of an analysis; ANALYSIS.K=V where there are several",
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
    evaluator = open_evaluator(options)
    recipe = chosen_recipe(evaluator, options)
    note_files(evaluator, recipe.tasks, sets_to_compare(evaluator))
    show = Progress("measuring")
    table = compare_sets(evaluator, recipe, options.limit, show)
    show.end()
    if options.json:
        rows = table.astype(object).where(table.notna(), None).to_dict(orient="records")
        print(to_json({"suite": evaluator.suite.name, "recipe": recipe.to_dict(), "sets": rows}, indent=2))
    else:
        print(sets_table(table).to_string(index=False))
    return 0


def _measure(options: argparse.Namespace) -> int:
    if options.sets:
        return _measure_sets(options)
    from ri_analysis.engine.comparison import differences
    from ri_analysis.engine.own_tasks import expert_remarks
    from ri_analysis.engine.remarks import file_remarks

    evaluator = open_evaluator(options)
    show = Progress("measuring")
    if options.merged is not None:
        note(file_remarks(evaluator.suite, options.merged, options.tower))
        note_files(evaluator, evaluator.suite.tasks, (), options.split)
        evaluation = evaluator.measure_file(
            options.merged, tower=options.tower, split=options.split, limit=options.limit, progress=show
        )
    else:
        recipe = chosen_recipe(evaluator, options)
        note_files(evaluator, recipe.tasks, [recipe.experts], options.split)
        evaluation = evaluator.measure(recipe, split=options.split, limit=options.limit, progress=show)
    found: dict[str, float] = {}
    if options.against is not None:
        other = another_recipe(evaluator, options.against)
        limits = {"split": options.split, "limit": options.limit}
        found = differences(evaluator.measure(other, **limits, progress=show), evaluation)
    show.end()
    note(expert_remarks(evaluator.suite, evaluation))
    if options.json:
        print(to_json(evaluation.summary() | ({"difference": found} if found else {}), indent=2))
        return 0
    columns = ["task", "accuracy", "accuracy_low", "accuracy_high", "expert_accuracy", "zero_shot_accuracy"]
    columns += ["interference", "interference_low", "interference_high", "n"]
    print(evaluation.table[columns].to_string(index=False, float_format="{:.3f}".format))
    accuracy, (low, high) = evaluation.mean_accuracy
    drift, (drift_low, drift_high) = evaluation.mean_interference
    print(f"mean accuracy      {accuracy:.4f}  [{low:.4f}, {high:.4f}]")
    print(f"mean interference  {drift:.4f}  [{drift_low:.4f}, {drift_high:.4f}] nats")
    for name in ("accuracy", "interference") if found else ():
        change, low, high = (found[f"{name}_change{end}"] for end in ("", "_low", "_high"))
        print(f"difference of {name}: {change:+.4f}  [{low:+.4f}, {high:+.4f}]")
    return 0


def _interference(options: argparse.Namespace) -> int:
    from ri_analysis.analyses.report import USUAL, as_json, as_text, chosen
    from ri_analysis.sides import Sides

    wanted = chosen(options.only, blame=options.blame)
    given = _options(options.option, [analysis.name for analysis in wanted])
    evaluator = open_evaluator(options)
    recipe = chosen_recipe(evaluator, options)
    after = None if options.after is None else recipe.with_experts(evaluator.suite.expert_set(options.after))
    recipes, show, answers = Sides(recipe, after), Progress("measuring"), {}
    note_files(evaluator, recipe.tasks, [each.experts for each in recipes])
    parts = Parts(show, len(wanted))
    for place, analysis in enumerate(wanted):
        why = analysis.refusal(evaluator, recipe) if not options.only and analysis.name in USUAL else ""
        limit = analysis.limit if options.limit is None else options.limit
        own = given.get(analysis.name)
        answers[analysis.name] = why or analysis.ask(evaluator, recipes, own, limit, parts.part(place))
    show.end()
    if options.json:
        whole = bool(options.only) or after is not None
        print(to_json(as_json(evaluator, recipes, answers, whole=whole), indent=2))
    else:
        print(as_text(answers))
    return 0


def _options(texts: Sequence[str], names: Sequence[str]) -> dict[str, dict[str, str]]:
    """Return the options of each analysis: NAME.k=v is one analysis's, k=v that of the only one."""
    found: dict[str, dict[str, str]] = {}
    for key, value in pairs(texts, "--option").items():
        owner, dot, name = key.rpartition(".")
        if not dot and len(names) != 1:
            raise InputError(f"--option {key}: expected NAME.{key}=VALUE, with NAME one of {', '.join(names)}")
        if dot and owner not in names:
            raise InputError(f"--option {key}: expected an analysis that is asked for, found {owner!r}")
        found.setdefault(owner or names[0], {})[name] = value
    return found
