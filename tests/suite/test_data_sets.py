from __future__ import annotations

import gzip
import io
import json
import pickle
import struct
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
from PIL import Image
from python_2 import pickled_batch

from ri_analysis.errors import InputError
from ri_analysis.suite import open_suite
from ri_analysis.suite.data import read_images
from ri_analysis.suite.images import KeptImages, per_class
from ri_analysis.suite.preprocessing import Preprocessing, fit, read_preprocessing

RANDOM = np.random.default_rng(0)


def pixels(n: int, side: int, channels: int = 3) -> np.ndarray:
    shape = (n, side, side, channels) if channels > 1 else (n, side, side)
    return RANDOM.integers(0, 256, shape, dtype=np.uint8)


def encoded(image: np.ndarray, folder: Path) -> bytes:
    Image.fromarray(image).save(folder / "x.png")
    return (folder / "x.png").read_bytes()


# --- preprocessing ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(31, 20), (20, 33), (17, 17), (8, 8), (5, 9)])
@pytest.mark.parametrize("mode", ["shortest", "longest", "squash"])
@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
def test_images_are_prepared_as_open_clip_does(size: tuple[int, int], mode: str, interpolation: str) -> None:
    image = Image.fromarray(RANDOM.integers(0, 256, (*size, 3), dtype=np.uint8))
    transform = open_clip.image_transform(
        8, is_train=False, mean=(0,) * 3, std=(1,) * 3, resize_mode=mode, interpolation=interpolation, fill_color=7
    )
    expected = (transform(image).permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)
    if mode == "longest" and min(size) != max(size):
        found = fit(image, 8, Preprocessing(interpolation, mode, 7))
        assert found.shape == expected.shape
        assert abs(int((found == 7).all(-1).sum()) - int((expected == 7).all(-1).sum())) <= 8  # the border's width
        return
    assert np.array_equal(fit(image, 8, Preprocessing(interpolation, mode, 7)), expected)


def test_preprocessing_is_read_from_open_clips_config(tmp_path: Path) -> None:
    config = {"preprocess_cfg": {"interpolation": "bilinear", "resize_mode": "squash"}}
    (tmp_path / "m.json").write_text(json.dumps(config))
    assert read_preprocessing("m.json", "x.pt", tmp_path) == Preprocessing("bilinear", "squash")
    assert read_preprocessing("ViT-B-16-SigLIP", "webli", tmp_path).resize_mode == "squash"
    assert read_preprocessing("ViT-B-32", "zeroshot.pt", tmp_path) == Preprocessing()
    (tmp_path / "m.json").write_text(json.dumps({"preprocess_cfg": {"interpolation": "lanczos"}}))
    with pytest.raises(InputError, match="'lanczos'"):
        read_preprocessing("m.json", "x.pt", tmp_path)


# --- folders ------------------------------------------------------------------------------------------------------


