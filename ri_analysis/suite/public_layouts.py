"""Public data sets as torchvision and their authors lay them out; `data` names the file that holds the split.

| data sets | file |
|---|---|
| MNIST, FashionMNIST, KMNIST, EMNIST | `…-images-idx3-ubyte`, gzipped or not, labels beside it |
| CIFAR10, CIFAR100 | `test_batch`, `test` (pickles, read without running anything in them) |
| SVHN | `test_32x32.mat` |
| STL10 | `test_X.bin` |
| Flowers102 | `setid.mat` |
| Cars | `cars_test_annos_withlabels.mat` |
| GTSRB | `GT-final_test.csv` |
| FER2013 | a csv with the columns emotion and pixels |
| Food101, DTD, OxfordIIITPet, RESISC45 | the text file that lists the split's images |
EuroSAT, SUN397 and RenderedSST2 are plain image folders; PCAM's HDF5 needs a package this program does without.
"""

from __future__ import annotations

import csv
import gzip
import io
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ri_analysis import limits
from ri_analysis.allowed import is_allowed
from ri_analysis.checkpoints.unpickle import Inert, unpickle
from ri_analysis.documents import opened, read_text
from ri_analysis.errors import InputError
from ri_analysis.files import digest, file_digest
from ri_analysis.stamps import reading
from ri_analysis.suite.decoding import SUFFIXES
from ri_analysis.suite.images import ArrayImages, ImageSet
from ri_analysis.suite.labels import read_labels
from ri_analysis.suite.preprocessing import Preprocessing
from ri_analysis.suite.trial import try_reading

Indices = npt.NDArray[np.int64]
_EXPECTED = "the data set this name stands for"
_BESIDE = re.compile(r".*labels[-.]idx1-ubyte(\.gz)?|(train|test)_y\.bin|imagelabels\.mat|batches\.meta|meta")
_LINE = 4096  # bytes of a first line that are looked at


@dataclass(frozen=True)
class Listed:
    """Image files below `source`, as a list names them."""

    source: Path
    files: Sequence[Path]
    labels: Indices
    classes: tuple[str, ...] = ()


def read(path: Path, how: Preprocessing, memory: Path | None = None) -> ImageSet | Listed | None:
    """Return the images of the split in the file `path`, None when it is of no known kind. Raises InputError.

    `memory` is a folder that remembers which files are harmless.
    """
    if path.suffix in (".h5", ".hdf5"):
        raise InputError(f"{path}: HDF5 is not read; use the Hugging Face copy of the data set, or write an npz")
    reader = next((reader for fits, reader in _READERS if fits(path)), None)
    if reader is None:
        return None
    with opened(path, _EXPECTED):
        if path.suffix == ".mat":
            for file in (path, path.parent / "imagelabels.mat"):
                if file.is_file():
                    try_reading(file, "matlab", _EXPECTED, memory)
        found = reader(path)
    if isinstance(found, Listed):
        return found
    images, labels, classes = found
    if len(images) != len(labels):
        raise InputError(f"{path}: expected as many labels as images, found {len(labels)} and {len(images)}")
    content = file_digest(path)
    if reader in (_idx, _stl10):  # their labels lie in a file of their own
        content = digest(content, labels.tobytes())
    return ArrayImages(str(path), content, images, labels, how, classes)


def is_known(path: Path) -> bool:
    """Whether the file at `path` is called like one of a known kind and, for text, begins like one."""
    reader = next((reader for fits, reader in _READERS if fits(path)), None)
    if reader not in (_fer2013, _list):
        return reader is not None
    with opened(path, _EXPECTED) as stream:
        line = stream.readline(_LINE).decode("utf-8", "replace")
    if reader is _fer2013:
        return {"emotion", "pixels"} <= {name.strip() for name in line.split(",")}
    words = line.split()
    first = _locate(_listed_below(path)[1], words[0]) if words else None
    return first is not None and is_allowed(first)


def is_read_beside(path: Path) -> bool:
    """Whether the file at `path` is called like one that is read together with another, which `data` names."""
    return _BESIDE.fullmatch(path.name) is not None


Arrays = tuple[npt.NDArray[np.uint8], Indices, Sequence[str]]


def _numbers(path: Path, values: Any, *, first: int = 0, last: float = math.inf) -> Indices:
    """Return the class numbers that the file `path` gives, counted from `first`. Raises InputError for others."""
    numbers = np.atleast_1d(np.asarray(values))
    found, names = read_labels(f"{path}: labels", numbers, len(numbers))
    if names or (len(found) and not first <= found.min() <= found.max() <= last):
        wanted = f"numbers from {first}" + ("" if last == math.inf else f" to {last}")
        raise InputError(f"{path}: labels must be {wanted}, found {numbers.min()} … {numbers.max()}")
    return found


