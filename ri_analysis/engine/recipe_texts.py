"""Recipes as a line of text, and several recipes as one line: `ties,tsv-m experts=original,mix scale=0.3,0.5`."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from itertools import product
from math import prod
from typing import Any

from ri_analysis import limits
from ri_analysis.engine.evaluator import Evaluator
from ri_analysis.errors import InputError
from ri_analysis.merging import METHODS, MergeRecipe
from ri_analysis.suite import ORIGINAL, Suite

ALL = "all"
_EXPERTS, _TASKS, _SEED, _LINES, _COEFFICIENT = "experts", "tasks", "seed", "lines", "coefficient."
_SHOWN = 80  # characters of a text in a message about it
_MODEL = re.compile(r"merged model \((.*)\)", re.DOTALL)  # see MergeRecipe.source


def written(recipe: MergeRecipe, suite: Suite) -> str:
    """Return a recipe as the text that `expand` reads, with every hyperparameter."""
    parts = [recipe.method]
    if recipe.experts != ORIGINAL:
        parts.append(f"{_EXPERTS}={recipe.experts}")
    parts += [f"{name}={value}" for name, value in recipe.hyperparameters]
    if recipe.tasks != suite.tasks:
        parts.append(f"{_TASKS}={','.join(recipe.tasks)}")
    parts += [f"{_COEFFICIENT}{task}={value}" for task, value in recipe.coefficients]
    if recipe.lines is not None:
        parts.append(f"{_LINES}={recipe.lines[0]},{recipe.lines[1]}")
    if recipe.seed:
        parts.append(f"{_SEED}={recipe.seed}")
    return shlex.join(parts)


def expand(evaluator: Evaluator, text: str) -> list[MergeRecipe]:
    """Return the recipes that a text stands for: its methods, expert sets and values in every combination.

    The text is METHOD[,METHOD…] and then, in any order, `experts=A,B`, `NAME=V1,V2…` for hyperparameters, `seed=0,1`,
    `tasks=A,B`, `coefficient.TASK=V` and `lines=ALPHA,BETA`. `all` stands for every method that can merge the tasks,
    or every expert set. Raises InputError that names what does not fit, and for more recipes than the limit `recipes`.
    """
    try:
        first, *rest = shlex.split(text)
    except ValueError:
        raise InputError(f"expected a recipe such as 'ties scale=0.3 experts=ri', found {text!r}") from None
    given = _given(rest)
    sets = _several(given.pop(_EXPERTS, ORIGINAL), _EXPERTS)
    sets = [*evaluator.suite.expert_sets] if sets == [ALL] else sets
    tasks = _several(given.pop(_TASKS), _TASKS) if _TASKS in given else None
    seeds = _numbers(given.pop(_SEED, "0"), _SEED, int)
    lines = _numbers(given.pop(_LINES), _LINES, float) if _LINES in given else None
    if lines is not None and len(lines) != 2:
        raise InputError(f"lines: expected ALPHA,BETA, found {lines!r}")
    coefficients = {
        name.removeprefix(_COEFFICIENT): _one_number(given.pop(name), name)
        for name in list(given)
        if name.startswith(_COEFFICIENT)
    }
    values = {name: _several(text, name) for name, text in given.items()}
    count = len(tasks or evaluator.suite.tasks)
    every = [item.name for item in METHODS.values() if item.merges(count)]
    methods = every if first == ALL else _several(first, "METHOD")
    ways = len(methods) * len(sets) * len(seeds) * prod(map(len, values.values()))
    limits.require("recipes", ways, text if len(text) < _SHOWN else f"{text[:_SHOWN]}…")
    found = [
        evaluator.recipe(
            method,
            dict(zip(values, chosen, strict=True)),
            experts=experts,
            tasks=tasks,
            coefficients=coefficients,
            lines=None if lines is None else (float(lines[0]), float(lines[1])),
            seed=int(seed) if method in METHODS and METHODS[method].seeded else 0,
        )
        for method in methods
        for chosen in product(*values.values())
        for experts in sets
        for seed in seeds
    ]
    return list(dict.fromkeys(found))


def begins_recipe(text: str) -> bool:
    """Whether the first word of a text is a method, or several."""
    first, *_ = text.split(maxsplit=1) or [""]
    return first == ALL or all(name in METHODS for name in first.split(","))


def _given(words: Iterable[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for word in words:
        name, sign, value = word.partition("=")
        if not sign or not name or not value:
            raise InputError(f"expected NAME=VALUE in a recipe, found {word!r}")
        if name in found:
            raise InputError(f"{name}: expected once in a recipe, found twice; separate several values by commas")
        found[name] = value
    return found


def _listed(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _several(text: str, name: str) -> list[str]:
    found = _listed(text)
    if not found:
        raise InputError(f"{name}: expected at least one, separated by commas, found {text!r}")
    return found


def _numbers(text: str, name: str, kind: type[int] | type[float]) -> list[float]:
    try:
        found = [kind(part) for part in _listed(text)]
    except ValueError:
        found = []
    if not found:
        raise InputError(f"{name}: expected {'whole ' if kind is int else ''}numbers, found {text!r}")
    return found


def _one_number(text: str, name: str) -> float:
    found = _numbers(text, name, float)
    if len(found) > 1:
        raise InputError(f"{name}: expected one number, found {text!r}")
    return found[0]


def of_record(evaluator: Evaluator, model: str) -> MergeRecipe | None:
    """Return the recipe that a record calls `model`; None for another model, and where it is none of this suite's."""
    merged = _MODEL.fullmatch(model)
    if merged is None:
        return None
    found: dict[str, list[str]] = {}
    try:
        words = shlex.split(merged[1].replace("--lines=", "--lines "))
        for flag, value in zip(words[::2], words[1::2], strict=True):
            found.setdefault(flag, []).append(value)
        return evaluator.recipe(
            found["--method"][0],
            _pairs(found.get("--set", [])),
            experts=found["--experts"][0],
            tasks=found["--tasks"][0].split(","),
            coefficients={task: float(value) for task, value in _pairs(found.get("--coefficient", [])).items()},
            lines=_two(found["--lines"][0]) if "--lines" in found else None,
            seed=int(found.get("--seed", ["0"])[0]),
        )
    except (InputError, ValueError, KeyError):
        return None


def _pairs(texts: Sequence[str]) -> Mapping[str, Any]:
    return {name: value for name, _, value in (text.rpartition("=") for text in texts)}


def _two(text: str) -> tuple[float, float]:
    first, second = map(float, text.split(","))
    return first, second
