"""Adapters that PEFT writes, read by us and merged by PEFT: the same weights, or a refusal."""

from __future__ import annotations

import copy
import json
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from open_clip import CLIP
from peft import IA3Config, LoHaConfig, LoraConfig, PeftModel, get_peft_model
from peft.tuners.lora.config import EvaConfig, VeloraConfig
from safetensors.torch import load_file, save_file
from transformers import (
    CLIPConfig,
    CLIPForImageClassification,
    CLIPModel,
    CLIPTextModel,
    CLIPVisionModel,
    CLIPVisionModelWithProjection,
)

from ri_analysis.checkpoints import Tower, outline, read_checkpoint, read_tower, vision_tower
from ri_analysis.errors import InputError
from ri_analysis.files import digest

pytestmark = pytest.mark.filterwarnings("ignore")

VISION = {
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": 8,
    "patch_size": 4,
    "projection_dim": 10,
}
# As wide and as deep as the vision tower: only names tell the two apart.
TEXT = {
    **{key: VISION[key] for key in ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")},
    "projection_dim": 10,
    "vocab_size": 12,
    "max_position_embeddings": 5,
    "bos_token_id": 0,
    "eos_token_id": 1,
}
CONFIG = CLIPConfig(text_config=TEXT, vision_config=VISION, projection_dim=10)
OWN = {CLIPVisionModel: "vision_config", CLIPVisionModelWithProjection: "vision_config", CLIPTextModel: "text_config"}
ATTENTION = ["q_proj", "k_proj", "v_proj", "out_proj"]


def made(kind: type[Any]) -> Any:
    """Return a model of random weights none of which is zero or one."""
    torch.manual_seed(0)
    model = kind(getattr(CONFIG, OWN[kind]) if kind in OWN else CONFIG).eval()
    for parameter in model.parameters():
        parameter.data = 0.2 * torch.randn_like(parameter)
    return model


@pytest.fixture(scope="session")
def pretrained(tmp_path_factory: pytest.TempPathFactory) -> Callable[[type[Any]], Path]:
    """What gives the folder of a pretrained model of a class, written once."""
    folder = tmp_path_factory.mktemp("pretrained")

    def of(kind: type[Any]) -> Path:
        if not (folder / kind.__name__).exists():
            made(kind).save_pretrained(folder / kind.__name__)
        return folder / kind.__name__

    return of


def trained(model: Any, config: Any, folder: Path, **saving: Any) -> Path:
    """Save an adapter of `model`, all that is trained moved at random, as after training."""
    torch.manual_seed(1)
    adapted = get_peft_model(model, config)
    for parameter in adapted.parameters():
        if parameter.requires_grad:
            parameter.data += 0.3 * torch.randn_like(parameter)
    adapted.save_pretrained(folder, **saving)
    return folder


def read_and_merged(kind: type[Any], base: Path, adapter: Path, folder: Path) -> tuple[Tower, Mapping[str, Any], Any]:
    """Return our reading of the adapter, what PEFT's merge of it is read as, and the pretrained tower."""
    PeftModel.from_pretrained(kind.from_pretrained(base), adapter).merge_and_unload().save_pretrained(folder)
    before = vision_tower(read_checkpoint(base))
    return read_tower(read_checkpoint(adapter), before), vision_tower(read_checkpoint(folder), before), before


def same(tower: Tower, merged: Mapping[str, torch.Tensor], before: Mapping[str, torch.Tensor]) -> set[str]:
    """Assert that every tensor is the merged one; return the names of those the adapter changed."""
    assert list(tower.tensors) == list(before)
    assert set(merged) == set(before)
    for key in before:
        assert torch.allclose(tower.tensors[key], merged[key].float(), rtol=0, atol=1e-6), key
        known = outline(tower.tensors, key)  # without computing anything
        assert (known.shape, known.dtype) == (merged[key].shape, tower.tensors[key].dtype), key
    changed = {key for key in before if (merged[key] - before[key]).abs().max() > 1e-2}
    assert changed == set(before) - set(tower.filled)
    return {key.removeprefix("visual.") for key in changed}


def blocks(*names: str) -> set[str]:
    """Return the canonical names of the tensors `names` of both blocks."""
    return {f"transformer.resblocks.{index}.{name}" for index in range(2) for name in names}


Q_K_V, FC1 = "attn.in_proj_weight", "mlp.c_fc.weight"  # Hugging Face's fc1 is open_clip's c_fc
LINEAR = blocks(Q_K_V, "attn.out_proj.weight", FC1, "mlp.c_proj.weight")
MLP = blocks(FC1, "mlp.c_proj.weight", "mlp.c_fc.bias", "mlp.c_proj.bias")
BIASES = blocks("attn.in_proj_bias", "attn.out_proj.bias", "mlp.c_fc.bias", "mlp.c_proj.bias", "ln_1.bias", "ln_2.bias")
BIASES |= {"ln_pre.bias", "ln_post.bias"}
EMBEDDINGS = {"class_embedding", "conv1.weight", "positional_embedding"}

EVERYWHERE: list[tuple[dict[str, Any], set[str]]] = [
    ({"target_modules": ["q_proj", "v_proj"]}, blocks(Q_K_V)),
    ({"target_modules": [*ATTENTION, "fc1", "fc2"], "lora_alpha": 3, "use_rslora": True}, LINEAR),
    (
        {"target_modules": ["fc1", "position_embedding", "patch_embedding"]},
        blocks(FC1) | {"conv1.weight", "positional_embedding"},
    ),
    (
        {"target_modules": ["k_proj"], "modules_to_save": ["post_layernorm", "fc2"]},
        blocks(Q_K_V, "mlp.c_proj.weight", "mlp.c_proj.bias") | {"ln_post.weight", "ln_post.bias"},
    ),
    ({"target_modules": ["k_proj"], "bias": "all"}, blocks(Q_K_V) | BIASES),
]


@pytest.mark.parametrize(
    "kind", [CLIPVisionModel, CLIPVisionModelWithProjection, CLIPModel, CLIPForImageClassification]
)
@pytest.mark.parametrize(("settings", "changed"), EVERYWHERE, ids=[str(item[0]) for item in EVERYWHERE])
def test_every_class_reads_as_peft_merges(
    kind: type[Any], settings: dict[str, Any], changed: set[str], pretrained: Any, tmp_path: Path
) -> None:
    base = pretrained(kind)
    adapter = trained(kind.from_pretrained(base), LoraConfig(r=3, **settings), tmp_path / "adapter")
    assert same(*read_and_merged(kind, base, adapter, tmp_path / "merged")) == changed


KINDS: list[tuple[dict[str, Any], set[str]]] = [
    ({"target_modules": "all-linear"}, LINEAR | {"proj"}),
    ({"target_modules": ["visual_projection"]}, {"proj"}),
    ({"target_modules": r".*layers\.0\..*(_proj|fc\d)"}, {name for name in LINEAR if ".0." in name}),
    (
        {"target_modules": ["fc1"], "layers_to_transform": [1], "layers_pattern": "layers"},
        {f"transformer.resblocks.1.{FC1}"},
    ),
    ({"target_modules": ["fc1"], "fan_in_fan_out": True}, blocks(FC1)),  # PEFT takes it back for nn.Linear
    ({"target_modules": ["q_proj"], "modules_to_save": ["visual_projection"]}, blocks(Q_K_V) | {"proj"}),
    ({"target_modules": ["q_proj"], "modules_to_save": ["k_proj"]}, blocks(Q_K_V, "attn.in_proj_bias")),
    (
        {"target_modules": ["q_proj"], "modules_to_save": ["embeddings", "pre_layrnorm"]},
        blocks(Q_K_V) | EMBEDDINGS | {"ln_pre.weight", "ln_pre.bias"},
    ),
    (
        {"target_modules": ["q_proj"], "modules_to_save": ["embeddings", "mlp"], "bias": "all"},
        blocks(Q_K_V) | MLP | BIASES | EMBEDDINGS,
    ),
    (
        {"target_modules": ["fc1", "out_proj"], "bias": "lora_only"},
        blocks(FC1, "mlp.c_fc.bias", "attn.out_proj.weight", "attn.out_proj.bias"),
    ),
    (
        {"target_modules": ["v_proj", "fc2"], "lora_bias": True},
        blocks(Q_K_V, "attn.in_proj_bias", "mlp.c_proj.weight", "mlp.c_proj.bias"),
    ),
    (
        {"target_modules": [*ATTENTION, "fc1", "visual_projection", "patch_embedding"], "use_dora": True},
        LINEAR - blocks("mlp.c_proj.weight") | {"proj", "conv1.weight"},
    ),
    ({"target_modules": ["position_embedding"], "use_dora": True}, {"positional_embedding"}),
    (
        {"target_modules": ["fc1"], "velora_config": VeloraConfig(num_groups=2, init_type="random")},
        blocks(FC1),
    ),
]


@pytest.mark.parametrize(("settings", "changed"), KINDS, ids=[str(item[0]) for item in KINDS])
def test_what_may_be_adapted_reads_as_peft_merges(
    settings: dict[str, Any], changed: set[str], pretrained: Any, tmp_path: Path
) -> None:
    kind = CLIPVisionModelWithProjection
    base = pretrained(kind)
    adapter = trained(kind.from_pretrained(base), LoraConfig(r=4, lora_alpha=6, **settings), tmp_path / "adapter")
    assert same(*read_and_merged(kind, base, adapter, tmp_path / "merged")) == changed


PATTERNS: list[dict[str, Any]] = [
    {"alpha_pattern": {"fc1": 32}},
    {"alpha_pattern": {r"layers\.1\.mlp\.fc1": 32, "fc1": 2}},
    {"alpha_pattern": {"fc1": 2, r"layers\.1\.mlp\.fc1": 32}},  # the first that matches
    {"alpha_pattern": {"^vision_model.encoder.layers.0.self_attn.q_proj": 40}},
    {"alpha_pattern": {"^encoder.layers.0.self_attn.q_proj": 40, "c1": 50}},  # no module's beginning, no whole name
    {"alpha_pattern": {"layers.[01].mlp.fc[12]|q_proj": 0.5}},
    {"rank_pattern": {r"layers\.\d\.self_attn\..*": 2, "fc2": 7}, "alpha_pattern": {".*self_attn.q_proj": 1}},
    {"rank_pattern": {"^vision_model.encoder.layers.1.mlp.fc1$": 5}, "use_rslora": True},
]


@pytest.mark.parametrize("settings", PATTERNS, ids=str)
def test_patterns_match_as_peft_matches_them(settings: dict[str, Any], pretrained: Any, tmp_path: Path) -> None:
    kind = CLIPVisionModelWithProjection
    base, config = (
        pretrained(kind),
        LoraConfig(r=3, lora_alpha=6, target_modules=[*ATTENTION, "fc1", "fc2"], **settings),
    )
    adapter = trained(kind.from_pretrained(base), config, tmp_path / "adapter")
    assert same(*read_and_merged(kind, base, adapter, tmp_path / "merged")) == LINEAR


@pytest.mark.parametrize(
    "settings",
    [
        *({"init_lora_weights": name} for name in (False, "gaussian", "orthogonal", "mica", "pissa", "olora")),
        {"init_lora_weights": "eva", "eva_config": EvaConfig()},
        {"init_lora_weights": "pissa", "use_rslora": True, "alpha_pattern": {"fc1": 9}},
        {"init_lora_weights": "olora", "rank_pattern": {"q_proj": 2}, "bias": "all"},
        {"init_lora_weights": "pissa", "use_dora": True},
    ],
    ids=str,
)
def test_starts_that_peft_can_repeat(settings: dict[str, Any], pretrained: Any, tmp_path: Path) -> None:
    """PiSSA and OLoRA change the pretrained weights, and PEFT does so again when it loads the adapter."""
    kind = CLIPVisionModel
    base, config = pretrained(kind), LoraConfig(r=4, lora_alpha=6, target_modules=["q_proj", "fc1", "fc2"], **settings)
    model = kind.from_pretrained(base)
    if settings["init_lora_weights"] == "eva":  # needs data to start from; what it starts from is in the factors
        config.init_lora_weights = True
    adapter = trained(model, config, tmp_path / "adapter")
    if settings["init_lora_weights"] == "eva":
        change(adapter, init_lora_weights="eva")
    same(*read_and_merged(kind, base, adapter, tmp_path / "merged"))


@pytest.mark.parametrize("start", ["pissa", "pissa_niter_4", "olora"])
def test_an_adapter_converted_when_saved_is_plain(start: str, pretrained: Any, tmp_path: Path) -> None:
    """PEFT's remedy, `path_initial_model_for_weight_conversion`, for what changed the pretrained weights."""
    kind = CLIPVisionModel
    base = pretrained(kind)
    config = LoraConfig(r=4, lora_alpha=6, target_modules=["q_proj", "fc1"], init_lora_weights=start)
    model = get_peft_model(kind.from_pretrained(base), config)
    model.peft_config["default"].init_lora_weights = True
    model.save_pretrained(tmp_path / "initial")
    model.peft_config["default"].init_lora_weights = start
    for parameter in (parameter for parameter in model.parameters() if parameter.requires_grad):
        parameter.data += 0.3 * torch.randn_like(parameter)
    model.save_pretrained(tmp_path / "adapter", path_initial_model_for_weight_conversion=str(tmp_path / "initial"))
    tower, merged, before = read_and_merged(kind, base, tmp_path / "adapter", tmp_path / "merged")
    assert same(tower, merged, before) == blocks(Q_K_V, FC1)
    trained_weight = model.merge_and_unload().state_dict()["encoder.layers.1.mlp.fc1.weight"]
    read = tower.tensors["visual.transformer.resblocks.1.mlp.c_fc.weight"]
    assert torch.allclose(read, trained_weight, rtol=0, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_factors_of_half_precision_are_multiplied_in_float32(
    dtype: torch.dtype, pretrained: Any, tmp_path: Path
) -> None:
    kind = CLIPVisionModel
    base = pretrained(kind)
    adapter = trained(kind.from_pretrained(base), LoraConfig(r=3, target_modules=["fc1"]), tmp_path / "adapter")
    path = adapter / "adapter_model.safetensors"
    save_file({key: value.to(dtype) for key, value in load_file(path).items()}, path)
    assert same(*read_and_merged(kind, base, adapter, tmp_path / "merged")) == blocks(FC1)


def test_a_state_dict_of_the_whole_adapted_model(pretrained: Any, tmp_path: Path) -> None:
    """`torch.save(model.state_dict())` holds the base's weights too, PiSSA's among them, and adapters' names."""
    kind = CLIPVisionModel
    base = pretrained(kind)
    config = LoraConfig(r=3, target_modules=["fc1"], modules_to_save=["post_layernorm"], init_lora_weights="pissa")
    trained(kind.from_pretrained(base), config, tmp_path / "adapter")
    model = PeftModel.from_pretrained(kind.from_pretrained(base), tmp_path / "adapter")
    (tmp_path / "adapter" / "adapter_model.safetensors").unlink()
    torch.save(model.state_dict(), tmp_path / "adapter" / "adapter_model.bin")
    model.merge_and_unload().save_pretrained(tmp_path / "merged")
    before = vision_tower(read_checkpoint(base))
    tower, merged = (
        read_tower(read_checkpoint(tmp_path / "adapter"), before),
        vision_tower(read_checkpoint(tmp_path / "merged")),
    )
    assert all(torch.allclose(tower.tensors[key], merged[key], rtol=0, atol=1e-6) for key in merged)


# --- open_clip ------------------------------------------------------------------------------------------------------


def open_clip_model() -> CLIP:
    torch.manual_seed(0)
    vision = {"image_size": 8, "patch_size": 4, "layers": 2, "width": 16, "head_width": 8, "mlp_ratio": 1.5}
    text = {"context_length": 5, "vocab_size": 12, "width": 16, "heads": 2, "layers": 2}
    model = CLIP(10, vision, text).eval()
    for parameter in model.parameters():
        parameter.data = 0.2 * torch.randn_like(parameter)
    return model


@pytest.mark.parametrize("whole", [True, False], ids=["CLIP", "VisionTransformer"])
@pytest.mark.parametrize(
    ("settings", "doubled"),
    [
        ({"target_modules": ["attn", "c_fc", "conv1"]}, True),
        (
            {"target_modules": ["attn"], "rank_pattern": {"attn": 2}, "alpha_pattern": {r".*resblocks\.1\.attn": 1}},
            True,
        ),
        ({"target_modules": ["out_proj", "c_proj"], "bias": "all", "modules_to_save": ["ln_post"]}, False),
        ({"target_modules": ["c_fc"], "init_lora_weights": "olora", "modules_to_save": ["ln_pre"]}, False),
    ],
    ids=["attention, convolution", "patterns", "biases and norms", "olora"],
)
def test_open_clip_reads_as_peft_merges(whole: bool, settings: dict[str, Any], doubled: bool, tmp_path: Path) -> None:
    clip = open_clip_model()
    model = clip if whole else clip.visual
    before = {f"visual.{key}": value.clone() for key, value in clip.visual.state_dict().items()}
    adapter = trained(copy.deepcopy(model), LoraConfig(r=3, lora_alpha=6, **settings), tmp_path / "adapter")
    merged = PeftModel.from_pretrained(model, adapter).merge_and_unload().state_dict()
    merged = {key if whole else f"visual.{key}": value for key, value in merged.items()}
    tower = read_tower(read_checkpoint(adapter), before)
    same(tower, {key: merged[key] for key in before}, before)
    assert any("left out" in remark and "text tower" in remark for remark in tower.remarks) == whole
    assert any("out_proj twice" in remark for remark in tower.remarks) == doubled


def test_the_output_projection_of_an_adapted_attention_changes_as_it_was_trained(tmp_path: Path) -> None:
    """By hand: PEFT's forward and merge add scaling · B A twice there."""
    clip = open_clip_model()
    before = {f"visual.{key}": value.clone() for key, value in clip.visual.state_dict().items()}
    adapter = trained(clip.visual, LoraConfig(r=3, lora_alpha=6, target_modules=["attn"]), tmp_path / "adapter")
    factors = load_file(adapter / "adapter_model.safetensors")
    stem = "base_model.model.transformer.resblocks.1.attn"
    tensors = read_tower(read_checkpoint(adapter), before).tensors
    for name, inner, times in (("in_proj_weight", "", 1), ("out_proj.weight", ".base_layer.out_proj", 2)):
        a, b = (factors[f"{stem}{inner}.lora_{side}.weight"] for side in "AB")
        key = f"visual.transformer.resblocks.1.attn.{name}"
        assert torch.allclose(tensors[key] - before[key], times * 2.0 * b @ a, atol=1e-6)


# --- whose adapter it is ----------------------------------------------------------------------------------------------


def change(adapter: Path, **settings: Any) -> Path:
    path = adapter / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | settings))
    return adapter


