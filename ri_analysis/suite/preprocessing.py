"""How an image becomes the model's square input: open_clip's own settings, read from where it keeps them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from ri_analysis import limits
from ri_analysis.documents import read_json
from ri_analysis.errors import InputError
from ri_analysis.files import digest
from ri_analysis.suite.decoding import to_rgb

_FILTERS = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}
_MODES = ("shortest", "longest", "squash")


@dataclass(frozen=True)
class Preprocessing:
    """open_clip's `preprocess_cfg`: filter, which side is fitted, the colour that fills the rest."""

    interpolation: str = "bicubic"
    resize_mode: str = "shortest"
    fill: int = 0

    @property
    def digest(self) -> str:
        """Names the settings; empty for CLIP's own, so that what was kept before there were others stays valid."""
        return "" if self == Preprocessing() else digest(self.interpolation, self.resize_mode, str(self.fill))


def fit(image: Image.Image, size: int, how: Preprocessing = Preprocessing()) -> npt.NDArray[np.uint8]:
    """Return `image` as RGB pixels (size, size, 3), as torchvision's Resize and CenterCrop make it for open_clip."""
    image = to_rgb(image)
    if image.size != (size, size):
        image = _resized(image, size, how)
    return np.asarray(image, dtype=np.uint8)


def _resized(image: Image.Image, size: int, how: Preprocessing) -> Image.Image:
    filter_ = _FILTERS[how.interpolation]
    if how.resize_mode == "squash":
        return image.resize((size, size), filter_)
    if how.resize_mode == "longest":
        ratio = size / max(image.size)
        image = image.resize((max(1, round(image.width * ratio)), max(1, round(image.height * ratio))), filter_)
        canvas = Image.new("RGB", (size, size), (how.fill,) * 3)
        canvas.paste(image, ((size - image.width) // 2, (size - image.height) // 2))
        return canvas
    short = min(image.size)
    width, height = (size if side == short else int(size * side / short) for side in image.size)
    left, top = round((width - size) / 2), round((height - size) / 2)
    if width * height > limits.limit("pixels"):  # a long strip: only what is kept of it is made
        across, down = image.width / width, image.height / height
        box = (left * across, top * down, (left + size) * across, (top + size) * down)
        return image.resize((size, size), filter_, box)
    image = image.resize((width, height), filter_)
    return image.crop((left, top, left + size, top + size))


def read_preprocessing(architecture: str, pretrained: str, folder: Path) -> Preprocessing:
    """Return the preprocessing of an open_clip model JSON, or of a pretrained tag; CLIP's own otherwise.

    Raises InputError for settings this program does not know.
    """
    config = preprocessing_config(architecture, pretrained, folder)
    interpolation, mode = config.get("interpolation", "bicubic"), config.get("resize_mode", "shortest")
    fill = config.get("fill_color", 0)
    if interpolation == "random":  # open_clip's word for a training augmentation; its evaluation uses bicubic
        interpolation = "bicubic"
    fits = interpolation in list(_FILTERS) and mode in _MODES and isinstance(fill, int) and 0 <= fill <= 255
    if not fits:
        known = f"interpolation {' or '.join(_FILTERS)}, resize_mode {', '.join(_MODES)} and a grey fill_color"
        raise InputError(f"{architecture}: expected {known}, found {interpolation!r}, {mode!r}, {fill!r}")
    return Preprocessing(str(interpolation), str(mode), fill)


def preprocessing_config(architecture: str, pretrained: str, folder: Path) -> Mapping[str, Any]:
    """Return open_clip's `preprocess_cfg` of a model JSON or a pretrained tag; empty when there is none."""
    if architecture.endswith(".json"):
        try:
            document = read_json(folder / architecture)
        except InputError:
            return {}  # whoever builds the model says what is wrong with the file
        found = document.get("preprocess_cfg") if isinstance(document, dict) else None
        return found if isinstance(found, dict) else {}
    if Path(pretrained).suffix:
        return {}
    import open_clip  # slow to import, and needed for tags only

    found = open_clip.get_pretrained_cfg(architecture, pretrained)
    return found if isinstance(found, dict) else {}
