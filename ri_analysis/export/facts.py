"""What a suite, an expert set and a recipe are, in words and as a table: the same on pages and in reports."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd

from ri_analysis import plugins
from ri_analysis.allowed import told
from ri_analysis.analyses import Answer, find_analysis
from ri_analysis.checkpoints import outlines
from ri_analysis.engine import Comparison, Evaluator, default_workspace
from ri_analysis.engine.merge_probe import Gain
from ri_analysis.export.snapshot import Origin, now, versions
from ri_analysis.figures import words
from ri_analysis.hyperparameters import Value
from ri_analysis.merging import METHODS, MergeRecipe, find_method
from ri_analysis.resolving import HYPERPARAMETERS, Forecast, HeldOut, Record, identity, record_of, unit
from ri_analysis.resolving.forecast import size
from ri_analysis.suite import ORIGINAL
from ri_analysis.suite.suite import RECORD


def suite_in_words(evaluator: Evaluator) -> str:
    """Return two sentences: what there is to merge, and what it is measured on."""
    suite, table = evaluator.suite, task_table(evaluator)
    parameters = sum(tensor.numel() for tensor in outlines(suite.zero_shot).values())
    size = f"{parameters / 1e6:.1f} M" if parameters >= 1e5 else f"{parameters:,}"
    text = (
        f"Suite **{suite.name}**: {words.count(len(suite.tasks), 'expert')} fine-tuned from one CLIP image encoder "
        f"({size} parameters), measured on {words.count(int(table['test images'].sum()), 'test image')} of "
        f"{int(table['classes'].sum()):,} classes."
    )
    return f"{text} {sets_in_words(evaluator)}"


def sets_in_words(evaluator: Evaluator) -> str:
    """Return which expert sets there are."""
    names = [item.name for item in evaluator.suite.resolved]
    if not names:
        return "There is no RI-adapted expert set yet."
    listing = ", ".join(f"**{name}**" for name in names)
    return f"Expert sets: original, and {listing} (after RI)."


def task_table(evaluator: Evaluator) -> pd.DataFrame:
    """Return one row per task: classes, test images, some class names."""
    rows = []
    for task in evaluator.suite.tasks:
        classes = evaluator.heads[task].classes
        rows.append(
            {
                "task": task,
                "classes": len(classes),
                "test images": len(evaluator.suite.task_data(task)),
                "for instance": ", ".join(classes[:4]),
            }
        )
    return pd.DataFrame(rows)


def sets_table(table: pd.DataFrame) -> pd.DataFrame:
    """Return what `compare_sets` found as readers see it: one row per expert set, values with their intervals."""
    rows = []
    for row in table.to_dict(orient="records"):
        original = row["experts"] == ORIGINAL
        made = ", ".join(words.settings(HYPERPARAMETERS, row["settings"])) or ("" if original else "as the others")
        cells = {
            "expert set": row["experts"],
            "made on": row["auxiliary"],
            "settings that differ": made,
            "made": str(row["made"])[:16].replace("T", " "),
            "took": "" if pd.isna(row["seconds"]) else words.duration(row["seconds"]),
            "own accuracy": words.percent(row["own_accuracy"]),
            "its change": _change(row, "own_accuracy", words.points, words.points_range),
            "crosstalk": words.nats(row["crosstalk"]) if row["tasks"] > 1 else "",
            "crosstalk change": _change(row, "crosstalk", words.nats_change, words.nats_change_range),
            "merged accuracy": words.percent(row["accuracy"]),
            "gain": _change(row, "accuracy", words.points, words.points_range),
            "interference": words.nats(row["interference"]),
            "interference change": _change(row, "interference", words.nats_change, words.nats_change_range),
            "test images": f"{row['n']:,}",
        }
        rows.append(cells)
    return pd.DataFrame(rows)


def _change(row: Mapping[Any, Any], name: str, one: Callable[[float], str], span: Callable[..., str]) -> str:
    value, low, high = (row[f"{name}_change{end}"] for end in ("", "_low", "_high"))
    return "" if pd.isna(value) else f"{one(value)} ({span(low, high)})"


def record_in_words(record: Record) -> str:
    """Return how an RI-adapted expert set was made, from its record."""
    if not record:
        return "How this set was made is not recorded."
    source, settings = record.get("auxiliary", {}), record.get("settings", {})
    images = f" ({words.count(source['images'], 'image')})" if "images" in source else ""
    oracle = (
        ", which are the tasks' own training images (an oracle, for reference only)" if source.get("oracle") else ""
    )
    text = f"Made on auxiliary source **{source.get('name', 'unknown')}**{images}{oracle}"
    text += f", {run_in_words(settings)}" if settings else ""
    text += f", seed {record['seed']}" if "seed" in record else ""
    text += f", in {words.duration(record['seconds'])}" if record.get("seconds") else ""
    return text + "."


def history_table(record: Record) -> pd.DataFrame:
    """Return a record's loss history: the columns `task`, `step`, `keep`, `free`, `loss`."""
    return _rows(record.get("history", {}), ("step", "keep", "free", "loss"))


