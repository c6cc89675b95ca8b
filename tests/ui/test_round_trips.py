"""A recipe is the same after any way out and back: JSON, a command line, one line of text, Python, an address."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from ri_analysis.api.opened import OpenedSuite, Voice
from ri_analysis.cli.opening import another_recipe
from ri_analysis.engine import Evaluator
from ri_analysis.engine.recipe_texts import expand, of_record, written
from ri_analysis.hyperparameters import Hyperparameter
from ri_analysis.json_text import to_json
from ri_analysis.merging import METHODS, MergeRecipe
from ri_analysis.suite import open_suite
from ri_analysis.ui import recipes, state

bounded = settings(
    max_examples=150,
    derandomize=True,
    deadline=None,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="module")
def tiny_evaluator(tiny_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Evaluator:
    workspace = tmp_path_factory.mktemp("workspace")
    return Evaluator(open_suite(str(tiny_template / "suite.toml"), workspace), workspace, "cpu")


def values(item: Hyperparameter) -> st.SearchStrategy[Any]:
    if item.choices:
        return st.sampled_from(item.choices)
    if isinstance(item.default, int):
        return st.integers(int(item.low), int(item.high))
    return st.one_of(st.floats(item.low, item.high), st.just(item.default))


@st.composite
def drawn(draw: st.DrawFn, evaluator: Evaluator, *, as_pages_do: bool) -> MergeRecipe:
    """Any recipe of the suite; `as_pages_do` without LiNeS and seed, its experts in the suite's order."""
    tasks = draw(st.lists(st.sampled_from(evaluator.suite.tasks), min_size=1, unique=True))
    method = draw(st.sampled_from([item for item in METHODS.values() if item.merges(len(tasks))]))
    coefficients = {}
    if method.weighted:
        coefficients = draw(st.dictionaries(st.sampled_from(tasks), st.floats(-10, 10), max_size=3))
    small = st.floats(-1e300, 1e300)
    return evaluator.recipe(
        method.name,
        {item.name: draw(values(item)) for item in method.hyperparameters},
        experts=draw(st.sampled_from(evaluator.suite.expert_sets)),
        tasks=[task for task in evaluator.suite.tasks if task in tasks] if as_pages_do else tasks,
        coefficients=coefficients,
        lines=None if as_pages_do else draw(st.none() | st.tuples(small, small)),
        seed=0 if as_pages_do or not method.seeded else draw(st.integers(0, 2**32 - 1)),
    )


def test_as_json(tiny_evaluator: Evaluator) -> None:
    @bounded
    @given(drawn(tiny_evaluator, as_pages_do=False))
    def holds(recipe: MergeRecipe) -> None:
        assert MergeRecipe.from_dict(json.loads(to_json(recipe.to_dict()))) == recipe

    holds()


def test_as_a_command_line_and_as_the_name_in_a_record(tiny_evaluator: Evaluator) -> None:
    suite = OpenedSuite(tiny_evaluator, "tiny", "cpu", Voice())

    @bounded
    @given(drawn(tiny_evaluator, as_pages_do=False))
    def holds(recipe: MergeRecipe) -> None:
        assert another_recipe(suite, recipe.arguments()) == recipe
        assert of_record(tiny_evaluator, recipe.source) == recipe

    holds()


def test_as_one_line_of_text(tiny_evaluator: Evaluator) -> None:
    @bounded
    @given(drawn(tiny_evaluator, as_pages_do=False))
    def holds(recipe: MergeRecipe) -> None:
        assert expand(tiny_evaluator, written(recipe, tiny_evaluator.suite)) == [recipe]

    holds()


def test_as_python(tiny_evaluator: Evaluator) -> None:
    suite = OpenedSuite(tiny_evaluator, "tiny", "cpu", Voice())

    @bounded
    @given(drawn(tiny_evaluator, as_pages_do=True))
    def holds(recipe: MergeRecipe) -> None:
        assert eval(f"suite.recipe({recipe.call()})", {"suite": suite}) == recipe

    holds()


def test_as_an_address(tiny_evaluator: Evaluator) -> None:
    """What the address says of a choice that was made of a recipe's own values."""

    def texts(recipe: MergeRecipe) -> dict[str, str]:
        method = METHODS[recipe.method]
        found = {recipes.METHOD: recipe.method}
        found |= {
            recipes.entry(recipe.method, item): state.text_of(recipe.settings[item.name])
            for item in method.hyperparameters
        }
        found |= {recipes.COEFFICIENT + task: state.text_of(value) for task, value in recipe.coefficients}
        off = [task for task in tiny_evaluator.suite.tasks if task not in recipe.tasks]
        return found | ({recipes.OFF: ",".join(off)} if off else {})

    @bounded
    @given(drawn(tiny_evaluator, as_pages_do=True))
    def holds(recipe: MergeRecipe) -> None:
        address = dict(parse_qsl(urlencode(texts(recipe)), keep_blank_values=True))
        pair = recipes.chosen_pair(tiny_evaluator, address)
        assert (pair.before.method, pair.before.tasks) == (recipe.method, recipe.tasks)
        found, chosen = ((*each.hyperparameters, *each.coefficients) for each in (pair.before, recipe))
        assert [name for name, _ in found] == [name for name, _ in chosen]
        for (_, one), (_, other) in zip(found, chosen, strict=True):
            assert one == other or math.isclose(float(one), float(other), rel_tol=1e-11)

    holds()


@pytest.mark.parametrize(
    ("value", "text"), [(0.1 + 0.2, "0.3"), (1e-6, "1e-6"), (0.123456789, "0.123456789"), (7, "7")]
)
def test_an_address_holds_every_digit_that_was_typed_and_no_noise(value: float, text: str) -> None:
    assert state.text_of(value) == text
