from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import load_file, save_file

from ri_analysis.errors import InputError
from ri_analysis.suite import open_suite, sample, stratified, suite_path
from ri_analysis.suite.data import read_images
from ri_analysis.suite.images import GeneratedImages, in_memory
from ri_analysis.suite.preprocessing import fit
from ri_analysis.suite.spec import parse_spec


def test_a_suite_file_is_read_whole(tiny: Path) -> None:
    suite = open_suite(str(tiny))
    assert suite.tasks == ("Reds", "Greens", "Blues")
    assert suite.expert_sets == ("original", "mild")
    assert suite.expert_set("ri") == "mild"
    assert suite.class_names("Blues") == ("blues 0", "blues 1")
    assert len(suite.task_data("Reds")) == 24
    assert len(suite.task_data("Reds", "validation")) == 12
    assert len(suite.unseen_data("dim")) == 20
    assert len(suite.auxiliary_data("noise")) == 32


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('name = "tiny"', 'nmae = "tiny"', "unknown key 'nmae'; did you mean 'name'"),
        ('expert = "original/Reds', 'exprt = "original/Reds', "[[task]] 1 (Reds): key 'expert' missing"),
        ('name = "Greens"', 'name = "Reds"', "name 'Reds' is used 2 times"),
        ('name = "Greens"', 'name = "a,b"', "a name must not hold"),
        ('name = "Greens"', 'name = "a\\u001b[2J"', "a name must be printable"),
        ("seed = 3", 'seed = "3"', "seed: must be an integer, found '3'"),
        ('generator = "noise"', 'generator = "nois"', "unknown generator 'nois'; did you mean 'noise'"),
        ("count = 32", "count = 0", "count must be from 1 to 10,000,000, found 0"),
        ('tasks = ["Reds"]', 'tasks = ["Redds"]', "unknown task 'Redds'; did you mean 'Reds'"),
        ('tasks = ["Reds"]', "tasks = [1]", "must be a list of texts"),
        ('name = "mild"', 'name = "original"', "'original' is reserved"),
        ("[model]", "[modell]", "[model]: missing"),
        ('"{}"]', '"none"]', "a template must hold '{}' once"),
        ("[[unseen]]", "[unseen]", "expected [[unseen]] tables"),
        ('name = "tiny"', 'name = "a b"', "name must be letters"),
        ('name = "tiny"', "name = ", "expected TOML"),
    ],
)
def test_every_mistake_in_the_file_is_named(tiny: Path, old: str, new: str, message: str) -> None:
    text = tiny.read_text()
    assert old in text
    tiny.write_text(text.replace(old, new, 1))
    with pytest.raises(InputError) as error:
        open_suite(str(tiny))
    assert message in str(error.value)
    assert str(tiny) in str(error.value)


def test_findings_come_all_at_once(tiny: Path) -> None:
    tiny.write_text(tiny.read_text().replace("seed = 3", "seed = true").replace("default = true", "default = 1"))
    _, findings = parse_spec(tiny)
    assert len(findings) == 2


def test_a_head_must_be_declared_somehow(tiny: Path) -> None:
    text = (
        tiny.read_text()
        .replace('head = "head-Reds.safetensors"\n', "")
        .replace('templates = ["a photo of {}", "{}"]\n', "", 1)
    )
    tiny.write_text(text)
    with pytest.raises(InputError, match="expected a head, or classes with templates"):
        open_suite(str(tiny))


def test_unknown_names_are_named(tiny: Path) -> None:
    suite = open_suite(str(tiny))
    with pytest.raises(InputError, match="unknown task 'Redz'; did you mean 'Reds'"):
        suite.task("Redz")
    with pytest.raises(InputError, match="unknown auxiliary source"):
        suite.auxiliary_data("emoji")
    with pytest.raises(InputError, match="unknown expert set"):
        suite.expert_set("wild")
    with pytest.raises(InputError, match="unknown unseen domain"):
        suite.unseen("night")


def test_a_missing_suite_and_an_embedded_one(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="embedded suite"):
        suite_path(str(tmp_path / "none.toml"))
    assert suite_path("demo").parts[-3:] == ("assets", "demo", "suite.toml")


def test_ri_without_a_resolved_set(tiny: Path) -> None:
    text = tiny.read_text()
    tiny.write_text(text[: text.index("[[resolved]]")])
    suite = open_suite(str(tiny))
    assert suite.default_resolved is None
    with pytest.raises(InputError, match="run `ri-analysis resolve` first"):
        suite.expert_set("ri")


@pytest.mark.parametrize(
    "name", ["pretrained.safetensors", "mild/Reds", "head-Reds.safetensors", "Reds.txt", "Reds-test.npz"]
)
def test_the_digest_names_weights_heads_and_test_images(tiny: Path, name: str) -> None:
    before = open_suite(str(tiny)).digest()
    assert open_suite(str(tiny)).digest() == before
    if name.endswith(".txt"):
        (tiny.parent / name).write_text("one\ntwo\nthree\n")
    elif name.endswith(".npz"):
        with np.load(tiny.parent / name) as arrays:
            changed = {"images": 255 - arrays["images"], "labels": arrays["labels"]}
        np.savez(tiny.parent / name, **changed)
    else:
        path = tiny.parent / (f"resolved/{name}.safetensors" if "/" in name else name)
        save_file({key: value + 1 for key, value in load_file(path).items()}, path)
    assert open_suite(str(tiny)).digest() != before