def rename(adapter: Path, old: str, new: str) -> Path:
    path = adapter / "adapter_model.safetensors"
    tensors = load_file(path)
    path.unlink()
    save_file({key.replace(old, new): value for key, value in tensors.items()}, path)
    return adapter


@pytest.fixture
def before(pretrained: Any) -> Mapping[str, torch.Tensor]:
    return vision_tower(read_checkpoint(pretrained(CLIPVisionModelWithProjection)))


def text_adapter(folder: Path, **settings: Any) -> Path:
    return trained(made(CLIPTextModel), LoraConfig(r=3, target_modules=["q_proj", "fc1"], **settings), folder)


def test_an_adapter_of_a_text_tower_is_no_vision_expert(before: Any, tmp_path: Path) -> None:
    adapters = [
        text_adapter(tmp_path / "alone"),
        text_adapter(tmp_path / "norm", modules_to_save=["final_layer_norm"], task_type="FEATURE_EXTRACTION"),
        rename(text_adapter(tmp_path / "prefixed"), "encoder.", "text_model.encoder."),
        trained(made(CLIPModel), LoraConfig(target_modules=r"text_model.*(fc1|q_proj)"), tmp_path / "of a CLIP"),
        trained(open_clip_model(), LoraConfig(target_modules=r"transformer.*c_fc"), tmp_path / "of open_clip"),
    ]
    for adapter in adapters:
        with pytest.raises(InputError, match=r"expected an adapter of a vision tower, found one of a text tower"):
            read_tower(read_checkpoint(adapter), before)