def looks_table(record: Record) -> pd.DataFrame:
    """Return a record's looks at held-out images: the columns `task` and those of HeldOut."""
    return _rows(record.get("held_out", {}).get("looks", {}), HeldOut._fields)


def _rows(found: Mapping[str, Sequence[Sequence[object]]], columns: Sequence[str]) -> pd.DataFrame:
    rows = [(task, *row) for task, of_task in found.items() for row in of_task]
    return pd.DataFrame(rows, columns=["task", *columns]).astype(dict.fromkeys(columns[1:], float))


def run_in_words(settings: Mapping[str, Any]) -> str:
    """Return the settings of an RI run, for instance "50 steps per expert, KL divergence, learning rate 3e-5"."""
    ordered = sorted(identity(settings).items(), key=lambda item: item[0] != "steps")
    return ", ".join(words.settings(HYPERPARAMETERS, dict(ordered)))


def look_in_words(task: str, look: HeldOut, first: HeldOut, distance: str) -> str:
    """Return how an expert fares on images that it is not trained on; `first` is the look before its first step."""
    terms = f"keep {look.keep:.4f}, free {look.free:.4f} {unit(distance)}"
    crosstalk = f"crosstalk {words.nats(look.crosstalk)} of {words.nats(first.crosstalk)}"
    return f"{task}, step {look.step:,}, on held-out images: {terms}; remaining {crosstalk}"


def gain_in_words(gain: Gain, method: str) -> str:
    """Return what a merge of the experts as they are would gain, for instance while RI is under way."""
    change = f"{words.points(gain.change)} ({words.points_range(gain.low, gain.high)})"
    experts = f"{gain.finished} of {words.count(gain.experts, 'expert')} adapted"
    return f"{METHODS[method].title} with {experts}: {change} on {words.count(gain.n, 'validation image')}"


def forecast_in_words(forecast: Forecast, settings: Mapping[str, Value], tasks: int) -> dict[str, str]:
    """Return what an RI run of some experts will take and write, each thing in words under its name."""
    steps = f"{words.count(int(settings['steps']), 'step')} of {words.significant(forecast.step_seconds, 2)} s"
    states = f", and up to {size(forecast.disk_meanwhile)} while it runs" if forecast.disk_meanwhile else ""
    aside = f"; {forecast.held_out:,} of them are kept out of training, to monitor the run" if forecast.held_out else ""
    files, folder = words.count(len(forecast.files) - 1, "expert"), told(forecast.folder)
    return {
        "Time": f"about {words.duration(forecast.seconds)} at the current load: {steps} for each of "
        f"{words.count(tasks, 'expert')}, computed in {forecast.precision}, and the teachers' outputs",
        "Memory": f"about {size(forecast.memory)}, besides what the program itself takes",
        "Disk": f"{size(forecast.disk)} for the set{states}; {size(forecast.disk_free)} are free",
        "Images": f"{forecast.images:,} decoded{aside}; {forecast.passes:,} pass through training steps",
        "Writes": f"{files} and {RECORD} in {folder}; until then also run.json and a state to resume from",
    }


def settings_in_words(recipe: MergeRecipe) -> str:
    """Return a recipe's method and hyperparameters."""
    method = METHODS[recipe.method]
    return ", ".join([method.title, *words.settings(method.hyperparameters, recipe.settings)])


def recipe_in_words(recipe: MergeRecipe) -> str:
    """Return a recipe as a line of text."""
    parts = [settings_in_words(recipe), f"expert set {recipe.experts}"]
    parts.append(f"{words.count(len(recipe.tasks), 'expert')}: {', '.join(recipe.tasks)}")
    parts += [f"{task} × {words.signed(value)}" for task, value in recipe.coefficients]
    parts += [f"LiNeS α = {words.signed(recipe.lines[0])}, β = {words.signed(recipe.lines[1])}"] if recipe.lines else []
    return ", ".join(parts)