@pytest.mark.parametrize("generator", ["noise", "shapes"])
def test_generated_images_depend_on_seed_and_index_alone(tiny: Path, generator: str) -> None:
    tiny.write_text(tiny.read_text().replace('generator = "noise"', f'generator = "{generator}"'))
    images = open_suite(str(tiny)).auxiliary_data("noise")
    all_of_them, one = images.pixels(range(8), 16), images.pixels([5], 16)
    assert all_of_them.shape == (8, 16, 16, 3)
    assert np.array_equal(all_of_them[5], one[0])
    assert len({image.tobytes() for image in all_of_them}) == 8


def test_image_folders_and_arrays_agree(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 3), dtype=np.uint8)
    for index, image in enumerate(pixels):
        (tmp_path / "set" / "ab"[index % 2]).mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(tmp_path / "set" / "ab"[index % 2] / f"{index}.png")
    folder = read_images(tmp_path / "set", labelled=True)
    assert folder.labels is not None
    assert folder.labels.tolist() == [0, 0, 1, 1]
    assert np.array_equal(folder.pixels(range(4), 8), pixels[[0, 2, 1, 3]])
    assert np.array_equal(in_memory(folder, 8).pixels([1], 8), pixels[[2]])
    assert len(read_images(tmp_path / "set", labelled=False)) == 4
    whole = read_images(tmp_path / "set", labelled=True)
    (tmp_path / "set" / "a" / "0.png").write_text("no image")
    with pytest.raises(InputError, match=r"0\.png: changed since it was opened"):
        whole.pixels([0], 8)  # damaged after the set was opened


def test_images_are_resized_by_the_shorter_side_and_cropped() -> None:
    wide = np.zeros((10, 30, 3), np.uint8)
    wide[:, 10:20] = 255  # only the middle is white, and only the middle is kept
    assert fit(Image.fromarray(wide), 10).min() == 255
    assert fit(Image.fromarray(wide), 5).shape == (5, 5, 3)


def test_grey_images_become_rgb(tmp_path: Path) -> None:
    np.savez(tmp_path / "grey.npz", images=np.full((2, 6, 6), 9, np.uint8))
    grey = read_images(tmp_path / "grey.npz", labelled=False)
    assert (grey.pixels([0, 1], 6) == 9).all()
    assert grey.pixels([0], 12).shape == (1, 12, 12, 3)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"labels": np.zeros(3, int)}, "expected an array 'images'"),
        ({"images": np.zeros((3, 4, 4))}, "images must be uint8"),
        ({"images": np.zeros((0, 4, 4), np.uint8)}, "n > 0"),
        ({"images": np.zeros((3, 4, 4), np.uint8)}, "expected an array 'labels'"),
        ({"images": np.zeros((3, 4, 4), np.uint8), "labels": np.zeros(2, int)}, "'labels' must be 3"),
        ({"images": np.zeros((3, 4, 4), np.uint8), "labels": np.array([0, -1, 2])}, "non-negative"),
        ({"images": np.array([object()])}, "numbers or texts in 'images', found Python objects"),
    ],
)
def test_bad_arrays_are_named(tmp_path: Path, arrays: dict[str, np.ndarray], message: str) -> None:
    path = tmp_path / "bad.npz"
    np.savez(path, **arrays)
    with pytest.raises(InputError) as error:
        read_images(path, labelled=True)
    assert message in str(error.value)
    assert "bad.npz" in str(error.value)


def test_missing_truncated_and_empty_image_data(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="found nothing"):
        read_images(tmp_path / "none", labelled=True)
    (tmp_path / "cut.npz").write_bytes(b"PK\x03\x04 cut")
    with pytest.raises(InputError, match="whole npz file"):
        read_images(tmp_path / "cut.npz", labelled=True)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="one subfolder of images per class"):
        read_images(tmp_path / "empty", labelled=True)
    with pytest.raises(InputError, match="expected images"):
        read_images(tmp_path / "empty", labelled=False)


def test_stratified_draws_classes_evenly() -> None:
    labels = np.repeat([0, 1, 2], [50, 30, 4])
    chosen = stratified(labels, 84, 12)
    assert np.bincount(labels[chosen]).tolist() == [4, 4, 4]
    assert np.array_equal(chosen, stratified(labels, 84, 12))
    assert not np.array_equal(chosen, stratified(labels, 84, 12, seed=1))
    assert stratified(labels, 84, 100).tolist() == list(range(84))
    assert len(set(stratified(None, 84, 10).tolist())) == 10


def test_fewer_images_of_one_seed_are_among_more() -> None:
    images = GeneratedImages("noise", 1, 50)
    small, large = (sample(images, count, seed=3).pixels(range(count), 4) for count in (5, 20))
    assert {image.tobytes() for image in small} <= {image.tobytes() for image in large}
    assert sample(images, 20, seed=3).digest != sample(images, 20, seed=4).digest
    assert sample(images, 50) is sample(images, None) is images
