from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from checkpoint_formats import FULL_FORMATS, model, pickled_head
from layouts import CLASSES, LAYOUTS, config, flat, head, hub, image_folder, moved, tall_masks, task_vectors
from PIL import Image
from safetensors.torch import save_file

from ri_analysis.engine import check_suite
from ri_analysis.errors import InputError
from ri_analysis.suite import read_spec
from ri_analysis.suite.drafting import Draft, draft, require_new, to_toml
from ri_analysis.suite.drafting.names import known, may_be_called, split_of, tasks_of, whose
from ri_analysis.suite.drafting.weights import Model, Sizes, fitting, what_is
from ri_analysis.suite.spec import SuiteSpec, parse_spec

pytestmark = pytest.mark.filterwarnings("ignore:Couldn't retrieve source code")


def written(folder: Path) -> tuple[Draft, SuiteSpec]:
    """Draft a suite, write it, and read it again."""
    found = draft(folder)
    (folder / "suite.toml").write_text(to_toml(found, folder / "suite.toml"), encoding="utf-8")
    return found, read_spec(folder / "suite.toml")


def values(table: dict[str, object]) -> dict[str, object]:
    return {key: getattr(choice, "value", None) for key, choice in table.items()}


def open_keys(found: Draft) -> list[str]:
    return [item.table for item in found.undecided]


# --- whole layouts ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_draft_of_a_public_layout_passes_the_check(layout: str, tmp_path: Path, workspace: Path) -> None:
    folder = LAYOUTS[layout](tmp_path / "mine")
    written(folder)
    report = check_suite(str(folder), workspace, device="cpu")
    assert report.findings == []
    assert len([line for line in report.passed if line.startswith("expert ")]) == 2


def test_task_vectors(tmp_path: Path) -> None:
    found, _ = written(task_vectors(tmp_path / "mine"))
    folder = "checkpoints/ViT-B-32"
    assert values(found.model) == {"architecture": "tiny-clip.json", "pretrained": f"{folder}/zeroshot.pt"}
    cars, mnist = map(values, found.tasks)
    assert cars == {
        "name": "Cars",
        "expert": f"{folder}/Cars/finetuned.pt",
        "head": f"{folder}/head_Cars.pt",
        "data": "data/stanford_cars/test",
    }
    assert mnist["data"] == "data/MNIST/raw/t10k-images-idx3-ubyte"
    assert [line.partition(":")[0] for line in found.left_out] == [
        f"{folder}/Cars/checkpoint_100.pt",
        f"{folder}/MNIST/checkpoint_100.pt",
    ]
    assert found.undecided == ()


def test_tall_masks(tmp_path: Path) -> None:
    found, _ = written(tall_masks(tmp_path / "mine"))
    folder = "checkpoints/ViT-B-32"
    assert found.model["pretrained"].value == f"{folder}/CarsVal/nonlinear_zeroshot.pt"
    assert "1 more with such a name have the same weights" in found.model["pretrained"].why
    assert values(found.tasks[1]) == {
        "name": "MNIST",
        "expert": f"{folder}/MNISTVal/nonlinear_finetuned.pt",
        "head": f"{folder}/head_MNISTVal.pt",
        "data": "mnist_test.npz",
    }
    assert any("linear_finetuned.pt: a linearised" in line for line in found.left_out)


@pytest.mark.parametrize("cached", [False, True])
def test_fusionbenchs_hub_models(tmp_path: Path, cached: bool) -> None:
    found, spec = written(hub(tmp_path / "mine", cached=cached))
    mnist = values(found.tasks[1])
    assert mnist["name"] == "mnist"
    assert mnist["templates"] == ('a photo of the number: "{}".',)
    assert mnist["classes"] == str(CLASSES / "MNIST.txt")
    place = (
        "hub/models--tanganke--clip-vit-base-patch32_mnist/snapshots/b2" if cached else "clip-vit-base-patch32_mnist"
    )
    assert mnist["expert"] == place
    data = "hub/datasets--tanganke--mnist/snapshots/b2/data/test-00000-of-00001.parquet"
    assert mnist["data"] == (data if cached else "datasets/mnist/test")
    assert "clip-vit-base-patch32" in spec.pretrained
    assert found.undecided == ()