def test_an_adapter_that_does_not_say_its_tower_is_remarked(before: Any, tmp_path: Path) -> None:
    """With a task_type PEFT writes no `auto_mapping`, and a tower adapted by itself has the same names as the other."""
    vision = LoraConfig(r=3, target_modules=["q_proj"], task_type="FEATURE_EXTRACTION")
    adapter = trained(made(CLIPVisionModel), vision, tmp_path / "vision")
    (remark,) = read_tower(read_checkpoint(adapter), before).remarks
    assert str(adapter) in remark
    assert "is of a vision or a text tower" in remark
    vision = LoraConfig(
        r=3, target_modules=["q_proj"], task_type="FEATURE_EXTRACTION", modules_to_save=["pre_layrnorm"]
    )
    adapter = trained(made(CLIPVisionModel), vision, tmp_path / "with a norm that only vision towers have")
    assert read_tower(read_checkpoint(adapter), before).remarks == ()


def test_what_is_left_out_is_remarked(before: Any, tmp_path: Path) -> None:
    whole = trained(made(CLIPModel), LoraConfig(r=3, target_modules=["q_proj"]), tmp_path / "whole")
    (remark,) = read_tower(read_checkpoint(whole), before).remarks
    assert remark.startswith(f"{whole}: 4 tensors of the text tower, such as 'base_model.model.text_model.")
    config = LoraConfig(r=3, target_modules=["q_proj"], modules_to_save=["classifier"])
    head = trained(made(CLIPForImageClassification), config, tmp_path / "head")
    (remark,) = read_tower(read_checkpoint(head), before).remarks
    assert remark.startswith(f"{head}: 2 tensors outside the vision tower, such as 'base_model.model.classifier.")
    other = change(
        rename(whole, "_", "_"),
        auto_mapping={"base_model_class": "SiglipModel", "parent_library": "transformers.models.siglip"},
    )
    assert any(
        "made for SiglipModel, which is not a CLIP" in remark
        for remark in read_tower(read_checkpoint(other), before).remarks
    )


