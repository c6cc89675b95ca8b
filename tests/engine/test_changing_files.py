"""A file that changes while a suite is open: no number of the one file may be kept under the name of the other."""

from __future__ import annotations

import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from ri_analysis.analyses.blocks import drift_by_block
from ri_analysis.analyses.clouds import collect
from ri_analysis.analyses.contribution import contributions
from ri_analysis.analyses.drift import measure_drift
from ri_analysis.analyses.geometry import weight_geometry
from ri_analysis.analyses.plane import pair_plane
from ri_analysis.checkpoints import read_checkpoint, stamps
from ri_analysis.engine import Evaluator
from ri_analysis.engine.gram import task_vector_gram
from ri_analysis.errors import ChangedFile, InputError
from ri_analysis.files import file_digest
from ri_analysis.merging import merge_to_file
from ri_analysis.resolving import resolve
from ri_analysis.stamps import Stamp, Watch, reading
from ri_analysis.studies.conducting.crew import Place, _evaluator, _on_worker, here
from ri_analysis.studies.conducting.point import Point
from ri_analysis.suite import open_suite
from ri_analysis.suite.data import read_images

pytestmark = pytest.mark.long

Progress = Callable[..., None]
Ask = Callable[[Evaluator, Progress], Any]


def _recipe(evaluator: Evaluator) -> Any:
    return evaluator.recipe("task-arithmetic", {"scale": 0.6}, tasks=["Reds", "Greens"])


def _fisher(evaluator: Evaluator, progress: Progress) -> Any:
    return evaluator.measure(evaluator.recipe("fisher", tasks=["Reds", "Greens"]), progress=progress).table


def _point(evaluator: Evaluator, progress: Progress) -> Any:
    point = Point(_recipe(evaluator), "test")
    for done in here(evaluator, [point], progress):
        point.keep(evaluator, done.result, done.seconds)
    kept = point.kept(evaluator)
    assert kept is not None
    return kept.divergence


def _features(evaluator: Evaluator, progress: Progress) -> Any:
    return collect(evaluator, {"before": _recipe(evaluator)}, progress=progress).features


QUESTIONS: dict[str, Ask] = {
    "measure": lambda evaluator, progress: evaluator.measure(_recipe(evaluator), progress=progress).table,
    "crosstalk": lambda evaluator, progress: evaluator.crosstalk(progress=progress),
    "statistics": _fisher,
    "point": _point,
    "blame": lambda evaluator, progress: contributions(evaluator, _recipe(evaluator), progress=progress),
    "plane": lambda evaluator, progress: pair_plane(evaluator, ("Reds", "Greens"), alphas=(0, 1), progress=progress),
    "drift": lambda evaluator, progress: measure_drift(evaluator, _recipe(evaluator), progress=progress).table(),
    "blocks": lambda evaluator, progress: drift_by_block(evaluator, _recipe(evaluator), progress=progress),
    "embedding": _features,
    "geometry": lambda evaluator, progress: weight_geometry(evaluator, progress=progress).collision,
    "gram": lambda evaluator, progress: task_vector_gram(evaluator.suite, evaluator.store, progress=progress).grams,
}


KEPT_BY_THEN = ("blocks",)  # at the last call of progress


def _same(one: Any, two: Any) -> bool:
    if isinstance(one, dict):
        return all(_same(one[key], two[key]) for key in one)
    if isinstance(one, pd.DataFrame):
        pd.testing.assert_frame_equal(one, two)
        return True
    return bool(np.array_equal(one, two))


def _open(tiny: Path, workspace: Path) -> Evaluator:
    return Evaluator(open_suite(str(tiny), workspace), workspace, "cpu")


def _another(tiny: Path, path: Path) -> bytes:
    """Return the bytes of weights that say something else, in a file of the same size."""
    tensors = load_file(path)
    save_file({key: value + torch.randn_like(value) for key, value in tensors.items()}, tiny.parent / "new")
    return (tiny.parent / "new").read_bytes()


