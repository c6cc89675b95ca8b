"""A table of recipes: its rows for pages and the command line, and as LaTeX and Markdown."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from ri_analysis.allowed import told
from ri_analysis.analyses import find_analysis
from ri_analysis.engine import Change, Evaluator, default_workspace
from ri_analysis.engine.comparing import Collection, Measured
from ri_analysis.engine.recipe_texts import written
from ri_analysis.engine.variance import explained
from ri_analysis.figures import words
from ri_analysis.intervals import clear
from ri_analysis.markdown import cell
from ri_analysis.measures import off_diagonal_mean
from ri_analysis.merging import METHODS, MergeRecipe
from ri_analysis.progress import Progress
from ri_analysis.suite import Suite

RECIPE_COLUMNS = ("recipe", "name", "method", "experts", "tasks")
NUMBERS = (
    "accuracy",
    "accuracy_low",
    "accuracy_high",
    "worst_task",
    "worst_accuracy",
    "worst_accuracy_low",
    "worst_accuracy_high",
    "normalised_accuracy",
    "normalised_accuracy_low",
    "normalised_accuracy_high",
    "interference",
    "interference_low",
    "interference_high",
    "crosstalk",
    "difference",
    "difference_low",
    "difference_high",
    "n",
)
_TEXTS = ("recipe", "name", "method", "experts", "worst_task")


def label(recipe: MergeRecipe, suite: Suite) -> str:
    """Return a short name: the method, the settings that are not the default, and the expert set."""
    method = METHODS[recipe.method]
    changed = {
        item.name: recipe.settings[item.name]
        for item in method.hyperparameters
        if recipe.settings[item.name] != item.default
    }
    parts = [method.title, *words.settings(method.hyperparameters, changed)]
    parts += [f"{task} × {words.signed(value)}" for task, value in recipe.coefficients]
    parts += [f"LiNeS {words.signed(recipe.lines[0])}, {words.signed(recipe.lines[1])}"] if recipe.lines else []
    if recipe.tasks != suite.tasks:
        parts.append(f"{words.count(len(recipe.tasks), 'task')}: {', '.join(recipe.tasks)}")
    parts += [f"seed {recipe.seed}"] if recipe.seed else []
    return ", ".join([*parts, recipe.experts])


def crosstalk(evaluator: Evaluator, recipe: MergeRecipe, progress: Progress | None = None) -> float:
    """Return the mean crosstalk of a recipe's experts, in nats: NaN for one expert alone, and where it is not known.

    With `progress` it is measured where it is not.
    """
    analysis = find_analysis("crosstalk")
    if len(recipe.tasks) < 2 or (progress is None and not analysis.known(evaluator, recipe, {}, None)):
        return float("nan")
    return off_diagonal_mean(analysis.result(evaluator, recipe, {}, None, progress))


def recipe_rows(
    evaluator: Evaluator,
    collection: Collection,
    recipes: Sequence[MergeRecipe],
    baseline: MergeRecipe | None,
    names: Mapping[MergeRecipe, str],
    *,
    known: Mapping[MergeRecipe, Mapping[str, object]] | None = None,
    crosstalks: Callable[[MergeRecipe], float] | None = None,
) -> pd.DataFrame:
    """Return one row a recipe: the columns RECIPE_COLUMNS and NUMBERS, NaN for what is not known.

    Accuracies are fractions, interference and crosstalk are in nats, `difference` is the mean accuracy minus the
    baseline's, paired image by image. `known` are means of recipes that are not measured here.
    """
    changes = {} if baseline is None else collection.changes(evaluator, recipes, baseline)
    find = crosstalks or (lambda recipe: crosstalk(evaluator, recipe))
    rows = []
    for recipe in recipes:
        measured = collection.get(evaluator, recipe)
        row: dict[str, object] = {
            "recipe": written(recipe, evaluator.suite),
            "name": names.get(recipe) or label(recipe, evaluator.suite),
            "method": recipe.method,
            "experts": recipe.experts,
            "tasks": len(recipe.tasks),
            **((known or {}).get(recipe, {}) if measured is None else measured.numbers),
            "crosstalk": find(recipe),
            **_difference(changes.get(recipe)),
        }
        rows.append(row)
    table = pd.DataFrame(rows, columns=[*RECIPE_COLUMNS, *NUMBERS])
    numbers = [name for name in table if name not in (*_TEXTS, "tasks")]
    table = table.astype(dict.fromkeys(numbers, float))
    return table.astype({"n": int}) if table["n"].notna().all() else table


def _difference(change: Change | None) -> dict[str, float]:
    if change is None:
        return {}
    return {"difference": change.value, "difference_low": change.interval.low, "difference_high": change.interval.high}


def task_rows(
    evaluator: Evaluator, collection: Collection, recipes: Iterable[MergeRecipe], names: Mapping[MergeRecipe, str]
) -> pd.DataFrame:
    """Return one row for every measured recipe and task: the columns of `Measured.by_task`, `recipe` and `name`."""
    found = [(recipe, collection.get(evaluator, recipe)) for recipe in recipes]
    parts = [
        measured.by_task.assign(
            recipe=written(recipe, evaluator.suite), name=names.get(recipe) or label(recipe, evaluator.suite)
        )
        for recipe, measured in found
        if measured is not None
    ]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=["recipe", "name", "task"])


def of_one_method(measured: Sequence[Measured]) -> dict[str, list[Measured]]:
    """Return plain merges by method: those of the same tasks as most, without coefficients or LiNeS."""
    plain = [each for each in measured if not each.recipe.coefficients and each.recipe.lines is None]
    counted: dict[tuple[str, tuple[str, ...]], list[Measured]] = {}
    for each in plain:
        counted.setdefault((each.recipe.method, each.recipe.tasks), []).append(each)
    found: dict[str, list[Measured]] = {}
    for (method, _), part in counted.items():
        if len(part) > len(found.get(method, [])):
            found[method] = part
    return found


def setting_rows(evaluator: Evaluator, measured: Sequence[Measured], names: Mapping[MergeRecipe, str]) -> pd.DataFrame:
    """Return one row a recipe of one method: `recipe`, `name`, its settings, expert set, seed, and its accuracy."""
    suite = evaluator.suite
    return pd.DataFrame(
        {
            "recipe": written(each.recipe, suite),
            "name": names.get(each.recipe) or label(each.recipe, suite),
            **each.recipe.settings,
            "expert set": each.recipe.experts,
            **({"seed": each.recipe.seed} if METHODS[each.recipe.method].seeded else {}),
            **{name: each.numbers[name] for name in ("accuracy", "accuracy_low", "accuracy_high", "n")},
        }
        for each in measured
    )


def settings_of(method: str) -> list[str]:
    """Return the columns of `setting_rows` that hold what can be chosen."""
    declared = METHODS[method]
    own = [item.name for item in declared.hyperparameters]
    return [*own, "expert set", *(["seed"] if declared.seeded else [])]


def explained_rows(evaluator: Evaluator, measured: Sequence[Measured]) -> pd.DataFrame:
    """Return how much of the variance of mean accuracy each setting explains, for every method: see `explained`."""
    parts = []
    for method, part in of_one_method(measured).items():
        rows = explained(setting_rows(evaluator, part, {}), settings_of(method), "accuracy")
        parts.append(rows.assign(method=method)[["method", *rows]])
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=["method", "setting", "share"])


def compare_command(
    evaluator: Evaluator,
    suite: str,
    recipes: Iterable[MergeRecipe],
    baseline: MergeRecipe | None = None,
    names: Mapping[MergeRecipe, str] | None = None,
) -> str:
    """Return the shell command that prints the numbers of recipes; `names` are those that the reader gave."""
    parts = ["ri-analysis", "compare", told(suite)]
    for recipe in recipes:
        name = f"{names[recipe]}: " if names and recipe in names else ""
        parts += ["--recipe", f"{name}{written(recipe, evaluator.suite)}"]
    if baseline is not None:
        parts += ["--baseline", written(baseline, evaluator.suite)]
    workspace = evaluator.store.workspace
    parts += [] if workspace == default_workspace() else ["--workspace", told(workspace)]
    return shlex.join([*parts, "--format", "json"])


# --- for a paper ------------------------------------------------------------------------------------------

_HEADS = (
    ("accuracy", "Accuracy (%)", 1),
    ("worst_accuracy", "Worst task (%)", 1),
    ("normalised_accuracy", "Normalised (%)", 1),
    ("interference", "Interference (nats)", -1),
    ("crosstalk", "Crosstalk (nats)", -1),
)
_DIFFERENCE = "Difference (points)"
_NOTE = "* the 95% interval of the difference, paired by image, excludes 0"


def latex(table: pd.DataFrame, baseline: str = "") -> str:
    """Return `recipe_rows` as a LaTeX table for booktabs: the best of each column in bold, clear differences starred.

    `baseline` is what the differences are from, in words.
    """
    heads, rows = _cells(table, lambda text: rf"\textbf{{{text}}}")
    body = [" & ".join(map(_latex, row)) + r" \\" for row in rows]
    lines = [
        r"% needs \usepackage{booktabs}",
        rf"\begin{{tabular}}{{l{'r' * (len(heads) - 1)}}}",
        r"\toprule",
        " & ".join(map(_latex, heads)) + r" \\",
        r"\midrule",
        *body,
        r"\bottomrule",
        r"\end{tabular}",
        f"% {_note(baseline)}",
    ]
    return "\n".join(lines) + "\n"


def markdown(table: pd.DataFrame, baseline: str = "") -> str:
    """Return `recipe_rows` as a Markdown table, with the same marks as `latex`."""
    heads, rows = _cells(table, lambda text: f"**{text}**")
    lines = [heads, ["---", *["---:"] * (len(heads) - 1)], *rows]
    return "\n".join("| " + " | ".join(map(cell, line)) + " |" for line in lines) + f"\n\n{_note(baseline)}\n"


def _note(baseline: str) -> str:
    said = f"difference of mean accuracy from {baseline}; {_NOTE}; " if baseline else ""
    return f"{said}best of each column in bold; 95% intervals in brackets".replace("\n", " ")


def _cells(table: pd.DataFrame, bold: Callable[[str], str]) -> tuple[list[str], list[list[str]]]:
    """Return the headings, and the cells of each row as plain text with the best in bold."""
    shown = [(column, title, sign) for column, title, sign in _HEADS if table[column].notna().any()]
    compared = bool(table["difference"].notna().any())
    best = {column: (table[column] * sign).max() for column, _, sign in shown}
    rows = []
    for row in table.to_dict(orient="records"):
        cells = [str(row["name"])]
        for column, _, sign in shown:
            text = _cell(row, column)
            cells.append(bold(text) if row[column] * sign == best[column] else text)
        if compared:
            cells.append(_difference_cell(row))
        cells.append("—" if np.isnan(row["n"]) else f"{int(row['n']):,}")
        rows.append(cells)
    heads = ["Recipe", *(title for _, title, _ in shown), *([_DIFFERENCE] if compared else []), "Images"]
    return heads, rows


def _cell(row: Mapping[Any, Any], column: str) -> str:
    value, low, high = row[column], row.get(f"{column}_low", np.nan), row.get(f"{column}_high", np.nan)
    if np.isnan(value):
        return "—"
    if column.endswith("accuracy"):
        ends = "" if np.isnan(low) else f" ({100 * low:.1f}–{100 * high:.1f})"
        return f"{100 * value:.1f}{ends}"
    ends = "" if np.isnan(low) else f" ({words.nats_range(low, high)})"
    return words.nats(value).removesuffix(" nats") + ends


def _difference_cell(row: Mapping[Any, Any]) -> str:
    value, low, high = (row[f"difference{end}"] for end in ("", "_low", "_high"))
    if np.isnan(value):
        return "—"
    star = "*" if clear(low, high) else ""
    return f"{words.points(value).removesuffix(' points')}{star} ({words.points_range(low, high)})"


_LATEX = {
    "\\": r"\textbackslash{}",
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "−": "$-$",
    "×": r"$\times$",
    "–": "--",
    "—": "---",
    "λ": r"$\lambda$",
    "α": r"$\alpha$",
    "β": r"$\beta$",
}
_BOLD = re.compile(r"\\textbf\{(.*)\}", re.DOTALL)


def _latex(text: str) -> str:
    bold = _BOLD.fullmatch(text)
    escaped = "".join(_LATEX.get(sign, sign) for sign in (bold[1] if bold else text)).replace("\n", " ")
    return rf"\textbf{{{escaped}}}" if bold else escaped