def test_adapters_of_two_towers_are_named(before: Any, tmp_path: Path) -> None:
    adapter = trained(made(CLIPModel), LoraConfig(r=3, target_modules=["q_proj"]), tmp_path / "two")
    tensors = load_file(adapter / "adapter_model.safetensors")
    twice = {
        key.replace("model.vision", f"model.{side}.vision"): value
        for key, value in tensors.items()
        for side in ("student", "teacher")
    }
    save_file({key: value.clone() for key, value in twice.items()}, adapter / "adapter_model.safetensors")
    with pytest.raises(InputError, match="found several: 'student', 'teacher'"):
        read_tower(read_checkpoint(adapter), before)
    twice = {
        key.replace(".weight", f".{name}.weight"): value.clone()
        for key, value in tensors.items()
        for name in ("one", "two")
    }
    save_file(twice, adapter / "adapter_model.safetensors")
    with pytest.raises(InputError, match="expected one adapter, found several"):
        read_tower(read_checkpoint(adapter), before)


# --- refusals ---------------------------------------------------------------------------------------------------------


def vision_adapter(folder: Path, **settings: Any) -> Path:
    config = LoraConfig(r=3, lora_alpha=6, **({"target_modules": ["q_proj", "fc1"]} | settings))
    return trained(made(CLIPVisionModelWithProjection), config, folder)


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"init_lora_weights": "pissa_niter_4"}, "'pissa_niter_4' changed the pretrained weights .* path_initial_model"),
    ({"init_lora_weights": "corda"}, "'corda' changed the pretrained weights .* path_initial_model"),
    ({"init_lora_weights": "lora_ga"}, "'lora_ga' changed the pretrained weights .* path_initial_model"),
    ({"init_lora_weights": "loftq"}, "'loftq' changed the pretrained weights .* merge it into its model"),
    ({"init_lora_weights": "new"}, "'new' is not known"),
    ({"peft_type": "ADALORA"}, "found peft_type 'ADALORA'"),
    ({"target_parameters": ["fc1.weight"]}, "'target_parameters' does not say"),
    ({"layer_replication": [[0, 2], [1, 2]]}, "'layer_replication' is made for a model that repeats layers"),
    ({"alora_invocation_tokens": [1]}, "'alora_invocation_tokens' is active only after"),
    ({"arrow_config": {"top_k": 1}}, "'arrow_config' chooses among adapters"),
    ({"kasa_config": {"beta": 1}}, "'kasa_config' changes the pretrained weights"),
    ({"monteclora_config": {"num_samples": 1}}, "'monteclora_config' draws"),
    ({"use_bdlora": {"nblocks": 2}}, "'use_bdlora' has block-diagonal"),
    ({"use_qalora": True}, "'use_qalora' pools"),
    ({"use_dora": True}, "expected a 'lora_magnitude_vector'"),
    ({"use_rslora": "yes"}, "'use_rslora' in adapter_config.json to be true or false, found 'yes'"),
    ({"r": 0}, "'r' in adapter_config.json to be an integer of at least 1, found 0"),
    ({"r": "3"}, "'r' in adapter_config.json to be an integer of at least 1, found '3'"),
    ({"r": 3.5}, "'r' in adapter_config.json to be an integer of at least 1, found 3.5"),
    ({"r": True}, "'r' in adapter_config.json to be an integer of at least 1, found True"),
    ({"r": 4}, "says r = 4 for 'vision_model.encoder.layers.0.*', the factors have 3"),
    ({"lora_alpha": "16"}, "'lora_alpha' in adapter_config.json to be a finite number, found '16'"),
    ({"lora_alpha": [16]}, r"'lora_alpha' in adapter_config.json to be a finite number, found \[16\]"),
    ({"lora_alpha": None}, "'lora_alpha' in adapter_config.json to be a finite number, found None"),
    ({"lora_alpha": float("nan")}, "'lora_alpha' in adapter_config.json to be a finite number, found nan"),
    ({"lora_alpha": float("inf")}, "'lora_alpha' in adapter_config.json to be a finite number, found inf"),
    ({"lora_alpha": 1e39}, r"'lora_alpha' in adapter_config.json to be a finite number, found 1e\+39"),
    ({"lora_alpha": 10**400}, "integers of at most 64 bits, found one of 1,329"),
    ({"alpha_pattern": {"fc1": "8"}}, "alpha_pattern 'fc1' in adapter_config.json to be a finite number, found '8'"),
    ({"alpha_pattern": {"fc1(": 8}}, r"alpha_pattern 'fc1\(' is no regular expression"),
    ({"alpha_pattern": ["fc1"]}, "'alpha_pattern' in adapter_config.json to map patterns to values"),
    ({"rank_pattern": {"fc1": 0}}, "rank_pattern 'fc1' in adapter_config.json to be an integer of at least 1, found 0"),
]