def _idx(path: Path) -> Arrays:
    labels = re.sub(r"images([-.])idx3", r"labels\1idx1", path.name)
    images = _read_idx(path)
    if "emnist" in path.name.lower():  # EMNIST is stored on its side
        images = images.transpose(0, 2, 1)
    first = 1 if "letters" in path.name else 0
    values = _numbers(path.parent / labels, _read_idx(path.parent / labels), first=first)
    return np.ascontiguousarray(images), values - first, ()


def _read_idx(path: Path) -> npt.NDArray[np.uint8]:
    data = _unpacked(path)
    dimensions = data[3] if len(data) > 3 and data[:3] == b"\0\0\x08" else 0
    if not 1 <= dimensions <= 3 or len(data) < 4 + 4 * dimensions:
        raise InputError(f"{path}: expected an idx file of bytes, found another header")
    shape = np.frombuffer(data, ">u4", dimensions, 4).astype(np.int64)
    found = len(data) - 4 - 4 * dimensions
    if found != math.prod(map(int, shape)):
        raise InputError(
            f"{path}: truncated: shape {tuple(shape.tolist())} needs {math.prod(map(int, shape))} bytes, found {found}"
        )
    return np.frombuffer(data, np.uint8, -1, 4 + 4 * dimensions).reshape(shape)


def _unpacked(path: Path) -> bytes:
    with opened(path, "an idx file") as file:
        stream = gzip.GzipFile(fileobj=file) if path.suffix == ".gz" else file
        data: bytes = stream.read(limits.limit("unpacked-bytes") + 1)
    limits.require("unpacked-bytes", len(data), path)
    return data


def _cifar(path: Path) -> Arrays:
    found, names = _entries(path), ()
    meta = next((path.parent / name for name in ("batches.meta", "meta") if (path.parent / name).is_file()), None)
    labels = found.get("labels", found.get("fine_labels"))
    if meta is not None:
        names = _entries(meta).get("label_names" if "labels" in found else "fine_label_names", ())
    pixels = _array(found["data"], path).reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    return np.ascontiguousarray(pixels), _numbers(path, labels), tuple(map(str, names))


def _entries(path: Path) -> dict[str, Any]:
    with opened(path, "a pickled dictionary") as stream:
        found = unpickle(stream, str(path), latin=True, most="unpacked-bytes")
    if not isinstance(found, dict):
        raise InputError(f"{path}: expected a pickled dictionary, found {type(found).__name__}")
    return {key.decode("latin-1") if isinstance(key, bytes) else str(key): value for key, value in found.items()}


def _array(found: object, path: Path) -> npt.NDArray[np.uint8]:
    """Build a uint8 array from how numpy pickles one: (version, shape, type, order, data)."""
    state = found.state if isinstance(found, Inert) else None
    if not isinstance(state, tuple) or len(state) != 5:
        raise InputError(f"{path}: expected an array 'data', found none")
    _, shape, kind, fortran, data = state
    raw = data.encode("latin-1") if isinstance(data, str) else data
    if not isinstance(kind, Inert) or kind.arguments[:1] not in (("u1",), (b"u1",)) or not isinstance(raw, bytes):
        raise InputError(f"{path}: expected an array of bytes, found another type")
    return np.frombuffer(raw, np.uint8).reshape(shape, order="F" if fortran else "C")


def _matlab(path: Path) -> dict[str, Any]:
    from scipy.io import loadmat

    reading(path)
    found: dict[str, Any] = loadmat(path, squeeze_me=True)
    return found


def _svhn(path: Path) -> Arrays:
    found = _matlab(path)
    digits = _numbers(path, found["y"], last=10) % 10  # a 0 is called 10
    return np.ascontiguousarray(found["X"].transpose(3, 0, 1, 2)), digits, ()


def _stl10(path: Path) -> Arrays:
    limits.require("unpacked-bytes", path.stat().st_size, path)
    images = np.fromfile(path, np.uint8).reshape(-1, 3, 96, 96).transpose(0, 3, 2, 1)
    names = path.parent / "class_names.txt"
    classes = read_text(names, "class names").split() if names.is_file() else []
    labels = path.parent / path.name.replace("_X", "_y")
    reading(labels)
    return np.ascontiguousarray(images), _numbers(labels, np.fromfile(labels, np.uint8), first=1) - 1, classes


def _flowers(path: Path) -> Listed:
    given = path.parent / "imagelabels.mat"
    labels = _numbers(given, _matlab(given)["labels"], first=1)
    numbers = _numbers(path, _matlab(path)["tstid"], first=1, last=len(labels))
    files = [path.parent / "jpg" / f"image_{number:05d}.jpg" for number in numbers]
    return Listed(path.parent, files, labels[numbers - 1] - 1)


