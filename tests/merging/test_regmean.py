from __future__ import annotations

import pytest
import torch
from random_experts import assert_close, counts, layer, matrices
from watching import watch

from ri_analysis.encoder.last_block import every_token
from ri_analysis.engine import Evaluator
from ri_analysis.merging.with_data.regmean import input_grams, match_outputs, pack, unpack
from ri_analysis.task_vectors import Layer

BLOCK = "transformer.resblocks.1."


def test_grams_are_those_of_the_inputs_that_hooks_see(evaluator: Evaluator) -> None:
    observed, inputs = watch(evaluator, "Reds"), {}
    found = input_grams(observed, images=1000)
    encoder, data = observed.encoder, observed.images["Reds"]
    module = encoder.module
    for name in ("attn", "mlp.c_fc", "mlp.c_proj"):
        module.get_submodule(BLOCK + name).register_forward_pre_hook(
            lambda _, given, name=name: inputs.__setitem__(name, given[0].flatten(0, -2))
        )
    module.ln_post.register_forward_hook(lambda *seen: inputs.__setitem__("ln_post", seen[-1]))
    with torch.no_grad(), every_token(module):
        encoder.forward(encoder.preprocess(data.pixels(range(len(data)), encoder.image_size)))
    inputs["proj"] = inputs["ln_post"][:, 0] if inputs["ln_post"].ndim == 3 else inputs["ln_post"]
    attention = module.get_submodule(BLOCK + "attn")
    inputs["attn.out_proj"] = attend(inputs["attn"].view(len(data), -1, 32), attention).flatten(0, 1)
    names = {
        "attn": BLOCK + "attn.in_proj_weight",
        "attn.out_proj": BLOCK + "attn.out_proj.weight",
        "mlp.c_fc": BLOCK + "mlp.c_fc.weight",
        "mlp.c_proj": BLOCK + "mlp.c_proj.weight",
        "proj": "proj",
    }
    for short, name in names.items():
        x = inputs[short].double()
        assert_close(unpack(found[f"visual.{name}"]), x.T @ x)
    assert "visual.positional_embedding" not in found  # it is added, not multiplied
    assert torch.backends.mha.get_fastpath_enabled()


def attend(x: torch.Tensor, attention: torch.nn.MultiheadAttention) -> torch.Tensor:
    """What the heads of an attention layer hand to its output projection."""
    projected = x @ attention.in_proj_weight.T + attention.in_proj_bias
    q, k, v = (part.unflatten(-1, (attention.num_heads, -1)).transpose(1, 2) for part in projected.chunk(3, dim=-1))
    weights = (q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5).softmax(dim=-1)
    return (weights @ v).transpose(1, 2).flatten(2)


def test_progress_counts_the_images(evaluator: Evaluator) -> None:
    seen: list[int] = []
    input_grams(watch(evaluator, "Reds", seen=seen.append), images=10)
    assert seen == [7, 10]


def test_a_triangle_is_a_symmetric_matrix_again() -> None:
    triangle = pack(torch.tensor([[1.0, 2.0, 3.0], [2.0, 4.0, 5.0], [3.0, 5.0, 6.0]]))
    assert triangle.tolist() == [1, 2, 3, 4, 5, 6]
    assert unpack(triangle).tolist() == [[1, 2, 3], [2, 4, 5], [3, 5, 6]]


@matrices
@counts
def test_outputs_are_the_nearest_by_least_squares(shape: tuple[int, int], count: int) -> None:
    item = layer(shape, count, seed=count)
    inputs = torch.randn(count, 100, shape[1], generator=torch.Generator().manual_seed(7), dtype=torch.float64)
    stacked = torch.linalg.lstsq(
        inputs.flatten(0, 1), torch.cat([x @ d.T.double() for x, d in zip(inputs, item.deltas, strict=True)])
    ).solution.T
    found = match_outputs(item, statistics=[pack((x.T @ x).float()) for x in inputs], off_diagonal=1.0)
    assert_close(found, stacked, 1e-5)


def test_the_projection_is_multiplied_from_the_other_side() -> None:
    item = layer((6, 6), 2)
    grams = [pack((x.T @ x).float()) for x in torch.randn(2, 50, 6)]
    turned = Layer("visual.proj", item.pretrained.T, item.deltas.transpose(1, 2))
    expected = match_outputs(item, statistics=grams, off_diagonal=0.9)
    assert_close(match_outputs(turned, statistics=grams, off_diagonal=0.9).T, expected)


def test_off_diagonal_zero_weighs_the_inputs_one_by_one() -> None:
    item = layer((4, 3), 2)
    first, second = torch.tensor([1.0, 2.0, 0.0]), torch.tensor([3.0, 2.0, 0.0])
    grams = [torch.diag(first) + 0.5, torch.diag(second) + 0.1]
    for gram in grams:
        gram[2], gram[:, 2] = 0.0, 0.0  # an input that is never there: the mean
    weights = torch.tensor([[1.5 / 4.6, 2.5 / 4.6, 0.5], [3.1 / 4.6, 2.1 / 4.6, 0.5]])
    expected = (item.deltas * weights[:, None, :]).sum(dim=0)
    assert_close(match_outputs(item, statistics=list(map(pack, grams)), off_diagonal=0.0), expected)


@pytest.mark.parametrize("statistics", [[], [torch.zeros(15)] * 3])
def test_what_multiplies_nothing_is_averaged(statistics: list[torch.Tensor]) -> None:
    item = layer((4, 5), 3)
    assert_close(match_outputs(item, statistics=statistics, off_diagonal=0.9), item.deltas.mean(dim=0))