@pytest.fixture(scope="session")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with warnings.catch_warnings(action="ignore"):
        return vision_adapter(tmp_path_factory.mktemp("adapter"))


@pytest.mark.parametrize(("settings", "message"), REFUSED, ids=[str(item[0])[:50] for item in REFUSED])
def test_settings_are_refused_for_what_they_are(
    settings: dict[str, Any], message: str, plain: Path, before: Any, tmp_path: Path
) -> None:
    for path in plain.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    change(tmp_path, **settings)
    with pytest.raises(InputError, match=message) as raised:
        read_tower(read_checkpoint(tmp_path), before)
    assert str(raised.value).startswith(str(tmp_path))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("config", "kind"),
    [
        (IA3Config(target_modules=["q_proj", "fc1"], feedforward_modules=["fc1"]), "IA3"),
        (LoHaConfig(r=3, target_modules=["fc1"]), "LOHA"),
    ],
)
def test_other_kinds_are_named(config: Any, kind: str, before: Any, tmp_path: Path) -> None:
    adapter = trained(made(CLIPVisionModel), config, tmp_path / "adapter")
    with pytest.raises(InputError, match=f"expected a LoRA adapter, found peft_type '{kind}'"):
        read_tower(read_checkpoint(adapter), before)


def with_tensors(adapter: Path, edit: Callable[[dict[str, torch.Tensor]], Any]) -> Path:
    tensors = load_file(adapter / "adapter_model.safetensors")
    edit(tensors)
    save_file(tensors, adapter / "adapter_model.safetensors")
    return adapter


