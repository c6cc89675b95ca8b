from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from checkpoint_formats import (
    ImageEncoder,
    foreign,
    hugging_face,
    hugging_face_folder,
    pickled_head,
    sharded_folder,
)
from safetensors.torch import load_file
from tiny import MODEL, TASKS

from ri_analysis.cli import main
from ri_analysis.encoder import load_head
from ri_analysis.engine import Evaluator, check_suite
from ri_analysis.errors import InputError
from ri_analysis.suite import open_suite, resource_root
from ri_analysis.suite.spec import parse_spec

BENCHMARKS = resource_root() / "assets" / "benchmarks"


def rewritten(tiny: Path, kind: str) -> Path:
    """Save the tiny suite's experts in another format; return the suite file."""
    text = tiny.read_text()
    for task in TASKS:
        old = tiny.parent / "original" / f"{task}.safetensors"
        tensors, new = load_file(old), tiny.parent / "other" / task
        new.parent.mkdir(exist_ok=True)
        if kind == "pickled module":
            clip = open_clip.CLIP(**MODEL["model_cfg"])
            clip.visual.load_state_dict({key.removeprefix("visual."): value for key, value in tensors.items()})
            with foreign(ImageEncoder):
                torch.save(ImageEncoder(clip), new)
        elif kind == "torch":
            torch.save({"state_dict": {f"module.{key}": value for key, value in tensors.items()}, "epoch": 1}, new)
        elif kind == "older torch":
            torch.save(tensors, new, _use_new_zipfile_serialization=False)
        elif kind == "Hugging Face":
            hugging_face_folder(new, hugging_face(tensors), "CLIPVisionModelWithProjection", act="gelu")
        else:
            sharded_folder(new, hugging_face(tensors, ""))
        text = text.replace(f"original/{task}.safetensors", f"other/{task}")
    path = tiny.parent / "other.toml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("kind", ["pickled module", "torch", "older torch", "Hugging Face", "shards"])
