from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import made
import numpy as np
import pytest
import torch

from ri_analysis.engine import Evaluation, Evaluator
from ri_analysis.engine.merged_vectors import FEW
from ri_analysis.engine.outcomes import Outcomes
from ri_analysis.errors import Cancelled
from ri_analysis.live import probe as live_module
from ri_analysis.live import surrogate as surrogate_module
from ri_analysis.live.estimate import estimate
from ri_analysis.live.probe import LiveProbe
from ri_analysis.live.sample import Sample
from ri_analysis.live.surrogate import Grid, Place, Surrogate, fill, lagrange
from ri_analysis.merging import METHODS, MergeRecipe, direction
from ri_analysis.suite import open_suite

pytestmark = pytest.mark.long


@pytest.mark.parametrize("name", [method.name for method in METHODS.values() if method.linear])
def test_a_linear_method_is_a_sum_of_its_experts_terms(evaluator: Evaluator, name: str):
    vectors, tasks = evaluator.suite.task_vectors(), evaluator.suite.tasks
    coefficients = dict(zip(tasks, (-0.5, 0.25, 1.5), strict=True))
    whole = dict(direction(vectors, MergeRecipe.of(name, tasks, coefficients=coefficients)))
    for tensor, expected in whole.items():
        found = torch.zeros_like(expected)
        for task in tasks:
            alone = MergeRecipe.of(name, tasks, coefficients={other: float(other == task) for other in tasks})
            found += coefficients[task] * dict(direction(vectors, alone))[tensor]
        assert torch.allclose(found, expected, atol=1e-6), tensor


@pytest.mark.parametrize("method", ["task-arithmetic", "breadcrumbs", "ties", "tsv-m", "karcher"])
def test_a_look_sees_what_is_measured(evaluator: Evaluator, method: str, monkeypatch: pytest.MonkeyPatch):
    probe = LiveProbe(evaluator, 8)
    monkeypatch.setattr(probe, "_dtype", torch.float32)
    coefficients = {"Reds": 0.5, "Blues": -0.25} if METHODS[method].weighted else {}
    for tasks in (evaluator.suite.tasks, ("Greens", "Blues")):
        kept = {task: value for task, value in coefficients.items() if task in tasks}
        recipes = [
            evaluator.recipe(method, experts=experts, tasks=tasks, coefficients=kept) for experts in ("original", "ri")
        ]
        for recipe, found in zip(recipes, probe.look(recipes), strict=True):
            measured = evaluator.measure(recipe, limit=8)
            assert list(found.correct) == list(tasks)
            for task in tasks:
                assert (found.correct[task] == measured.correct[task]).all()
                assert found.divergence[task] == pytest.approx(measured.divergence[task], abs=1e-4)


def test_bfloat16_is_near_enough(evaluator: Evaluator, monkeypatch: pytest.MonkeyPatch):
    probe = LiveProbe(evaluator, 24)
    monkeypatch.setattr(probe, "_dtype", torch.bfloat16)
    recipe = evaluator.recipe("task-arithmetic")
    (found,), measured = probe.look([recipe]), evaluator.measure(recipe)
    for task in recipe.tasks:
        assert found.divergence[task].mean() == pytest.approx(measured.divergence[task].mean(), abs=0.02)


@pytest.mark.parametrize("method", ["breadcrumbs", "ties"])  # one kept as a matrix, one merged again
def test_a_hand_that_never_rests_leaves_no_more_than_a_few_merges(evaluator: Evaluator, method: str):
    probe = LiveProbe(evaluator, 4)
    for number in range(2 * FEW):
        settings = {{"breadcrumbs": "keep", "ties": "density"}[method]: 0.2 + number / 100}
        probe.look([evaluator.recipe(method, settings, experts=experts) for experts in ("original", "ri")])
        probe.look([evaluator.recipe(method, tasks=evaluator.suite.tasks[number % 3 :][:2])])
    assert max(len(probe._columns), len(probe._merged_vectors._kept)) == FEW
    assert evaluator._digests.cache_info().currsize <= 5  # one for each set of experts, whatever was moved


def test_what_is_kept_for_the_hand_stays_within_its_budget(evaluator: Evaluator, monkeypatch: pytest.MonkeyPatch):
    one = 3 * evaluator.suite.task_vectors().size * 4
    monkeypatch.setattr(live_module, "BUDGET", 2 * one)
    probe = LiveProbe(evaluator, 4)
    for keep in (0.1, 0.2, 0.3, 0.4):
        probe.look([evaluator.recipe("breadcrumbs", {"keep": keep})])
    assert len(probe._columns) == 2


def test_merging_counts_for_what_is_not_along_lambda(evaluator: Evaluator):
    probe = LiveProbe(evaluator, 4)
    ties, sums = evaluator.recipe("ties"), evaluator.recipe("task-arithmetic")
    probe.look([ties, sums])
    assert probe.expected_seconds(ties, moved=True) > probe.seconds
    assert probe.expected_seconds(ties, moved=False) == probe.seconds == probe.expected_seconds(sums, moved=True)
    assert probe.expected_seconds(evaluator.recipe("fisher"), moved=False) == np.inf  # has to learn first


