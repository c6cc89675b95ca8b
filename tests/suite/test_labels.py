"""Which row of a head a label means: by class names, by numbers, by order; what is no label at all; bad experts."""

from __future__ import annotations

import gzip
import json
import pickle
import struct
import tracemalloc
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torchvision.datasets import ImageFolder

from ri_analysis.cli import main
from ri_analysis.encoder import architecture_of, load_heads
from ri_analysis.engine import Evaluation, check_suite
from ri_analysis.engine.own_tasks import expert_remarks
from ri_analysis.errors import InputError
from ri_analysis.suite import open_suite
from ri_analysis.suite.data import read_images
from ri_analysis.suite.images import ArrayImages, ImageSet
from ri_analysis.suite.labels import ORDER, Rows, by_rows, read_labels, sorted_names


def of_classes(classes: Sequence[str], labels: Sequence[int] | None = None) -> ArrayImages:
    """One image of each class, or of each label."""
    found = np.array(range(len(classes)) if labels is None else labels, np.int64)
    return ArrayImages("data", "digest", np.zeros((len(found), 2, 2), np.uint8), found, classes=classes)


def rows_of(
    classes: Sequence[str], names: Sequence[str] = (), count: int = 0, how: str = "names"
) -> tuple[list[int], str]:
    """The row of each class of some data, and the remarks about it."""
    found = by_rows(of_classes(classes), Rows(count or len(names), tuple(names), "names.txt", "[[task]] 'T'"), how)
    assert found.labels is not None
    return found.labels.tolist(), " ".join(found.remarks)


def message(*arguments: Any, **more: Any) -> str:
    with pytest.raises(InputError) as error:
        rows_of(*arguments, **more)
    return str(error.value)


# --- names --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("own", "names", "rows"),
    [
        (["a", "b"], ["b", "a"], [1, 0]),
        (["apple_pie", "beef_tartare"], ["Beef tartare", "Apple Pie"], [1, 0]),
        (["lawn-mower", "oak_tree"], ["oak tree", "lawn mower"], [1, 0]),
        (["T - shirt / top", "Coat"], ["coat", "T-shirt or top"], [1, 0]),
        (["black & white", "red"], ["red", "black and white"], [1, 0]),
        (["Ram C/V Van 2012", "Fiat 500"], ["fiat 500", "Ram C-V Van 2012"], [1, 0]),
        (["A", "a", "b"], ["b", "a", "A"], [2, 1, 0]),  # upper and lower case are two classes
        (["C", "C++"], ["C++", "C"], [1, 0]),
        (["or", "and"], ["and", "or"], [1, 0]),
        (["き", "お"], ["お", "き"], [1, 0]),
        (["कि", "की"], ["की", "कि"], [1, 0]),  # Hindi: two vowels of one consonant
        (["Ａ", "b"], ["b", "A"], [1, 0]),  # a full-width letter
        (["class 01", "class 10"], ["class 10", "class 1"], [1, 0]),
        (["00", "01", "10"], ["0", "1", "10"], [0, 1, 2]),
    ],
)
def test_classes_are_matched_by_name(own: list[str], names: list[str], rows: list[int]) -> None:
    assert rows_of(own, names) == (rows, "")


def test_fewer_classes_than_rows_are_matched_and_the_others_remarked() -> None:
    found, remark = rows_of(["star", "circle"], ["circle", "square", "star", "oval"])
    assert found == [2, 0]
    assert remark == "data: no images of 2 of 4 classes: square, oval"
    assert "no images of 1 of 3 classes: class 1" in " ".join(
        by_rows(of_classes((), [0, 2]), Rows(3, (), "", "")).remarks
    )


def test_a_class_without_images_needs_no_partner() -> None:
    letters = Rows(2, ("A", "B"), "names.txt", "")
    assert labels(by_rows(of_classes(["N/A", "A", "B"], [2, 1, 2]), letters)) == [1, 0, 1]
    with pytest.raises(InputError, match="matches its 'N/A'"):
        by_rows(of_classes(["N/A", "A", "B"], [0, 1, 2]), letters)


def test_a_class_without_a_partner_is_an_error_that_names_it() -> None:
    text = message(["circle", "oval", "star"], ["circle", "square", "star"])
    assert "none of names.txt ('circle', 'square', 'star') matches its 'oval'" in text
    assert "`labels = \"order\"` in [[task]] 'T'" in text
    assert "'d'" in message(["a", "b", "c", "d"], ["c", "a", "b", "x", "y"])
    assert "'reds 9'" in message(["reds 0", "reds 1", "reds 9"], ["reds 0", "reds 1", "reds 2"])
    assert "'oval'" in message(["oval", "circle"], ["circle", "square"])  # circle stands elsewhere: no common order


@pytest.mark.parametrize(
    ("own", "names"),
    [
        (["a b", "c"], ["a-b", "a_b"]),  # one class, two rows
        (["a-b", "a_b"], ["a b", "c"]),  # two classes, one row
        (["01", "1"], ["1", "2"]),
        (["0"], ["0", "0"]),  # as of MNIST and SVHN joined
    ],
)
def test_names_that_may_mean_several_rows_are_refused(own: list[str], names: list[str]) -> None:
    assert "match" in message(own, names)
    assert rows_of(own, names, how=ORDER)[0] == list(range(len(own)))