LAYER = "base_model.model.vision_model.encoder.layers.1.mlp.fc1"
A, B = f"{LAYER}.lora_A.weight", f"{LAYER}.lora_B.weight"
TOKENS = "base_model.model.vision_model.embeddings.position_embedding.token_adapter.trainable_tokens_delta"
Edit = Callable[[dict[str, torch.Tensor]], Any]
DAMAGE: list[tuple[Edit, str]] = [
    (lambda t: t.pop(B), "expected a tensor 'lora_B' of the same layer"),
    (lambda t: t.pop(A), "expected a tensor 'lora_A' of the same layer"),
    (lambda t: t[B].fill_(float("nan")), r"expected finite numbers in .*lora_B\.weight'"),
    (lambda t: [t[key].fill_(1e30) for key in (A, B)], r"c_fc\.weight' becomes infinite"),
    (lambda t: t.update({A: torch.ones(3, 16, dtype=torch.int32)}), "expected finite numbers"),
    (lambda t: t.update({A: torch.ones(3, 8)}), r"B A must have shape \(24, 16\)"),
    (lambda t: t.update({A: torch.ones(0, 16), B: torch.ones(24, 0)}), "says r = 3"),
    (lambda t: t.update({f"{LAYER}.lora_magnitude_vector": torch.ones(24)}), "only there, found '.*magnitude_vector'"),
    (lambda t: t.update({f"{LAYER}.lora_diag": torch.ones(3)}), "lora_diag' is neither a tensor of the pretrained"),
    (lambda t: t.update({f"{LAYER}.base_layer.bias": torch.ones(23)}), r"with shape \(24,\), found \(23,\)"),
    (
        lambda t: t.update({A.replace(".1.", ".2."): t[A] + 1, B.replace(".1.", ".2."): t[B] + 1}),
        r"layers\.2\.mlp\.fc1\.lora_A\.weight' adapts a layer that the pretrained",
    ),
    (lambda t: t.update({TOKENS: torch.ones(1, 16)}), "trainable_tokens_delta' is neither a tensor of the pretrained"),
]