def test_a_flat_folder_whose_pretrained_model_only_its_weights_tell(tmp_path: Path) -> None:
    found, _ = written(flat(tmp_path / "mine"))
    assert found.model["pretrained"].value == "origin.safetensors"
    assert values(found.tasks[0]) == {
        "name": "cars", "expert": "cars.safetensors", "head": "cars_head.safetensors", "data": "cars.npz",
    }  # fmt: skip
    assert [values(item) for item in found.auxiliary] == [{"name": "unlabelled", "data": "unlabelled.npz"}]
    (item,) = found.undecided  # weights are no proof
    assert "origin.safetensors was taken" in item.problem


def test_the_tiny_suites_folder_gives_its_own_suite_again(tiny: Path) -> None:
    own = read_spec(tiny)
    tiny.unlink()
    found, spec = written(tiny.parent)
    assert spec.pretrained == own.pretrained
    assert spec.architecture == own.architecture
    for task in spec.tasks:
        (same,) = [item for item in own.tasks if item.name == task.name]
        assert (task.expert, task.head, task.classes) == (same.expert, same.head, same.classes)
        assert (task.data, task.validation) == (same.data, same.validation)
    assert [item.directory for item in spec.resolved] == [item.directory for item in own.resolved]
    assert [item.name for item in spec.auxiliary] == ["other"]
    assert ["unseen.npz" in item.problem for item in found.undecided] == [True]
    text = tiny.read_text()
    assert '# [[unseen]]\n# name = "unseen"\n# tasks =\n# data = "unseen.npz"' in text
    tiny.write_text(
        re.sub(r"# (\[\[unseen\]\]|name = .unseen|tasks =|data = .unseen)", r"\1", text).replace(
            "tasks =", 'tasks = ["Reds"]'
        )
    )
    assert read_spec(tiny).unseen[0].data == own.unseen[0].data


# --- what stays open --------------------------------------------------------------------------------------


def test_what_lacks_is_open_in_the_text_and_explained_by_the_check(tmp_path: Path) -> None:
    folder = flat(tmp_path / "mine")
    for name in ("origin.safetensors", "mnist.npz", "cars_head.safetensors", "tiny-clip.json"):
        (folder / name).unlink()
    found = draft(folder)
    assert open_keys(found) == ["[model]", "[model]", "cars", "mnist"]
    text = to_toml(found, folder / "suite.toml")
    assert '# pretrained = "cars.safetensors"' in text
    assert "# TO DECIDE: no architecture of open_clip fits the weights: width 32, 2 blocks, patches of 4" in text
    spec, findings = parse_spec(folder / "suite.toml", text)
    assert spec is None
    said = "\n".join(findings)
    for line in (
        "[model]: key 'architecture' missing",
        "[model]: key 'pretrained' missing",
        "[[task]] 2 (mnist): key 'data' missing",
    ):
        assert line in said


def test_several_that_may_be_meant_are_all_named_and_none_is_taken(tmp_path: Path) -> None:
    folder = task_vectors(tmp_path / "mine")
    own = folder / "checkpoints" / "ViT-B-32"
    shutil.copy(own / "head_MNIST.pt", own / "MNIST-head.pt")
    shutil.copy(own / "Cars" / "finetuned.pt", own / "Cars" / "finetuned_2.pt")
    shutil.copytree(folder / "data" / "stanford_cars" / "test", folder / "more" / "cars")
    image_folder(folder / "more" / "cars test", 4, 0)
    found = draft(folder)
    cars, mnist = found.tasks
    assert cars["expert"].value is None
    assert [Path(name).name for name in cars["expert"].options] == ["finetuned.pt", "finetuned_2.pt"]
    assert cars["data"].options == ("data/stanford_cars/test", "more/cars test")
    assert mnist["head"].options == ("checkpoints/ViT-B-32/MNIST-head.pt", "checkpoints/ViT-B-32/head_MNIST.pt")
    assert open_keys(found) == ["Cars", "Cars", "MNIST"]


def test_images_of_the_training_split_are_never_measured_on(tmp_path: Path) -> None:
    folder = task_vectors(tmp_path / "mine")
    shutil.rmtree(folder / "data" / "stanford_cars" / "test")
    found = draft(folder)
    assert found.tasks[0]["data"].value is None
    assert found.tasks[0]["data"].options == ("data/stanford_cars/train",)
    assert "only images of the training split" in found.undecided[0].problem


def test_differing_models_called_zero_shot_are_asked_about(tmp_path: Path) -> None:
    folder = tall_masks(tmp_path / "mine")
    other = {f"model.{key}": value for key, value in moved(0.01, 9).state_dict().items()}
    torch.save(other, folder / "checkpoints" / "ViT-B-32" / "MNISTVal" / "nonlinear_zeroshot.pt")
    found = draft(folder)
    assert found.model["pretrained"].value is None
    assert len(found.model["pretrained"].options) == 2


