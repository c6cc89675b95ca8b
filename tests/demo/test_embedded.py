"""What the embedded suites promise, measured on the shipped files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ri_analysis.demo.measured import best_scale, sweep
from ri_analysis.encoder import build_head
from ri_analysis.encoder.heads import TextTower
from ri_analysis.engine import Evaluation, Evaluator, check_suite
from ri_analysis.measures import off_diagonal_mean
from ri_analysis.resolving import record_of
from ri_analysis.suite import EMBEDDED, ORIGINAL, open_suite, resource_root

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Evaluator:
    workspace = tmp_path_factory.mktemp("workspace")
    return Evaluator(open_suite("demo", workspace), workspace, "cpu")


@pytest.mark.parametrize("name", EMBEDDED)
def test_an_embedded_suite_is_in_order(name: str) -> None:
    assert check_suite(name).findings == []


def test_all_of_it_is_small() -> None:
    files = [path for path in (resource_root() / "assets").rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= 60e6


def test_the_demo_has_what_a_study_needs(demo: Evaluator) -> None:
    suite = demo.suite
    assert len(suite.tasks) == 8
    assert all(len(suite.task_data(task)) >= 256 for task in suite.tasks)
    assert sum(not item.oracle for item in suite.spec.auxiliary) >= 4
    assert sum(item.oracle for item in suite.spec.auxiliary) == 1
    assert len(suite.spec.unseen) >= 3
    assert record_of(suite, "ri")["auxiliary"]["oracle"] is False
    assert set(record_of(suite, "ri")["history"]) == set(suite.tasks)


def test_no_auxiliary_image_is_a_tasks(demo: Evaluator) -> None:
    suite = demo.suite
    size = demo.architecture.image_size

    def rows(images: np.ndarray) -> set[bytes]:
        return {image.tobytes() for image in images}

    tasks = set()
    for task in suite.tasks:
        for split in ("test", "validation"):
            data = suite.task_data(task, split)
            tasks |= rows(data.pixels(range(len(data)), size))
    for item in suite.spec.auxiliary:
        data = suite.auxiliary_data(item.name)
        assert not tasks & rows(data.pixels(range(len(data)), size)), item.name


def test_test_and_validation_images_are_disjoint(demo: Evaluator) -> None:
    for task in demo.suite.tasks:
        splits = []
        for split in ("test", "validation"):
            data = demo.suite.task_data(task, split)
            splits.append({image.tobytes() for image in data.pixels(range(len(data)), demo.architecture.image_size)})
        assert not splits[0] & splits[1], task


@pytest.mark.parametrize("name", EMBEDDED)
def test_heads_are_what_the_text_tower_makes_of_the_prompts(name: str, tmp_path: Path) -> None:
    evaluator = Evaluator(open_suite(name), tmp_path, "cpu")
    tower = TextTower(evaluator.architecture, evaluator.suite.pretrained)
    for task in evaluator.suite.spec.tasks:
        head = evaluator.heads[task.name]
        built = build_head(tower, head.classes, task.templates).weight
        assert (built - head.weight).abs().max() < 1e-3 * head.weight.abs().max()


def test_experts_are_good_and_zero_shot_leaves_room(demo: Evaluator) -> None:
    evaluation = demo.measure(demo.recipe("averaging"))
    assert evaluation.mean_expert_accuracy[0] >= 0.80
    assert evaluation.mean_zero_shot_accuracy[0] <= 0.65
    chance = [1 / len(demo.heads[task].classes) for task in demo.suite.tasks]
    assert (evaluation.table.zero_shot_accuracy > 1.8 * np.array(chance)).all()


def test_ri_pays(demo: Evaluator) -> None:
    before, after = sweep(demo, "task-arithmetic", ORIGINAL), sweep(demo, "task-arithmetic", "ri")

    def best(found: dict[float, Evaluation]) -> Evaluation:
        return found[best_scale(found)]

    assert best(after).mean_accuracy[0] >= best(before).mean_accuracy[0] + 0.03
    assert after[1.0].mean_accuracy[0] >= before[1.0].mean_accuracy[0] + 0.10
    assert best(after).mean_interference[0] <= 0.80 * best(before).mean_interference[0]


def test_ri_lowers_interference_by_a_quarter(demo: Evaluator) -> None:
    before, after = sweep(demo, "task-arithmetic", ORIGINAL), sweep(demo, "task-arithmetic", "ri")
    fall = after[best_scale(after)].mean_interference[0] / before[best_scale(before)].mean_interference[0]
    assert fall <= 0.75


def test_adapted_experts_keep_their_own_task(demo: Evaluator) -> None:
    losses = []
    for task in demo.suite.tasks:
        alone = demo.measure(demo.recipe("task-arithmetic", {"scale": 1.0}, experts="ri", tasks=[task]))
        row = alone.table.iloc[0]
        losses.append(row.expert_accuracy - row.accuracy)
    assert np.mean(losses) <= 0.02


def test_ri_lowers_crosstalk_on_task_images_it_never_saw(demo: Evaluator) -> None:
    before, after = (off_diagonal_mean(demo.crosstalk(name, limit=64)) for name in (ORIGINAL, "ri"))
    assert before >= 4 * after