def folder(path: Path, per: int = 4) -> np.ndarray:
    images = pixels(2 * per, 10)
    for index, image in enumerate(images):
        place = path / ("cats", "dogs")[index // per]
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(place / f"{index}.png")
    return images


def test_damaged_images_are_skipped_and_named(tmp_path: Path) -> None:
    folder(tmp_path / "set")
    Image.fromarray(pixels(1, 64)[0]).save(tmp_path / "set" / "cats" / "cut.jpg")
    cut = tmp_path / "set" / "cats" / "cut.jpg"
    cut.write_bytes(cut.read_bytes()[:900])
    (tmp_path / "set" / "dogs" / "4.png").write_bytes(b"")
    (tmp_path / "set" / "dogs" / "text.png").write_text("no image")
    images = read_images(tmp_path / "set", labelled=True, memory=tmp_path / "memory")
    assert images.remarks == (f"{images.source}: 3 damaged images skipped: cats/cut.jpg, dogs/4.png, dogs/text.png",)
    assert images.labels is not None
    assert images.labels.tolist() == [0, 0, 0, 0, 1, 1, 1]
    assert images.classes == ("cats", "dogs")
    assert images.pixels(range(7), 8).shape == (7, 8, 8, 3)
    again = read_images(tmp_path / "set", labelled=True, memory=tmp_path / "memory")
    assert again.digest == images.digest
    for file in (tmp_path / "set").rglob("*.*g"):
        file.write_bytes(b"")
    with pytest.raises(InputError, match="as for all 10 here"):
        read_images(tmp_path / "set", labelled=False)


def test_decoded_images_are_kept_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder(tmp_path / "set")
    plain = read_images(tmp_path / "set", labelled=True)
    kept = read_images(tmp_path / "set", labelled=True, memory=tmp_path / "memory")
    assert isinstance(kept, KeptImages)
    expected = plain.pixels(range(8), 6)
    assert np.array_equal(kept.pixels([5, 2, 5], 6), expected[[5, 2, 5]])
    assert np.array_equal(kept.pixels(range(8), 6), expected)
    again = read_images(tmp_path / "set", labelled=True, memory=tmp_path / "memory")
    monkeypatch.setattr(Image, "open", lambda *_: pytest.fail("decoded again"))
    assert np.array_equal(again.pixels(range(8), 6), expected)


def test_a_cap_on_images_per_class_is_stratified_and_seeded(tiny: Path) -> None:
    tiny.write_text(tiny.read_text().replace('name = "Greens"', 'name = "Greens"\nimages_per_class = 2'))
    images = open_suite(str(tiny)).task_data("Greens")
    assert images.labels is not None
    assert np.bincount(images.labels).tolist() == [2, 2, 2, 2]
    assert images.digest == open_suite(str(tiny)).task_data("Greens").digest
    labels = np.array([0, 0, 0, 1, 2, 2])
    assert np.bincount(labels[per_class(labels, 2)]).tolist() == [2, 1, 2]
    assert np.array_equal(per_class(labels, 2), per_class(labels, 2))


# --- Hugging Face -------------------------------------------------------------------------------------------------


def table(folder: Path, n: int = 5) -> tuple[Any, np.ndarray, list[int]]:
    import pyarrow as pa

    images, labels = pixels(n, 6), [0, 2, 1, 2, 0][:n]
    rows = [{"bytes": encoded(image, folder), "path": None} for image in images]
    return pa.table({"image": rows, "label": pa.array(labels, pa.int64())}), images, labels


FEATURES = {"image": {"_type": "Image"}, "label": {"_type": "ClassLabel", "names": ["a", "b", "c"]}}


def test_a_saved_data_set_is_read(tmp_path: Path) -> None:
    import pyarrow as pa

    rows, images, labels = table(tmp_path)
    place = tmp_path / "mnist" / "test"
    place.mkdir(parents=True)
    for number, part in enumerate((rows.slice(0, 3), rows.slice(3))):
        with pa.ipc.new_stream(str(place / f"data-0000{number}-of-00002.arrow"), rows.schema) as stream:
            stream.write_table(part)
    files = [{"filename": f"data-0000{number}-of-00002.arrow"} for number in (0, 1)]
    (place / "state.json").write_text(json.dumps({"_data_files": files}))
    (place / "dataset_info.json").write_text(json.dumps({"features": FEATURES}))
    found = read_images(place, labelled=True)
    assert found.labels is not None
    assert found.labels.tolist() == labels
    assert found.classes == ("a", "b", "c")
    assert np.array_equal(found.pixels([4, 0, 3], 6), images[[4, 0, 3]])
    assert len(read_images(place, labelled=False)) == 5
    (tmp_path / "mnist" / "dataset_dict.json").write_text('{"splits": ["test"]}')
    with pytest.raises(InputError, match="several splits; write one of "):
        read_images(tmp_path / "mnist", labelled=True)
    (place / "data-00001-of-00002.arrow").write_bytes(b"cut")
    with pytest.raises(InputError, match="whole Hugging Face data set"):
        read_images(place, labelled=True)


def test_parquet_mirrors_are_read(tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    rows, images, labels = table(tmp_path)
    meta = {b"huggingface": json.dumps({"info": {"features": FEATURES}}).encode()}
    pq.write_table(rows.replace_schema_metadata(meta), tmp_path / "test-00000-of-00001.parquet", row_group_size=2)
    for path in (tmp_path, tmp_path / "test-00000-of-00001.parquet"):
        found = read_images(path, labelled=True)
        assert found.labels is not None
        assert found.labels.tolist() == labels
        assert np.array_equal(found.pixels(range(5), 6), images)
    (tmp_path / "web").mkdir()  # as WebDataset mirrors name their columns
    pq.write_table(rows.rename_columns({"image": "jpg", "label": "cls"}), tmp_path / "web" / "test.parquet")
    assert np.array_equal(read_images(tmp_path / "web", labelled=True).pixels(range(5), 6), images)
    pq.write_table(rows.drop_columns(["label"]), tmp_path / "bare.parquet")
    with pytest.raises(InputError, match="expected a column of labels, found the columns image"):
        read_images(tmp_path / "bare.parquet", labelled=True)
    with pytest.raises(InputError, match=r"holds the splits bare\.parquet, test|holds the splits"):
        read_images(tmp_path, labelled=True)


# --- torchvision --------------------------------------------------------------------------------------------------


def idx(path: Path, array: np.ndarray) -> Path:
    data = b"\0\0\x08" + bytes([array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_mnist_and_its_kin(tmp_path: Path, suffix: str) -> None:
    images, labels = pixels(3, 28, 1), np.array([7, 0, 2], np.uint8)
    path = idx(tmp_path / "MNIST" / "raw" / f"t10k-images-idx3-ubyte{suffix}", images)
    idx(path.parent / f"t10k-labels-idx1-ubyte{suffix}", labels)
    found = read_images(path, labelled=True)
    assert found.labels is not None
    assert found.labels.tolist() == [7, 0, 2]
    assert np.array_equal(found.pixels(range(3), 28)[..., 1], images)
    letters = idx(tmp_path / "emnist-letters-test-images-idx3-ubyte", images)
    idx(tmp_path / "emnist-letters-test-labels-idx1-ubyte", labels + np.uint8(1))
    upright = read_images(letters, labelled=True)
    assert upright.labels is not None
    assert upright.labels.tolist() == [7, 0, 2]
    assert np.array_equal(upright.pixels([0], 28)[0, ..., 0], images[0].T)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(InputError, match="t10k-images"):
        read_images(path, labelled=True)


@pytest.mark.parametrize(("name", "key"), [("test_batch", "labels"), ("test", "fine_labels")])
def test_cifar_is_read_without_running_its_pickle(tmp_path: Path, name: str, key: str) -> None:
    images = pixels(3, 32)
    flat = images.transpose(0, 3, 1, 2).reshape(3, -1)
    (tmp_path / name).write_bytes(pickled_batch(flat, [3, 1, 9], key))
    found = read_images(tmp_path / name, labelled=True)
    assert found.labels is not None
    assert found.labels.tolist() == [3, 1, 9]
    assert np.array_equal(found.pixels(range(3), 32), images)
    (tmp_path / name).write_bytes(pickle.dumps({"data": flat, key: [3, 1, 9]}))  # Python 3's
    assert np.array_equal(read_images(tmp_path / name, labelled=True).pixels(range(3), 32), images)
    (tmp_path / name).write_bytes(b"cos\nsystem\n(S'touch x'\ntR.")
    with pytest.raises(InputError, match="unsafe"):
        read_images(tmp_path / name, labelled=True)


def test_matlab_files_and_raw_bytes(tmp_path: Path) -> None:
    from scipy.io import savemat

    images = pixels(4, 32)
    savemat(tmp_path / "test_32x32.mat", {"X": images.transpose(1, 2, 3, 0), "y": np.array([[10], [1], [2], [9]])})
    found = read_images(tmp_path / "test_32x32.mat", labelled=True)
    assert found.labels is not None
    assert found.labels.tolist() == [0, 1, 2, 9]
    assert np.array_equal(found.pixels(range(4), 32), images)
    stl = pixels(2, 96)
    stl.transpose(0, 3, 2, 1).tofile(tmp_path / "test_X.bin")
    np.array([1, 10], np.uint8).tofile(tmp_path / "test_y.bin")
    found = read_images(tmp_path / "test_X.bin", labelled=True)
    assert found.labels is not None
    assert found.labels.tolist() == [0, 9]
    assert np.array_equal(found.pixels(range(2), 96), stl)


def save(path: Path, image: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path)


def test_lists_of_files(tmp_path: Path) -> None:
    from scipy.io import savemat

    images = pixels(3, 9)
    for name, image in zip(("apple_pie/1", "ramen/2", "ramen/3"), images, strict=True):
        save(tmp_path / "food-101" / "images" / f"{name}.jpg", image)
    (tmp_path / "food-101" / "meta").mkdir()
    (tmp_path / "food-101" / "meta" / "test.txt").write_text("ramen/3\napple_pie/1\n")
    food = read_images(tmp_path / "food-101" / "meta" / "test.txt", labelled=True)
    assert food.labels is not None
    assert food.labels.tolist() == [1, 0]
    assert food.classes == ("apple_pie", "ramen")

    for name, image in zip(("Abyssinian_1", "pug_2"), images, strict=False):
        save(tmp_path / "pets" / "images" / f"{name}.jpg", image)
    (tmp_path / "pets" / "annotations").mkdir()
    (tmp_path / "pets" / "annotations" / "test.txt").write_text("# id\nAbyssinian_1 1 1 1\npug_2 26 2 1\n")
    pets = read_images(tmp_path / "pets" / "annotations" / "test.txt", labelled=True)
    assert pets.labels is not None
    assert pets.labels.tolist() == [0, 25]

    save(tmp_path / "resisc45" / "NWPU-RESISC45" / "sea_ice" / "sea_ice_001.jpg", images[0])
    (tmp_path / "resisc45" / "resisc45-test.txt").write_text("sea_ice_001.jpg\n")
    assert read_images(tmp_path / "resisc45" / "resisc45-test.txt", labelled=True).classes == ("sea_ice",)
    (tmp_path / "resisc45" / "resisc45-test.txt").write_text("wetland_9.jpg\n")
    with pytest.raises(InputError, match=r"'wetland_9\.jpg'"):
        read_images(tmp_path / "resisc45" / "resisc45-test.txt", labelled=True)

    flowers = tmp_path / "flowers-102"
    save(flowers / "jpg" / "image_00002.jpg", images[1])
    savemat(flowers / "setid.mat", {"tstid": [[2]]})
    savemat(flowers / "imagelabels.mat", {"labels": [[5, 77]]})
    found = read_images(flowers / "setid.mat", labelled=True)
    assert found.labels is not None
    assert found.labels.tolist() == [76]

    save(tmp_path / "cars" / "cars_test" / "00001.jpg", images[2])
    kinds = [("fname", object), ("class", object)]
    rows = np.array([("00001.jpg", 196)], dtype=kinds)
    savemat(tmp_path / "cars" / "cars_test_annos_withlabels.mat", {"annotations": rows})
    cars = read_images(tmp_path / "cars" / "cars_test_annos_withlabels.mat", labelled=True)
    assert cars.labels is not None
    assert cars.labels.tolist() == [195]


def test_tables_of_signs_and_faces(tmp_path: Path) -> None:
    images = pixels(2, 12)
    save(tmp_path / "gtsrb" / "GTSRB" / "Final_Test" / "Images" / "00000.ppm", images[0])
    (tmp_path / "gtsrb" / "GT-final_test.csv").write_text("Filename;Width;ClassId\n00000.ppm;12;42\n")
    signs = read_images(tmp_path / "gtsrb" / "GT-final_test.csv", labelled=True)
    assert signs.labels is not None
    assert signs.labels.tolist() == [42]
    assert np.array_equal(signs.pixels([0], 12), images[:1])
    face = " ".join(["9"] * 48 * 48)
    (tmp_path / "f.csv").write_text(f"emotion, Usage, pixels\n3,Training,{face}\n6,PrivateTest,{face}\n")
    faces = read_images(tmp_path / "f.csv", labelled=True)
    assert faces.labels is not None
    assert faces.labels.tolist() == [6]
    assert (faces.pixels([0], 48) == 9).all()
    (tmp_path / "f.csv").write_text(f"pixels\n{face}\n")
    with pytest.raises(InputError, match="labelled rows"):
        read_images(tmp_path / "f.csv", labelled=True)
    (tmp_path / "x.h5").write_bytes(b"")
    with pytest.raises(InputError, match="HDF5 is not read"):
        read_images(tmp_path / "x.h5", labelled=True)


def test_labels_that_unpack_to_much_are_not_gathered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    stream = io.BytesIO()
    Image.new("RGB", (8, 8)).save(stream, "PNG")
    table = pa.table({"image": [stream.getvalue()] * 400, "label": ["a" * 900] * 400})
    pq.write_table(table, tmp_path / "test.parquet", row_group_size=10)
    monkeypatch.setenv("RI_ANALYSIS_LIMITS", "unpacked-bytes=100000")
    with pytest.raises(InputError, match=r"column 'label': expected at most 100,000 bytes of unpacked arrays, found"):
        read_images(tmp_path / "test.parquet", labelled=True)