def command(recipe: MergeRecipe, suite: str, verb: str = "measure", sources: Sequence[str] = ()) -> str:
    """Return the shell command that measures a recipe; `sources` are those of plug-ins that it takes besides."""
    name, *flags = verb.split(maxsplit=1)
    words = ["ri-analysis", name, shlex.quote(told(suite)), recipe.arguments(), *flags]
    return " ".join([*words, *map(shlex.quote, plugins.flags(*sources, find_method(recipe.method).source))])


def resolve_command(suite: str, name: str, record: Record) -> str:
    """Return the shell command that makes an RI-adapted expert set again, beside it, and prints its losses."""
    parts = ["ri-analysis", "resolve", told(suite), "--auxiliary", str(record["auxiliary"]["name"]), "--name", name]
    parts += ["--tasks", ",".join(record["tasks"])]
    for setting, value in record["settings"].items():
        parts += ["--set", f"{setting}={value}"]
    return shlex.join([*parts, "--seed", str(record["seed"]), "--out", f"{name}-again", "--json"])


def origin_of_losses(evaluator: Evaluator, name: str, suite: str) -> Origin:
    """Return where the losses of an RI-adapted expert set come from: its record, and a run that prints them again."""
    record, sources = record_of(evaluator.suite, name), [item.name for item in evaluator.suite.spec.auxiliary]
    complete = {"auxiliary", "tasks", "settings", "seed"} <= set(record)
    again = complete and record["auxiliary"].get("name") in sources and {*record["tasks"]} <= {*evaluator.suite.tasks}
    file = evaluator.suite.resolved_set(name).directory / RECORD
    commands = [resolve_command(suite, name, record)] if again else []
    return replace(origin_of(evaluator, commands), file=f"{told(file)} (history and held_out: step, keep, free, loss)")


def answer_commands(evaluator: Evaluator, answer: Answer[Any], suite: str) -> list[str]:
    """Return the shell commands that print the numbers of an answer's tables."""
    recipes, workspace = answer.recipes, evaluator.store.workspace
    shared = [] if answer.limit is None else [f"--limit {answer.limit}"]
    shared += [] if workspace == default_workspace() else [f"--workspace {shlex.quote(told(workspace))}"]
    shared += ["--json"]
    asked = [] if recipes.after is None else [f"--after {shlex.quote(recipes.after.experts)}"]
    asked += [f"--only {answer.analysis}"]
    asked += [f"--option {shlex.quote(f'{name}={value}')}" for name, value in answer.options.items()]
    return [
        " ".join(
            [command(recipes.before, suite, "interference", [find_analysis(answer.analysis).source]), *asked, *shared]
        )
    ]


def origin(evaluator: Evaluator, recipes: Collection[MergeRecipe], suite: str, address: str = "") -> Origin:
    """Return where the numbers of measured recipes come from; `suite` is what a command calls the suite."""
    commands = [command(recipe, suite) for recipe in recipes]
    return origin_of(evaluator, commands, address, map(recipe_in_words, recipes))


def origin_of_pinned(evaluator: Evaluator, pinned: Sequence[Comparison], now: Comparison | None, suite: str) -> Origin:
    """Return where the numbers of pinned recipes and of their differences from the current one come from."""
    recipes, commands = [], []
    for comparison in (*pinned, *([] if now is None else [now])):
        for stage, evaluation in comparison.stages.items():
            recipe = MergeRecipe.from_dict(evaluation.recipe)
            other = None if now is None or comparison is now else now.stages.get(stage)
            against = "" if other is None else MergeRecipe.from_dict(other.recipe).arguments()
            recipes.append(recipe_in_words(recipe))
            verb = f"measure --against {shlex.quote(against)}" if against else "measure"
            commands.append(command(recipe, suite, f"{verb} --json"))
    return origin_of(evaluator, commands, recipes=recipes)


def origin_of_answer(evaluator: Evaluator, answer: Answer[Any], suite: str, address: str = "") -> Origin:
    """Return where the numbers of an analysis's figures come from; see `origin`."""
    commands = answer_commands(evaluator, answer, suite)
    return origin_of(evaluator, commands, address, map(recipe_in_words, answer.recipes))


def origin_of(evaluator: Evaluator, commands: Iterable[str], address: str = "", recipes: Iterable[str] = ()) -> Origin:
    """Return where numbers come from that `commands` give; `recipes` are in words, none where a study chose them."""
    return Origin(
        suite=evaluator.suite.name,
        suite_digest=evaluator.suite.digest(),
        recipes=tuple(recipes),
        commands=tuple(commands),
        address=address,
        versions=versions(),
        made=now(),
    )
