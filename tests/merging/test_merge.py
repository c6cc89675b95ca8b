from __future__ import annotations

import pytest
import torch
from random_experts import WITHOUT_DATA, assert_close, joined, model, run, task_vectors

from ri_analysis.errors import InputError
from ri_analysis.merging import METHODS, MergeRecipe, direction, merge
from ri_analysis.merging.with_data.regmean import pack
from ri_analysis.task_vectors import TaskVectors

EXPECTED = (
    "averaging task-arithmetic ties dare della breadcrumbs consensus pcb tsv-m iso-c iso-cts knots-ties wudi slerp "
    "karcher model-stock optmerge"
)
WITH_DATA = ["adamerging", "distilled", "fisher", "nsc", "regmean", "regmean-plusplus"]


def test_every_method_is_registered_under_its_name() -> None:
    assert set(WITHOUT_DATA) == set(EXPECTED.split())
    assert list(METHODS)[-len(WITH_DATA) :] == WITH_DATA  # apart, after all others
    for name, method in METHODS.items():
        assert method.name == name
        assert method.title
        assert method.summary.endswith(".")
        assert method.formula
        assert any(word in method.reference for word in ("arXiv", "doi"))
        for item in method.hyperparameters:
            assert item.validate(item.default, name) == item.default
            assert item.meaning
            if item.sweep is not None:
                assert all(item.validate(bound, name) == bound for bound in item.sweep)


@pytest.mark.parametrize("method", WITHOUT_DATA)
def test_merge_is_pretrained_plus_scale_times_direction(method: str) -> None:
    vectors = task_vectors(count=2)
    settings = {"scale": -0.7} if any(h.name == "scale" for h in METHODS[method].hyperparameters) else {}
    recipe = MergeRecipe.of(method, vectors.tasks, settings)
    merged = dict(merge(vectors, recipe))
    assert list(merged) == list(vectors.names)
    assert torch.equal(merged["visual.steps"], torch.tensor([7]))
    directions = dict(direction(vectors, recipe))
    for layer, expected in zip(model(2), run(method, model(2)), strict=True):
        assert_close(directions[layer.name], expected, 1e-4)  # experts are rounded to float32 in between
        torch.testing.assert_close(
            merged[layer.name], layer.pretrained + recipe.scale * directions[layer.name], atol=1e-6, rtol=1e-6
        )


@pytest.mark.parametrize("method", [name for name in WITHOUT_DATA if METHODS[name].weighted])
def test_a_coefficient_scales_its_task_vector(method: str) -> None:
    vectors = task_vectors()
    found = dict(direction(vectors, MergeRecipe.of(method, vectors.tasks, coefficients={"a": -2, "c": 0.5})))
    layers = model(3)
    for layer in layers:
        layer.deltas.mul_(torch.tensor([-2.0, 1.0, 0.5]).view(-1, *[1] * layer.pretrained.ndim))
    assert_close(joined(list(found.values())), joined(run(method, layers)), 1e-4)


@pytest.mark.parametrize("method", WITHOUT_DATA)
def test_experts_equal_to_the_pretrained_model_give_it_back(method: str) -> None:
    pretrained = {layer.name: layer.pretrained for layer in model(1)}
    vectors = TaskVectors(pretrained, {"a": pretrained, "b": pretrained})
    for name, tensor in merge(vectors, MergeRecipe.of(method, ("a", "b"))):
        torch.testing.assert_close(tensor, pretrained[name])


ITSELF = ["averaging", "task-arithmetic", "consensus", "tsv-m", "karcher"]
FEWER_ENTRIES = ["ties", "breadcrumbs", "pcb"]  # of one expert they leave out some, and change no sign


@pytest.mark.parametrize("method", ITSELF)
def test_one_expert_is_its_own_merge(method: str) -> None:
    vectors = task_vectors(count=1)
    for name, tensor in direction(vectors, MergeRecipe.of(method, ("a",))):
        assert_close(tensor, vectors.layer(name).deltas[0], 1e-4)  # of the experts, rounded to float32


@pytest.mark.parametrize("method", FEWER_ENTRIES)
def test_one_expert_keeps_some_of_its_entries(method: str) -> None:
    vectors = task_vectors(count=1)
    found = joined([tensor for _, tensor in direction(vectors, MergeRecipe.of(method, ("a",)))])
    own = joined([layer.deltas[0] for layer in vectors.walk()])
    kept = found != 0
    assert 0 < kept.sum() < len(own)
    assert torch.equal(found[kept].sign(), own[kept].sign())


@pytest.mark.parametrize("method", [name for name in METHODS if METHODS[name].counts[0] > 1])
def test_a_method_for_several_experts_refuses_one(method: str) -> None:
    with pytest.raises(InputError, match=f"{method}.* 2 .*1"):
        MergeRecipe.of(method, ("a",))


@pytest.mark.parametrize("method", WITH_DATA)
@pytest.mark.parametrize("count", [1, 2])
def test_methods_with_data_of_one_expert_and_of_no_change(method: str, count: int) -> None:
    vectors = task_vectors(count=1)
    pretrained = {name: vectors.pretrained(name) for name in vectors.names}
    still = TaskVectors(pretrained, dict.fromkeys("ab"[:count], pretrained))

    def statistics(name: str) -> list[torch.Tensor]:
        shape = vectors.shape(name)
        of = {
            "fisher": torch.ones(shape),
            "regmean": pack(torch.eye(shape[-1])) if len(shape) == 2 and name != "visual.proj" else None,
            "adamerging": torch.tensor(1.0),
            "nsc": torch.tensor(1.0),
            "distilled": sum(source.layer(name).deltas).clone(),
        }.get(method)
        return [] if of is None else [of] * count

    source, recipe = still, MergeRecipe.of(method, still.tasks)
    for name, tensor in merge(still, recipe, statistics=statistics):
        torch.testing.assert_close(tensor, pretrained[name])
    if count == 1:
        source = vectors
        for name, tensor in direction(vectors, recipe, statistics=statistics):
            assert_close(tensor, vectors.layer(name).deltas[0], 1e-4)