@pytest.mark.parametrize("kind", QUESTIONS)
@pytest.mark.parametrize("when", ["first", "middle", "last"])
def test_a_copy_over_an_expert_while_measuring_never_keeps_a_number_of_it(
    kind: str, when: str, tiny: Path, workspace: Path, tmp_path: Path
) -> None:
    ask, path, calls = QUESTIONS[kind], tiny.parent / "original" / "Reds.safetensors", [0]

    def count(*_: object) -> None:
        calls[0] += 1

    expected = ask(_open(tiny, tmp_path / "undisturbed"), count)
    old, new = path.read_bytes(), _another(tiny, path)
    assert len(old) == len(new)
    place = {"first": 1, "middle": calls[0] // 2 + 1, "last": calls[0]}[when]
    seen = 0

    def overwrite(*_: object) -> None:
        nonlocal seen
        seen += 1
        if seen == place:
            path.write_bytes(new)  # as `cp` does: the same file, so that an open memory map shows what is new

    evaluator = _open(tiny, workspace)
    says = f"^{path}: changed since it was opened; open the suite again$"
    if when == "last" and kind in KEPT_BY_THEN:
        assert _same(ask(evaluator, overwrite), expected)
    else:
        with pytest.raises(ChangedFile, match=says):
            ask(evaluator, overwrite)
    with pytest.raises(ChangedFile, match=says):
        evaluator.store.put("anything", {"a": np.zeros(1)})
    path.write_bytes(old)
    assert _same(ask(_open(tiny, workspace), count), expected)


@pytest.mark.parametrize(
    "name",
    [
        *("suite.toml", "model.json", "pretrained.safetensors", "original/Blues.safetensors"),
        *("resolved/mild/Reds.safetensors", "head-Greens.safetensors", "Greens.txt"),
        *("Greens-test.npz", "Greens-validation.npz"),
    ],
)
@pytest.mark.parametrize("how", ["written over", "replaced", "deleted"])
def test_every_file_of_an_open_suite_is_watched(name: str, how: str, tiny: Path, workspace: Path) -> None:
    evaluator, path = _open(tiny, workspace), tiny.parent / name
    evaluator.measure(evaluator.recipe("averaging"))
    evaluator.measure(evaluator.recipe("averaging", experts="ri"), split="validation")
    assert evaluator.suite.files.changed() is None
    times, content = path.stat(), path.read_bytes()
    if how == "written over":
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    elif how == "replaced":
        (path.parent / "other").write_bytes(content)
        os.utime(path.parent / "other", ns=(times.st_atime_ns, times.st_mtime_ns))
        (path.parent / "other").rename(path)
    else:
        path.unlink()
    assert evaluator.suite.files.changed() == path
    with pytest.raises(ChangedFile, match=rf"{path.name}: changed since it was opened; open the suite again"):
        evaluator.measure(evaluator.recipe("averaging", tasks=["Reds", "Blues"]))


@pytest.mark.parametrize("remembered", [True, False])
def test_a_file_of_equal_size_and_time_has_its_own_digest_when_it_is_opened_again(
    remembered: bool, tiny: Path, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if remembered:
        monkeypatch.setattr(stamps, "WORTH_REMEMBERING", 0)
    path = tiny.parent / "original" / "Reds.safetensors"
    before = _open(tiny, workspace)
    recipe = before.recipe("averaging")
    old, times = before.measure(recipe), path.stat()
    (tiny.parent / "new").write_bytes(_another(tiny, path))
    os.utime(tiny.parent / "new", ns=(times.st_atime_ns, times.st_mtime_ns))
    (tiny.parent / "new").rename(path)
    after = _open(tiny, workspace)
    assert after.suite.expert("Reds").digest != before.suite.expert("Reds").digest
    assert after.measure(recipe).mean_interference != old.mean_interference


def test_digests_that_an_earlier_version_remembered_are_taken_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stamps, "WORTH_REMEMBERING", 0)
    path, memory = tmp_path / "file", tmp_path / "memory"
    path.write_bytes(b"content")
    found = stamps.content_digest(path, memory)
    note = next(memory.iterdir())
    note.write_text(note.read_text().replace('"inode"', '"node"').replace(found, "0" * 32))
    assert stamps.content_digest(path, memory) == found == file_digest(path)
    assert '"inode"' in note.read_text()


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
@pytest.mark.parametrize("left", [0, 1000])
def test_a_file_cut_off_while_its_tensors_are_used_is_an_error_and_no_crash(
    suffix: str, left: int, tmp_path: Path
) -> None:
    path, tensors = tmp_path / f"weights{suffix}", {"a": torch.ones(100_000), "b": torch.ones(100_000)}
    save_file(tensors, path) if suffix == ".safetensors" else torch.save(tensors, path)
    opened = read_checkpoint(path)
    used = opened.tensors["a"]
    os.truncate(path, left)
    assert used.sum() == 100_000
    with pytest.raises(ChangedFile, match="changed since it was opened"):
        opened.tensors["b"]


def test_no_merge_is_written_of_a_file_that_changes(tiny: Path, workspace: Path, tmp_path: Path) -> None:
    path, out = tiny.parent / "original" / "Blues.safetensors", tmp_path / "merged.safetensors"
    new = _another(tiny, path)
    for place in ("first", "last"):
        suite = open_suite(str(tiny), workspace)
        recipe = Evaluator(suite, workspace, "cpu").recipe("averaging")

        def overwrite(done: int, total: int, place: str = place) -> None:
            if done == {"first": 1, "last": total}[place]:
                path.write_bytes(new)

        with pytest.raises(ChangedFile, match=r"Blues\.safetensors"):
            merge_to_file(suite.task_vectors(), recipe, out, progress=overwrite)
        assert not out.exists()
        assert not list(tmp_path.glob(".merged*"))


def test_no_adapted_expert_is_written_of_a_file_that_changes(tiny: Path, workspace: Path) -> None:
    suite, path = open_suite(str(tiny), workspace), tiny.parent / "original" / "Greens.safetensors"
    new = _another(tiny, path)
    with pytest.raises(ChangedFile, match=r"Greens\.safetensors"):
        resolve(
            suite,
            auxiliary="noise",
            name="late",
            settings={"steps": 2, "batch": 4},
            tasks=("Reds", "Greens"),
            report=lambda now: path.write_bytes(new) if now.task == "Greens" else None,
        )
    folder = workspace / "resolved" / "tiny" / "late"
    assert not (folder / "Greens.safetensors").exists()
    assert not (folder / "resolve.json").exists()


def test_somebody_elses_merge_is_measured_as_it_was_opened(evaluator: Evaluator, tmp_path: Path) -> None:
    path = tmp_path / "merged.safetensors"
    save_file(load_file(evaluator.suite.expert("Reds").path), path)
    first = evaluator.measure_file(path)
    save_file(load_file(evaluator.suite.expert("Blues").path), path)  # the same name, but another file: not the suite's
    second = evaluator.measure_file(path)
    assert first.mean_interference != second.mean_interference
    new = path.read_bytes()
    save_file({key: value * 1.01 for key, value in load_file(path).items()}, path)
    read = evaluator.suite.tower

    def slow(checkpoint: Any) -> Any:
        found = read(checkpoint)
        path.write_bytes(new)
        return found

    evaluator.suite.tower = slow  # type: ignore[method-assign]
    with pytest.raises(ChangedFile, match=r"merged\.safetensors"):
        evaluator.measure_file(path)


def test_a_worker_that_outlives_a_change_opens_the_suite_anew(tiny: Path, workspace: Path) -> None:
    place, path = Place(str(tiny), workspace, "cpu", torch.float32), tiny.parent / "original" / "Reds.safetensors"
    point = Point(_open(tiny, workspace).recipe("averaging"), "test")
    old, _ = _on_worker(place, pickle.dumps(point))
    (tiny.parent / "next").write_bytes(_another(tiny, path))
    (tiny.parent / "next").rename(path)
    found, _ = _on_worker(place, pickle.dumps(point))
    expected = point.compute(_open(tiny, workspace))
    _evaluator.cache_clear()
    assert found.interference == pytest.approx(expected.interference) != old.interference


# --- images -----------------------------------------------------------------------------------------------


def _folder(path: Path) -> Path:
    for index, value in enumerate((0, 80, 160, 240)):
        (path / "ab"[index % 2]).mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (value,) * 3).save(path / "ab"[index % 2] / f"{index}.bmp")
    return path


