from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from checkpoint_formats import FULL_FORMATS, hugging_face, hugging_face_folder, model, pickled_encoder, vision
from safetensors.torch import save_file

from ri_analysis.checkpoints import outlines, read_checkpoint, read_tower, vision_tower, whole_model
from ri_analysis.checkpoints.stored import StoredTensors
from ri_analysis.errors import InputError


@pytest.mark.filterwarnings("ignore:Couldn't retrieve source code")
@pytest.mark.parametrize("name", FULL_FORMATS)
def test_every_format_gives_bit_identical_canonical_weights(name: str, tmp_path: Path) -> None:
    clip = model()
    expected = vision(clip)
    path = FULL_FORMATS[name](tmp_path, clip)
    tower = read_tower(read_checkpoint(path))
    assert set(tower.tensors) == set(expected)
    for key, tensor in expected.items():
        assert torch.equal(tower.tensors[key], tensor), key
        assert tower.tensors[key].dtype == tensor.dtype
    assert tower.filled == ()
    assert not any(key.startswith("src") for key in sys.modules)


@pytest.mark.filterwarnings("ignore:Couldn't retrieve source code")
@pytest.mark.parametrize("name", FULL_FORMATS)
def test_shapes_and_types_of_every_format_are_known_without_reading_a_tensor(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = model()
    path = FULL_FORMATS[name](tmp_path, clip)
    monkeypatch.setattr(StoredTensors, "_at", None)  # calling it fails
    expected, found = vision(clip), outlines(vision_tower(read_checkpoint(path)))
    assert found.keys() == expected.keys()
    for key, tensor in expected.items():
        assert (found[key].shape, found[key].dtype, found[key].is_meta) == (tensor.shape, tensor.dtype, True), key


def test_half_precision_stays_what_it_is(tmp_path: Path) -> None:
    half = {key: value.to(torch.bfloat16) for key, value in vision(model()).items()}
    torch.save(half, tmp_path / "half.pt")
    read = vision_tower(read_checkpoint(tmp_path / "half.pt"))
    assert all(torch.equal(read[key], half[key]) for key in half)


def test_the_account_of_a_pickled_module_is_honest(tmp_path: Path) -> None:
    tower = read_tower(read_checkpoint(pickled_encoder(tmp_path / "finetuned.pt", model())))
    assert tower.kind == "pickled module src.modeling.ImageEncoder"
    assert tower.taken == len(vision(model()))
    assert "model.token_embedding.weight" in tower.ignored
    assert tower.quick_gelu is True


def test_training_extras_are_reported(tmp_path: Path) -> None:
    checkpoint = read_checkpoint(FULL_FORMATS["torch, training extras"](tmp_path, model()))
    assert checkpoint.ignored == ("epoch", "model_name", "optimizer")


def test_a_missing_projection_is_filled_and_said(tmp_path: Path) -> None:
    clip, pretrained = model(1), vision(model(0))
    folder = hugging_face_folder(tmp_path / "x", hugging_face(vision(clip), projection=False), "CLIPVisionModel")
    tower = read_tower(read_checkpoint(folder), pretrained)
    assert tower.filled == ("visual.proj",)
    assert torch.equal(tower.tensors["visual.proj"], pretrained["visual.proj"])
    assert torch.equal(tower.tensors["visual.conv1.weight"], vision(clip)["visual.conv1.weight"])
    assert list(tower.tensors) == list(pretrained)
    assert tower.ignored == ("vision_model.embeddings.position_ids",)
    assert "visual.proj" not in vision_tower(read_checkpoint(folder))


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"hidden_act": "quick_gelu"}, True),
        ({"hidden_act": "gelu"}, False),
        ({"vision_config": {"hidden_act": "gelu"}}, False),
        ({"model_type": "clip", "vision_config": {}}, True),
        ({}, None),
    ],
)
def test_the_activation_follows_the_config(tmp_path: Path, config: dict[str, Any], expected: bool | None) -> None:
    folder = hugging_face_folder(tmp_path / "x", hugging_face(vision(model())), "CLIPVisionModelWithProjection")
    (folder / "config.json").write_text(json.dumps(config))
    assert read_tower(read_checkpoint(folder)).quick_gelu is expected
    assert read_tower(read_checkpoint(folder / "model.safetensors")).quick_gelu is expected  # the file in its folder


def test_a_whole_clip_has_its_text_tower(tmp_path: Path) -> None:
    clip = model()
    expected = clip.state_dict()
    for name in ("CLIPModel", "torch, training extras", "safetensors, whole CLIP"):
        whole = whole_model(read_checkpoint(FULL_FORMATS[name](tmp_path, clip)))
        assert set(whole) == set(expected)
        assert all(torch.equal(whole[key], expected[key]) for key in expected)


# --- LoRA ---------------------------------------------------------------------------------------------------------