@pytest.mark.parametrize(("edit", "message"), DAMAGE, ids=[item[1][:40] for item in DAMAGE])
def test_tensors_that_do_not_fit_are_named(edit: Edit, message: str, plain: Path, before: Any, tmp_path: Path) -> None:
    for path in plain.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    with_tensors(tmp_path, edit)
    with pytest.raises(InputError, match=message) as raised:
        list(read_tower(read_checkpoint(tmp_path), before).tensors.items())
    assert str(raised.value).startswith(str(tmp_path))


@pytest.mark.parametrize("settings", [{"lora_bias": True}, {"fan_in_fan_out": True}], ids=str)
def test_an_attention_that_peft_itself_does_not_merge_right_is_refused(
    settings: dict[str, Any], tmp_path: Path
) -> None:
    clip = open_clip_model()
    before = {f"visual.{key}": value.clone() for key, value in clip.visual.state_dict().items()}
    adapter = trained(clip.visual, LoraConfig(r=3, target_modules=["attn"], **settings), tmp_path / "adapter")
    with pytest.raises(InputError, match="PEFT does not merge it as it was trained"):
        read_tower(read_checkpoint(adapter), before)


def test_a_layer_without_a_bias_takes_none(before: Any, tmp_path: Path) -> None:
    adapter = vision_adapter(tmp_path / "adapter", target_modules=["visual_projection"], lora_bias=True)
    with pytest.raises(InputError, match=r"lora_B\.bias' matches no bias"):
        read_tower(read_checkpoint(adapter), before)


# --- what was kept ----------------------------------------------------------------------------------------------------


def test_only_kinds_that_were_read_otherwise_before_have_new_digests(plain: Path, tmp_path: Path) -> None:
    """Answers are kept by the digest: plain adapters keep theirs, that of their tensors and their config."""
    for path in plain.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "alone.safetensors").write_bytes((plain / "adapter_model.safetensors").read_bytes())
    tensors = read_checkpoint(tmp_path / "alone.safetensors").digest

    def is_as_before(**settings: Any) -> bool:
        change(tmp_path, **{"alpha_pattern": {}, "init_lora_weights": True} | settings)
        config = json.loads((tmp_path / "adapter_config.json").read_text())
        return read_checkpoint(tmp_path).digest == digest(tensors, json.dumps(config, sort_keys=True))

    assert is_as_before()
    assert is_as_before(init_lora_weights="gaussian")
    assert not is_as_before(alpha_pattern={"fc1": 8})
    assert not is_as_before(init_lora_weights="pissa")
    with_tensors(tmp_path, lambda t: t.update({f"{LAYER}.base_layer.bias": torch.ones(24)}))
    assert not is_as_before()
