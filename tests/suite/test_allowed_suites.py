"""Suites that lead out of the folders that the app may read: nothing there is opened, and no message quotes it."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from checkpoint_formats import sharded_folder
from PIL import Image
from safetensors.torch import load_file
from tiny import make_suite

from ri_analysis.allowed import Outside, allow_only
from ri_analysis.engine import Report, check_suite
from ri_analysis.errors import InputError
from ri_analysis.resolving import record_of
from ri_analysis.suite import open_suite, resource_root
from ri_analysis.suite.drafting import draft, to_toml
from ri_analysis.suite.suite import suite_path

SECRET = "s3cret-of-another"
_opened: list[str] = []
_watching = False


def _note(event: str, arguments: tuple[object, ...]) -> None:
    if _watching and event in ("open", "os.listdir", "os.scandir") and isinstance(arguments[0], str | bytes):
        _opened.append(os.path.realpath(os.fsdecode(arguments[0])))


sys.addaudithook(_note)  # it can't be taken off again


@pytest.fixture
def outside(tmp_path: Path) -> Iterator[Path]:
    """A folder that may not be read, with something of every kind; what is opened there fails the test."""
    global _watching
    folder = tmp_path / "outside"
    make_suite(folder)
    for name in ("secret.txt", "secret.json", "secret.toml"):
        (folder / name).write_text(SECRET + "\n")
    (folder / "classes" / SECRET).mkdir(parents=True)
    for place in (folder, folder / "classes" / SECRET):
        Image.new("RGB", (8, 8)).save(place / "image.png")
    _opened.clear()
    _watching = True
    yield folder
    _watching = False
    assert [path for path in _opened if path.startswith(f"{folder}")] == []


def checked(suite: Path, workspace: Path) -> Report:
    allow_only([suite.parent, workspace])
    return check_suite(str(suite), workspace, device="cpu")


def refused(suite: Path, workspace: Path) -> None:
    report = checked(suite, workspace)
    said = "\n".join(map(str, report.findings))
    assert "points outside the folders that the app may read" in said
    assert SECRET not in said + "\n".join(report.remarks)


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("expert", "original/Reds.safetensors"), ("head", "head-Reds.safetensors"), ("classes", "secret.txt"),
        ("templates", "secret.txt"), ("data", "Reds-test.npz"), ("data", "classes"), ("data", "secret.json"),
        ("validation", "Reds-test.npz"), ("architecture", "model.json"), ("pretrained", "pretrained.safetensors"),
        ("directory", "resolved/mild"), ("root", ""),
    ],
)  # fmt: skip
@pytest.mark.parametrize("way", ["absolute", "dots", "link", "folder"])
def test_what_a_suite_file_names(key: str, name: str, way: str, tiny: Path, outside: Path, workspace: Path) -> None:
    place, folder = outside / name, tiny.parent
    link = f"link{place.suffix}"
    (folder / link).symlink_to(place)
    (folder / "folder").symlink_to(outside)
    named = {"absolute": str(place), "dots": f"../outside/{name}", "link": link, "folder": f"folder/{name}"}[way]
    lines, written = [], False
    for line in tiny.read_text().splitlines():
        begins = line.startswith(f"{key} =") and not written
        lines.append(f"{key} = {json.dumps(named)}" if begins else line)
        written |= begins
    tiny.write_text("\n".join(([] if written else [f"{key} = {json.dumps(named)}"]) + lines))
    refused(tiny, workspace)


def _linked_image(folder: Path, outside: Path) -> None:
    (folder / "images" / "a").mkdir(parents=True)
    (folder / "images" / "a" / "x.png").symlink_to(outside / "classes" / SECRET / "image.png")


def _linked_class(folder: Path, outside: Path) -> None:
    (folder / "images").mkdir()
    (folder / "images" / "a").symlink_to(outside / "classes" / SECRET)


def _linked_below(folder: Path, outside: Path) -> None:
    (folder / "images" / "a").mkdir(parents=True)
    (folder / "images" / "a" / "b").symlink_to(outside / "classes")


def _listed(folder: Path, outside: Path) -> None:
    (folder / "images").mkdir()
    (folder / "images" / "test.txt").write_text("../../outside/image.png 0\n")


def _linked_state(folder: Path, outside: Path) -> None:
    (folder / "images").mkdir()
    (folder / "images" / "state.json").symlink_to(outside / "secret.json")


def _linked_table(folder: Path, outside: Path) -> None:
    (folder / "images").mkdir()
    (folder / "images" / "test.parquet").symlink_to(outside / "secret.json")


@pytest.mark.parametrize("make", [_linked_image, _linked_class, _linked_below, _linked_state, _linked_table, _listed])
def test_what_lies_in_a_folder_of_images(
    make: Callable[[Path, Path], None], tiny: Path, outside: Path, workspace: Path
) -> None:
    make(tiny.parent, outside)
    name = "images/test.txt" if make is _listed else "images"
    tiny.write_text(tiny.read_text().replace("Reds-test.npz", name))
    refused(tiny, workspace)


def test_a_linked_shard_and_its_index_and_config(tiny: Path, outside: Path, workspace: Path, tmp_path: Path) -> None:
    weights = load_file(tiny.parent / "original" / "Reds.safetensors")
    text = tiny.read_text().replace("original/Reds.safetensors", "sharded")
    for name in ("model.safetensors.index.json", "config.json", "first shard"):
        shutil.rmtree(tiny.parent / "sharded", ignore_errors=True)
        folder = sharded_folder(tiny.parent / "sharded", weights)
        (folder / "config.json").write_text("{}")
        victim = sorted(folder.glob("*.safetensors"))[0] if name == "first shard" else folder / name
        victim.unlink()
        victim.symlink_to(outside / ("secret.json" if victim.suffix == ".json" else "pretrained.safetensors"))
        tiny.write_text(text)
        refused(tiny, workspace)


def test_a_linked_expert_and_record_of_a_resolved_set(tiny: Path, outside: Path, workspace: Path) -> None:
    folder = tiny.parent / "resolved" / "mild"
    for name, target in (("Reds.safetensors", "original/Reds.safetensors"), ("resolve.json", "secret.json")):
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to(outside / target)
    refused(tiny, workspace)
    with pytest.raises(Outside):
        record_of(open_suite(str(tiny), workspace), "mild")


@pytest.mark.parametrize("way", ["suite.toml", "", "secret.toml", "secret.txt", "nothing", "../outside/suite.toml"])
def test_a_suite_that_lies_elsewhere(way: str, tiny: Path, outside: Path, workspace: Path) -> None:
    allow_only([tiny.parent, workspace])
    for path in (outside / way, tiny.parent / ".." / "outside" / way):
        with pytest.raises(Outside):
            suite_path(str(path))
    (tiny.parent / "other.toml").symlink_to(outside / "suite.toml")
    with pytest.raises(Outside):
        suite_path(str(tiny.parent / "other.toml"))
    (report,) = check_suite(str(outside / way), workspace).findings
    assert "points outside the folders" in report.problem


def test_what_lies_in_a_folder_that_is_no_suite(tiny: Path, outside: Path, workspace: Path) -> None:
    tiny.unlink()
    (tiny.parent / "b.toml").symlink_to(outside / "suite.toml")
    (tiny.parent / "c").symlink_to(outside)
    (tiny.parent / "d.pt").symlink_to(outside / "secret.txt")
    report = checked(tiny.parent / "b.toml", workspace)
    assert "points outside the folders" in str(report.findings)
    report = check_suite(str(tiny.parent), workspace)
    assert report.instead is not None
    assert report.instead.suites == ()


def test_what_a_folder_that_is_drafted_from_leads_to(tiny: Path, outside: Path, workspace: Path) -> None:
    folder = tiny.parent
    tiny.unlink()
    for item in outside.iterdir():
        (folder / f"Reds-linked-{item.name}").symlink_to(item)
    _opened.clear()  # the listing above
    (folder / "model").mkdir()
    (folder / "model" / "model.safetensors").symlink_to(outside / "pretrained.safetensors")
    (folder / "model" / "config.json").symlink_to(outside / "secret.json")
    cache = folder / "models--me--clip_reds"
    (cache / "refs").mkdir(parents=True)
    (cache / "refs" / "main").symlink_to(outside / "secret.txt")
    (cache / "snapshots").mkdir()
    (cache / "snapshots" / "a1").symlink_to(outside)
    (folder / "Reds-list.txt").write_text("../outside/image.png 0\n")
    allow_only([folder, workspace, resource_root() / "assets"])
    found = draft(folder)
    said = to_toml(found, folder / "suite.toml")
    assert SECRET not in said
    assert "linked" not in said
    assert "Reds-list" not in said
    model, passed = found.left_out
    assert "model: " in model
    assert "points outside the folders" in model
    assert "links to outside the folders that may be read" in passed
    with pytest.raises(Outside):
        draft(outside)


def test_a_name_of_a_studys_set_leads_nowhere_else(tiny: Path, workspace: Path) -> None:
    folder = workspace / "resolved" / "tiny"
    (folder / "studies" / "one").mkdir(parents=True)
    suite = open_suite(str(tiny), workspace)
    assert suite.resolved_set("studies/one").directory == folder / "studies" / "one"
    for name in ("studies/../../secret", "studies/..", "studies/one/../../../x"):
        with pytest.raises(InputError, match="unknown expert set"):
            suite.resolved_set(name)


@pytest.mark.parametrize("name", [".", "..", "a/b", ""])
def test_a_suites_name_leads_to_no_other_folder_of_the_workspace(name: str, tiny: Path, workspace: Path) -> None:
    tiny.write_text(tiny.read_text().replace('name = "tiny"', f'name = "{name}"'))
    assert "name must be letters" in str(check_suite(str(tiny), workspace).findings)


def test_pipes_where_files_are_named(tiny: Path, workspace: Path) -> None:
    folder = tiny.parent
    for name in ("head-Reds.safetensors", "Blues.txt", "Reds-test.npz", "original/Greens.safetensors"):
        (folder / name).unlink()
        os.mkfifo(folder / name)
    (folder / "images" / "a").mkdir(parents=True)
    os.mkfifo(folder / "images" / "a" / "x.png")
    np.savez(folder / "images.npz", images=np.zeros((2, 8, 8, 3), np.uint8))
    tiny.write_text(tiny.read_text().replace("Blues-test.npz", "images"))
    said = "\n".join(map(str, check_suite(str(tiny), workspace, device="cpu").findings))
    for name in ("head-Reds.safetensors", "Reds-test.npz", "original/Greens.safetensors"):
        assert f"{folder / name}: expected a file, found a device or pipe" in said