@pytest.mark.parametrize("method", [name for name in WITHOUT_DATA if METHODS[name].counts[0] == 1])
@pytest.mark.parametrize("scale", [0.0, 1.0])
def test_one_expert_alone(method: str, scale: float) -> None:
    vectors = task_vectors(count=1)
    has_scale = any(item.name == "scale" for item in METHODS[method].hyperparameters)
    recipe = MergeRecipe.of(method, ("a",), {"scale": scale} if has_scale else {})
    for name, tensor in merge(vectors, recipe):
        assert torch.isfinite(tensor).all()
        if has_scale and scale == 0.0:
            assert torch.equal(tensor, vectors.pretrained(name))


@pytest.mark.parametrize("pretrained_dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("method", WITHOUT_DATA)
def test_experts_of_mixed_precision_count_as_their_float32_values(method: str, pretrained_dtype: torch.dtype) -> None:
    layers = model(2)
    pretrained = {layer.name: layer.pretrained.to(pretrained_dtype) for layer in layers}
    experts = {
        task: {layer.name: (layer.pretrained + layer.deltas[n]).to(dtype) for layer in layers}
        for n, (task, dtype) in enumerate({"a": torch.float16, "b": torch.bfloat16}.items())
    }
    recipe = MergeRecipe.of(method, ("a", "b"))
    found = dict(merge(TaskVectors(pretrained, experts), recipe))
    expected = dict(merge(TaskVectors(single(pretrained), {t: single(e) for t, e in experts.items()}), recipe))
    for name, tensor in found.items():
        assert tensor.dtype == torch.float32
        assert torch.equal(tensor, expected[name])


def single(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: tensor.float() for name, tensor in tensors.items()}


@pytest.mark.parametrize("method", WITHOUT_DATA)
def test_an_expert_equal_to_the_pretrained_model_beside_another(method: str) -> None:
    vectors = task_vectors(count=1)
    pretrained = {name: vectors.pretrained(name) for name in vectors.names}
    expert = {name: vectors.expert(name, "a") for name in vectors.names}
    pair = TaskVectors(pretrained, {"a": expert, "b": pretrained})
    for _, tensor in merge(pair, MergeRecipe.of(method, ("a", "b"))):
        assert torch.isfinite(tensor).all()


def test_only_the_chosen_tasks_are_merged_in_the_recipe_s_order() -> None:
    vectors = task_vectors(count=4)
    found = dict(direction(vectors, MergeRecipe.of("task-arithmetic", ("d", "b"))))
    for layer in model(4):
        assert_close(found[layer.name], layer.deltas[3] + layer.deltas[1], 1e-4)


def test_a_task_without_an_expert_is_named() -> None:
    with pytest.raises(InputError, match="no expert for task 'z'; known: a, b, c"):
        list(merge(task_vectors(), MergeRecipe.of("averaging", ("a", "z"))))


@pytest.mark.parametrize("method", WITH_DATA)
def test_methods_that_need_task_data_say_so(method: str) -> None:
    with pytest.raises(InputError, match=f"{method}: expected statistics of images, found none"):
        list(merge(task_vectors(), MergeRecipe.of(method, ("a", "b"))))


def test_statistics_of_a_layer_reach_the_method() -> None:
    vectors = task_vectors(count=2)
    recipe = MergeRecipe.of("adamerging", vectors.tasks, {"scale": 2})
    merged = merge(vectors, recipe, statistics=lambda name: [torch.tensor(0.5), torch.tensor(float(len(name)))])
    for name, tensor in merged:
        if vectors.is_float(name):
            layer = vectors.layer(name)
            expected = layer.pretrained + layer.deltas[0] + 2 * len(name) * layer.deltas[1]
            torch.testing.assert_close(tensor, expected, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("method", WITHOUT_DATA)
def test_progress_runs_through_all_passes_to_its_end(method: str) -> None:
    vectors, seen = task_vectors(count=2), []
    for _ in merge(vectors, MergeRecipe.of(method, vectors.tasks), progress=lambda *step: seen.append(step)):
        pass
    done, totals = zip(*seen, strict=True)
    layers = len(model(2))
    assert done == tuple(range(1, len(done) + 1))
    assert done[-1] == totals[-1]
    assert set(totals) == {layers * (METHODS[method].passes + 1)} or method == "dare"  # its passes depend on the base


def test_an_unforeseen_pass_moves_the_end() -> None:
    pretrained = {"visual.w": torch.zeros(4), "visual.v": torch.zeros(4)}
    opposite = (
        {"visual.w": torch.ones(4), "visual.v": torch.ones(4)},
        {"visual.w": -torch.ones(4), "visual.v": torch.ones(4)},
    )
    vectors, seen = TaskVectors(pretrained, dict(zip("ab", opposite, strict=True))), []
    list(merge(vectors, MergeRecipe.of("ties", ("a", "b")), progress=lambda *step: seen.append(step)))
    assert all(done <= total for done, total in seen)