def _swap(path: Path, content: bytes) -> None:
    """Put a file of equal size and time in the place of another."""
    times = path.stat()
    path.with_suffix(".new").write_bytes(content)
    os.utime(path.with_suffix(".new"), ns=(times.st_atime_ns, times.st_mtime_ns))
    path.with_suffix(".new").rename(path)


def test_an_image_that_changed_is_an_error_and_a_new_name_when_it_is_opened_again(tmp_path: Path) -> None:
    folder, memory = _folder(tmp_path / "set"), tmp_path / "memory"
    watch = Watch()
    with watch.noting():
        opened = read_images(folder, labelled=True, memory=memory)
    assert opened.pixels([0, 1], 8)[:, 0, 0, 0].tolist() == [0, 160]
    white = (folder / "b" / "3.bmp").read_bytes()
    _swap(folder / "a" / "2.bmp", white)
    _swap(folder / "b" / "1.bmp", white)
    assert opened.pixels([0, 1], 8)[:, 0, 0, 0].tolist() == [0, 160]  # what was read of the old ones stays theirs
    with pytest.raises(ChangedFile, match=r"1\.bmp: changed since it was opened"):
        opened.pixels([2], 8)
    assert watch.changed() is None  # there may be very many images
    assert watch.changed_anywhere() == folder / "a" / "2.bmp"
    assert watch.changed_anywhere() is None  # not again at once
    again = read_images(folder, labelled=True, memory=memory)
    assert again.digest != opened.digest
    assert again.pixels([1, 2], 8)[:, 0, 0, 0].tolist() == [240, 240]
    assert read_images(folder, labelled=True, memory=memory).digest == again.digest