def test_the_activation_is_asked_about_where_no_file_says_it(tmp_path: Path) -> None:
    sizes = Sizes(768, 32, 12, 50, 512)
    assert list(fitting(sizes)) == ["ViT-B-32", "ViT-B-32-quickgelu"]
    assert next(iter(fitting(Sizes(1024, 14, 24, 257)))) == "ViT-L-14"
    assert "ViT-L-14-336" in fitting(Sizes(1024, 14, 24, 577, 768))
    assert fitting(Sizes(768, 32, 12, 50, 511)) == {}
    width, layers = 768, 12
    tensors = {
        "visual.conv1.weight": torch.zeros(width, 3, 32, 32, dtype=torch.float16),
        "visual.positional_embedding": torch.zeros(50, width, dtype=torch.float16),
        "visual.proj": torch.zeros(width, 512, dtype=torch.float16),
        **{f"visual.transformer.resblocks.{block}.ln_1.weight": torch.ones(width) for block in range(layers)},
    }
    for name in ("zeroshot", "MNIST"):
        save_file(tensors, tmp_path / f"{name}.safetensors")
    found = draft(tmp_path)
    assert found.model["architecture"].options == ("ViT-B-32", "ViT-B-32-quickgelu")
    assert "which activation" in found.undecided[0].problem
    (tmp_path / "MNIST").mkdir()
    (tmp_path / "MNIST.safetensors").rename(tmp_path / "MNIST" / "nonlinear_finetuned.pt")
    assert draft(tmp_path).model["architecture"].value == "ViT-B-32-quickgelu"  # OpenAI's, as tall_masks publishes them


def test_a_width_that_no_file_tells_is_asked_about(tmp_path: Path) -> None:
    blocks = {f"visual.transformer.resblocks.{block}.ln_1.weight": torch.ones(512) for block in range(12)}
    tensors = {
        "visual.conv1.weight": torch.zeros(512, 3, 32, 32),
        "visual.positional_embedding": torch.zeros(50, 512),
        **blocks,
    }
    for name in ("zeroshot", "MNIST"):
        save_file(tensors, tmp_path / f"{name}.safetensors")
    assert draft(tmp_path).model["architecture"].options == ("ViT-M-32", "ViT-M-32-alt")
    save_file({"weight": head(3).repeat(1, 24)}, tmp_path / "MNIST_head.safetensors")  # of width 384
    assert draft(tmp_path).model["architecture"].value == "ViT-M-32-alt"


def test_towers_of_another_kind_are_told_apart(tmp_path: Path) -> None:
    for name, width in (("zeroshot", 8), ("MNIST", 8), ("DTD", 9)):
        save_file(
            {"visual.trunk.patch_embed.proj.weight": torch.zeros(width, 3, 2, 2)}, tmp_path / f"{name}.safetensors"
        )
    found = draft(tmp_path)
    assert [task["name"].value for task in found.tasks] == ["MNIST"]
    said = "\n".join(map(str, found.undecided))
    assert "left out (no plain ViT, 0.0 M values): DTD.safetensors" in said
    assert "no architecture of open_clip fits the weights: no plain ViT" in said


def test_a_word_in_all_names_does_not_make_a_pretrained_model(tmp_path: Path) -> None:
    folder = flat(tmp_path / "mine")
    for path in sorted(folder.glob("*.safetensors")):
        if "head" not in path.name:
            path.rename(folder / f"pretrained_{path.name}")
    found = draft(folder)
    assert found.model["pretrained"].value == "pretrained_origin.safetensors"
    assert [task["name"].value for task in found.tasks] == ["cars", "mnist"]


def test_unlabelled_images_called_like_a_task_are_marked_as_its_own(tmp_path: Path) -> None:
    folder = flat(tmp_path / "mine")
    shutil.copy(folder / "unlabelled.npz", folder / "mnist_unlabelled.npz")
    marks = {str(item["data"].value): "oracle" in item for item in draft(folder).auxiliary}
    assert marks == {"mnist_unlabelled.npz": True, "unlabelled.npz": False}


# --- parts ------------------------------------------------------------------------------------------------


