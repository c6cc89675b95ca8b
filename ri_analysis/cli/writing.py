"""`ri-analysis merge`, `resolve` and `report`: what is made from a suite, as files."""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from ri_analysis.cli.flags import command, pairs, recipe_flags, settings_in_words, to_path, whole
from ri_analysis.cli.opening import chosen_recipe, open_suite
from ri_analysis.errors import InputError
from ri_analysis.json_text import to_json
from ri_analysis.progress import Parts

if TYPE_CHECKING:
    from ri_analysis.api import OpenedSuite


def add_commands(commands: Any) -> None:
    """Declare the commands."""
    merge = command(commands, "merge", _merge, "merge by a recipe into a safetensors file that open_clip loads")
    recipe_flags(merge)
    merge.add_argument("--out", type=to_path, required=True, metavar="FILE", help="the .safetensors file to write")
    merge.add_argument(
        "--layout",
        choices=("tower", "open-clip", "hugging-face"),
        default="tower",
        help="tower: the vision tower alone (default); open-clip: a whole CLIP, with the text tower of the pretrained "
        "model; hugging-face: a folder for transformers, with a model card",
    )

    text = "write one HTML page on a suite, before and after RI; it works offline"
    report = command(commands, "report", _report, text)
    recipe_flags(report)
    report.add_argument("--out", type=to_path, required=True, metavar="FILE", help="the .html file to write")

    resolve = command(commands, "resolve", _resolve, "adapt the experts by Resolving Interference (RI)")
    resolve.more = _settings_of_ri
    resolve.add_argument("--auxiliary", required=True, metavar="NAME", help="auxiliary source of the suite")
    resolve.add_argument("--name", required=True, help="name of the new expert set")
    resolve.add_argument(
        "--preset", metavar="NAME", help="settings to start from: quick, paper, small, together or quick-together"
    )
    resolve.add_argument("--steps", type=whole(1, 1_000_000), help="optimisation steps for each expert")
    resolve.add_argument("--set", action="append", default=[], metavar="K=V", help="a setting of RI, listed below")
    resolve.add_argument(
        "--alpha",
        action="append",
        default=[],
        metavar="TASK=V",
        help="free weight α of one expert, the same as the setting alphas; may be given more than once",
    )
    resolve.add_argument("--tasks", metavar="A,B,…", help="experts that will be merged (default all)")
    resolve.add_argument("--out", type=to_path, metavar="DIR", help="folder of the set (default in the workspace)")
    resolve.add_argument("--resume", action="store_true", help="resume an unfinished run")
    resolve.add_argument(
        "--jobs",
        type=whole(1, 1024),
        default=1,
        metavar="N",
        help="adapt N experts at once, each in its own process, on the next GPU if there are several",
    )
    resolve.add_argument(
        "--dry-run", action="store_true", help="only print what the run will take and write, from a few timed steps"
    )
    resolve.add_argument(
        "--probe",
        metavar="METHOD",
        help="after each expert, print what this merge gains on a few validation images; RI itself uses none",
    )
    resolve.add_argument("--json", action="store_true", help="print JSON")


def _settings_of_ri() -> str:
    from ri_analysis.resolving import HYPERPARAMETERS, PRESETS

    presets = "".join(f"  {preset.name} — {preset.purpose}\n" for preset in PRESETS.values())
    title = "settings of RI, with the paper's values (default: those of the suite's own RI set)"
    presets += (
        "  (large towers, from 16 million parameters, are trained at lower learning rates, except with `paper`)\n"
    )
    return f"\npresets:\n{presets}\n{title}:\n{settings_in_words(HYPERPARAMETERS)}"


def _merge(options: argparse.Namespace) -> int:
    opened = open_suite(options)
    merged = opened.merge(chosen_recipe(opened, options), out=options.out, layout=options.layout)
    print(merged.path)
    if merged.loads:
        print(f"note  load it with {merged.loads}", file=sys.stderr)
    return 0


