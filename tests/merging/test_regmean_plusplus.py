from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
from random_experts import assert_close, layer
from test_regmean import attend
from watching import watch

from ri_analysis.engine import Evaluator
from ri_analysis.errors import InputError
from ri_analysis.merging import direction
from ri_analysis.merging.method import Observed
from ri_analysis.merging.with_data.regmean_plusplus import as_merged, merge_in_order
from ri_analysis.task_vectors import TaskVectors

ALPHA = 0.6
LINEAR = ("attn.in_proj_weight", "attn.out_proj.weight", "mlp.c_fc.weight", "mlp.c_proj.weight")


def tower(observed: Observed, task: str | None = None) -> torch.nn.Module:
    """The tower in float64 with an expert's weights, or with the mean of all experts'."""
    module, vectors = copy.deepcopy(observed.encoder.module).double(), observed.vectors
    for name, slot in module.state_dict().items():
        experts = [vectors.expert(f"visual.{name}", each).double() for each in ([task] if task else vectors.tasks)]
        slot.copy_(sum(experts) / len(experts))
    return module


def inputs_of_matrices(block: torch.nn.Module, x: torch.Tensor) -> dict[str, torch.Tensor]:
    """What a block's matrices multiply where tokens x enter it, by the block's own formula."""
    normed = block.ln_1(x)
    attended = attend(normed, block.attn)
    y = x + block.attn.out_proj(attended)
    inner = block.mlp.c_fc(block.ln_2(y))
    return dict(zip(LINEAR, (normed, attended, block.ln_2(y), torch.nn.functional.gelu(inner)), strict=True))


def through(block: torch.nn.Module, x: torch.Tensor) -> torch.Tensor:
    inputs = inputs_of_matrices(block, x)
    y = x + block.attn.out_proj(inputs["attn.out_proj.weight"])
    return y + block.mlp.c_proj(inputs["mlp.c_proj.weight"])


def regression(inputs: list[torch.Tensor], weights: list[torch.Tensor]) -> torch.Tensor:
    """RegMean's closed form for weights (outputs, inputs), with its ridge of 1e-6 of the mean diagonal."""
    grams = [x.flatten(0, -2).T @ x.flatten(0, -2) for x in inputs]
    ridge = 1e-6 * float(sum(grams).diagonal().mean()) / len(grams) * torch.eye(len(grams[0]), dtype=torch.float64)
    shrunk = [ALPHA * gram + (1 - ALPHA) * torch.diag(gram.diagonal()) + ridge for gram in grams]
    return sum(w @ g for w, g in zip(weights, shrunk, strict=True)) @ torch.linalg.inv(sum(shrunk))


@torch.no_grad()
def naive(observed: Observed) -> dict[str, torch.Tensor]:
    """Merged weights of every matrix, by the towers themselves."""
    tasks, encoder = observed.vectors.tasks, observed.encoder
    merged, experts = tower(observed), [tower(observed, task) for task in tasks]
    found, tokens = {}, []
    for task in tasks:
        data = observed.images[task]
        pixels = encoder.preprocess(data.pixels(range(len(data)), encoder.image_size)).double()
        seen: list[torch.Tensor] = []
        hook = merged.transformer.register_forward_pre_hook(lambda _, given, seen=seen: seen.append(given[0]))
        merged(pixels)
        hook.remove()
        tokens.append(seen[0])
    for number, block in enumerate(merged.transformer.resblocks):
        own = [expert.transformer.resblocks[number] for expert in experts]
        inputs = [inputs_of_matrices(each, x) for each, x in zip(own, tokens, strict=True)]
        for name in LINEAR:
            weights = [each.get_parameter(name) for each in own]
            block.get_parameter(name).copy_(regression([x[name] for x in inputs], weights))
            found[f"visual.transformer.resblocks.{number}.{name}"] = block.get_parameter(name)
        tokens = [through(block, x) for x in tokens]
    pooled = [expert.ln_post(x)[:, 0] for expert, x in zip(experts, tokens, strict=True)]
    found["visual.proj"] = regression(pooled, [expert.proj.T for expert in experts]).T
    return found


@pytest.mark.parametrize("tasks", [("Reds", "Blues"), ("Greens", "Reds", "Blues")])
def test_agrees_with_a_merge_block_by_block(evaluator: Evaluator, tasks: tuple[str, ...]) -> None:
    observed = watch(evaluator, *tasks)
    found, expected = merge_in_order(observed, images=1000, off_diagonal=ALPHA), naive(observed)
    assert found.keys() == expected.keys()
    for name, weight in expected.items():
        (found_one,) = found[name]
        moved = weight - observed.vectors.pretrained(name).double()
        assert_close(found_one, moved)
        mean = observed.vectors.layer(name).deltas.mean(dim=0)
        assert (found_one - mean).norm() > 0.03 * mean.norm()
    assert torch.backends.mha.get_fastpath_enabled()


def test_it_is_another_merge_than_regmean_after_the_first_block(evaluator: Evaluator) -> None:
    recipes = [evaluator.recipe(name, {"images": 12}) for name in ("regmean", "regmean-plusplus")]
    one, other = (
        dict(direction(evaluator.task_vectors(), recipe, statistics=evaluator.statistics(recipe))) for recipe in recipes
    )
    different = {name for name in one if not torch.allclose(one[name], other[name], rtol=1e-3, atol=1e-5)}
    assert different >= {f"visual.transformer.resblocks.1.{name}" for name in LINEAR}
    assert all(name.endswith((*LINEAR, "visual.proj")) for name in different)


def test_experts_that_are_the_same_stay_so(evaluator: Evaluator) -> None:
    observed = watch(evaluator, "Reds", "Blues")
    vectors = observed.vectors
    pretrained, expert = (
        {name: read(name) for name in vectors.names}
        for read in (vectors.pretrained, lambda name: vectors.expert(name, "Reds"))
    )
    same = TaskVectors(pretrained, {"Reds": expert, "Blues": expert})
    again = replace(observed, vectors=same)
    for name, (found,) in merge_in_order(again, images=12, off_diagonal=0.9).items():
        assert_close(found, expert[name] - pretrained[name], 1e-4)


def test_progress_counts_both_ways_through_the_blocks(evaluator: Evaluator) -> None:
    seen: list[int] = []
    merge_in_order(watch(evaluator, "Reds", "Blues", seen=seen.append), images=10, off_diagonal=0.9)
    assert seen == sorted(seen)
    assert seen[-1] == 2 * 2 * 10


def test_a_tower_of_another_kind_is_refused(evaluator: Evaluator, monkeypatch: pytest.MonkeyPatch) -> None:
    observed = watch(evaluator, "Reds", "Blues")
    monkeypatch.setattr(type(observed.encoder), "in_halves", False)
    with pytest.raises(InputError, match=r"regmean-plusplus: expected open_clip's own .*, found .*model\.json"):
        merge_in_order(observed, images=4, off_diagonal=0.9)


def test_what_multiplies_nothing_is_averaged() -> None:
    item = layer((4, 5), 3)
    assert_close(as_merged(item, statistics=[]), item.deltas.mean(dim=0))
    merged = torch.ones(4, 5)
    found = as_merged(item, statistics=[merged])
    found.zero_()  # a merge is added up in place, and what is kept must stay as it is
    assert merged.all()