def _cars(path: Path) -> Listed:
    rows = np.atleast_1d(_matlab(path)["annotations"])
    if "class" not in (rows.dtype.names or ()):
        raise InputError(f"{path}: expected labels; Cars' test labels are in 'cars_test_annos_withlabels.mat'")
    folder = "cars_train" if "train" in path.name else "cars_test"
    root = path.parent if (path.parent / folder).is_dir() else path.parent.parent
    files = [root / folder / str(row["fname"]) for row in rows]
    return Listed(root, files, _numbers(path, [int(row["class"]) for row in rows], first=1) - 1)


def _rows(path: Path, delimiter: str) -> list[dict[str, str]]:
    text = io.StringIO(read_text(path, "a table", "unpacked-bytes"), newline="")
    reader = csv.DictReader(text, delimiter=delimiter)
    return [{str(key).strip(): str(value) for key, value in row.items()} for row in reader]


def _gtsrb(path: Path) -> Listed:
    rows = _rows(path, ";")
    folder = next((item for item in path.parent.rglob("Final_Test/Images") if item.is_dir()), path.parent)
    files = [folder / row["Filename"] for row in rows]
    return Listed(path.parent, files, _numbers(path, [int(row["ClassId"]) for row in rows]))


def _fer2013(path: Path) -> Arrays:
    rows = _rows(path, ",")
    if any("Usage" in row for row in rows):  # the whole set in one file: its private part is the test set
        rows = [row for row in rows if row["Usage"] == "PrivateTest"]
    if not rows or "emotion" not in rows[0]:
        raise InputError(f"{path}: expected labelled rows ('emotion', 'pixels'), found none; try 'icml_face_data.csv'")
    pixels = np.stack([np.asarray(row["pixels"].split(), np.uint8).reshape(48, 48) for row in rows])
    return pixels, _numbers(path, [int(row["emotion"]) for row in rows]), ()


def _list(path: Path) -> Listed:
    lines = [line.split() for line in read_text(path, "a list of images").splitlines() if line.strip()]
    lines = [words for words in lines if not words[0].startswith("#")]
    root, folders = _listed_below(path)
    found = [_locate(folders, words[0]) for words in lines]
    missing = next((words[0] for words, file in zip(lines, found, strict=True) if file is None), None)
    if missing is not None or not found:
        raise InputError(f"{path}: expected the image files that it lists, below {root}, found no {missing!r}")
    files = [file for file in found if file is not None]
    names = [file.parent.name for file in files]
    if all(len(words) > 1 and re.fullmatch(r"-?\d+", words[1]) for words in lines):
        of_pets = all(len(words) == 4 for words in lines)  # OxfordIIITPet: image, class from 1, species, breed
        numbers = _numbers(path, [int(words[1]) for words in lines], first=int(of_pets))
        if of_pets:
            return Listed(root, files, numbers - 1)
        names = list(map(str, numbers))
    return Listed(root, files, *read_labels(f"{path}: labels", names, len(files)))


def _listed_below(path: Path) -> tuple[Path, list[Path]]:
    """Return the folder of the data set that a list of images is of, and where in it the images may lie."""
    root = path.parent.parent if path.parent.name in ("meta", "labels", "annotations") else path.parent
    return root, [root / name for name in ("images", "NWPU-RESISC45", ".")]


def _locate(folders: Sequence[Path], name: str) -> Path | None:
    """Return where a listed image lies: below a folder, its class's folder, or with a suffix the list leaves out."""
    grouped = f"{Path(name).stem.rpartition('_')[0]}/{name}"
    endings = ("",) if name.lower().endswith(SUFFIXES) else (".jpg", ".png", ".jpeg")
    for folder in folders:
        for inner in (name, grouped):
            for ending in endings:
                if (folder / f"{inner}{ending}").is_file():
                    return (folder / f"{inner}{ending}").resolve()
    return None


def _named(pattern: str) -> Callable[[Path], bool]:
    compiled = re.compile(pattern)
    return lambda path: compiled.fullmatch(path.name) is not None


_READERS: tuple[tuple[Callable[[Path], bool], Callable[[Path], Arrays | Listed]], ...] = (
    (_named(r".*images[-.]idx3-ubyte(\.gz)?"), _idx),
    (_named(r"(test|data)_batch(_\d)?|test|train"), _cifar),
    (_named(r"(train|test|extra)_32x32\.mat"), _svhn),
    (_named(r"(train|test)_X\.bin"), _stl10),
    (_named(r"setid\.mat"), _flowers),
    (_named(r"cars_.*annos.*\.mat"), _cars),
    (_named(r"GT-.*\.csv"), _gtsrb),
    (_named(r".*\.csv"), _fer2013),
    (_named(r".*\.txt"), _list),
)
