from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from checkpoint_formats import FULL_FORMATS, Tensors, hugging_face, hugging_face_folder, pickled_head
from safetensors.torch import load_file, save_file
from tiny import MODEL, TASKS

from ri_analysis.cli import main
from ri_analysis.encoder import load_head
from ri_analysis.engine import Evaluator, check_suite
from ri_analysis.errors import InputError
from ri_analysis.suite import open_suite, resource_root
from ri_analysis.suite.spec import parse_spec

BENCHMARKS = resource_root() / "assets" / "benchmarks"


def clip_of(tensors: Tensors) -> torch.nn.Module:
    """A whole CLIP with this vision tower."""
    clip = open_clip.CLIP(**MODEL["model_cfg"])
    clip.visual.load_state_dict({key.removeprefix("visual."): value for key, value in tensors.items()})
    return clip


def rewritten(tiny: Path, write: Callable[[Path, Tensors], Path]) -> Path:
    """Save the tiny suite's experts by `write(folder, tensors)`; return the suite file."""
    text = tiny.read_text()
    for task in TASKS:
        folder = tiny.parent / "other" / task
        folder.mkdir(parents=True)
        path = write(folder, load_file(tiny.parent / "original" / f"{task}.safetensors"))
        for config in folder.rglob("config.json"):  # the tiny model has the plain GELU
            config.write_text(config.read_text().replace("quick_gelu", "gelu"))
        text = text.replace(f"original/{task}.safetensors", str(path.relative_to(tiny.parent)))
    suite = tiny.parent / "other.toml"
    suite.write_text(text)
    return suite


def measured(suite: Path, workspace: Path, capsys: pytest.CaptureFixture[str], *more: str) -> dict[str, Any]:
    """Run `measure --json` as a user would."""
    command = ["measure", str(suite), "--workspace", str(workspace), "--device", "cpu", "--json", *more]
    assert main(command) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


