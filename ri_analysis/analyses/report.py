"""What `ri-analysis interference` prints of some analyses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ri_analysis.analyses.analysis import Analysis, Answer, rows
from ri_analysis.analyses.registry import find_analysis
from ri_analysis.engine.evaluator import Evaluator
from ri_analysis.merging import MergeRecipe
from ri_analysis.sides import Sides

USUAL = ("crosstalk", "drift", "blocks", "weight-space")
BLAME = "contribution"
_ROWS = 24  # of a table that are printed; JSON has all

Answers = Mapping[str, Answer[Any] | str]
"""The answer of each analysis, or why it does not apply."""


def chosen(only: Sequence[str], *, blame: bool = False) -> list[Analysis[Any]]:
    """Return the analyses called `only`, or the usual ones; `blame` adds the experts' contributions.

    Raises InputError for an unknown name.
    """
    names = dict.fromkeys([*(only or USUAL), *([BLAME] if blame else [])])
    return [find_analysis(name) for name in names]


def as_json(evaluator: Evaluator, recipes: Sides[MergeRecipe], answers: Answers, *, whole: bool) -> dict[str, Any]:
    """Return answers as plain JSON values.

    Keys: `suite`, `recipe`; every promised entry of the analyses (see `Analysis.contract`), of the first recipe, None
    where an analysis does not apply; with `whole` also `after`, the other recipe, `number_format`, and `analyses`: for
    each one by its name what it `says`, its `options`, its `limit` (None for all images), and all `tables` by the name
    of their file, as figures show them.
    """
    found: dict[str, Any] = {"suite": evaluator.suite.name, "recipe": recipes.before.to_dict()}
    if whole:
        found["after"] = None if recipes.after is None else recipes.after.to_dict()
        found["number_format"] = str(evaluator.number_format).removeprefix("torch.")
    else:
        answers = {**answers, BLAME: answers.get(BLAME, "")}
    for name, answer in answers.items():
        for key, value in find_analysis(name).contract.items():
            found[key] = value(answer.results.before) if isinstance(answer, Answer) else None
    if whole:
        asked = {name: answer for name, answer in answers.items() if isinstance(answer, Answer)}
        found["analyses"] = {name: _whole(answer) for name, answer in asked.items()}
    return found


def _whole(answer: Answer[Any]) -> dict[str, Any]:
    analysis = find_analysis(answer.analysis)
    return {
        "says": analysis.says(answer).replace("**", ""),
        "options": dict(answer.options),
        "limit": answer.limit,
        "tables": {name: rows(table) for name, table in analysis.tables(answer).items()},
    }


def as_text(answers: Answers) -> str:
    """Return each analysis's title, sentence and tables."""
    return "\n\n".join(_text(find_analysis(name), answer) for name, answer in answers.items())


def _text(analysis: Analysis[Any], answer: Answer[Any] | str) -> str:
    if isinstance(answer, str):
        return f"{analysis.title}\nNot available for this merge: {answer}."
    parts = [f"{analysis.title}\n{analysis.says(answer).replace('**', '')}"]
    for name, table in analysis.tables(answer).items():
        more = f"\n… {len(table) - _ROWS:,} more rows: --json prints them" if len(table) > _ROWS else ""
        shown = table.head(_ROWS).to_string(index=False, float_format="{:.4f}".format, na_rep="")
        parts.append(f"{name}\n{shown}{more}")
    return "\n\n".join(parts)
