"""A merge, written down."""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ri_analysis.errors import InputError
from ri_analysis.files import digest
from ri_analysis.hyperparameters import Value, complete, suggest
from ri_analysis.merging.registry import find_method

Pairs = tuple[tuple[str, Value], ...]


def images_of(task: str) -> str:
    """Return what the images of `task` are called among a recipe's ingredients."""
    return f"images of {task}"


@dataclass(frozen=True)
class MergeRecipe:
    """What to merge and how; build it with `MergeRecipe.of`, which validates and fills in the defaults.

    `hyperparameters` holds every declared one; `coefficients` only those that differ from 1; `experts` names the
    expert set; `lines` is LiNeS' (α, β).
    """

    method: str
    hyperparameters: Pairs
    tasks: tuple[str, ...]
    experts: str = "original"
    coefficients: tuple[tuple[str, float], ...] = ()
    lines: tuple[float, float] | None = None
    seed: int = 0

    @classmethod
    def of(
        cls,
        method: str,
        tasks: Sequence[str],
        settings: Mapping[str, object] | None = None,
        *,
        experts: str = "original",
        coefficients: Mapping[str, float] | None = None,
        lines: tuple[float, float] | None = None,
        seed: int = 0,
    ) -> MergeRecipe:
        """Validate against the method's declaration. Raises InputError naming what does not fit."""
        declared = find_method(method)
        low, high = declared.counts
        if not declared.merges(len(tasks)):
            wanted = f"{low}" if high == low else f"at least {low}" if high is None else f"{low} to {high}"
            found = f"{len(tasks)}: {', '.join(tasks)}" if tasks else "none"
            raise InputError(f"{method}: merges {wanted} experts, found {found}")
        if repeated := [task for number, task in enumerate(tasks) if task in tasks[:number]]:
            raise InputError(f"{method}: task {repeated[0]!r} is named more than once; name each expert once")
        values = complete(declared.hyperparameters, settings or {}, method)
        coefficients = {task: float(value) for task, value in (coefficients or {}).items()}
        for task in coefficients:
            if task not in tasks:
                raise InputError(f"coefficient for unknown task {task!r}; {suggest(task, list(tasks))}")
            if not math.isfinite(coefficients[task]):
                raise InputError(f"coefficient of {task!r} must be a finite number, found {coefficients[task]!r}")
        if lines is not None and not all(math.isfinite(value) for value in lines):
            raise InputError(f"LiNeS' α and β must be finite numbers, found {lines[0]!r}, {lines[1]!r}")
        changed = tuple((task, coefficients[task]) for task in tasks if coefficients.get(task, 1.0) != 1.0)
        if changed and not declared.weighted:
            raise InputError(f"{method}: takes no per-task coefficients, found one for {changed[0][0]!r}")
        return cls(method, tuple(values.items()), tuple(tasks), experts, changed, lines, seed)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> MergeRecipe:
        """Return the recipe that `to_dict` wrote, validated again. Raises InputError when it is not whole."""
        try:
            lines = values.get("lines")
            return cls.of(
                values["method"],
                values["tasks"],
                values["hyperparameters"],
                experts=values["experts"],
                coefficients=values["coefficients"],
                lines=None if lines is None else (float(lines[0]), float(lines[1])),
                seed=int(values["seed"]),
            )
        except (KeyError, TypeError, IndexError, AttributeError) as error:
            raise InputError(f"expected a recipe as MergeRecipe.to_dict writes it, found {values!r}") from error

    def with_experts(self, experts: str) -> MergeRecipe:
        """Return the same merge of another expert set."""
        return replace(self, experts=experts)

    def of_tasks(self, tasks: Collection[str]) -> MergeRecipe:
        """Return the same merge, hyperparameters included, of some of its experts, in its order."""
        kept = tuple(task for task in self.tasks if task in tasks)
        return replace(self, tasks=kept, coefficients=tuple(pair for pair in self.coefficients if pair[0] in tasks))

    @property
    def settings(self) -> dict[str, Value]:
        """Every hyperparameter by name."""
        return dict(self.hyperparameters)

    @property
    def scale(self) -> float:
        """λ, 1 for a method without one."""
        return float(self.settings.get("scale", 1.0))

    def to_dict(self) -> dict[str, object]:
        """Return the recipe as plain JSON values."""
        return {
            "method": self.method,
            "hyperparameters": self.settings,
            "tasks": self.tasks,
            "experts": self.experts,
            "coefficients": dict(self.coefficients),
            "lines": self.lines,
            "seed": self.seed,
        }

    @property
    def source(self) -> str:
        """What the merged model is called in an error: with all that it takes to make it again."""
        return f"merged model ({self.arguments()})"

    @property
    def ingredients(self) -> tuple[str, ...]:
        """What is merged: `pretrained`, each task for its expert, and each task's images where the method sees any."""
        images = self.tasks if find_method(self.method).statistic is not None else ()
        return ("pretrained", *self.tasks, *map(images_of, images))

    def digest(self, ingredients: Mapping[str, str]) -> str:
        """Return the name of this merge of ingredients with these content digests."""
        files = {name: ingredients[name] for name in self.ingredients}
        recipe = {key: value for key, value in self.to_dict().items() if key != "experts"}
        method = find_method(self.method)
        if not method.seeded:
            recipe.pop("seed")
        if method.source:
            recipe["source"] = method.source
        return digest(json.dumps([recipe, files], sort_keys=True))

    def arguments(self) -> str:
        """Return the command-line arguments that give this recipe."""
        words = ["--method", self.method, "--experts", self.experts, "--tasks", ",".join(self.tasks)]
        for name, value in self.hyperparameters:
            words += ["--set", f"{name}={value}"]
        for task, value in self.coefficients:
            words += ["--coefficient", f"{task}={value}"]
        if self.lines:
            numbers = f"{self.lines[0]},{self.lines[1]}"
            words += [f"--lines={numbers}"] if numbers.startswith("-") else ["--lines", numbers]  # else it were a flag
        if find_method(self.method).seeded:
            words += ["--seed", str(self.seed)]
        return shlex.join(words)

    def call(self) -> str:
        """Return the arguments in Python that give this recipe: those of `suite.measure` and `suite.merge`."""
        words = [repr(self.method), *(f"{name}={value!r}" for name, value in self.hyperparameters)]
        words += [f"tasks={list(self.tasks)!r}"] + [f"experts={self.experts!r}"] * (self.experts != "original")
        words += [f"coefficients={dict(self.coefficients)!r}"] if self.coefficients else []
        words += [f"lines={self.lines!r}"] if self.lines else []
        words += [f"seed={self.seed}"] if find_method(self.method).seeded else []
        return ", ".join(words)
