from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from random_experts import assert_close
from watching import watch

from ri_analysis.engine import Evaluator
from ri_analysis.errors import InputError
from ri_analysis.merging.method import Observed
from ri_analysis.merging.with_data.nsc import _outside, learn_coefficients
from ri_analysis.task_vectors import TaskVectors

TASKS = ("Reds", "Blues")
SETTINGS = {"start": 0.3, "steps": 3, "learning_rate": 0.05, "batch": 5, "seed": 2, "rank": 2}


@contextmanager
def inputs_of_linear_layers(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[torch.Tensor, torch.Tensor]]]:
    """Note input and weight of every linear layer: modules and attention look its function up where it is replaced."""
    seen: list[tuple[torch.Tensor, torch.Tensor]] = []
    linear = torch.nn.functional.linear

    def noted(inputs: torch.Tensor, weight: torch.Tensor, bias: Any = None) -> torch.Tensor:
        seen.append((inputs, weight))
        return linear(inputs, weight, bias)

    with monkeypatch.context() as patch:
        patch.setattr(torch.nn.functional, "linear", noted)
        yield seen


def naive(observed: Observed, per: str, monkeypatch: pytest.MonkeyPatch) -> torch.Tensor:
    """The coefficients by autograd through the merged weights, with torch's own Adam: (tensors, T)."""
    module, layers = observed.encoder.module, list(observed.vectors.walk())
    coefficients = torch.full((len(layers) if per == "tensor" else 1, 2), 0.3, requires_grad=True)
    optimizer = torch.optim.Adam([coefficients], lr=0.05)
    for step in range(3):
        rows = coefficients.expand(len(layers), 2)
        state = {
            item.name: item.pretrained + torch.einsum("t,t...->...", row, item.deltas)
            for item, row in zip(layers, rows, strict=True)
        }
        loss = torch.zeros(())
        for place, task in enumerate(TASKS):
            data = observed.images[task]
            drawn = np.random.default_rng([2, step, place]).choice(len(data), 5, replace=False)
            inputs = observed.encoder.preprocess(data.pixels(drawn, 8))
            deltas = {id(state[item.name]): item.deltas[place] for item in layers}
            outputs = {id(value) for name, value in state.items() if name.endswith("out_proj.weight")}
            with observed.encoder.every_token(), inputs_of_linear_layers(monkeypatch) as seen:
                bare = {name.removeprefix("visual."): value for name, value in state.items()}
                torch.func.functional_call(module, bare, (inputs,))
            ratios = []
            for read, weight in seen:
                if id(weight) in outputs:  # of attention
                    continue
                delta = deltas[id(weight)]
                basis = torch.linalg.qr(torch.linalg.svd(delta)[2][:2].T)[0]
                outside = read - read @ basis @ basis.T
                ratios.append((outside.norm(dim=-1) / read.norm(dim=-1)).mean())
            loss = loss + sum(ratios) / len(ratios)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            coefficients.clamp_(0, 1)
    return coefficients.detach().expand(len(layers), 2)


@pytest.mark.parametrize("per", ["tensor", "model"])
def test_agrees_with_autograd_through_the_merge(evaluator: Evaluator, monkeypatch: pytest.MonkeyPatch, per: str):
    observed = watch(evaluator, *TASKS)
    expected = naive(observed, per, monkeypatch)
    found = torch.stack(list(learn_coefficients(observed, per=per, **SETTINGS).values()))
    assert_close(found, expected, 1e-3)  # float32, and Adam divides by small gradients
    assert (found - 0.3).abs().max() > 0.02


def test_the_ratio_is_what_lies_outside() -> None:
    """Of (3, 4), 4 of 5 lie outside the first axis; of what lies within, nothing does."""
    inputs, space = torch.tensor([[3.0, 4.0], [2.0, 0.0]]), torch.tensor([[1.0], [0.0]])
    assert _outside(inputs, space).tolist() == pytest.approx([0.8, 0.0], abs=1e-3)


def test_an_expert_that_changed_no_linear_layer_is_named(evaluator: Evaluator) -> None:
    observed = watch(evaluator, *TASKS)
    still = {name: observed.vectors.pretrained(name) for name in observed.vectors.names}
    other = replace(observed, vectors=TaskVectors(still, dict.fromkeys(TASKS, still)))
    with pytest.raises(InputError, match="nsc: expected a tower with linear layers that the expert of Reds changed"):
        learn_coefficients(other, per="tensor", **SETTINGS)