# --- order --------------------------------------------------------------------------------------------------------

EUROSAT = "AnnualCrop Forest HerbaceousVegetation Highway Industrial Pasture PermanentCrop Residential River SeaLake"
EUROSAT_NAMES = (
    "annual crop land,forest,brushland or shrubland,highway or road,industrial buildings or commercial buildings,"
    "pasture land,permanent crop land,residential buildings or homes or apartments,river,lake or sea"
)


def test_other_wordings_follow_the_order_and_say_so() -> None:
    rows, remark = rows_of(["cat", "dog"], ["a feline", "a canine"])
    assert rows == [0, 1]
    assert (
        remark == "data: its class names are worded differently, so the order decides: cat → a feline, dog → a canine"
    )
    rows, remark = rows_of(EUROSAT.split(), EUROSAT_NAMES.split(","))  # two of ten are called alike, at their places
    assert rows == list(range(10))
    assert "AnnualCrop → annual crop land, HerbaceousVegetation → brushland or shrubland" in remark
    assert remark.endswith("and 5 more")
    own = ["angry", "disgust", "fear", "happy", "neutral", "sad", "surprise"]
    names = ["angry", "disgusted", "fearful", "happy", "neutral", "sad", "surprised"]
    assert rows_of(own, names)[0] == list(range(7))  # most are called alike, the others nearly


def test_other_wordings_in_another_number_are_refused() -> None:
    assert "none of its 2 classes ('cat', 'dog') matches any of the 3" in message(["cat", "dog"], ["x", "y", "z"])
    assert rows_of(["cat", "dog"], ["x", "y", "z"], how=ORDER)[0] == [0, 1]


def test_rows_without_names_take_the_order_of_as_many_classes() -> None:
    rows, remark = rows_of(["cat", "dog"], count=2)
    assert rows == [0, 1]
    assert "the rows of its head have no names, so the order decides: cat → row 0, dog → row 1" in remark
    text = message(["cat", "dog"], count=3)
    assert "has 2 classes, the head of [[task]] 'T' has 3 rows without names; name the rows by 'classes'" in text


def test_order_can_be_demanded() -> None:
    assert rows_of(["a", "b"], ["b", "a"], how=ORDER) == ([0, 1], "")
    with pytest.raises(InputError, match=r"labels go up to class 2, so at least 3 classes, but the head of .* has 2"):
        rows_of(["a", "b", "c"], ["b", "a"], how=ORDER)


# --- numbers ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("own", "count", "rows"),
    [
        (["0", "1", "2"], 3, [0, 1, 2]),
        (["0", "2", "5"], 10, [0, 2, 5]),  # some classes have no folder
        (["1", "2", "3"], 3, [0, 1, 2]),
        (["1", "7", "10"], 10, [0, 6, 9]),  # 10 can only be the last of ten
        (["00000", "00001", "00042"], 43, [0, 1, 42]),
        (["00001", "00102"], 102, [0, 101]),
    ],
)
@pytest.mark.parametrize("named", [True, False])
def test_numbers_are_rows(own: list[str], count: int, rows: list[int], named: bool) -> None:
    names = [f"name {chr(97 + row // 26)}{chr(97 + row % 26)}" for row in range(count)] if named else []
    found, remark = rows_of(own, names, count)
    assert found == rows
    first = 0 if int(own[0]) == 0 else 1
    assert (f"numbers, taken as rows of the head, counted from {first}" in remark) == (named or first == 1)


def test_numbers_are_not_rows_in_the_order_of_text() -> None:
    rows, remark = rows_of([str(number) for number in range(11)], count=11)
    assert rows == list(range(11))
    assert "counted from 0 and not sorted as text, as ImageFolder does: 0 → row 0, 1 → row 1" in remark
    # a head trained with ImageFolder: its rows are named in the order of text
    assert rows_of(["0", "1", "2", "10"], ["0", "1", "10", "2"]) == ([0, 1, 3, 2], "")


def test_numbers_that_may_count_from_0_or_1_are_refused() -> None:
    text = message(["1", "2", "3", "4", "5"], count=10)
    assert "numbered from 1 to 5, and the head has 10 rows: they may count from 0 or from 1" in text
    assert "add an empty class folder 0, or 10, to say which" in text
    assert rows_of(["0", "1", "2", "3", "4", "5"], count=10)[0] == [0, 1, 2, 3, 4, 5]
    assert rows_of(["1", "2", "3", "4", "5", "10"], count=10)[0] == [0, 1, 2, 3, 4, 9]


@pytest.mark.parametrize("own", [["0", "1", "2", "3"], ["1", "2", "4"], ["0", "00", "1"], ["0", "3"]])
def test_numbers_beyond_the_rows_are_refused(own: list[str]) -> None:
    assert "expected classes numbered from 0 to 2 or from 1 to 3" in message(own, count=3)


