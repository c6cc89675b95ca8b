from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from test_studies import run

from ri_analysis.divergences import kl_divergence
from ri_analysis.engine import Evaluator
from ri_analysis.engine.measurement import Request
from ri_analysis.errors import InputError
from ri_analysis.studies import STUDIES
from ri_analysis.studies.conducting.point import Point
from ri_analysis.studies.conducting.surgery import BATCH, Operated, learn_correction
from ri_analysis.suite import open_suite


def rows_of(n: int, width: int, seed: int) -> torch.Tensor:
    return torch.nn.functional.normalize(torch.randn(n, width, generator=torch.Generator().manual_seed(seed)), dim=1)


class Network(torch.nn.Module):
    """The authors' network, of linear layers without biases."""

    def __init__(self, width: int, rank: int, seed: int) -> None:
        super().__init__()
        self.draws = torch.Generator().manual_seed(seed)
        self.down, self.up = torch.nn.Linear(width, rank, bias=False), torch.nn.Linear(rank, width, bias=False)
        for layer in (self.down, self.up):
            bound = 1 / np.sqrt(layer.in_features)
            start = torch.empty(layer.weight.T.shape).uniform_(-bound, bound, generator=self.draws)
            layer.weight.data.copy_(start.T)

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return z - self.up(torch.nn.functional.relu(self.down(z)))


def naive(features: torch.Tensor, targets: torch.Tensor, rank: int, steps: int, seed: int) -> torch.nn.Module:
    network = Network(features.shape[1], rank, seed)
    network.double()
    optimiser, loss = torch.optim.Adam(network.parameters(), lr=1e-3), torch.nn.L1Loss()
    for _ in range(steps):
        rows = torch.randperm(len(features), generator=network.draws)[:16]
        optimiser.zero_grad()
        loss(network(features[rows].double()), targets[rows].double()).backward()
        optimiser.step()
    return network


@pytest.mark.parametrize("n", [5, 40])
def test_a_correction_is_what_the_network_learns(n: int) -> None:
    features, targets = rows_of(n, 12, 1), rows_of(n, 12, 2)
    found = learn_correction(features, targets, rank=4, steps=60, seed=3)
    expected = naive(features, targets, 4, 60, 3)(features.double()).detach()
    torch.testing.assert_close(found(features).double(), expected, rtol=1e-4, atol=1e-5)


def test_a_shift_of_all_features_is_taken_back() -> None:
    targets = rows_of(200, 12, 1).abs()
    features = targets + 0.3 * rows_of(1, 12, 2)
    found = learn_correction(features, targets, rank=8, steps=1500)
    assert (found(features) - targets).abs().mean() < 0.25 * (features - targets).abs().mean()
    assert BATCH == 16


def test_features_are_corrected_task_by_task(evaluator: Evaluator) -> None:
    recipe = evaluator.recipe("ties", experts="mild")
    found = Operated(Point(recipe, limit=10), rank=3, steps=40).compute(evaluator)
    model = evaluator.model(recipe)
    for test, learned in zip(
        evaluator.sections(recipe.tasks), evaluator.sections(recipe.tasks, "validation"), strict=True
    ):
        task = test.name
        [seen], [merged], [taught], [expert] = (
            list(each.values())
            for each in evaluator.measurement.features(
                [
                    Request(model, [learned]),
                    Request(model, [test], 10),
                    Request(evaluator.expert(task), [learned]),
                    Request(evaluator.expert(task), [test], 10),
                ]
            )
        )
        correct = learn_correction(seen, taught, rank=3, steps=40)
        logits = evaluator.heads[task].logits(torch.nn.functional.normalize(correct(merged), dim=1))
        assert found[task].predicted.tolist() == logits.argmax(dim=1).tolist()
        assert found[task].labels.tolist() == test.targets[test.rows(10)].tolist()
        divergence = kl_divergence(evaluator.heads[task].logits(expert), logits)
        np.testing.assert_allclose(found[task].divergence, divergence, rtol=1e-4, atol=1e-6)


def test_the_study_compares_it_with_ri(evaluator: Evaluator) -> None:
    table = run(evaluator, "surgery").set_index(["method", "stage", "features"])
    for method in ("task-arithmetic", "iso-c"):
        before, after = (table.loc[(method, stage, "merged")] for stage in ("before", "after"))
        assert before["accuracy"] == pytest.approx(evaluator.measure(evaluator.recipe(method)).mean_accuracy[0])
        operated = table.loc[(method, "before", "with Surgery")]
        assert operated["gain"] == pytest.approx(operated["accuracy"] - before["accuracy"])
        assert after["gain"] == pytest.approx(after["accuracy"] - before["accuracy"])
        assert after["lead"] == pytest.approx(after["accuracy"] - operated["accuracy"])
    work = Operated(Point(evaluator.recipe("iso-c")), rank=16, steps=2)
    assert work.kept(evaluator)
    assert work.cost(evaluator) == 0
    for other in (replace(work, rank=15), replace(work, steps=3), Operated(Point(evaluator.recipe("ties")), 16, 2)):
        assert other.kept(evaluator) is None
    lines = STUDIES["surgery"].verdict(table.reset_index())
    assert "before RI" in lines
    assert "difference from Surgery alone" in lines


def test_labels_of_the_images_that_it_learns_from_play_no_part(
    evaluator: Evaluator, tiny: Path, tmp_path: Path
) -> None:
    work = Operated(Point(evaluator.recipe("ties")), rank=3, steps=20)
    expected = work.compute(evaluator)
    for path in tiny.parent.glob("*-validation.npz"):
        with np.load(path) as arrays:
            images, labels = arrays["images"], arrays["labels"]
        np.savez_compressed(path, images=images, labels=np.roll(labels, 1))
    other = Evaluator(open_suite(str(tiny)), tmp_path / "other", "cpu")
    found = work.compute(other)
    for task in expected:
        np.testing.assert_allclose(found[task].divergence, expected[task].divergence, rtol=1e-4, atol=1e-6)


def test_a_task_without_validation_images_is_named(evaluator: Evaluator, tiny: Path) -> None:
    tiny.write_text(tiny.read_text().replace('validation = "Greens-validation.npz"\n', ""))
    other = Evaluator(open_suite(str(tiny)), evaluator.store.workspace, "cpu")
    with pytest.raises(InputError, match="Greens"):
        run(other, "surgery")
