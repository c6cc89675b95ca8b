"""Many recipes side by side: the numbers are those of each alone, and recipes are found again in the store."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ri_analysis.engine import Evaluator, accuracy_change, on_tasks
from ri_analysis.engine.comparing import Collection, differences, ordered, summarised
from ri_analysis.engine.recipe_texts import expand, of_record, written
from ri_analysis.errors import InputError
from ri_analysis.intervals import bootstrap_mean, bootstrap_means
from ri_analysis.suite import open_suite


def test_intervals_of_many_are_those_of_each_alone() -> None:
    generator = np.random.default_rng(5)
    flags = [generator.random((4, n)) < 0.6 for n in (40, 2300)]  # the larger takes several blocks of resamples
    nats = [generator.exponential(size=(4, n)) for n in (40, 2300)]
    for groups, exact in ((flags, True), (nats, False)):
        found = bootstrap_means(groups, seed=3)
        alone = [bootstrap_mean([group[one] for group in groups], seed=3) for one in range(4)]
        (np.testing.assert_array_equal if exact else np.testing.assert_allclose)(found, alone)
    with pytest.raises(ValueError, match="empty"):
        bootstrap_means([np.zeros((2, 0))])


def naive_interval(before: dict[str, np.ndarray], after: dict[str, np.ndarray], seed: int = 0) -> tuple[float, float]:
    """A paired bootstrap as a textbook writes it: draw images, task by task, and take the difference of both means."""
    generator = np.random.default_rng(seed)
    drawn = {
        task: [generator.integers(0, len(flags), len(flags)) for _ in range(1000)] for task, flags in before.items()
    }
    changes = [
        np.mean([after[task][drawn[task][turn]].mean() - before[task][drawn[task][turn]].mean() for task in before])
        for turn in range(1000)
    ]
    low, high = np.quantile(changes, [0.025, 0.975])
    return float(low), float(high)


def test_differences_are_those_of_a_naive_paired_bootstrap(evaluator: Evaluator) -> None:
    recipes = expand(evaluator, "averaging,ties experts=all scale=0.5,1")
    evaluations = [evaluator.measure(recipe) for recipe in recipes]
    generator = np.random.default_rng(1)  # the tiny suite's models hardly differ
    evaluations = [
        replace(each, correct={task: generator.random(len(flags)) < 0.5 for task, flags in each.correct.items()})
        for each in evaluations
    ]
    measured = summarised(recipes, evaluations)
    for place, change in enumerate(differences(measured, measured[2])):
        if place == 2:
            assert change is None  # from itself
            continue
        assert change is not None
        assert change.interval == accuracy_change(evaluations[2], evaluations[place]).interval
        assert change.value == pytest.approx(accuracy_change(evaluations[2], evaluations[place]).value)
        np.testing.assert_allclose(
            change.interval, naive_interval(evaluations[2].correct, evaluations[place].correct), atol=1e-12
        )


def test_numbers_are_the_evaluation_s(evaluator: Evaluator) -> None:
    recipes = expand(evaluator, "averaging,ties experts=all")
    for recipe, measured in zip(
        recipes, summarised(recipes, [evaluator.measure(recipe) for recipe in recipes]), strict=True
    ):
        alone = evaluator.measure(recipe)
        for name in ("accuracy", "interference"):
            value, (low, high) = getattr(alone, f"mean_{name}")
            ends = [measured.numbers[f"{name}{end}"] for end in ("", "_low", "_high")]
            np.testing.assert_allclose(ends, [value, low, high], rtol=1e-12)
        assert measured.numbers["normalised_accuracy"] == alone.mean_normalised_accuracy
        low, high = alone.normalised_accuracy_interval
        assert measured.numbers["normalised_accuracy_low"] == pytest.approx(low)
        assert measured.numbers["worst_accuracy"] == alone.table["accuracy"].min()
        assert measured.numbers["n"] == alone.n
        assert list(measured.by_task["task"]) == list(alone.table["task"])
        np.testing.assert_allclose(measured.by_task["interference"], alone.table["interference"], rtol=1e-12)


def test_merges_of_some_tasks_are_compared_on_the_tasks_of_both(evaluator: Evaluator) -> None:
    recipes = (
        expand(evaluator, "averaging tasks=Reds,Blues")
        + expand(evaluator, "averaging")
        + expand(evaluator, "averaging tasks=Greens")
    )
    evaluations = [evaluator.measure(recipe) for recipe in recipes]
    found = differences(summarised(recipes, evaluations), summarised(recipes, evaluations)[0])
    both = ["Reds", "Blues"]
    expected = accuracy_change(on_tasks(evaluations[0], both), on_tasks(evaluations[1], both))
    assert found[1] is not None
    assert found[1].interval == expected.interval
    assert found[2] is None  # no task in common


def test_a_recipe_is_the_text_it_is_written_as(evaluator: Evaluator) -> None:
    texts = [
        "all experts=all",
        "ties experts=mild scale=0.1,0.25 density=0.3 coefficient.Reds=-0.5 lines=0.2,0.8",
        "dare seed=0,4 tasks=Reds,Blues",
    ]
    found = [recipe for text in texts for recipe in expand(evaluator, text)]
    assert len(found) > 30
    for recipe in found:
        assert expand(evaluator, written(recipe, evaluator.suite)) == [recipe]
        assert of_record(evaluator, recipe.source) == recipe
    assert ordered(evaluator.suite, [*found, *found[::-1]]) == ordered(evaluator.suite, found)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("tise", "did you mean 'ties'"),
        ("ties scale", "expected NAME=VALUE"),
        ("ties scale=0.1 scale=0.2", "expected once"),
        ("ties weight=1", "unknown hyperparameter 'weight'"),
        ("ties experts=unknown", "unknown expert set 'unknown'"),
        ("dare seed=x", "expected whole numbers"),
        ("ties lines=1", "ALPHA,BETA"),
        ("ties 'scale=1", "expected a recipe"),
        (",", "METHOD: expected at least one"),
        ("ties scale=,", "scale: expected at least one"),
        ("ties experts=,", "experts: expected at least one"),
        ("ties coefficient.Reds=1,2", "coefficient.Reds: expected one number, found '1,2'"),
        ("", "expected a recipe"),
    ],
)
def test_a_text_that_is_no_recipe_is_one_message(evaluator: Evaluator, text: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        expand(evaluator, text)


def test_more_recipes_than_a_table_holds_are_refused_before_one_is_made(evaluator: Evaluator) -> None:
    many = ",".join(["0.1"] * 1000)
    with pytest.raises(InputError, match=r"at most 10,000 recipes of one line of text, found 1,000,000,000;"):
        expand(evaluator, f"ties scale={many} density={many} seed={','.join('1' * 1000)}")


def test_what_was_measured_is_found_again_by_another_process(evaluator: Evaluator, tiny: Path, workspace: Path) -> None:
    recipes = expand(evaluator, "averaging,ties experts=all")
    for recipe in recipes:
        evaluator.measure(recipe)
    evaluator.measure(evaluator.recipe("tsv-m"), limit=5)  # not on all images
    evaluator.measure(evaluator.recipe("iso-c"), split="validation")
    another = Evaluator(open_suite(str(tiny), workspace), workspace, "cpu")
    found = Collection()
    assert found.look(another)
    assert found.recipes(another) == ordered(another.suite, recipes)
    measured = found.get(another, recipes[1])
    assert measured is not None
    assert measured.numbers["accuracy"] == evaluator.measure(recipes[1]).mean_accuracy[0]
    assert not found.look(another, [another.recipe("pcb")], seconds=-1.0)  # no time for a new one
    another.measure(another.recipe("tsv-m"))
    assert found.look(another)
    assert another.recipe("tsv-m") in found.recipes(another)


def test_no_number_of_another_number_format_or_of_other_weights(
    evaluator: Evaluator, tiny: Path, workspace: Path
) -> None:
    import torch

    recipe = evaluator.recipe("averaging")
    found = Collection()
    found.measure(evaluator, [recipe])
    assert found.recipes(evaluator) == [recipe]
    half = Evaluator(open_suite(str(tiny), workspace), workspace, "cpu", number_format=torch.bfloat16)
    assert found.get(half, recipe) is None
    assert found.recipes(half) == []
    found.look(half)
    assert found.recipes(half) == []