def test_numbers_that_are_names_are_matched_as_names() -> None:
    assert rows_of(["0", "1", "10", "2"], ["0", "1", "2", "10"]) == ([0, 1, 3, 2], "")
    assert "'3'" in message(["1", "2", "3"], ["0", "1", "2"])
    assert "none of its 2" in message(["7", "8"], ["0", "1", "2"])


def test_names_are_sorted_as_numbers_where_all_are() -> None:
    assert sorted_names(["10", "9", "1", "9"]) == ["1", "9", "10"]
    assert sorted_names(["10", "9", "x"]) == ["10", "9", "x"]
    assert sorted_names(["b", "B", "a"]) == ["B", "a", "b"]


# --- folders ------------------------------------------------------------------------------------------------------


def folders(root: Path, names: Sequence[str], channel: int = 0) -> Path:
    """A folder for each name with one image in it, whose one channel is brighter from name to name."""
    for number, name in enumerate(names):
        pixels = np.zeros((8, 8, 3), np.uint8)
        pixels[..., channel] = 20 * number
        (root / name).mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(root / name / "x.png")
    return root


def labels(images: ImageSet) -> list[int]:
    assert images.labels is not None
    return images.labels.tolist()


@pytest.mark.parametrize("names", [["dogs", "cats", "Birds"], ["b", "a", "_c", "Z"], ["n02", "n01", "n10"]])
def test_folders_are_classes_as_in_torchvision(tmp_path: Path, names: list[str]) -> None:
    found, theirs = read_images(folders(tmp_path / "x", names), labelled=True), ImageFolder(str(tmp_path / "x"))
    assert list(found.classes) == theirs.classes
    assert labels(found) == theirs.targets
    expected = np.stack([np.asarray(image) for image, _ in theirs])
    assert np.array_equal(found.pixels(range(len(names)), 8), expected)


def test_folders_of_numbers_are_sorted_as_numbers(tmp_path: Path) -> None:
    found = read_images(folders(tmp_path / "x", [str(number) for number in range(11)]), labelled=True)
    assert found.classes == tuple(map(str, range(11)))
    assert found.pixels(range(11), 8)[:, 0, 0, 0].tolist() == [20 * number for number in range(11)]


def test_hidden_entries_are_no_classes_and_no_images(tmp_path: Path) -> None:
    plain = read_images(folders(tmp_path / "x", ["a", "b"]), labelled=True)
    folders(tmp_path / "x", [".ipynb_checkpoints", "__MACOSX", "a/.thumbnails", "a/@eaDir", "b/__MACOSX"])
    (tmp_path / "x" / "a" / "._x.png").write_bytes(b"AppleDouble")
    (tmp_path / "x" / "b" / "Thumbs.db").write_bytes(b"")
    (tmp_path / "x" / ".DS_Store").write_bytes(b"")
    found = read_images(tmp_path / "x", labelled=True)
    assert found.classes == ("a", "b")
    assert labels(found) == [0, 1]
    assert len(read_images(tmp_path / "x", labelled=False)) == 2
    assert found.digest != plain.digest  # earlier versions numbered the classes otherwise


@pytest.mark.parametrize("names", [("train", "val"), ("train", "test", "extra"), ("Training", "Testing"), ("test",)])
def test_splits_are_no_classes(tmp_path: Path, names: tuple[str, ...]) -> None:
    for name in names:
        folders(tmp_path / "x" / name, ["cats", "dogs"])
    with pytest.raises(InputError) as error:
        read_images(tmp_path / "x", labelled=True)
    assert "found splits of the data; name one of" in str(error.value)
    assert str(tmp_path / "x" / names[0]) in str(error.value)
    assert len(read_images(tmp_path / "x" / names[0], labelled=True)) == 2
    assert len(read_images(tmp_path / "x", labelled=False)) == 2 * len(names)


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    assert read_images(folders(tmp_path / "x", ["train", "bus"]), labelled=True).classes == ("bus", "train")


# --- suites -------------------------------------------------------------------------------------------------------

BY_HAND = ["greens 0", "greens 1", "greens 2", "greens 3"]


def with_data(tiny: Path, data: str, *, task: str = "Greens", more: str = "", classes: bool = True) -> None:
    """Give a task of the tiny suite other data."""
    text = tiny.read_text().replace(f'data = "{task}-test.npz"', f'data = "{data}"\n{more}')
    if not classes:
        text = text.replace(f'classes = "{task}.txt"\n', "")
    tiny.write_text(text)