def test_adapters_are_experts_of_the_model_that_they_name(tmp_path: Path) -> None:
    config(tmp_path)
    tower = {key: value for key, value in model().state_dict().items() if key.startswith("visual.")}
    for name in ("my-clip", "another"):
        (tmp_path / name).mkdir()
        save_file(tower, tmp_path / name / "model.safetensors")
        (tmp_path / name / "config.json").write_text("{}")
    for task in ("dtd", "svhn"):
        place = tmp_path / f"lora-{task}"
        place.mkdir()
        layer = "base_model.model.vision_model.encoder.layers.1.mlp.fc1"
        factors = {f"{layer}.lora_A.weight": torch.zeros(4, 32), f"{layer}.lora_B.weight": torch.zeros(128, 4)}
        save_file(factors, place / "adapter_model.safetensors")
        settings = {"peft_type": "LORA", "r": 4, "lora_alpha": 8, "base_model_name_or_path": "me/my-clip"}
        (place / "adapter_config.json").write_text(json.dumps(settings))
        save_file({"weight": head(3)}, tmp_path / f"head-{task}.safetensors")
    found = draft(tmp_path)
    assert found.model["pretrained"].value == "my-clip"
    assert [values(task)["name"] for task in found.tasks] == ["another", "dtd", "svhn"]
    assert found.tasks[1]["expert"].value == "lora-dtd"
    assert found.tasks[1]["head"].value == "head-dtd.safetensors"


def test_another_architecture_is_left_out_and_heads_go_to_the_nearest(tmp_path: Path) -> None:
    folder = task_vectors(tmp_path / "mine")
    shutil.copytree(folder / "checkpoints" / "ViT-B-32", folder / "checkpoints" / "B")
    for path in (folder / "checkpoints" / "B").rglob("*.pt"):
        if "head" not in path.name:
            path.unlink()
    state = model().visual.state_dict()
    state["positional_embedding"] = torch.zeros(17, 32)
    torch.save({f"visual.{key}": value for key, value in state.items()}, folder / "checkpoints" / "B" / "zeroshot.pt")
    pickled_head(folder / "head_Cars_narrow.pt", torch.ones(4, 15))
    found = draft(folder)
    assert found.tasks[0]["head"].value == "checkpoints/ViT-B-32/head_Cars.pt"
    assert "another architecture are left out" in found.undecided[0].problem
    assert any("a head of width 15, the tower's output has 16" in line for line in found.left_out)


def test_images_of_every_kind(tmp_path: Path) -> None:
    config(tmp_path)
    save_file(_visual(model()), tmp_path / "base.safetensors")
    for task in ("dtd", "svhn", "fer2013", "reds"):
        save_file(_visual(moved(0.05, 1)), tmp_path / f"{task}.safetensors")
        save_file({"weight": head(2)}, tmp_path / f"{task}-head.safetensors")
    for split in ("train", "val", "test"):
        image_folder(tmp_path / "data" / "dtd" / split, 2, 0)
    (tmp_path / "data" / "svhn").mkdir()
    (tmp_path / "data" / "svhn" / "test_32x32.mat").touch()
    (tmp_path / "data" / "svhn" / "train_32x32.mat").touch()
    (tmp_path / "data" / "fer2013").mkdir()
    (tmp_path / "data" / "fer2013" / "icml_face_data.csv").write_text("emotion, Usage, pixels\n")
    (tmp_path / "data" / "fer2013" / "notes.csv").write_text("a,b\n")
    image_folder(tmp_path / "data" / "reds" / "images", 2, 1)
    (tmp_path / "data" / "reds" / "test.txt").write_text("class 0/0.png 0\n".replace(" 0/", "_0/"))
    (tmp_path / "data" / "reds" / "images" / "class 0").rename(tmp_path / "data" / "reds" / "images" / "class_0")
    (tmp_path / "auxiliary" / "imagenet" / "val").mkdir(parents=True)
    Image.new("RGB", (8, 8)).save(tmp_path / "auxiliary" / "imagenet" / "val" / "a.png")
    np.savez(tmp_path / "oracle.npz", images=np.zeros((2, 8, 8), np.uint8))
    (tmp_path / "set.h5").touch()
    np.savez(tmp_path / "heads.npz", weight=np.zeros((3, 16)))
    found = draft(tmp_path)
    tasks = {str(task["name"].value): values(task) for task in found.tasks}
    assert (tasks["dtd"]["data"], tasks["dtd"]["validation"]) == ("data/dtd/test", "data/dtd/val")
    assert tasks["svhn"]["data"] == "data/svhn/test_32x32.mat"
    assert tasks["fer2013"]["data"] == "data/fer2013/icml_face_data.csv"
    assert tasks["reds"]["data"] == "data/reds/test.txt"
    assert [values(item) for item in found.auxiliary] == [
        {"name": "imagenet", "data": "auxiliary/imagenet/val"},
        {"name": "oracle", "data": "oracle.npz", "oracle": True},
    ]
    assert any(line.startswith("set.h5: HDF5 is not read") for line in found.left_out)
    assert any(line.startswith("heads.npz: heads in npz files are not read") for line in found.left_out)


