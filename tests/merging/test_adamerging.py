from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from random_experts import assert_close, layer
from watching import watch

from ri_analysis.engine import Evaluator
from ri_analysis.memory import VARIABLE
from ri_analysis.merging.method import Observed
from ri_analysis.merging.with_data import adamerging
from ri_analysis.merging.with_data.adamerging import add_up, learn_coefficients
from ri_analysis.suite import ImageSet

TASKS = ("Reds", "Blues")
SETTINGS = {"start": 0.3, "steps": 4, "learning_rate": 0.05, "batch": 5, "seed": 2}


def naive(observed: Observed, per: str) -> torch.Tensor:
    """The coefficients by autograd through the merged weights, with torch's own Adam: (tensors, T)."""
    module, vectors = observed.encoder.module, observed.vectors
    layers = list(vectors.walk())
    coefficients = torch.full((len(layers) if per == "tensor" else 1, 2), 0.3, requires_grad=True)
    optimizer = torch.optim.Adam([coefficients], lr=0.05)
    for step in range(4):
        rows = coefficients.expand(len(layers), 2)
        state = {
            item.name.removeprefix("visual."): item.pretrained + torch.einsum("t,t...->...", row, item.deltas)
            for item, row in zip(layers, rows, strict=True)
        }
        loss = torch.zeros(())
        for place, task in enumerate(TASKS):
            data = observed.images[task]
            drawn = np.random.default_rng([2, step, place]).choice(len(data), 5, replace=False)
            inputs = observed.encoder.preprocess(data.pixels(drawn, 8))
            features = torch.nn.functional.normalize(torch.func.functional_call(module, state, (inputs,)), dim=-1)
            p = observed.heads[task].logits(features).softmax(dim=1)
            loss = loss + torch.distributions.Categorical(p).entropy().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            coefficients.clamp_(0, 1)
    return coefficients.detach().expand(len(layers), 2)


@pytest.mark.parametrize("per", ["tensor", "model"])
@pytest.mark.parametrize("at_once", [1, 1 << 28])  # one image goes through the tower at once, or all
def test_agrees_with_autograd_through_the_merge(
    evaluator: Evaluator, monkeypatch: pytest.MonkeyPatch, per: str, at_once: int
) -> None:
    monkeypatch.setattr(adamerging, "_AT_ONCE", at_once)
    observed = watch(evaluator, *TASKS)
    found = torch.stack(list(learn_coefficients(observed, per=per, **SETTINGS).values()))
    expected = naive(observed, per)
    assert_close(found, expected, 1e-4)  # float32, and Adam divides by small gradients
    assert (found - 0.3).abs().max() > 0.05
    assert (len(found.unique(dim=0)) == 1) == (per == "model")


def test_few_images_go_through_the_tower_where_little_memory_is_declared(
    evaluator: Evaluator, monkeypatch: pytest.MonkeyPatch
) -> None:
    observed = watch(evaluator, *TASKS)
    pixels, counts = type(observed.images["Reds"]).pixels, list[int]()

    def counted(images: ImageSet, rows: Sequence[int], size: int) -> np.ndarray:
        counts.append(len(rows))
        return pixels(images, rows, size)

    monkeypatch.setattr(type(observed.images["Reds"]), "pixels", counted)
    learn_coefficients(observed, per="tensor", **SETTINGS)
    assert set(counts) == {5}
    expected = naive(observed, "tensor")
    monkeypatch.setattr(adamerging, "bytes_held", lambda module, forward: 10**8 + 0 * len(forward()))
    monkeypatch.setenv(VARIABLE, "1GB")
    counts.clear()
    found = torch.stack(list(learn_coefficients(observed, per="tensor", **SETTINGS).values()))
    assert counts[:4] == [1, 2, 2, 1]  # one to see what it takes; a quarter of the budget holds two
    assert_close(found, expected, 1e-4)


def test_coefficients_stay_between_0_and_1(evaluator: Evaluator) -> None:
    found = learn_coefficients(watch(evaluator, *TASKS), per="tensor", **SETTINGS | {"learning_rate": 1.0})
    values = torch.stack(list(found.values()))
    assert values.min() >= 0
    assert values.max() <= 1
    assert {0.0, 1.0} & set(values.flatten().tolist())


def test_entropy_falls(evaluator: Evaluator) -> None:
    observed = watch(evaluator, *TASKS)

    def entropy(statistics: dict[str, torch.Tensor]) -> float:
        vectors, total = observed.vectors, 0.0
        weights = {
            item.name: item.pretrained + add_up(item, statistics=list(statistics[item.name])) for item in vectors.walk()
        }
        for task in TASKS:
            features = observed.encoder.features(weights, observed.images[task])
            p = observed.heads[task].logits(features).softmax(dim=1)
            total += float(-(p * p.log()).sum(dim=1).mean())
        return total

    learned = learn_coefficients(observed, per="tensor", **SETTINGS | {"steps": 30, "batch": 12})
    assert entropy(learned) < entropy(learn_coefficients(observed, per="tensor", **SETTINGS | {"steps": 0}))


def test_progress_counts_the_images_and_gradients_are_off_again(evaluator: Evaluator) -> None:
    seen: list[int] = []
    observed = watch(evaluator, *TASKS, seen=seen.append)
    learn_coefficients(observed, per="model", **SETTINGS | {"steps": 2, "batch": 100})
    assert seen == [24, 48]  # the twelve validation images of both tasks, twice
    assert not any(item.requires_grad or item.grad is not None for item in observed.encoder.module.parameters())


def test_experts_are_added_by_their_coefficients() -> None:
    item = layer((4, 5), 3)
    found = add_up(item, statistics=list(torch.tensor([0.5, 0.0, 1.0])))
    assert_close(found, 0.5 * item.deltas[0] + item.deltas[2])
