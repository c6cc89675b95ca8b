"""Towers that open_clip builds from other libraries, as experts from the suite file to the merged file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny import MODEL, TASKS, make_suite

from ri_analysis.analyses.blocks import drift_by_block
from ri_analysis.encoder import check_fit, read_architecture
from ri_analysis.encoder.last_block import ClassTokenBlock
from ri_analysis.engine import Evaluator, check_suite
from ri_analysis.errors import InputError
from ri_analysis.merging import MergeRecipe, merge_to_file
from ri_analysis.suite import open_suite

TIMM = {
    "embed_dim": 16,
    "vision_cfg": {
        "timm_model_name": "test_vit",
        "timm_model_pretrained": True,  # as some configs say; weights come from files here
        "timm_pool": "",
        "timm_proj": "linear",
        "image_size": 160,
    },
    "text_cfg": MODEL["model_cfg"]["text_cfg"],
}
BLOCKS = (6, MODEL["model_cfg"]["vision_cfg"]["layers"])  # of timm's tower, and of open_clip's own
# A text tower from transformers, which is not needed where the heads are files.
HUGGING_FACE_TEXT = {
    "embed_dim": 16,
    "vision_cfg": MODEL["model_cfg"]["vision_cfg"],
    "text_cfg": {"hf_model_name": "some/model", "hf_tokenizer_name": "some/model", "hf_pooler_type": "mean_pooler"},
}


@pytest.fixture(params=["timm", "text tower of Hugging Face"])
def foreign_suite(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """The tiny suite with another tower: experts near one random model."""
    config = TIMM if request.param == "timm" else HUGGING_FACE_TEXT
    path = make_suite(tmp_path / "suite", resolved=False)
    (path.parent / "model.json").write_text(json.dumps(MODEL | {"model_cfg": config}))
    shapes = read_architecture("model.json", path.parent).tower_shapes()
    torch.manual_seed(0)
    base = {f"visual.{name}": 0.05 * torch.randn(shape) for name, shape in shapes.items()}
    save_file(base, path.parent / "pretrained.safetensors")
    for task in TASKS:
        expert = {name: tensor + 0.02 * torch.randn(tensor.shape) for name, tensor in base.items()}
        save_file(expert, path.parent / "original" / f"{task}.safetensors")
    return path


def test_other_towers_open_measure_and_merge(foreign_suite: Path, workspace: Path) -> None:
    assert check_suite(str(foreign_suite), workspace).findings == []
    evaluator = Evaluator(open_suite(str(foreign_suite), workspace), workspace, "cpu")
    recipe = evaluator.recipe("tsv-m")
    measured = evaluator.measure(recipe)
    assert measured.mean_interference[0] > 0
    out = foreign_suite.parent / "merged.safetensors"
    suite = evaluator.suite
    merge_to_file(suite.task_vectors(), MergeRecipe.of("tsv-m", suite.tasks), out, ingredients=suite.weight_digests())
    assert evaluator.measure_file(out).table.equals(measured.table)
    assert drift_by_block(evaluator, recipe, limit=4)["block"].nunique() in BLOCKS


def test_features_of_a_timm_tower_are_timms(tmp_path: Path, workspace: Path) -> None:
    timm = pytest.importorskip("timm")
    path = make_suite(tmp_path / "suite", resolved=False)
    (path.parent / "model.json").write_text(json.dumps(MODEL | {"model_cfg": TIMM}))
    torch.manual_seed(1)
    trunk = timm.create_model("test_vit", num_classes=0).eval()
    projection = torch.randn(16, 64) / 8
    state = {f"visual.trunk.{name}": value for name, value in trunk.state_dict().items()}
    save_file(state | {"visual.head.proj.weight": projection}, path.parent / "pretrained.safetensors")
    suite = open_suite(str(path))
    evaluator = Evaluator(suite, workspace, "cpu")
    images = suite.task_data("Reds")
    found = evaluator.encoder.features(suite.zero_shot, images, [0, 1, 2])
    pixels = torch.tensor(images.pixels(range(3), 160)).permute(0, 3, 1, 2) / 255
    with torch.no_grad():
        expected = torch.nn.functional.normalize(trunk((pixels - 0.5) / 0.5) @ projection.T, dim=-1)
    assert torch.allclose(found, expected, atol=1e-5)


def test_a_config_that_open_clip_does_not_build_is_one_message(tmp_path: Path) -> None:
    config: dict[str, Any] = TIMM | {"vision_cfg": TIMM["vision_cfg"] | {"timm_model_name": "no_such_tower"}}  # type: ignore[operator]
    (tmp_path / "model.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match="expected an open_clip model config"):
        read_architecture("model.json", tmp_path).tower_shapes()


def test_an_image_size_that_the_tower_does_not_take_is_one_message(tmp_path: Path) -> None:
    vision = {"timm_model_name": "vit_tiny_patch16_224", "timm_pool": "", "image_size": 32}
    config = TIMM | {"vision_cfg": vision}
    (tmp_path / "model.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match="'image_size' 32 does not fit the tower"):
        read_architecture("model.json", tmp_path).tower_shapes()


def test_a_tower_to_load_into_has_the_shapes_and_no_random_weights(tiny: Path) -> None:
    architecture = read_architecture("model.json", tiny.parent)
    tower = architecture.build_tower()
    assert {name: tensor.shape for name, tensor in tower.state_dict().items()} == architecture.tower_shapes()
    assert not any(tensor.any() for tensor in tower.state_dict().values())


def test_tensors_that_do_not_fit_the_tower_are_named(tiny: Path) -> None:
    architecture = read_architecture("model.json", tiny.parent)
    tensors = load_file(tiny.parent / "original" / "Reds.safetensors")
    check_fit(architecture, tensors, "x")
    with pytest.raises(InputError, match=r"x: tensor 'visual\.proj' must have shape \(32, 16\) .* found \(2, 2\)"):
        check_fit(architecture, tensors | {"visual.proj": torch.zeros(2, 2)}, "x")
    with pytest.raises(InputError, match=r"x: tensor 'visual\.other' is not part of"):
        check_fit(architecture, tensors | {"visual.other": torch.zeros(2)}, "x")
    tensors.pop("visual.proj")
    with pytest.raises(InputError, match=r"x: tensor 'visual\.proj' missing"):
        check_fit(architecture, tensors, "x")


@pytest.mark.parametrize(
    ("vision", "spared"),
    [
        ({}, True),
        ({"ls_init_value": 0.5, "mlp_ratio": 2.0, "head_width": 8}, True),
        ({"pool_type": "avg"}, False),
        ({"attentional_pool": True}, False),
        ({"final_ln_after_pool": True}, True),
    ],
)
def test_a_last_block_that_spares_the_patches_changes_no_feature_and_no_gradient(
    tiny: Path, vision: dict[str, Any], spared: bool
) -> None:
    document = json.loads((tiny.parent / "model.json").read_text())
    document["model_cfg"]["vision_cfg"] |= vision
    (tiny.parent / "model.json").write_text(json.dumps(document))
    architecture = read_architecture("model.json", tiny.parent)
    theirs, ours = architecture.build().get_submodule("visual"), architecture.build_tower()
    ours.load_state_dict(theirs.state_dict())
    assert isinstance(ours.get_submodule("transformer.resblocks")[-1], ClassTokenBlock) == spared  # type: ignore[index]
    images = torch.randn(5, 3, 8, 8)
    found = []
    for tower in (theirs, ours):
        output = tower.requires_grad_(True)(images)
        output.square().sum().backward()
        found.append((output.detach(), {name: part.grad for name, part in tower.named_parameters()}))
    (expected, gradients), (output, same) = found
    torch.testing.assert_close(output, expected, rtol=1e-5, atol=1e-6)
    for name, gradient in gradients.items():
        if gradient is not None:
            torch.testing.assert_close(same[name], gradient, rtol=1e-4, atol=1e-5)
