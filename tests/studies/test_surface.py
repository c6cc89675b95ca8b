from __future__ import annotations

from dataclasses import replace

import made
import numpy as np
import pytest

from ri_analysis.engine import Evaluator
from ri_analysis.engine.grids import between_neighbours, mergeable, scales
from ri_analysis.errors import InputError
from ri_analysis.intervals import bootstrap_mean, normal_mean
from ri_analysis.merging import METHODS
from ri_analysis.studies import sensitivity
from ri_analysis.studies.surface import axis_names, find_axis, plateau, plateau_interval


def test_a_plateau_by_hand():
    # Best .80 at 1; .79 is reached half way (in log λ) from .5 (.78) to 1, and a third of the way from 2 (.80) to 4.
    found = plateau([0.25, 0.5, 1.0, 2.0, 4.0], [0.5, 0.78, 0.80, 0.80, 0.77], log=True)
    assert found.low == pytest.approx(2**-0.5)
    assert found.high == pytest.approx(2 * 2 ** (1 / 3))
    assert found.width == pytest.approx(2 ** (1 / 3) * 2 * 2**0.5)
    assert not found.open


def test_rescaled_task_vectors_gain_nothing_on_a_logarithmic_axis():
    values, scores = np.geomspace(0.1, 10, 21), np.exp(-(np.linspace(-2, 2, 21) ** 2))
    first = plateau(list(values), scores, log=True)
    assert plateau(list(3 * values), scores, log=True).width == pytest.approx(first.width)
    assert plateau(list(3 * values), scores, log=False).width == pytest.approx(
        3 * plateau(list(values), scores, log=False).width
    )


def test_a_plateau_that_reaches_the_end_is_open():
    assert plateau([1.0, 2.0, 4.0], [0.5, 0.6, 0.6], log=True).open
    assert plateau([1.0, 2.0], [0.6, 0.6], log=True).width == pytest.approx(2)
    with pytest.raises(ValueError, match="positive"):
        plateau([0.0, 1.0], [0.5, 0.6], log=True)


def test_a_second_top_does_not_widen_the_plateau():
    assert plateau([1.0, 2.0, 3.0, 4.0], [0.8, 0.5, 0.795, 0.5], log=False).high < 2


def test_a_given_level_cuts_the_curve_there():
    # From the top at 2, .6 is reached half way to 1 (.5) and half way to 4 (.5), in log λ.
    found = plateau([1.0, 2.0, 4.0], [0.5, 0.7, 0.5], log=True, level=0.6)
    assert (found.low, found.high) == pytest.approx((2**0.5, 2 * 2**0.5))
    assert plateau([1.0, 2.0, 4.0], [0.5, 0.7, 0.5], log=True, level=0.9).width == pytest.approx(1)


def test_the_plateaus_interval_holds_the_truth():
    """Curves drawn from known accuracies: the interval covers the true width and shrinks with more images."""
    values, truth = np.geomspace(0.1, 10, 15), 0.8 - 0.04 * np.linspace(-2, 2, 15) ** 2
    width = plateau(list(values), truth, log=True).width

    def interval(n: int) -> tuple[float, float]:
        draws = np.random.default_rng(1).random(n)  # one difficulty an image: neighbouring merges agree on most
        outcomes = [made.outcomes({"task": draws < share}) for share in truth]
        low, high = plateau_interval(list(values), outcomes, log=True)
        return low, high

    low, high = interval(4000)
    assert low <= width <= high
    wide = interval(400)
    assert wide[1] - wide[0] > high - low


def test_the_normal_interval_is_the_bootstraps():
    generator = np.random.default_rng(0)
    samples = [generator.random(500) < share for share in (0.3, 0.6, 0.9)]
    normal, drawn = normal_mean(samples), bootstrap_mean([part.astype(float) for part in samples], resamples=4000)
    assert normal == pytest.approx(drawn, abs=2e-3)
    with pytest.raises(ValueError, match="no empty group"):
        normal_mean([])


def test_scales_and_their_refinement():
    values = scales(METHODS["iso-c"], 3)
    assert values == pytest.approx([0.1, 0.3**0.5, 3.0], rel=1e-3)
    assert between_neighbours([1.0, 4.0, 16.0], 4.0) == [2.0, 8.0]
    assert between_neighbours([1.0, 4.0, 16.0], 16.0) == [8.0, 32.0, 64.0]
    assert between_neighbours([1.0, 4.0, 16.0], 1.0) == [0.5, 2.0, 0.25]
    assert scales(METHODS["karcher"], 3) == []


def test_methods_that_merge_so_many_experts():
    assert "slerp" not in {method.name for method in mergeable(3)}
    assert "slerp" in {method.name for method in mergeable(2)}


def test_axes(evaluator: Evaluator):
    method, tasks = METHODS["ties"], evaluator.suite.tasks
    assert axis_names(method, tasks) == ["scale", "density", *tasks]
    scale = find_axis(method, "scale", tasks, 15)
    assert scale.log
    assert (scale.values[0], scale.values[-1]) == pytest.approx((0.05, 2.0))
    assert scale.default in scale.values
    recipe = evaluator.recipe("ties", {"density": 0.4}, coefficients={"Reds": 0.5})
    moved = scale.put(recipe, 0.7)
    assert moved.settings == recipe.settings | {"scale": 0.7}
    assert scale.of(moved) == 0.7
    task = find_axis(method, "Greens", tasks, 6)
    both = task.put(recipe, -0.5)
    assert dict(both.coefficients) == {"Reds": 0.5, "Greens": -0.5}
    assert both == evaluator.recipe("ties", {"density": 0.4}, coefficients={"Reds": 0.5, "Greens": -0.5})
    assert task.put(both, 1.0) == recipe
    whole = find_axis(METHODS["consensus"], "min_agree", tasks, 15)
    assert whole.values == (1.0, 2.0, 3.0, 4.0)
    moved = whole.put(evaluator.recipe("consensus"), 3.0)
    assert isinstance(moved.settings["min_agree"], int)
    with pytest.raises(InputError, match="no axis 'merge'"):
        find_axis(method, "merge", tasks, 5)


def test_a_field_knows_the_settings_that_measure_it(evaluator: Evaluator):
    defaults = {item.name: item.default for item in sensitivity.STUDY.settings}
    asked = defaults | {"methods": "ties", "x": "scale", "y": "density", "levels": 4, "images": 6}
    wanted = sensitivity.fields(evaluator, asked, {"before": ["original"], "after": ["mild"]})
    moved = [replace(field, base=field.y.put(field.x.put(field.base, 0.7), 0.9)) for field in wanted if field.y]
    assert sensitivity.settings_of(evaluator, moved, 4) == asked  # wherever the reader stands on the axes
    other = [replace(field, base=replace(field.base, lines=(0.5, 1.0))) for field in wanted]
    assert sensitivity.settings_of(evaluator, other, 4) is None