def test_every_full_weight_format_gives_the_same_numbers(
    tiny: Path, kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = []
    for suite in (tiny, rewritten(tiny, kind)):
        folder = str(tmp_path / f"ws-{suite.stem}")
        assert (
            main(["measure", str(suite), "--method", "tsv-m", "--workspace", folder, "--device", "cpu", "--json"]) == 0
        )
        found.append(json.loads(capsys.readouterr().out))
    assert found[0] == found[1]


def test_somebody_elses_merge_may_be_in_any_format(tiny: Path, tmp_path: Path, evaluator: Evaluator) -> None:
    tensors = load_file(tiny.parent / "original" / "Reds.safetensors")
    folder = hugging_face_folder(tmp_path / "merged", hugging_face(tensors), "CLIPVisionModelWithProjection")
    expected = evaluator.measure_file(tiny.parent / "original" / "Reds.safetensors").table
    assert evaluator.measure_file(folder).table.equals(expected)
    projected = hugging_face_folder(tmp_path / "bare", hugging_face(tensors, projection=False), "CLIPVisionModel")
    assert not evaluator.measure_file(projected).table.equals(expected)  # its projection is the pretrained model's


def _toml(tiny: Path, old: str, new: str) -> None:
    text = tiny.read_text()
    assert old in text
    tiny.write_text(text.replace(old, new, 1))


def test_check_gives_an_honest_account(tiny: Path, tmp_path: Path) -> None:
    tensors = load_file(tiny.parent / "original" / "Reds.safetensors")
    hugging_face_folder(tiny.parent / "hf", hugging_face(tensors, projection=False), "CLIPVisionModel", act="gelu")
    _toml(tiny, "original/Reds.safetensors", "hf")
    report = check_suite(str(tiny), tmp_path / "workspace")
    assert report.findings == []
    assert any("visual.proj taken from the pretrained model" in line for line in report.remarks)
    assert any("entries not needed: vision_model.embeddings.position_ids" in line for line in report.remarks)
    assert any("Hugging Face CLIPVisionModel" in line for line in report.passed)
    (tiny.parent / "hf" / "config.json").write_text(json.dumps({"hidden_act": "quick_gelu"}))
    assert "was made with quick-GELU" in check_suite(str(tiny)).findings[0]


def test_heads_as_people_have_them(tiny: Path, tmp_path: Path) -> None:
    weight = load_file(tiny.parent / "head-Reds.safetensors")["weight"]
    names = ("a", "b", "c")
    pickled = load_head(pickled_head(tmp_path / "head_Reds.pt", weight), names, 16)
    assert torch.equal(pickled.weight, weight)
    assert pickled.scale == pytest.approx(weight[0].norm().item(), rel=1e-3)
    torch.save(weight, tmp_path / "raw.pt")
    assert torch.equal(load_head(tmp_path / "raw.pt", names, 16).weight, weight)
    assert torch.allclose(load_head(tmp_path / "raw.pt", names, 16, 2.0).weight, 2 * weight)
    with pytest.raises(InputError, match="normalize = False"):
        load_head(pickled_head(tmp_path / "odd.pt", weight, normalize=False), names, 16)


def test_an_unscaled_head_is_remarked_and_can_be_scaled(tiny: Path) -> None:
    weight = torch.nn.functional.normalize(load_file(tiny.parent / "head-Reds.safetensors")["weight"], dim=1)
    torch.save(weight, tiny.parent / "raw.pt")
    _toml(tiny, "head-Reds.safetensors", "raw.pt")
    assert any("logit_scale = 100.0" in line for line in check_suite(str(tiny)).remarks)
    _toml(tiny, 'head = "raw.pt"', 'head = "raw.pt"\nlogit_scale = 100')
    report = check_suite(str(tiny))
    assert report.remarks == []
    assert "head Reds: 3 classes, logit scale 100" in report.passed


def test_templates_may_be_a_file_and_root_moves_weights_and_images(tiny: Path, tmp_path: Path) -> None:
    for name in ("Reds.txt", "Greens.txt", "Blues.txt", "model.json"):
        (tmp_path / name).write_text((tiny.parent / name).read_text())
    (tmp_path / "prompts.txt").write_text("a photo of {}\n{}\n")
    text = tiny.read_text().replace('templates = ["a photo of {}", "{}"]', 'templates = "prompts.txt"')
    moved = tmp_path / "moved.toml"
    moved.write_text(f'root = "{tiny.parent}"\n{text}')
    suite = open_suite(str(moved))
    assert suite.spec.tasks[0].templates == ("a photo of {}", "{}")
    assert suite.pretrained.path == tiny.parent / "pretrained.safetensors"
    assert check_suite(str(moved)).findings == []
    moved.write_text(f'root = "{tmp_path / "none"}"\n{text}'.replace("prompts", "nothing"))
    findings = parse_spec(moved)[1]
    assert "root: expected the folder that holds the weights and images" in findings[0]
    assert "nothing.txt" in findings[1]


@pytest.mark.parametrize(
    ("addition", "message"),
    [
        ("images_per_class = 0", "images_per_class must be at least 1"),
        ("logit_scale = -1", "logit_scale must be a positive number"),
        ("logit_scale = true", "must be a number, found True"),
        ("templates = 3", "must be a list of texts, or a file of them"),
    ],
)
def test_mistakes_in_the_new_keys_are_named(tiny: Path, addition: str, message: str) -> None:
    text = tiny.read_text().replace('templates = ["a photo of {}", "{}"]', "", 1)
    tiny.write_text(text.replace('name = "Reds"', f'name = "Reds"\n{addition}', 1))
    assert any(message in line for line in parse_spec(tiny)[1])


def test_class_names_in_another_order_than_the_data_are_found(tiny: Path) -> None:
    from PIL import Image

    for name in ("blues 0", "blues 1"):
        (tiny.parent / "folder" / name).mkdir(parents=True)
        Image.new("RGB", (8, 8)).save(tiny.parent / "folder" / name / "a.png")
    _toml(tiny, "Blues-test.npz", "folder")
    assert check_suite(str(tiny)).findings == []
    (tiny.parent / "Blues.txt").write_text("blues 1\nblues 0\n")
    assert any("the same names in another order" in line for line in check_suite(str(tiny)).findings)


# --- the public benchmarks ----------------------------------------------------------------------------------------

COUNTS: dict[str, int] = {
    **{"Cars": 196, "DTD": 47, "EuroSAT": 10, "GTSRB": 43, "MNIST": 10, "RESISC45": 45, "SVHN": 10, "SUN397": 397},
    **{"STL10": 10, "OxfordIIITPet": 37, "Flowers102": 102, "CIFAR100": 100, "PCAM": 2, "FER2013": 7},
    **{"CIFAR10": 10, "Food101": 101, "FashionMNIST": 10, "RenderedSST2": 2, "EMNIST": 10, "KMNIST": 10},
}


@pytest.mark.parametrize(
    "path", sorted(BENCHMARKS.glob("*/*.toml")), ids=lambda path: f"{path.parent.name}-{path.stem}"
)
def test_the_benchmarks_need_one_path_and_are_whole(path: Path, tmp_path: Path) -> None:
    findings = parse_spec(path)[1]
    assert len(findings) == 1
    assert "root" in findings[0]
    text = (
        path.read_text()
        .replace("/path/to/your/folder", str(tmp_path))
        .replace("../classes", str(BENCHMARKS / "classes"))
    )
    (tmp_path / "suite.toml").write_text(text)
    spec: Any = parse_spec(tmp_path / "suite.toml")[0]
    assert [task.name for task in spec.tasks] == list(COUNTS)[: int(path.stem.rpartition("-")[2])]
    suite = open_suite(str(tmp_path / "suite.toml"))
    for task in spec.tasks:
        names = suite.class_names(task.name)
        letters = task.name == "EMNIST" and path.parent.name == "hugging_face"
        assert names is None or len(names) == (26 if letters else COUNTS[task.name])
        assert task.head is not None or task.templates


def test_check_says_all_that_is_missing_at_once(tmp_path: Path) -> None:
    text = (BENCHMARKS / "task_vectors" / "ViT-B-32-8.toml").read_text()
    text = text.replace("/path/to/your/folder", str(tmp_path)).replace("../classes", str(BENCHMARKS / "classes"))
    (tmp_path / "suite.toml").write_text(text)
    findings = "\n".join(check_suite(str(tmp_path)).findings)
    for name in ("zeroshot.pt", "MNIST/finetuned.pt", "head_SUN397.pt", "sun397/test", "t10k-images-idx3-ubyte"):
        assert name in findings