def test_a_copy_of_a_folder_of_images_has_the_name_of_the_original(tmp_path: Path) -> None:
    folder = _folder(tmp_path / "set")
    shutil.copytree(folder, tmp_path / "copy")
    names = [
        read_images(tmp_path / name, labelled=True, memory=tmp_path / f"memory-{name}").digest
        for name in ("set", "copy")
    ]
    assert names[0] == names[1] == read_images(folder, labelled=True).digest


def test_a_table_that_changed_is_an_error(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    _folder(tmp_path / "set")
    rows = [{"image": file.read_bytes(), "label": index} for index, file in enumerate(tmp_path.rglob("*.bmp"))]
    path, memory = tmp_path / "table.parquet", tmp_path / "memory"
    pq.write_table(pa.Table.from_pylist(rows), path)
    watch = Watch()
    with watch.noting():
        opened = read_images(path, labelled=True, memory=memory)
    assert watch.changed() is None
    opened.pixels([0], 8)
    _swap(path, path.read_bytes())
    assert watch.changed() == path
    with pytest.raises(ChangedFile, match=r"table\.parquet: changed since it was opened"):
        opened.pixels([1], 8)
    assert read_images(path, labelled=True, memory=memory).digest != opened.digest


@pytest.mark.parametrize("kind", ["idx", "list"])
def test_labels_in_a_file_of_their_own_are_part_of_the_name(kind: str, tmp_path: Path) -> None:
    if kind == "idx":
        path, labels = tmp_path / "t10k-images-idx3-ubyte", tmp_path / "t10k-labels-idx1-ubyte"
        path.write_bytes(b"\0\0\x08\x03" + b"".join(n.to_bytes(4, "big") for n in (2, 4, 4)) + bytes(range(32)))
        written = [b"\0\0\x08\x01" + (2).to_bytes(4, "big") + bytes(pair) for pair in ((0, 1), (1, 0))]
    else:
        _folder(tmp_path / "images")
        path = labels = tmp_path / "test.txt"
        written = [b"a/0.bmp 0\nb/1.bmp 1\n", b"a/0.bmp 1\nb/1.bmp 0\n"]
    digests, watch = set(), Watch()
    for content in written:
        labels.write_bytes(content)
        with watch.noting():
            digests.add(read_images(path, labelled=True).digest)
    assert len(digests) == 2
    assert watch.changed() == labels


# --- stamps -----------------------------------------------------------------------------------------------


def test_a_change_right_after_reading_is_seen_although_clocks_of_files_tick_slowly(tmp_path: Path) -> None:
    path = tmp_path / "file"
    for number in range(20):
        path.write_bytes(b"old %03d" % number)
        stamp = reading(path)
        path.write_bytes(b"new %03d" % number)
        assert Stamp.of(path) != stamp


def test_what_was_read_first_counts(tmp_path: Path) -> None:
    path, watch = tmp_path / "file", Watch()
    path.write_text("a")
    with watch.noting():
        reading(path)
    reading(path)  # outside of the block: not watched
    path.write_text("b")
    with watch.noting():
        reading(path)
    with pytest.raises(InputError, match="file: changed since it was opened"):
        watch.check()
