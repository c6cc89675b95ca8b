from __future__ import annotations

from itertools import product

import torch
from random_experts import assert_close, layer
from watching import watch

from ri_analysis.engine import Evaluator
from ri_analysis.merging.with_data.fisher import average_by_fisher, diagonal_fisher, fisher_cotangent
from ri_analysis.suite import stratified


def test_the_signs_average_to_the_covariance_of_the_labels() -> None:
    logits = torch.tensor([[1.0, -0.5, 0.3]], dtype=torch.float64)
    p = logits.softmax(dim=1)[0]
    every = [
        fisher_cotangent(logits, torch.tensor([signs], dtype=torch.float64))[0] for signs in product((-1, 1), repeat=3)
    ]
    found = sum(torch.outer(one, one) for one in every) / len(every)
    torch.testing.assert_close(found, torch.diag(p) - torch.outer(p, p))


def test_the_diagonal_is_that_of_gradients_taken_class_by_class(evaluator: Evaluator) -> None:
    observed = watch(evaluator, "Greens")
    found = diagonal_fisher(observed, images=5, seed=3)
    encoder, data = observed.encoder, observed.images["Greens"]
    module, generator = encoder.module.requires_grad_(True), torch.Generator().manual_seed(3)
    names = [f"visual.{name}" for name, _ in module.named_parameters()]
    expected = {name: torch.zeros_like(found[name]) for name in names}
    for row in stratified(None, len(data), 5):
        features = encoder.forward(encoder.preprocess(data.pixels([row], encoder.image_size)))
        logits = observed.heads["Greens"].logits(features)[0]
        p = logits.softmax(dim=0).detach()
        jacobian = [torch.autograd.grad(one, list(module.parameters()), retain_graph=True) for one in logits]
        signs = torch.randint(0, 2, (1, 4), generator=generator)[0] * 2.0 - 1.0
        root = torch.diag(p.sqrt()) @ (torch.eye(4) - torch.outer(p.sqrt(), p.sqrt()))
        for place, name in enumerate(names):
            expected[name] += sum(w * g[place] for w, g in zip(root @ signs, jacobian, strict=True)) ** 2 / 5
    assert found.keys() == expected.keys()
    for name in names:
        assert_close(found[name], expected[name], 1e-4)


def test_progress_counts_the_images_and_gradients_are_off_again(evaluator: Evaluator) -> None:
    seen: list[int] = []
    observed = watch(evaluator, "Reds", seen=seen.append)
    diagonal_fisher(observed, images=1000, seed=0)
    assert seen == list(range(1, 13))
    assert not any(item.requires_grad or item.grad is not None for item in observed.encoder.module.parameters())


def test_experts_count_by_their_fisher_information() -> None:
    item = layer((4, 5), 3)
    fisher = torch.rand(3, 4, 5)
    fisher[:, 0, 0] = 0  # nobody's predictions depend on it: the mean
    expected = (fisher.double() * item.deltas).sum(dim=0) / fisher.double().sum(dim=0)
    expected[0, 0] = item.deltas[:, 0, 0].mean()
    assert_close(average_by_fisher(item, statistics=list(fisher)), expected)
    assert_close(average_by_fisher(item, statistics=[]), item.deltas.mean(dim=0))