def _resolve(options: argparse.Namespace) -> int:
    from ri_analysis.files import check_target
    from ri_analysis.hyperparameters import complete
    from ri_analysis.resolving import HYPERPARAMETERS, find_preset
    from ri_analysis.suite.suite import RECORD

    if options.out is not None:
        check_target(options.out / RECORD)
    given: dict[str, Any] = dict(pairs(options.set, "--set"))
    if options.steps is not None:
        given["steps"] = options.steps
    if options.alpha:
        given["alphas"] = ",".join(options.alpha)
    complete(HYPERPARAMETERS, given, "resolve")  # before a suite is opened
    if options.preset is not None:
        find_preset(options.preset)
    opened = open_suite(options)
    preset = {} if options.preset is None else find_preset(options.preset).settings(opened.evaluator.architecture)
    settings = {**preset, **given}
    if options.dry_run:
        return _dry_run(options, opened, settings)
    made = opened.resolve(
        options.auxiliary,
        options.name,
        tasks=options.tasks,
        out=options.out,
        resume=options.resume,
        jobs=options.jobs,
        seed=options.seed,
        probe=options.probe,
        **settings,
    )
    if options.json:
        probed = {"probe": [gain._asdict() for gain in made.gains]} if options.probe else {}
        print(to_json({"directory": str(made.folder), **made.record, **probed}, indent=2))
    else:
        print(f"{made.name}: {len(made.record['tasks'])} experts in {made.folder}")
    return 0


def _dry_run(options: argparse.Namespace, opened: OpenedSuite, given: dict[str, Any]) -> int:
    """Print what a run will take and write."""
    from ri_analysis.export.facts import forecast_in_words
    from ri_analysis.hyperparameters import complete
    from ri_analysis.resolving import HYPERPARAMETERS, default_settings, forecast, pace, plan

    if options.resume:
        raise InputError("--dry-run: expected a new run, found --resume")
    if options.jobs > 1:
        raise InputError("--dry-run: expected one process, found --jobs; leave it out")
    evaluator, tasks = opened.evaluator, opened.note_run(options.auxiliary, options.tasks)
    suite = evaluator.suite
    settings = complete(HYPERPARAMETERS, {**default_settings(suite), **given}, "resolve")
    plan.check_free(plan.folder_of(suite, options.name, options.out))
    found = forecast(
        suite,
        auxiliary=options.auxiliary,
        name=options.name,
        pace=pace(suite, options.auxiliary, settings, tasks, evaluator.device),
        settings=settings,
        tasks=tasks,
        directory=options.out,
        seed=options.seed,
    )
    if options.json:
        print(to_json(asdict(found), indent=2))
    else:
        lines = forecast_in_words(found, settings, len(tasks))
        print("\n".join(f"{name:7} {text}" for name, text in lines.items()))
    if found.obstacle:
        raise InputError(f"{found.folder}: the run {found.obstacle}")
    return 0


def _report(options: argparse.Namespace) -> int:
    from ri_analysis.analyses import find_analysis
    from ri_analysis.export import glyphs, report, standard
    from ri_analysis.files import atomic_path
    from ri_analysis.sides import Sides
    from ri_analysis.suite import ORIGINAL

    opened = open_suite(options)
    evaluator = opened.evaluator
    opened.check_output(options.out)
    chosen = chosen_recipe(opened, options)
    resolved = evaluator.suite.default_resolved if chosen.experts == ORIGINAL else chosen.experts
    recipes = Sides(ORIGINAL, resolved).map(chosen.with_experts)
    opened.note_files(chosen.tasks, [recipe.experts for recipe in recipes])
    show = opened.progress("measuring")
    parts = Parts(show, len(standard.LIMITS))
    answers = [
        find_analysis(name).ask(evaluator, recipes, limit=limit, progress=parts.part(place))
        for place, (name, limit) in enumerate(standard.LIMITS.items())
    ]
    show.end()
    found = standard.standard_set(evaluator, answers, options.suite)
    snapshots = [each.with_width(report.WIDTH) for each in found]
    with atomic_path(options.out) as path:
        path.write_bytes(standard.written(evaluator, snapshots))
    if about := glyphs.about_pages(snapshot.figure for snapshot in snapshots):
        opened.note([f"{options.out}: {about}"])
    print(options.out)
    return 0
