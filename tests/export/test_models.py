"""A merged model in others' layouts is loaded by open_clip and transformers, and answers there as it does here."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import open_clip
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from tiny import MODEL
from transformers import CLIPImageProcessor, CLIPModel, CLIPVisionModelWithProjection

import ri_analysis as ri
from ri_analysis.api import OpenedSuite
from ri_analysis.checkpoints import whole_model
from ri_analysis.export.models import HUGGING_FACE, loading

pytestmark = pytest.mark.filterwarnings("ignore::ri_analysis.api.Remark")  # that tiny experts are poor
TOKENS = torch.tensor([[49406, 320, 1125, 49407, 0, 0, 0, 0, 0, 0, 0, 0], [49406, 7, 49407, *[0] * 9]])


@pytest.fixture
def suite(tiny: Path, workspace: Path) -> OpenedSuite:
    return ri.open_suite(tiny, workspace=workspace, device="cpu")


def zero_shot(suite: OpenedSuite, merged: Path, pixels: torch.Tensor) -> torch.Tensor:
    """Return the logits of images and captions by a CLIP put together here."""
    clip = open_clip.CLIP(**MODEL["model_cfg"]).eval()
    clip.load_state_dict({**whole_model(suite.evaluator.suite.pretrained), **load_file(merged)})
    with torch.no_grad():
        return clip(pixels, TOKENS)[0] @ clip(pixels, TOKENS)[1].T * clip.logit_scale.exp()


@pytest.fixture
def pixels() -> torch.Tensor:
    return torch.randn(3, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def test_open_clip_loads_the_whole_clip(
    suite: OpenedSuite, tmp_path: Path, pixels: torch.Tensor, monkeypatch: pytest.MonkeyPatch
):
    tower = suite.merge("ties", experts="ri", out=tmp_path / "tower.safetensors").path
    merged = suite.merge("ties", experts="ri", out=tmp_path / "whole.safetensors", layout="open-clip")
    whole = merged.path
    config = tmp_path / "tiny.json"
    config.write_text(json.dumps(MODEL["model_cfg"]))
    # Forgotten after the test: a draft of another one would take it for an architecture of open_clip.
    monkeypatch.setattr(open_clip.factory, "_MODEL_CONFIG_PATHS", [*open_clip.factory._MODEL_CONFIG_PATHS])
    monkeypatch.setattr(open_clip.factory, "_MODEL_CONFIGS", {**open_clip.factory._MODEL_CONFIGS})
    open_clip.add_model_config(config)
    clip = open_clip.create_model("tiny", pretrained=str(whole)).eval()
    with torch.no_grad():
        images, texts, scale = clip(pixels, TOKENS)
    torch.testing.assert_close(images @ texts.T * scale, zero_shot(suite, tower, pixels))
    here: dict[str, Any] = {"json": json, "open_clip": open_clip}
    exec(merged.loads, here)  # the line that it names
    with torch.no_grad():
        assert torch.equal(here["clip"].eval()(pixels, TOKENS)[0], images)
    with safe_open(whole, "pt") as file:
        assert json.loads(file.metadata()["model_cfg"]) == suite.evaluator.architecture.config
    measured = suite.measure_file(whole).table["accuracy"]
    assert measured.equals(suite.measure("ties", experts="ri").table["accuracy"])


def test_transformers_load_the_folder(suite: OpenedSuite, tmp_path: Path, pixels: torch.Tensor):
    tower = suite.merge("ties", out=tmp_path / "tower.safetensors").path
    folder = suite.merge("ties", out=tmp_path / "merged", layout="hugging-face").path
    assert f"CLIPModel.from_pretrained({str(folder)!r})" in loading(folder, HUGGING_FACE, suite.evaluator)
    assert [path.name for path in tmp_path.glob(".*.part*")] == []
    model, report = CLIPModel.from_pretrained(folder, output_loading_info=True)
    assert not any(report[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    with torch.no_grad():
        logits = model.eval()(input_ids=TOKENS, pixel_values=pixels).logits_per_image
    torch.testing.assert_close(logits, zero_shot(suite, tower, pixels), rtol=1e-4, atol=1e-4)
    images = suite.evaluator.suite.task_data("Reds").pixels(range(2), 8)
    ours = suite.evaluator.encoder.preprocess(images)
    theirs = CLIPImageProcessor.from_pretrained(folder)(list(images), return_tensors="pt")["pixel_values"]
    torch.testing.assert_close(theirs, ours.cpu())
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert "TIES" in card
    assert "Its accuracy was not measured; `ri-analysis measure" in card
    assert suite.measure_file(folder).table["accuracy"].equals(suite.measure("ties").table["accuracy"])
    suite.merge("ties", out=tmp_path / "again", layout="hugging-face")
    assert "| Reds |" in (tmp_path / "again" / "README.md").read_text(encoding="utf-8")


def test_a_tower_alone_stays_one(tiny: Path, workspace: Path, tmp_path: Path, pixels: torch.Tensor):
    from safetensors.torch import save_file

    whole = load_file(tiny.parent / "pretrained.safetensors")
    save_file(
        {key: value for key, value in whole.items() if key.startswith("visual.")}, tiny.parent / "alone.safetensors"
    )
    lines = tiny.read_text().replace("pretrained.safetensors", "alone.safetensors")
    other = tiny.with_name("alone.toml")
    other.write_text(lines)
    suite = ri.open_suite(other, workspace=workspace, device="cpu")
    with pytest.raises(ri.InputError, match="expected a whole CLIP, whose text tower the merged model keeps"):
        suite.merge("ties", out=tmp_path / "x.safetensors", layout="open-clip")
    folder = suite.merge("ties", out=tmp_path / "merged", layout="hugging-face").path
    model = CLIPVisionModelWithProjection.from_pretrained(folder).eval()
    tower = suite.merge("ties", out=tmp_path / "tower.safetensors")
    visual = open_clip.CLIP(**MODEL["model_cfg"]).visual.eval()
    visual.load_state_dict({key.removeprefix("visual."): value for key, value in tower.state_dict().items()})
    with torch.no_grad():
        torch.testing.assert_close(model(pixel_values=pixels).image_embeds, visual(pixels), rtol=1e-4, atol=1e-4)


def test_what_cannot_be_written_is_said_before_merging(
    suite: OpenedSuite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "there").mkdir()
    with pytest.raises(ri.InputError, match="there: expected a new folder, found one that exists"):
        suite.merge("ties", out=tmp_path / "there", layout="hugging-face")
    with pytest.raises(ri.InputError, match="unknown layout 'open_clip'; did you mean 'open-clip'"):
        suite.merge("ties", out=tmp_path / "x", layout="open_clip")
    monkeypatch.setitem(suite.evaluator.architecture.config["vision_cfg"], "ls_init_value", 0.1)
    with pytest.raises(ri.InputError, match="Hugging Face's CLIP has too, found vision_cfg 'ls_init_value'"):
        suite.merge("ties", out=tmp_path / "y", layout="hugging-face")
    assert not (tmp_path / "y").exists()


def test_a_known_architecture_is_loaded_by_its_name(tmp_path: Path):
    architecture = SimpleNamespace(name="ViT-B-32-quickgelu")
    spec = SimpleNamespace(path=tmp_path / "suite.toml", architecture=architecture.name)
    evaluator: Any = SimpleNamespace(architecture=architecture, suite=SimpleNamespace(spec=spec))
    line = loading(Path("merged.safetensors"), "open-clip", evaluator)
    assert line == "open_clip.create_model('ViT-B-32-quickgelu', pretrained='merged.safetensors')"
    assert loading(Path("merged.safetensors"), "tower", evaluator) == ""
