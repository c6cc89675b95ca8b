from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny import MODEL, TASKS

from ri_analysis.checkpoints import read_checkpoint, vision_tower
from ri_analysis.encoder import Encoder, build_head, load_head, load_heads, read_architecture
from ri_analysis.encoder.heads import TextTower
from ri_analysis.errors import InputError
from ri_analysis.suite import open_suite


def test_features_are_open_clips(tiny: Path) -> None:
    """The tower agrees with a CLIP that open_clip itself loads and preprocesses."""
    suite = open_suite(str(tiny))
    encoder = Encoder(read_architecture("model.json", tiny.parent), batch=7)
    images = suite.task_data("Reds")
    features = encoder.features(vision_tower(suite.expert("Reds")), images)
    model = open_clip.CLIP(**MODEL["model_cfg"]).eval()
    model.load_state_dict(load_file(suite.pretrained.path))
    tower = {k.removeprefix("visual."): v for k, v in load_file(suite.expert("Reds").path).items()}
    model.visual.load_state_dict(tower)
    pixels = torch.tensor(images.pixels(range(24), 8)).permute(0, 3, 1, 2) / 255
    with torch.no_grad():
        expected = model.encode_image((pixels - 0.5) / 0.5, normalize=True)
    assert torch.allclose(features, expected, atol=1e-6)
    assert torch.allclose(features.norm(dim=1), torch.ones(24), atol=1e-6)
    some = encoder.features(vision_tower(suite.expert("Reds")), images, [3, 5])
    assert torch.allclose(some, features[[3, 5]], atol=1e-6)


def test_head_files_hold_what_the_text_tower_builds(tiny: Path) -> None:
    suite = open_suite(str(tiny))
    architecture = read_architecture("model.json", tiny.parent)
    from_files = load_heads(suite, architecture)
    text = "".join(line for line in tiny.read_text().splitlines(True) if not line.startswith("head"))
    tiny.write_text(text)
    built = load_heads(open_suite(str(tiny)), architecture)
    for task, classes in TASKS.items():
        assert built[task].weight.shape == (classes, 16)
        assert torch.allclose(built[task].weight, from_files[task].weight, atol=1e-5)


def test_a_head_is_the_normalised_mean_embedding_times_the_logit_scale(tiny: Path) -> None:
    model = open_clip.CLIP(**MODEL["model_cfg"]).eval()
    model.load_state_dict(load_file(tiny.parent / "pretrained.safetensors"))
    tokens = open_clip.SimpleTokenizer(context_length=12)(["a photo of reds 1", "reds 1"])
    with torch.no_grad():
        mean = model.encode_text(tokens, normalize=True).mean(dim=0)
    expected = mean / mean.norm() * model.logit_scale.exp()
    head = load_head(tiny.parent / "head-Reds.safetensors", None, 16)
    assert torch.allclose(head.weight[1], expected, atol=1e-5)
    assert head.classes == ("class 0", "class 1", "class 2")


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"weight": torch.zeros(3, 15)}, r"shape \(classes, 16\), found \(3, 15\)"),
        ({"weight": torch.full((3, 16), float("nan"))}, "must be finite"),
        ({"weight": torch.zeros(3, 16), "bias": torch.ones(3)}, "not zero"),
        ({"weight": torch.zeros(4, 16)}, "the head has 4 classes, the class names are 3"),
        ({"a": torch.zeros(1), "b": torch.zeros(1)}, "expected a tensor 'weight'"),
    ],
)
def test_bad_heads_are_named(tmp_path: Path, tensors: dict[str, torch.Tensor], message: str) -> None:
    save_file(tensors, tmp_path / "head.safetensors")
    with pytest.raises(InputError, match=message):
        load_head(tmp_path / "head.safetensors", ("a", "b", "c"), 16)


@pytest.mark.parametrize(
    ("value", "scale", "message"),
    [(1.0, 1e300, "logit_scale 1e\\+300 must be finite"), (1.0, 1e-300, "vanish"), (1e300, 1.0, "finite in float32")],
)
def test_what_float32_can_not_hold_is_named(tmp_path: Path, value: float, scale: float, message: str) -> None:
    save_file({"weight": torch.full((3, 16), value, dtype=torch.float64)}, tmp_path / "head.safetensors")
    with pytest.raises(InputError, match=message):
        load_head(tmp_path / "head.safetensors", None, 16, scale)


