"""From what the reader chose to the two recipes that pages compare."""

from __future__ import annotations

from collections.abc import Sequence

from ri_analysis.engine import Evaluator
from ri_analysis.errors import InputError
from ri_analysis.figures import words
from ri_analysis.hyperparameters import Hyperparameter, Value
from ri_analysis.merging import METHODS, MergeRecipe, Method
from ri_analysis.sides import Sides
from ri_analysis.suite import ORIGINAL
from ri_analysis.ui import resources, state

DEFAULT_METHOD = "task-arithmetic"
METHOD, RESOLVED, OFF, COEFFICIENT = "method", "ri", "off", "c."
MUTED, SOLO = "mute", "solo"  # experts whose coefficient counts as 0, and the ones beside which all others' do
PIN = "pin."  # A, B and C: recipes kept beside the current one
COEFFICIENT_RANGE = (-1.0, 2.0)
MOST = 10.0  # a coefficient at most, and −MOST at least
IMAGE = state.entry("image")  # that is looked at closely, as TASK/INDEX
TASKS = state.entry("tasks")  # whose images are shown, separated by commas; all without it


Pair = Sides[MergeRecipe]
"""One merge of the original experts, and the same of the RI-adapted ones where there are any."""


# Each function below reads the reader's choice, or other texts of the same form: those of a pinned recipe.


def chosen_method(texts: state.Texts | None = None) -> Method:
    """Return the chosen merging method."""
    name = _texts(texts).get(METHOD, DEFAULT_METHOD)
    return METHODS.get(name) or METHODS[DEFAULT_METHOD]


def _texts(texts: state.Texts | None) -> state.Texts:
    return state.choice() if texts is None else texts


def entry(owner: str, item: Hyperparameter) -> str:
    """Return the name under which a hyperparameter's value is kept: every method remembers its own."""
    return f"{owner}.{item.name}"


def chosen_value(owner: str, item: Hyperparameter, texts: state.Texts | None = None) -> Value:
    """Return the chosen value of a hyperparameter; one that is not allowed (an old link) falls back to the default."""
    text = _texts(texts).get(entry(owner, item))
    try:
        return item.default if text is None else item.validate(text, owner)
    except InputError:
        if texts is None:
            state.ignore(entry(owner, item), not_allowed(item))
        else:
            texts.pop(entry(owner, item))
        return item.default


def not_allowed(item: Hyperparameter) -> str:
    """Say which values a hyperparameter takes, and which is used in place of another."""
    return f"{item.label} is {item.range_text}; {words.setting(item.default)} is used"


def chosen_settings(owner: str, items: Sequence[Hyperparameter], texts: state.Texts | None = None) -> dict[str, Value]:
    """Return the chosen value of each hyperparameter."""
    return {item.name: chosen_value(owner, item, texts) for item in items}


def chosen_resolved(evaluator: Evaluator, texts: state.Texts | None = None) -> str | None:
    """Return the chosen RI-adapted expert set, by default the suite's; None where there is none."""
    suite = evaluator.suite
    wanted = _texts(texts).get(RESOLVED)
    return wanted if wanted in {item.name for item in suite.resolved} else suite.default_resolved


def possible_tasks(evaluator: Evaluator, texts: state.Texts | None = None) -> tuple[str, ...]:
    """Return the tasks that can be compared: those the RI set has experts for, all where there is none."""
    resolved = chosen_resolved(evaluator, texts)
    return evaluator.suite.tasks if resolved is None else evaluator.suite.set_tasks(resolved)


def named(entry_name: str, texts: state.Texts | None = None) -> set[str]:
    """Return the tasks that an entry lists."""
    return set(_texts(texts).get(entry_name, "").split(",")) - {""}


def chosen_tasks(evaluator: Evaluator, texts: state.Texts | None = None) -> tuple[str, ...]:
    """Return the tasks to merge."""
    off = named(OFF, texts)
    return tuple(task for task in possible_tasks(evaluator, texts) if task not in off)


def chosen_coefficient(task: str, texts: state.Texts | None = None) -> float:
    """Return the chosen coefficient of a task's expert, 1 by default; muting is not looked at."""
    try:
        value = float(_texts(texts).get(COEFFICIENT + task, 1.0))
        return value if -MOST <= value <= MOST else 1.0
    except ValueError:
        return 1.0


def active(task: str, texts: state.Texts | None = None) -> bool:
    """Whether a task's expert takes part: it is not muted, and no other is soloed instead."""
    solo = named(SOLO, texts)
    return task in solo if solo else task not in named(MUTED, texts)


def unmergeable(method: Method, tasks: Sequence[str]) -> str:
    """Say why a method can't merge the experts of these tasks, "" where it can."""
    low, high = method.counts
    if not tasks:
        return "No task is switched on, so there is nothing to merge."
    if method.merges(len(tasks)):
        return ""
    wanted = f"exactly {low}" if high == low else f"at least {low}" if high is None else f"{low} to {high}"
    return f"{method.title} merges {wanted} experts; {len(tasks)} {'is' if len(tasks) == 1 else 'are'} switched on."


def chosen_pair(evaluator: Evaluator, texts: state.Texts | None = None) -> Pair:
    """Return the recipes to compare. Raises InputError when the choice makes no recipe."""
    method, tasks = chosen_method(texts), chosen_tasks(evaluator, texts)
    if why := unmergeable(method, tasks):
        raise InputError(why)
    weights = {task: chosen_coefficient(task, texts) if active(task, texts) else 0.0 for task in tasks}
    settings = chosen_settings(method.name, method.hyperparameters, texts)
    before = evaluator.recipe(
        method.name, settings, experts=ORIGINAL, tasks=tasks, coefficients=weights if method.weighted else {}
    )
    resolved = chosen_resolved(evaluator, texts)
    return Pair(before, None if resolved is None else before.with_experts(resolved))


def describe(pair: Pair) -> str:
    """Return the recipe in words."""
    recipe = pair.before
    parts = [f"**{METHODS[recipe.method].title}**"]
    parts += words.settings(METHODS[recipe.method].hyperparameters, recipe.settings)
    parts.append(f"{len(recipe.tasks)} of the suite's experts" if state.choice().get(OFF) else "all experts")
    parts += [f"{task} × {words.signed(value)}" for task, value in recipe.coefficients]
    return ", ".join(parts)


def of_any_suite(name: str) -> bool:
    """Whether an entry of the choice means the same on another suite: the method, and hyperparameters of methods."""
    return name == METHOD or name.partition(".")[0] in METHODS


def in_recipe(name: str) -> bool:
    """Whether an entry of the choice makes the shown recipe; another method's values do not."""
    if name.startswith(COEFFICIENT) or name in (MUTED, SOLO):
        return chosen_method().weighted
    return name in (METHOD, RESOLVED, OFF) or name.startswith(f"{chosen_method().name}.")


def in_url(name: str) -> bool:
    """Whether an entry of the choice belongs in the URL: what makes the shown recipe, and the pinned ones."""
    return in_recipe(name) or name.startswith(PIN)


def in_address(page: str, name: str) -> bool:
    """Whether an entry of the choice belongs in a page's address: the suite, the recipe, and the page's own choices.

    So do the tasks whose images are shown and the image that is looked at, which pages share.
    """
    return name in (resources.CHOSEN_SUITE, TASKS, IMAGE) or in_url(name) or name.startswith(f"{page}.")