@pytest.mark.filterwarnings("ignore:Couldn't retrieve source code")
@pytest.mark.parametrize("name", FULL_FORMATS)
def test_every_full_weight_format_gives_the_same_numbers(
    tiny: Path, name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = measured(tiny, tmp_path / "ws", capsys, "--method", "tsv-m")
    other = rewritten(tiny, lambda folder, tensors: FULL_FORMATS[name](folder, clip_of(tensors)))
    assert measured(other, tmp_path / "other-ws", capsys, "--method", "tsv-m") == expected
    assert check_suite(str(other), tmp_path / "other-ws").findings == []


def test_half_precision_files_give_the_numbers_of_the_weights_they_hold(
    tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = measured(tiny, tmp_path / "a", capsys)
    halves = rewritten(tiny, _half)
    found = measured(halves, tmp_path / "b", capsys)
    assert found != whole
    for task in TASKS:
        path = tiny.parent / "original" / f"{task}.safetensors"
        save_file({key: value.half().float() for key, value in load_file(path).items()}, path)
    assert measured(tiny, tmp_path / "c", capsys) == found
    assert {item.dtype for item in check_suite(str(halves), tmp_path / "b").files} == {"float32", "float16"}


def _half(folder: Path, tensors: Tensors) -> Path:
    torch.save({key: value.half() for key, value in tensors.items()}, folder / "half.pt")
    return folder / "half.pt"


def test_lora_files_give_the_numbers_of_the_weights_they_hold(
    tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = measured(tiny, tmp_path / "a", capsys)
    adapters = rewritten(tiny, _adapter)
    pretrained = load_file(tiny.parent / "pretrained.safetensors")
    for task in TASKS:  # θ₀ + (alpha / r) B A, written out by hand
        tensors = {key: value.clone() for key, value in pretrained.items() if key.startswith("visual.")}
        factors = load_file(tiny.parent / "other" / task / "adapter" / "adapter_model.safetensors")
        a, b = (factors[f"{_LAYER}.lora_{side}.weight"] for side in "AB")
        tensors["visual.transformer.resblocks.1.mlp.c_fc.weight"] += (8 / 4) * (b @ a)
        save_file(tensors, tiny.parent / "original" / f"{task}.safetensors")
    expected, found = (measured(suite, tmp_path / suite.stem, capsys) for suite in (tiny, adapters))
    assert expected["mean_interference"] != pytest.approx(whole["mean_interference"], rel=1e-3)
    for one, two in zip(expected["tasks"], found["tasks"], strict=True):
        assert one.pop("task") == two.pop("task")
        assert two == pytest.approx(one, rel=1e-4)


_LAYER = "base_model.model.vision_model.encoder.layers.1.mlp.fc1"


def _adapter(folder: Path, tensors: Tensors) -> Path:
    generator = torch.Generator().manual_seed(len(folder.name))
    out, inner = tensors["visual.transformer.resblocks.1.mlp.c_fc.weight"].shape
    a, b = torch.randn(4, inner, generator=generator), torch.randn(out, 4, generator=generator) / 20
    (folder / "adapter").mkdir()
    save_file(
        {f"{_LAYER}.lora_A.weight": a, f"{_LAYER}.lora_B.weight": b}, folder / "adapter/adapter_model.safetensors"
    )
    config = {"peft_type": "LORA", "r": 4, "lora_alpha": 8, "target_modules": ["fc1"]}
    (folder / "adapter" / "adapter_config.json").write_text(json.dumps(config))
    return folder / "adapter"


@pytest.mark.filterwarnings("ignore:Couldn't retrieve source code")
@pytest.mark.parametrize("name", FULL_FORMATS)
def test_somebody_elses_merge_may_be_in_any_format(
    tiny: Path, name: str, tmp_path: Path, evaluator: Evaluator, capsys: pytest.CaptureFixture[str]
) -> None:
    reds = tiny.parent / "original" / "Reds.safetensors"
    expected = evaluator.measure_file(reds).summary()
    path = FULL_FORMATS[name](tmp_path, clip_of(load_file(reds)))
    found = measured(tiny, tmp_path / "ws", capsys, "--merged", str(path))
    assert found["tasks"] == expected["tasks"]


def test_a_merge_without_its_projection_takes_the_pretrained_models(
    tiny: Path, tmp_path: Path, evaluator: Evaluator
) -> None:
    tensors = load_file(tiny.parent / "original" / "Reds.safetensors")
    projected = hugging_face_folder(tmp_path / "bare", hugging_face(tensors, projection=False), "CLIPVisionModel")
    tensors["visual.proj"] = load_file(tiny.parent / "pretrained.safetensors")["visual.proj"]
    save_file(tensors, tmp_path / "whole.safetensors")
    assert evaluator.measure_file(projected).table.equals(evaluator.measure_file(tmp_path / "whole.safetensors").table)


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
    assert any("visual.proj missing; taken from the pretrained model" in line for line in report.remarks)
    assert any("unused entries: vision_model.embeddings.position_ids" in line for line in report.remarks)
    assert any("Hugging Face CLIPVisionModel" in line for line in report.passed)
    (tiny.parent / "hf" / "config.json").write_text(json.dumps({"hidden_act": "quick_gelu"}))
    assert "was made with quick-GELU" in check_suite(str(tiny)).findings[0].problem


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
    assert not any("length 1" in line for line in report.remarks)
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
        assert names is not None
        assert len(set(names)) == len(names) == (26 if letters else COUNTS[task.name])
        assert task.head is not None or task.templates


@pytest.mark.parametrize("name", ["Food101", "DTD", "RESISC45", "CIFAR10", "STL10", "SUN397"])
def test_class_names_stand_in_the_order_of_the_folders(name: str) -> None:
    names = (BENCHMARKS / "classes" / f"{name}.txt").read_text().splitlines()
    # SUN397's folders are named as /a/abbey: a letter, then the class; spaces are underscores in all of them.
    folders = [(text[0] + "_" if name == "SUN397" else "") + text.replace(" ", "_") for text in names]
    assert folders == sorted(folders)


def test_check_says_all_that_is_missing_at_once(tmp_path: Path) -> None:
    text = (BENCHMARKS / "task_vectors" / "ViT-B-32-8.toml").read_text()
    text = text.replace("/path/to/your/folder", str(tmp_path)).replace("../classes", str(BENCHMARKS / "classes"))
    (tmp_path / "suite.toml").write_text(text)
    findings = "\n".join(map(str, check_suite(str(tmp_path)).findings))
    for name in ("zeroshot.pt", "MNIST/finetuned.pt", "head_SUN397.pt", "sun397/val", "t10k-images-idx3-ubyte"):
        assert name in findings
