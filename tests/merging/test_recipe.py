from __future__ import annotations

import json
import math
import shlex

import pytest

from ri_analysis.errors import InputError
from ri_analysis.merging import MergeRecipe

TASKS = ("a", "b", "c")
WEIGHTS = {"pretrained": "0", "a": "1", "b": "2", "c": "3", "d": "4"}


def test_defaults_are_filled_in_and_ones_left_out() -> None:
    recipe = MergeRecipe.of("ties", TASKS, {"density": "0.1"}, coefficients={"a": 1, "c": -0.5})
    assert recipe.settings == {"scale": 0.3, "density": 0.1, "merge": "sum"}
    assert recipe.coefficients == (("c", -0.5),)
    assert recipe.scale == 0.3
    assert MergeRecipe.of("karcher", TASKS).scale == 1.0


@pytest.mark.parametrize(
    ("method", "settings", "message"),
    [
        ("tie", {}, "unknown merging method 'tie'; did you mean 'ties'"),
        ("zzz", {}, "unknown merging method 'zzz'; known: averaging, "),
        ("ties", {"densty": 0.1}, "ties: unknown hyperparameter 'densty'; did you mean 'density'"),
        ("ties", {"density": 1.5}, "ties: density must be a number from 0.001 to 1, found 1.5"),
        ("ties", {"density": math.nan}, "ties: density must be a number from 0.001 to 1, found nan"),
        ("ties", {"density": "much"}, "found 'much'"),
        ("ties", {"merge": "max"}, "ties: merge must be one of sum, mean, found 'max'"),
        ("ties", {"scale": math.inf}, "ties: scale must be a number from −10 to 10, found inf"),
        ("wudi", {"steps": 2.5}, "wudi: steps must be a whole number"),
        ("slerp", {}, "slerp: merges 2 experts, found 3: a, b, c"),
    ],
)
def test_what_does_not_fit_is_named(method: str, settings: dict[str, object], message: str) -> None:
    with pytest.raises(InputError) as caught:
        MergeRecipe.of(method, TASKS, settings)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("tasks", "options", "message"),
    [
        ([], {}, "merges at least 1 experts, found none"),
        (["a", "b", "a"], {}, "task 'a' is named more than once"),
        (["a"], {"coefficients": {"b": 2}}, "coefficient for unknown task 'b'; known: a"),
        (["a"], {"coefficients": {"a": math.nan}}, "coefficient of 'a' must be a finite number, found nan"),
        (["a"], {"lines": (0.5, math.inf)}, "α and β must be finite numbers, found 0.5, inf"),
    ],
)
def test_tasks_coefficients_and_lines_are_checked(tasks: list[str], options: dict[str, object], message: str) -> None:
    with pytest.raises(InputError) as caught:
        MergeRecipe.of("averaging", tasks, **options)  # type: ignore[arg-type]
    assert message in str(caught.value)


@pytest.mark.parametrize("method", ["slerp", "karcher", "wudi"])
def test_methods_that_are_no_weighted_sum_refuse_coefficients(method: str) -> None:
    with pytest.raises(InputError, match="takes no per-task coefficients, found one for 'a'"):
        MergeRecipe.of(method, ["a", "b"], coefficients={"a": 0.5})
    assert MergeRecipe.of(method, ["a", "b"], coefficients={"a": 1.0}).coefficients == ()


FULL = MergeRecipe.of(
    "dare",
    TASKS,
    {"drop": 1 / 3, "base": "ties"},
    experts="ri",
    coefficients={"b": -1 / 7},
    lines=(0.25, 1 / 3),
    seed=4,
)


def test_a_recipe_survives_json() -> None:
    assert MergeRecipe.from_dict(json.loads(json.dumps(FULL.to_dict()))) == FULL
    plain = MergeRecipe.of("karcher", TASKS)
    assert MergeRecipe.from_dict(json.loads(json.dumps(plain.to_dict()))) == plain


@pytest.mark.parametrize("values", [{}, {"method": "ties"}, {**FULL.to_dict(), "tasks": 3}])
def test_half_a_recipe_is_refused(values: dict[str, object]) -> None:
    with pytest.raises(InputError, match="expected a recipe as"):
        MergeRecipe.from_dict(values)


def test_the_arguments_lose_no_digit() -> None:
    words = shlex.split(FULL.arguments())
    assert words[words.index("--seed") + 1] == "4"
    assert float(words[words.index("--coefficient") + 1].removeprefix("b=")) == -1 / 7
    assert [float(v) for v in words[words.index("--lines") + 1].split(",")] == [0.25, 1 / 3]
    assert f"drop={1 / 3}" in words
    assert "--seed" not in MergeRecipe.of("ties", TASKS, seed=4).arguments()


def test_the_digest_names_what_changes_the_result() -> None:
    ties = MergeRecipe.of("ties", TASKS)
    same = [
        MergeRecipe.of("ties", TASKS, {"density": "0.20"}, seed=9).digest(WEIGHTS),
        MergeRecipe.of("ties", TASKS).with_experts("ri").digest(WEIGHTS),  # the weights' digests say which
        ties.digest(WEIGHTS | {"d": "5"}),
    ]
    assert set(same) == {ties.digest(WEIGHTS)}
    other = [
        MergeRecipe.of("ties", TASKS, {"density": 0.21}).digest(WEIGHTS),
        MergeRecipe.of("ties", ("b", "a", "c")).digest(WEIGHTS),
        MergeRecipe.of("ties", TASKS, lines=(1.0, 0.0)).digest(WEIGHTS),
        MergeRecipe.of("ties", TASKS, coefficients={"a": 2}).digest(WEIGHTS),
        ties.digest(WEIGHTS | {"a": "9"}),
        ties.digest(WEIGHTS | {"pretrained": "9"}),
    ]
    assert len({*other, ties.digest(WEIGHTS)}) == 7
    seeds = {MergeRecipe.of("dare", TASKS, seed=seed).digest(WEIGHTS) for seed in (0, 1)}
    assert len(seeds) == 2