def adapter(folder: Path, *, config: dict[str, Any] | None = None, base: str = "vision_model.") -> dict[str, Any]:
    """Write a PEFT adapter of q, v, out_proj and fc1; return its factors by module."""
    torch.manual_seed(5)
    folder.mkdir()
    tensors, factors = {}, {}
    for block in range(2):
        for module, (out, inner) in {
            "self_attn.q_proj": (32, 32),
            "self_attn.v_proj": (32, 32),
            "self_attn.out_proj": (32, 32),
            "mlp.fc1": (128, 32),
        }.items():
            a, b = torch.randn(4, inner), torch.randn(out, 4)
            name = f"base_model.model.{base}encoder.layers.{block}.{module}"
            tensors[f"{name}.lora_A.weight"], tensors[f"{name}.lora_B.weight"] = a, b
            factors[block, module] = (a, b)
    save_file(tensors, folder / "adapter_model.safetensors")
    settings = {"peft_type": "LORA", "r": 4, "lora_alpha": 8, "target_modules": ["q_proj", "v_proj"]} | (config or {})
    (folder / "adapter_config.json").write_text(json.dumps(settings))
    return factors


@pytest.mark.parametrize(("config", "scaling"), [({}, 2.0), ({"use_rslora": True}, 4.0), ({"lora_alpha": 4}, 1.0)])
def test_an_adapter_is_scaling_times_b_a(tmp_path: Path, config: dict[str, Any], scaling: float) -> None:
    factors = adapter(tmp_path / "a", config=config)
    pretrained = vision(model())
    tower = read_tower(read_checkpoint(tmp_path / "a"), pretrained)
    expected = {key: value.clone() for key, value in pretrained.items()}
    for (block, module), (a, b) in factors.items():
        stem = f"visual.transformer.resblocks.{block}."
        if module == "self_attn.q_proj":
            expected[stem + "attn.in_proj_weight"][:32] += scaling * (b @ a)
        elif module == "self_attn.v_proj":
            expected[stem + "attn.in_proj_weight"][64:] += scaling * (b @ a)
        elif module == "mlp.fc1":
            expected[stem + "mlp.c_fc.weight"] += scaling * (b @ a)
        else:
            expected[stem + "attn.out_proj.weight"] += scaling * (b @ a)
    assert list(tower.tensors) == list(pretrained)
    for key in expected:
        assert torch.allclose(tower.tensors[key], expected[key], atol=1e-6), key
    changed = [key for key in expected if key not in tower.filled]
    assert len(changed) == 6


def test_an_adapter_of_open_clip_names_and_patterns(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    a, b = torch.randn(2, 32), torch.randn(128, 2)
    name = "base_model.model.visual.transformer.resblocks.1.mlp.c_fc"
    torch.save({f"{name}.lora_A.weight": a, f"{name}.lora_B.weight": b}, tmp_path / "a" / "adapter_model.bin")
    config = {"peft_type": "LORA", "r": 9, "lora_alpha": 1, "rank_pattern": {"c_fc": 2}, "alpha_pattern": {"c_fc": 6}}
    (tmp_path / "a" / "adapter_config.json").write_text(json.dumps(config))
    pretrained = vision(model())
    key = "visual.transformer.resblocks.1.mlp.c_fc.weight"
    assert torch.allclose(
        vision_tower(read_checkpoint(tmp_path / "a"), pretrained)[key], pretrained[key] + 3 * b @ a, atol=1e-6
    )


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"peft_type": "IA3"}, "found peft_type 'IA3'"),
        ({"use_dora": True}, "lora_magnitude_vector"),
        ({"r": 8}, "says r = 8"),
    ],
)
def test_other_adapters_are_refused(tmp_path: Path, config: dict[str, Any], message: str) -> None:
    adapter(tmp_path / "a", config=config)
    with pytest.raises(InputError, match=message):
        read_tower(read_checkpoint(tmp_path / "a"), vision(model()))


def test_unfit_adapters_are_named(tmp_path: Path) -> None:
    adapter(tmp_path / "a")
    checkpoint = read_checkpoint(tmp_path / "a")
    with pytest.raises(InputError, match="pretrained one is needed"):
        read_tower(checkpoint)
    small = {key: value[:6] if value.ndim == 2 else value for key, value in vision(model()).items()}
    with pytest.raises(InputError, match=r"B A must have shape"):
        read_tower(checkpoint, small)
    adapter(tmp_path / "text", base="text_model.")
    with pytest.raises(InputError, match="found one of a text tower"):
        read_tower(read_checkpoint(tmp_path / "text"), vision(model()))
    (tmp_path / "a" / "adapter_config.json").unlink()
    with pytest.raises(InputError, match=r"adapter_config\.json"):
        read_checkpoint(tmp_path / "a")