def test_braces_of_a_template_are_text(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    architecture = read_architecture("model.json", tiny.parent)
    tower = TextTower(architecture, read_checkpoint(tiny.parent / "pretrained.safetensors"))
    embedded = list[str]()
    embed = tower.embed
    monkeypatch.setattr(tower, "embed", lambda captions: embedded.extend(captions) or embed(captions))
    one, two = build_head(tower, ["a", "b"], ["{{}}", "{} {c}"]).weight
    assert embedded == ["{a}", "a {c}", "{b}", "b {c}"]
    assert not torch.equal(one, two)
    monkeypatch.setenv("RI_ANALYSIS_LIMITS", "head-texts=3")
    with pytest.raises(InputError, match="at most 3 texts, classes times templates"):
        build_head(tower, ["a", "b"], ["{}", "a {}"])


def test_a_raw_tensor_is_a_head(tmp_path: Path) -> None:
    save_file({"text_features": torch.eye(3, 16)}, tmp_path / "head.safetensors")
    assert load_head(tmp_path / "head.safetensors", None, 16).weight.shape == (3, 16)


def test_a_head_that_does_not_fit_its_data_names_both_counts(tiny: Path) -> None:
    with np.load(tiny.parent / "Blues-test.npz") as file:
        arrays = {name: file[name] for name in file.files}
    arrays["labels"][0] = 5
    np.savez(tiny.parent / "Blues-test.npz", **arrays)
    with pytest.raises(InputError, match=r"at least 6 classes, but the head of .*'Blues' has 2"):
        load_heads(open_suite(str(tiny)), read_architecture("model.json", tiny.parent))


def test_weights_that_do_not_fit_the_tower(tiny: Path) -> None:
    encoder = Encoder(read_architecture("model.json", tiny.parent))
    tower = dict(vision_tower(read_checkpoint(tiny.parent / "pretrained.safetensors")))
    with pytest.raises(InputError, match=r"'visual\.extra' is not part of"):
        encoder.load({**tower, "visual.extra": torch.zeros(1)})
    with pytest.raises(InputError, match=r"'visual\.proj' must have shape \(32, 16\)"):
        encoder.load({**tower, "visual.proj": torch.zeros(2, 2)})
    tower.pop("visual.proj")
    with pytest.raises(InputError, match=r"'visual\.proj' missing"):
        encoder.load(tower, "x")


def test_architectures_by_name_and_by_file(tmp_path: Path) -> None:
    named = read_architecture("ViT-B-32", tmp_path)
    assert (named.image_size, named.context_length) == (224, 77)
    with pytest.raises(InputError, match="unknown architecture 'ViT-B-33'; did you mean"):
        read_architecture("ViT-B-33", tmp_path)
    with pytest.raises(InputError, match="expected an open_clip model config"):
        read_architecture("none.json", tmp_path)
    (tmp_path / "odd.json").write_text(json.dumps({"embed_dim": 4}))
    with pytest.raises(InputError, match="'vision_cfg'"):
        read_architecture("odd.json", tmp_path)
    (tmp_path / "odd.json").write_text(json.dumps({"embed_dim": 4, "vision_cfg": {"sizes": 3}, "text_cfg": {}}))
    with pytest.raises(InputError, match="open_clip model config"):
        read_architecture("odd.json", tmp_path).build()


def test_a_vision_tower_alone_can_not_build_heads(tiny: Path) -> None:
    tower = dict(vision_tower(read_checkpoint(tiny.parent / "pretrained.safetensors")))
    save_file(tower, tiny.parent / "pretrained.safetensors")
    tiny.write_text("".join(line for line in tiny.read_text().splitlines(True) if not line.startswith("head")))
    with pytest.raises(InputError, match="found no text tower"):
        load_heads(open_suite(str(tiny)), read_architecture("model.json", tiny.parent))