def _visual(clip: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {key: value.contiguous() for key, value in clip.state_dict().items() if key.startswith("visual.")}


def test_damaged_and_foreign_files_are_left_out_with_the_reason(tmp_path: Path) -> None:
    folder = flat(tmp_path / "mine")
    (folder / "dtd.safetensors").write_bytes((folder / "mnist.safetensors").read_bytes()[:1000])
    (folder / "svhn.pt").write_text("version https://git-lfs.github.com/spec/v1\n")
    save_file({"bias": torch.zeros(3), "other": torch.zeros(3)}, folder / "else.safetensors")
    found = draft(folder)
    assert [task["name"].value for task in found.tasks] == ["cars", "mnist"]
    said = "\n".join(found.left_out)
    assert "dtd.safetensors: expected a whole safetensors file" in said
    assert "svhn.pt: expected a checkpoint by its name, found another kind of file" in said
    assert "else.safetensors: expected a tensor 'weight'" in said


def test_a_file_with_two_towers_needs_the_one_that_is_meant(tmp_path: Path, workspace: Path) -> None:
    folder = flat(tmp_path / "mine")
    two = {f"{name}.{k}": v for name, s in (("a", 0.1), ("b", 0.2)) for k, v in _visual(moved(s, 1)).items()}
    save_file(two, folder / "cars.safetensors")
    (folder / "origin.safetensors").rename(folder / "zeroshot.safetensors")
    found, _ = written(folder)
    (item,) = found.undecided
    assert item.table == "cars"
    assert "write 'tower' below 'expert'" in item.remedy
    assert 'tower = "a."' in str(check_suite(str(folder), workspace, device="cpu").findings[0])


def test_a_folder_without_experts_is_one_message(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected experts, fine-tuned checkpoints of one model, found none"):
        draft(tmp_path)
    save_file(_visual(model()), tmp_path / "zeroshot.safetensors")
    with pytest.raises(InputError, match=r"found 1 vision tower$"):
        draft(tmp_path)
    with pytest.raises(InputError, match="expected a folder to look for checkpoints in, found a file"):
        draft(tmp_path / "zeroshot.safetensors")


def test_too_many_files_are_refused_and_links_in_circles_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = flat(tmp_path / "mine")
    shutil.copytree(folder, tmp_path / "sibling")
    (folder / "again").symlink_to(folder)
    (folder / "up").symlink_to("..")
    (folder / "lost").symlink_to("lost")
    found, spec = written(folder)
    assert found.left_out == ("links to nothing, pipes and devices (1), links to folders around this one (1)",)
    assert all(task.expert.parent == folder for task in spec.tasks)
    assert len(spec.tasks) == 2
    monkeypatch.setenv("RI_ANALYSIS_LIMITS", "folder-entries=5")
    with pytest.raises(InputError, match="at most 5 files and folders to draft a suite file from"):
        draft(folder)


@pytest.mark.parametrize("name", FULL_FORMATS)
def test_sizes_are_the_same_in_every_format_and_no_file_is_read_whole(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = FULL_FORMATS[name](tmp_path, model())
    monkeypatch.setattr("ri_analysis.checkpoints.reader.content_digest", lambda *_: pytest.fail("read whole"))
    one = what_is(path)
    assert isinstance(one, Model)
    assert one.sizes.tower == (32, 4, 2, 5, 0)
    assert one.sizes.output == 16
    whole = {
        "safetensors, whole CLIP",
        "torch, model.visual.",
        "torch, training extras",
        "torch, before 1.6",
        "CLIPModel",
    }
    assert (one.sizes.vocabulary, one.sizes.text_width) == ((50, 16) if name in whole else (0, 0))
    says = {"CLIPModel", "CLIPVisionModelWithProjection", "CLIPVisionModel without the prefix"}  # plain GELU
    assert one.quick_gelu is (True if "pickled" in name else False if name in says else None)


# --- names and text ---------------------------------------------------------------------------------------


def test_tasks_are_called_by_what_differs() -> None:
    assert tasks_of(["clip-b_sun397", "clip-b_mnist"], "clip-b") == ["sun397", "mnist"]
    assert tasks_of(["MNISTVal", "CarsVal"]) == ["MNIST", "Cars"]
    assert tasks_of(["vit_b32_mnist_finetuned", "vit_b32_cars_finetuned"]) == ["mnist", "cars"]
    assert tasks_of(["CIFAR-10", "CIFAR-100"]) == ["CIFAR-10", "CIFAR-100"]  # no bare numbers
    assert tasks_of(["expert_mnist"]) == ["mnist"]
    assert tasks_of(["a=b, c"]) == ["a-b-c"]


def test_names_say_whose_and_which_split() -> None:
    assert whose(Path("checkpoints/ViT-B-32/MNIST/checkpoint_100.pt")) == "MNIST"
    assert whose(Path("hub/models--me--clip_dtd/snapshots/a1")) == "clip_dtd"
    found = {
        name: split_of(Path(name))
        for name in ("t10k-images-idx3-ubyte", "data_batch_1", "dtd/val", "test1.txt", "Reds-validation.npz", "latest")
    }
    assert list(found.values()) == ["test", "train", "validation", "test", "validation", ""]
    (cars, cifar) = (
        known(may_be_called(Path(name))) for name in ("stanford_cars/x.mat", "cifar-10-batches-py/test_batch")
    )
    assert (cars and cars.name, cifar and cifar.name) == ("Cars", "CIFAR10")


def test_paths_that_toml_and_shells_read_otherwise(tmp_path: Path) -> None:
    folder = flat(tmp_path / "mine")
    (folder / "cars.safetensors").rename(folder / 'ca "r" s\\.safetensors')
    (folder / "cars.npz").rename(folder / 'ca "r" s\\.npz')
    (folder / "cars_head.safetensors").rename(folder / 'ca "r" s\\ head.safetensors')
    shutil.copy(folder / "mnist.npz", folder / "~mnist.npz")
    found, spec = written(folder)
    assert {task.expert.name for task in spec.tasks} == {"mnist.safetensors", 'ca "r" s\\.safetensors'}
    assert found.left_out[0].startswith("~mnist.npz: a suite file can't name it")


def test_what_is_passed_over_is_counted_with_the_reason(tmp_path: Path) -> None:
    folder = flat(tmp_path / "mine")
    for name in (
        "cars\n.npz",
        "cars\x1b.safetensors",
        "list.csv",
        "names.csv",
        "README",
        "a-00001-of-00002.safetensors",
    ):
        (folder / name).write_bytes(b"a,b\n1,2\n")
    (folder / "lost.npz").symlink_to(folder / "nothing.npz")
    found, _ = written(folder)
    assert found.left_out == (
        "entries whose names can't be printed (2), .csv files (2), links to nothing, pipes and devices (1), files of "
        "no known kind (1), parts of checkpoints without their index file (1)",
    )
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "list.csv").write_text("a,b\n")
    with pytest.raises(InputError, match=r"expected experts.* found what can't be used: \.csv files \(1\)$"):
        draft(tmp_path / "other")


def test_a_suite_file_elsewhere_says_where_paths_begin(tmp_path: Path) -> None:
    folder = flat(tmp_path / "mine")
    (folder / "cars.txt").write_text("a\nb\nc\nd\n")
    out = tmp_path / "suites" / "mine.toml"
    out.parent.mkdir()
    out.write_text(to_toml(draft(folder), out))
    spec = read_spec(out)
    assert spec.root == folder
    assert Path(spec.architecture) == folder / "tiny-clip.json"
    assert spec.tasks[0].classes == folder / "cars.txt"
    assert spec.tasks[0].expert == folder / "cars.safetensors"


def test_no_file_is_replaced(tmp_path: Path) -> None:
    require_new(tmp_path / "suite.toml")
    (tmp_path / "suite.toml").symlink_to(tmp_path / "nowhere")
    with pytest.raises(InputError, match="expected no such file yet"):
        require_new(tmp_path / "suite.toml")


def test_an_architecture_in_a_folder_of_open_clips_is_refused(tiny: Path) -> None:
    tiny.write_text(tiny.read_text().replace('"model.json"', '"local-dir:/etc"'))
    assert "must be open_clip's name, or the path of a model config" in parse_spec(tiny)[1][0]