@pytest.mark.parametrize("command", ["measure", "merge", "resolve", "study", "check"])
def test_every_command_refuses_what_check_refuses(
    tiny: Path, command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folders(tiny.parent / "folder", [*BY_HAND[:3], "violet"])
    with_data(tiny, "folder")
    more = {
        "merge": ["--out", str(tmp_path / "m.safetensors")],
        "resolve": ["--auxiliary", "noise", "--name", "new", "--steps", "1", "--out", str(tmp_path / "new")],
        "study": ["--out", str(tmp_path / "study"), "--no-images", "--float32"],
    }.get(command, [])
    first = ["study", "averaging"] if command == "study" else [command]
    assert main([*first, str(tiny), "--workspace", str(tmp_path / "ws"), "--device", "cpu", *more]) == 2
    found = capsys.readouterr()
    said = found.out if command == "check" else found.err
    assert "folder: its other classes have a match, but none of " in said
    assert "matches its 'violet'" in said
    assert not (tmp_path / "m.safetensors").exists()
    assert not (tmp_path / "new").exists()


def test_data_that_lacks_a_class_is_mapped_by_name(tiny: Path) -> None:
    folders(tiny.parent / "folder", BY_HAND[1:])
    with_data(tiny, "folder")
    images = open_suite(str(tiny)).task_data("Greens")
    assert labels(images) == [1, 2, 3]
    report = check_suite(str(tiny))
    assert report.findings == []
    assert f"{tiny.parent / 'folder'}: no images of 1 of 4 classes: greens 0" in report.remarks


def test_names_in_another_order_give_the_same_accuracy(
    tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same images, as folders whose sorted names are in another order than the rows."""
    arrays = np.load(tiny.parent / "Greens-test.npz")
    names = ["delta", "beta", "gamma", "alpha"]
    (tiny.parent / "Greens.txt").write_text("\n".join(names) + "\n")
    for index, (image, label) in enumerate(zip(arrays["images"], arrays["labels"], strict=True)):
        place = tiny.parent / "folder" / names[label].upper()
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(place / f"{index:02d}.png")

    def accuracies(name: str) -> list[float]:
        command = ["measure", str(tiny), "--json", "--device", "cpu", "--workspace", str(tmp_path / name)]
        assert main(command) == 0
        return [task["expert_accuracy"] for task in json.loads(capsys.readouterr().out)["tasks"]]

    expected = accuracies("a")
    with_data(tiny, "folder")
    assert accuracies("b") == expected


def test_a_changed_meaning_changes_the_digest(tiny: Path) -> None:
    folders(tiny.parent / "folder", BY_HAND)
    with_data(tiny, "folder")
    straight = open_suite(str(tiny)).task_data("Greens").digest
    assert straight == read_images(tiny.parent / "folder", labelled=True).digest
    (tiny.parent / "Greens.txt").write_text("\n".join(reversed(BY_HAND)))
    turned = open_suite(str(tiny)).task_data("Greens")
    assert labels(turned) == [3, 2, 1, 0]
    assert turned.digest != straight
    assert turned.classes == tuple(reversed(BY_HAND))


def test_order_is_demanded_in_the_suite_file(tiny: Path) -> None:
    folders(tiny.parent / "folder", ["greens 3", "x"])
    with_data(tiny, "folder", more='labels = "order"')
    assert labels(open_suite(str(tiny)).task_data("Greens")) == [0, 1]
    tiny.write_text(tiny.read_text().replace('labels = "order"', 'labels = "sorted"'))
    assert "labels must be 'names' or 'order', found 'sorted'" in check_suite(str(tiny)).findings[0].problem


def test_validation_follows_the_same_rule(tiny: Path) -> None:
    folders(tiny.parent / "val", BY_HAND[2:])
    tiny.write_text(tiny.read_text().replace("Greens-validation.npz", "val"))
    assert labels(open_suite(str(tiny)).task_data("Greens", "validation")) == [2, 3]


def test_validation_is_matched_to_the_tests_names_where_there_are_no_others(tiny: Path) -> None:
    folders(tiny.parent / "folder", ["a", "b", "c", "d"])
    folders(tiny.parent / "val", ["b", "d"])
    tiny.write_text(tiny.read_text().replace("Greens-validation.npz", "val"))
    with_data(tiny, "folder", classes=False)
    suite = open_suite(str(tiny))
    assert "the rows of its head have no names, so the order decides" in suite.task_data("Greens").remarks[0]
    assert labels(suite.task_data("Greens", "validation")) == [1, 3]
    tiny.write_text(tiny.read_text().replace('head = "head-Greens.safetensors"\n', ""))  # built from the data's names
    suite = open_suite(str(tiny))
    assert suite.task_data("Greens").remarks == ()
    assert labels(suite.task_data("Greens", "validation")) == [1, 3]
    assert load_heads(suite, architecture_of(suite))["Greens"].classes == ("a", "b", "c", "d")


def test_folders_without_names_of_rows_must_be_as_many_as_rows(tiny: Path) -> None:
    folders(tiny.parent / "folder", ["a", "b", "c"])
    with_data(tiny, "folder", classes=False)
    with pytest.raises(InputError, match=r"has 3 classes, the head of .* has 4 rows without names"):
        open_suite(str(tiny)).task_data("Greens")
    folders(tiny.parent / "numbers", ["0", "1", "3"])
    tiny.write_text(tiny.read_text().replace('"folder"', '"numbers"'))
    assert labels(open_suite(str(tiny)).task_data("Greens")) == [0, 1, 3]


def test_a_head_that_can_not_be_read_does_not_hide_what_is_wrong_with_the_images(tiny: Path) -> None:
    folders(tiny.parent / "folder", ["a", "b"])
    with_data(tiny, "folder", classes=False)
    (tiny.parent / "head-Greens.safetensors").write_bytes(b"cut")
    (tiny.parent / "Greens-validation.npz").write_bytes(b"cut")
    text = "\n".join(map(str, check_suite(str(tiny)).findings))
    assert "head-Greens.safetensors" in text
    assert "Greens-validation.npz" in text


def test_unseen_domains_index_the_joined_classes(tiny: Path) -> None:
    folders(tiny.parent / "far", ["blues 1", "blues 0", "reds 2"])
    old = 'tasks = ["Reds"]\ndata = "unseen.npz"'
    text = tiny.read_text()
    assert old in text
    tiny.write_text(text.replace(old, 'tasks = ["Reds", "Blues"]\ndata = "far"'))
    images = open_suite(str(tiny)).unseen_data("dim")
    assert labels(images) == [3, 4, 2]  # three reds come first
    assert "no images of 2 of 5 classes: reds 0, reds 1" in images.remarks[0]
    tiny.write_text(text.replace(old, 'tasks = ["Blues"]\ndata = "far"'))
    assert "'reds 2'" in str(check_suite(str(tiny)).findings[0])
    tiny.write_text(text.replace('tasks = ["Reds"]', 'tasks = ["Blues"]'))
    assert "labels go up to class 2" in str(check_suite(str(tiny)).findings[0])  # an array of three classes


def test_two_tasks_may_share_one_folder(tiny: Path) -> None:
    folders(tiny.parent / "both", ["x", "y"])
    with_data(tiny, "both", task="Blues")
    with_data(tiny, "both", task="Greens")
    (tiny.parent / "Blues.txt").write_text("y\nx\n")
    (tiny.parent / "Greens.txt").write_text("a\nx\nb\ny\n")
    suite = open_suite(str(tiny))
    assert labels(suite.task_data("Blues")) == [1, 0]
    assert labels(suite.task_data("Greens")) == [1, 3]


# --- tables -------------------------------------------------------------------------------------------------------


def table(labels: Any, names: list[str] | None = None) -> Any:
    import io

    import pyarrow as pa

    stream = io.BytesIO()
    Image.new("RGB", (6, 6)).save(stream, "PNG")
    rows = pa.table({"image": [{"bytes": stream.getvalue(), "path": None}] * len(labels), "label": labels})
    if names is None:
        return rows
    features = {"image": {"_type": "Image"}, "label": {"_type": "ClassLabel", "names": names}}
    return rows.replace_schema_metadata({b"huggingface": json.dumps({"info": {"features": features}}).encode()})


def parquet(path: Path, labels: Any, names: list[str] | None = None) -> Path:
    import pyarrow.parquet as pq

    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table(labels, names), path, row_group_size=2)
    return path


def test_the_names_of_a_class_label_are_matched(tiny: Path) -> None:
    parquet(tiny.parent / "hub" / "test.parquet", [0, 1, 1, 2], ["Greens_2", "greens-0", "greens 3"])
    with_data(tiny, "hub")
    assert labels(open_suite(str(tiny)).task_data("Greens")) == [2, 0, 0, 3]
    parquet(tiny.parent / "hub" / "test.parquet", [0, 3], ["greens 1", "greens 0"])
    with pytest.raises(InputError, match="has 2 class names, but labels up to 3"):
        open_suite(str(tiny)).task_data("Greens")


@pytest.mark.parametrize("kind", ["string", "large_string", "dictionary"])
def test_texts_are_class_names(tiny: Path, kind: str) -> None:
    import pyarrow as pa

    values = pa.array(["greens 3", "greens 0", "greens 3"])
    typed = values.dictionary_encode() if kind == "dictionary" else values.cast(getattr(pa, kind)())
    found = read_images(parquet(tiny.parent / "hub" / "test.parquet", typed), labelled=True)
    assert found.classes == ("greens 0", "greens 3")  # as class_encode_column of `datasets` sorts them
    assert labels(found) == [1, 0, 1]
    with_data(tiny, "hub")
    assert labels(open_suite(str(tiny)).task_data("Greens")) == [3, 0, 3]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (["a", None, "b", None], "found none in row 1, 3"),
        ([0, 1, None], "found none in row 2"),
        ([None, None], "found none in every row: an unlabelled split?"),
        ([0, -1, 2], "found -1 in row 1"),
        ([-1, -1], "found -1 in every row: an unlabelled split?"),
        ([0.0, 1.5], "found 1.5 in row 1"),
        ([0, 2**63], f"found {2**63} in row 1"),
        (["a", ""], "found an empty name in row 1"),
        ([[0], [1, 2]], "found ndarray in every row"),
    ],
)
def test_labels_of_tables_that_are_none(tmp_path: Path, values: list[Any], said: str) -> None:
    import pyarrow as pa

    typed = pa.array(values, pa.uint64()) if 2**63 in values else pa.array(values)
    path = parquet(tmp_path / "test.parquet", typed)
    with pytest.raises(InputError) as error:
        read_images(path, labelled=True)
    assert str(error.value).startswith(f"{path}: column 'label' must be {len(values)} non-negative integers or class")
    assert said in str(error.value)
    assert len(read_images(path, labelled=False)) == len(values)


@pytest.mark.parametrize(
    "names",
    [
        ("0000", "0001"),
        ("part.0", "part.1"),
        ("shard_0", "shard_1"),
        ("train-00000-of-00002", "train-00001-of-00002"),
        ("test-00000-of-00002-9a17f6cf2c7c1d2e", "test-00001-of-00002-0b17f6cf2c7c1d2e"),
        ("0000_part_00", "0000_part_01"),
        ("part-00000-3f2a.c000.snappy", "part-00001-3f2a.c000.snappy"),
        ("validation_0", "validation_1"),
        ("data-00000-of-00002", "data-00001-of-00002"),
    ],
)
def test_files_of_one_split_belong_together(tmp_path: Path, names: tuple[str, str]) -> None:
    for name, found in zip(names, ([0, 1, 2], [3]), strict=True):
        parquet(tmp_path / f"{name}.parquet", found)
    (tmp_path / f"._{names[0]}.parquet").write_bytes(b"AppleDouble")
    images = read_images(tmp_path, labelled=True)
    assert labels(images) == [0, 1, 2, 3]
    assert images.remarks == ()


def test_files_are_read_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    for number in (10, 9, 1):
        parquet(tmp_path / f"part.{number}.parquet", [number])
    assert labels(read_images(tmp_path, labelled=True)) == [1, 9, 10]


@pytest.mark.parametrize(
    "names",
    [("train", "test"), ("train-00000-of-00001", "validation-00000-of-00001"), ("fold_1", "fold_2"), ("0", "test")],
)
def test_several_splits_are_refused(tmp_path: Path, names: tuple[str, str]) -> None:
    for name in names:
        parquet(tmp_path / f"{name}.parquet", [0])
    with pytest.raises(InputError, match="holds the splits"):
        read_images(tmp_path, labelled=True)


def test_a_missing_file_of_a_split_is_remarked(tmp_path: Path) -> None:
    parquet(tmp_path / "test-00000-of-00003.parquet", [0])
    parquet(tmp_path / "test-00002-of-00003.parquet", [0])
    remark = f"{tmp_path}: expected 3 files, as their names say, found 2"
    assert read_images(tmp_path, labelled=True).remarks == (remark,)


def test_files_with_other_class_names_are_refused(tmp_path: Path) -> None:
    parquet(tmp_path / "test-00000-of-00002.parquet", [0], ["a", "b"])
    parquet(tmp_path / "test-00001-of-00002.parquet", [0], ["b", "a"])
    with pytest.raises(InputError, match=r"class names, test-00001-of-00002\.parquet has others"):
        read_images(tmp_path, labelled=True)


# --- arrays -------------------------------------------------------------------------------------------------------

PIXELS = np.zeros((3, 4, 4), np.uint8)


@pytest.mark.parametrize(
    ("values", "found"),
    [
        (np.array([0, 2, 1], np.uint64), [0, 2, 1]),
        (np.array([0.0, 2.0, 1.0]), [0, 2, 1]),
        (np.array([False, True, True]), [0, 1, 1]),
        (np.array(["b", "c", "a"]), [1, 2, 0]),
        (np.array(["10", "9", "10"]), [1, 0, 1]),
    ],
)
def test_labels_of_several_types(tmp_path: Path, values: np.ndarray, found: list[int]) -> None:
    np.savez(tmp_path / "x.npz", images=PIXELS, labels=values)
    assert labels(read_images(tmp_path / "x.npz", labelled=True)) == found


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (np.array([0, 2**63, 2**64 - 1], np.uint64), f"found {2**63} in row 1, 2"),
        (np.array([0, -1, 2]), "found -1 in row 1"),
        (np.array([0, 1.5, 2]), "found 1.5 in row 1"),
        (np.array([0, np.nan, np.inf]), "found nan in row 1, 2"),
        (np.array([0, 1e30, 2]), "found 1e+30 in row 1"),
        (np.array([[0], [1], [2]]), "found int64 of shape (3, 1)"),
        (np.array([0, 1]), "found int64 of shape (2,)"),
        (np.array(["2020-01-01"] * 3, "datetime64[D]"), "found datetime64[D]"),
        (np.array(["a", "", "b"]), "found an empty name in row 1"),
    ],
)
def test_labels_of_arrays_that_are_none(tmp_path: Path, values: np.ndarray, said: str) -> None:
    np.savez(tmp_path / "x.npz", images=PIXELS, labels=values)
    with pytest.raises(InputError) as error:
        read_images(tmp_path / "x.npz", labelled=True)
    assert f"x.npz: 'labels' must be 3 non-negative integers or class names, {said}" in str(error.value)


def test_python_objects_are_labels_where_they_are_all_numbers() -> None:
    assert read_labels("x", [0, np.int64(3), True], 3)[0].tolist() == [0, 3, 1]
    for values in ([2**70, 1], [0, "a"], [0, b"a"], [object(), 1]):
        with pytest.raises(InputError, match="x must be 2 non-negative integers"):
            read_labels("x", np.array(values, object), 2)


def test_arrays_of_other_names_are_listed(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", x_test=PIXELS, y_test=np.zeros(3, int), more=np.array([object()]))
    with pytest.raises(InputError) as error:
        read_images(tmp_path / "x.npz", labelled=True)
    expected = (
        "expected an array 'images', found 'x_test' uint8 (3, 4, 4), 'y_test' int64 (3,), 'more'; save them under"
    )
    assert expected in str(error.value)
    np.savez(tmp_path / "x.npz", images=PIXELS, y=np.zeros(3, int))
    with pytest.raises(InputError, match=r"expected an array 'labels', found 'images' uint8 \(3, 4, 4\), 'y' int64"):
        read_images(tmp_path / "x.npz", labelled=True)


@pytest.mark.parametrize("shape", [(3, 0, 0), (3, 0, 0, 3), (3, 4, 0), (0, 4, 4), (3, 4, 4, 4), (3, 4)])
def test_images_of_no_pixels_and_other_shapes_are_refused(tmp_path: Path, shape: tuple[int, ...]) -> None:
    np.savez(tmp_path / "x.npz", images=np.zeros(shape, np.uint8), labels=np.zeros(shape[0], int))
    for labelled in (True, False):
        with pytest.raises(InputError, match=r"x\.npz: images must be uint8 of shape"):
            read_images(tmp_path / "x.npz", labelled=labelled)


# --- public data sets ---------------------------------------------------------------------------------------------


def idx(path: Path, array: np.ndarray) -> Path:
    data = b"\0\0\x08" + bytes([array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def test_labels_of_public_data_sets_that_are_none(tmp_path: Path) -> None:
    from scipy.io import savemat

    def refused(path: Path, said: str) -> None:
        with pytest.raises(InputError) as error:
            read_images(path, labelled=True)
        assert said in str(error.value)
        assert str(tmp_path) in str(error.value)

    pixels = np.zeros((2, 32, 32, 3), np.uint8)
    (tmp_path / "GT-final_test.csv").write_text("Filename;ClassId\n0.ppm;3\n1.ppm;-1\n")
    refused(tmp_path / "GT-final_test.csv", "found -1 in row 1")
    face = " ".join(["9"] * 48 * 48)
    (tmp_path / "f.csv").write_text(f"emotion,pixels\n-1,{face}\n")
    refused(tmp_path / "f.csv", "found -1 in every row")
    savemat(tmp_path / "setid.mat", {"tstid": [[1, 2]]})
    savemat(tmp_path / "imagelabels.mat", {"labels": [[5, -1]]})
    refused(tmp_path / "setid.mat", "found -1 in row 1")
    savemat(tmp_path / "imagelabels.mat", {"labels": [[5, 0]]})
    refused(tmp_path / "setid.mat", "labels must be numbers from 1, found 0 … 5")
    savemat(tmp_path / "imagelabels.mat", {"labels": [[5, 1]]})
    savemat(tmp_path / "setid.mat", {"tstid": [[0, 2]]})  # 0 would be the last image
    refused(tmp_path / "setid.mat", "labels must be numbers from 1 to 2, found 0 … 2")
    rows = np.array([("1.jpg", 0)], dtype=[("fname", object), ("class", object)])
    savemat(tmp_path / "cars_test_annos_withlabels.mat", {"annotations": rows})
    refused(tmp_path / "cars_test_annos_withlabels.mat", "labels must be numbers from 1, found 0")
    savemat(tmp_path / "test_32x32.mat", {"X": pixels.transpose(1, 2, 3, 0), "y": np.array([[37], [1]])})
    refused(tmp_path / "test_32x32.mat", "labels must be numbers from 0 to 10, found 1 … 37")
    np.zeros((1, 3, 96, 96), np.uint8).tofile(tmp_path / "test_X.bin")
    np.zeros(1, np.uint8).tofile(tmp_path / "test_y.bin")
    refused(tmp_path / "test_X.bin", "labels must be numbers from 1, found 0")
    for values, said in (
        ([3, -1], "found -1 in row 1"),
        (None, "labels must be 1"),
        ([3, None], "found none in row 1"),
    ):
        (tmp_path / "test_batch").write_bytes(pickle.dumps({"data": pixels.reshape(2, -1), "labels": values}))
        refused(tmp_path / "test_batch", said)
    path = idx(tmp_path / "emnist-letters-test-images-idx3-ubyte", np.zeros((2, 4, 4), np.uint8))
    idx(tmp_path / "emnist-letters-test-labels-idx1-ubyte", np.array([1, 0], np.uint8))
    refused(path, "labels must be numbers from 1, found 0 … 1")
    path = idx(tmp_path / "t10k-images-idx3-ubyte", np.zeros((2, 0, 4), np.uint8))
    idx(tmp_path / "t10k-labels-idx1-ubyte", np.array([1, 0], np.uint8))
    refused(path, "h > 0 and w > 0")


def test_numbers_of_a_list_are_rows(tiny: Path) -> None:
    folders(tiny.parent / "images", ["a", "b"])
    (tiny.parent / "list.txt").write_text("a/x.png 1\nb/x.png 3\n")
    with_data(tiny, "list.txt")
    with pytest.raises(InputError, match="numbered from 1 to 3, and the head has 4 rows: they may count from 0"):
        open_suite(str(tiny)).task_data("Greens")
    (tiny.parent / "list.txt").write_text("a/x.png 0\nb/x.png 3\n")
    assert labels(open_suite(str(tiny)).task_data("Greens")) == [0, 3]
    (tiny.parent / "list.txt").write_text("a/x.png 0\nb/x.png -1\n")
    with pytest.raises(InputError, match="found -1 in row 1"):
        open_suite(str(tiny)).task_data("Greens")
    (tiny.parent / "list.txt").write_text("a/x.png\nb/x.png\n")
    (tiny.parent / "Greens.txt").write_text("c\nb\nd\na\n")
    assert labels(open_suite(str(tiny)).task_data("Greens")) == [3, 1]


# --- experts that are bad at their own tasks ----------------------------------------------------------------------


def evaluated(right: list[bool], zero_shot: list[bool], *, full: bool = True) -> Evaluation:
    flags = {"Blues": np.array(right)}
    return Evaluation(
        "x", {}, flags, flags, {"Blues": np.array(zero_shot)}, {"Blues": np.zeros(len(right), np.float32)}, full
    )


def test_experts_no_better_than_a_guess_or_worse_than_zero_shot_are_remarked(tiny: Path) -> None:
    suite = open_suite(str(tiny))  # Blues has two classes, equally many: a guess is right on half
    path = suite.expert("Blues").path
    good, bad = [True] * 90 + [False] * 10, [True] * 50 + [False] * 50
    assert expert_remarks(suite, evaluated(good, bad)) == ()
    assert expert_remarks(suite, evaluated(good, good)) == ()
    (remark,) = expert_remarks(suite, evaluated(bad, bad))
    assert remark.startswith(
        f"{path}: right on 50.0% (40.4% to 59.6%) of 100 images of its own task 'Blues', no better"
    )
    assert "pretrained" not in remark
    (remark,) = expert_remarks(suite, evaluated([True] * 75 + [False] * 25, good))
    assert "worse than the pretrained model (90.0%)" in remark
    assert "guessing" not in remark
    (remark,) = expert_remarks(suite, evaluated(bad, good))
    assert "worse than the pretrained model (90.0%) and no better than guessing (50.0%)" in remark
    slightly = [True] * 89 + [False] * 11
    assert expert_remarks(suite, evaluated(slightly, good)) == ()  # one image of a hundred is sampling noise


def test_a_guess_is_the_most_frequent_class(tiny: Path) -> None:
    with np.load(tiny.parent / "Blues-test.npz") as file:
        pixels = file["images"]
    np.savez(tiny.parent / "Blues-test.npz", images=pixels, labels=np.arange(24) // 18)  # 18 of 24 are of class 0
    suite = open_suite(str(tiny))
    flags = [True] * 75 + [False] * 25
    assert "guessing (75.0%)" in expert_remarks(suite, evaluated(flags, flags))[0]
    assert expert_remarks(suite, evaluated(flags, flags, full=False)) == ()  # a stratified part holds as many of each


def test_check_tries_every_expert_on_its_own_task(tiny: Path, workspace: Path) -> None:
    """A head whose rows are in another order: nothing but the answers tells."""
    from ri_analysis.engine import Evaluator

    evaluator = Evaluator(open_suite(str(tiny), workspace), workspace, "cpu")
    images = evaluator.suite.task_data("Blues")
    features = evaluator.encoder.features(load_file(evaluator.suite.expert("Blues").path), images)
    assert images.labels is not None
    means = torch.stack([features[images.labels == label].mean(dim=0) for label in (0, 1)])
    rows = 100 * torch.nn.functional.normalize(torch.stack([means[0] - means[1], means[1] - means[0]]), dim=1)

    def remarks(weight: torch.Tensor) -> list[str]:
        save_file({"weight": weight.contiguous()}, tiny.parent / "head-Blues.safetensors")
        report = check_suite(str(tiny), workspace, device="cpu")
        assert report.findings == []
        assert any(line.startswith("experts on their own tasks: ") for line in report.passed)
        return [line for line in report.remarks if "its own task 'Blues'" in line]

    assert remarks(rows) == []
    (remark,) = remarks(rows.flip(0))
    assert remark.startswith(f"{tiny.parent / 'original' / 'Blues.safetensors'}: right on ")
    assert "no better than guessing (50.0%)" in remark
    assert "on their own tasks" not in " ".join(check_suite(str(broken(tiny)), workspace).passed)


def broken(tiny: Path) -> Path:
    (tiny.parent / "Reds-test.npz").write_bytes(b"cut")
    return tiny


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (["a" * 2_000, *["b"] * 5], "at most 1,000 characters of a name, found 2,000"),
        (["a", " ", "b"], "found an empty name in row 1"),
        ([10**30, 1], "found object"),
    ],
)
def test_odd_labels_of_a_table_are_refused(values: list[object], said: str) -> None:
    with pytest.raises(InputError, match=said):
        read_labels("labels", np.array(values, object), len(values))


def test_labels_of_a_table_are_no_wider_than_each_is() -> None:
    values = np.array(["b"] * 200_000 + ["a" * 1_000], object)
    tracemalloc.start()
    labels, names = read_labels("labels", values, len(values))
    assert tracemalloc.get_traced_memory()[1] < 50e6  # 800 MB as an array of texts
    tracemalloc.stop()
    assert (labels[-1], labels[0], len(names)) == (0, 1, 2)