# --- estimates ----------------------------------------------------------------------------------------------------


def evaluation(correct: dict[str, np.ndarray], divergence: dict[str, np.ndarray]) -> Evaluation:
    right = {task: np.ones(len(values), bool) for task, values in correct.items()}
    return Evaluation("made up", {}, correct, right, right, divergence)


def drawn(seed: int) -> tuple[Evaluation, Evaluation]:
    """Two merges of two tasks with 400 images each that agree on most of them."""
    rng = np.random.default_rng(seed)
    first = {task: rng.random(400) < share for task, share in (("A", 0.7), ("B", 0.4))}
    second = {task: np.where(rng.random(400) < 0.85, values, ~values) for task, values in first.items()}
    nats = {task: rng.gamma(1.0, 0.5, 400).astype(np.float32) for task in first}
    near = {task: (values + rng.gamma(0.2, 0.5, 400)).astype(np.float32) for task, values in nats.items()}
    return evaluation(first, nats), evaluation(second, near)


def looked_at(measured: Evaluation, size: int, seed: int) -> Outcomes:
    rng = np.random.default_rng(seed)
    rows = {task: np.sort(rng.permutation(len(values))[:size]) for task, values in measured.correct.items()}
    return made.outcomes(
        {task: values[rows[task]] for task, values in measured.correct.items()},
        {task: values[rows[task]] for task, values in measured.divergence.items()},
        rows,
    )


def sizes(measured: Evaluation) -> dict[str, int]:
    return {task: len(values) for task, values in measured.correct.items()}


def test_the_last_exact_answer_narrows_the_interval_and_it_covers():
    covered, narrower = [], []
    for seed in range(200):
        before, now = drawn(seed)
        outcome = looked_at(now, 40, seed)
        found = estimate(outcome, before, sizes(now))
        unknown = replace(before, correct={}, divergence={})
        plain = estimate(outcome, unknown, sizes(now))
        (value, (low, high)), truth = found.mean_accuracy, now.mean_accuracy[0]
        covered.append(low <= truth <= high)
        narrower.append((high - low) / (plain.mean_accuracy.interval.high - plain.mean_accuracy.interval.low))
        assert plain.mean_accuracy.value == pytest.approx(np.mean([v.mean() for v in outcome.correct.values()]))
        assert low < value < high
    assert np.mean(covered) >= 0.9
    assert np.mean(narrower) < 0.8


def test_a_probe_of_all_images_is_exact():
    before, now = drawn(0)
    found = estimate(looked_at(now, 400, 0), before, sizes(now))
    assert found.mean_accuracy.value == pytest.approx(now.mean_accuracy[0])
    assert found.mean_accuracy.interval.high == pytest.approx(now.mean_accuracy[0])
    assert found.table.interference.tolist() == pytest.approx([v.mean() for v in now.divergence.values()], rel=1e-5)


def test_no_change_on_the_probe_still_leaves_an_interval():
    before, now = drawn(0)
    outcome = looked_at(now, 16, 0)
    rows = {task: each.rows for task, each in outcome.items()}
    same = made.outcomes({"A": outcome.correct["A"], "B": np.ones(16, bool)}, outcome.divergence, rows)
    table = estimate(same, before, sizes(now)).table.set_index("task")
    assert table.accuracy_high["B"] - table.accuracy_low["B"] > 0.05


# --- surrogates ---------------------------------------------------------------------------------------------------


def test_the_weights_reproduce_polynomials():
    places = Grid((-1.0,), (2.0,), (3, 5)).levels[-1]
    for power in range(5):
        value = sum(w * x**power for w, (x,) in zip(lagrange(places, (0.8,)), places, strict=True))
        assert value == pytest.approx(0.8**power)


def test_the_weights_in_a_plane_reproduce_products_of_polynomials():
    (places,) = Grid((-1.0, -1.0), (2.0, 2.0), (3,)).levels
    assert set(places) == {(x, y) for x in (-1.0, 0.5, 2.0) for y in (-1.0, 0.5, 2.0)}
    for power, other in ((0, 0), (2, 1), (1, 2), (2, 2)):
        weights = lagrange(places, (0.8, -0.3))
        value = sum(w * x**power * y**other for w, (x, y) in zip(weights, places, strict=True))
        assert value == pytest.approx(0.8**power * (-0.3) ** other)


@pytest.mark.parametrize(
    "grid", [Grid((0.1,), (1.0,)), *(Grid((-1.0, -1.0), (2.0, 2.0), sides) for sides in ((2, 3), (3, 5)))]
)
def test_each_level_begins_with_the_one_before_and_is_checked_off_all(grid: Grid):
    axes = len(grid.low)
    assert [len(level) for level in grid.levels] == [side**axes for side in grid.sides]
    for level, finer in pairwise(grid.levels):
        assert finer[: len(level)] == level
    checks = {place for some in grid.checks for place in some}
    assert len(checks) == 4
    assert not checks & set(grid.levels[-1])
    assert len(list(grid.steps)) == len(grid.levels[-1]) + 4


def test_a_grid_of_whole_numbers_has_each_once_and_checks_none_of_them():
    grid = Grid((1.0,), (4.0,), fitting=lambda place: (float(round(place[0])),))
    assert sorted(grid.levels[-1]) == [(1.0,), (2.0,), (3.0,), (4.0,)]
    assert grid.checks == [[], []]


def test_a_sample_tells_how_far_it_is_and_can_be_given_up(evaluator: Evaluator):
    told: list[int] = []
    sample = Sample.of(evaluator, 8, lambda done, _total: told.append(done))
    assert told[-1] == 24
    assert {task: len(rows) for task, rows in sample.rows.items()} == {"Reds": 8, "Greens": 8, "Blues": 8}

    def give_up(_done: int, _total: int) -> None:
        raise Cancelled("the hand moved on")

    with pytest.raises(Cancelled):
        Sample.of(evaluator, 9, give_up)


def on_grid(evaluator: Evaluator, place: Place):  # type: ignore[no-untyped-def]
    """Task Arithmetic's recipe at λ, or at two tasks' coefficients."""
    if len(place) == 1:
        return evaluator.recipe("task-arithmetic", {"scale": place[0]})
    pairs = zip(evaluator.suite.tasks[:2], place, strict=True)
    return evaluator.recipe("task-arithmetic", coefficients=dict(pairs))


@pytest.mark.parametrize(
    ("grid", "known", "between"),
    [
        (Grid((0.0,), (1.0,)), (0.5,), (0.62,)),
        (Grid((-1.0, -1.0), (2.0, 2.0), (3, 5)), (0.5, 2.0), (1.1, 0.8)),
    ],
)
def test_a_surrogate_is_exact_where_it_was_measured_and_says_how_wrong_it_is_elsewhere(
    evaluator: Evaluator, grid: Grid, known: Place, between: Place, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(surrogate_module, "GOOD", (0.0, 0.0))  # measure all of it
    surrogate, asked = Surrogate(Sample.of(evaluator, 24), grid), []

    def measure(place: Place) -> list[dict[str, torch.Tensor]]:
        asked.append(place)
        sets = [(evaluator.suite.task_data(task), None) for task in evaluator.suite.tasks]
        features = evaluator.encoder.features_of_many(evaluator.merged(on_grid(evaluator, place)), sets)
        return [dict(zip(evaluator.suite.tasks, features, strict=True))]

    errors = {}
    for _ in fill([surrogate], measure):
        if surrogate.usable:
            errors[surrogate.usable] = surrogate.error()
        else:
            assert surrogate.outcomes(known) is None
    assert list(errors) == [len(level) for level in grid.levels]
    nats = [error.mean_interference for error in errors.values()]
    assert nats[-1] < nats[0]
    for place in (known, between):
        truth, found = evaluator.measure(on_grid(evaluator, place)), surrogate.outcomes(place)
        assert found is not None
        off = [found.divergence[task].mean() - values.mean() for task, values in truth.divergence.items()]
        assert abs(np.mean(off)) <= (1e-4 if place == known else nats[-1] + 1e-3)
    assert surrogate.outcomes((*known[:-1], 2.1)) is None  # beyond the ends
    count = len(asked)
    assert (list(fill([surrogate], measure)), len(asked)) == ([], count)  # nothing is measured again


def test_no_finer_level_is_measured_where_the_error_is_good(evaluator: Evaluator):
    surrogate = Surrogate(Sample.of(evaluator, 24), Grid((0.0,), (1.0,)))
    sets = [(evaluator.suite.task_data(task), None) for task in evaluator.suite.tasks]
    features = evaluator.encoder.features_of_many(evaluator.merged(on_grid(evaluator, (0.0,))), sets)
    same = [dict(zip(evaluator.suite.tasks, features, strict=True))]
    assert list(fill([surrogate], lambda place: same)) == [1, 2, 3, 4, 5, 12, 13]  # no finer level, but all checks
    assert (len(surrogate.points), len(surrogate.checks)) == (3, 4)


# --- the embedded suite -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Evaluator:
    workspace = tmp_path_factory.mktemp("workspace")
    return Evaluator(open_suite("demo", workspace), workspace, "cpu")


def test_the_probes_interval_covers_the_exact_value(demo: Evaluator):
    """Six random recipes, each estimated from the one before; tests/benchmarks/live_estimates.py draws many."""
    rng, covered, widths = np.random.default_rng(0), [], []
    probe, last = LiveProbe(demo, 32), demo.measure(demo.recipe("task-arithmetic", experts="ri"))
    for _ in range(6):
        weights = {task: float(rng.uniform(0, 1.5)) for task in demo.suite.tasks}
        scale = float(rng.uniform(0.05, 1))
        recipe = demo.recipe("task-arithmetic", {"scale": scale}, experts="ri", coefficients=weights)
        (found,) = probe.estimates([recipe], [last])
        last = demo.measure(recipe)
        low, high = found.mean_accuracy.interval
        covered.append(low <= last.mean_accuracy[0] <= high)
        widths.append((high - low) / 2)
    assert sum(covered) >= 5
    assert max(widths) <= 0.06
