"""The map component: scatter plots of the same images with one selection (map.html, map.css, map.js)."""

from __future__ import annotations

import base64
import io
import math
from functools import lru_cache
from importlib import resources
from typing import Any

import numpy as np
import numpy.typing as npt
import streamlit as st
from PIL import Image

Pixels = npt.NDArray[np.uint8]


def show(data: dict[str, Any], key: str) -> list[str]:
    """Draw a map (see `payload`); return the ids that the reader has selected."""
    result = _component("map")(key=key, data=packed(data), on_selected_change=lambda: None)
    return [str(name) for name in result.get("selected") or []]


def show_pictures(name: str, sheet: dict[str, Any]) -> None:
    """Hand the browser a sheet of thumbnails (see `picture_sheet`) for maps that name it."""
    _component("pictures")(key=f"pictures.{name}", data=sheet | {"name": name}, height=1)


def picture_sheet(pixels: Pixels, ids: list[str]) -> dict[str, Any]:
    """Return images (n, h, w, 3) as one JPEG data URL, with the number of columns and each id's place in it."""
    count, height, width = pixels.shape[:3]
    columns = max(1, math.ceil(math.sqrt(count)))
    sheet = np.zeros((-(-count // columns) * height, columns * width, 3), np.uint8)
    for place, image in enumerate(pixels):
        row, column = divmod(place, columns)
        sheet[row * height : (row + 1) * height, column * width : (column + 1) * width] = image
    stream = io.BytesIO()
    Image.fromarray(sheet).save(stream, "JPEG", quality=80)
    url = "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode()
    return {"url": url, "columns": columns, "index": {name: place for place, name in enumerate(ids)}}


def packed(value: Any) -> Any:
    """Return data with every array as its bytes: as text, 50,000 points would take seconds to send and to read."""
    if isinstance(value, dict):
        return {name: packed(each) for name, each in value.items()}
    if isinstance(value, list):
        return [packed(each) for each in value] if value and isinstance(value[0], dict) else value
    if isinstance(value, np.ndarray):
        kind = value.dtype.str[1:]
        contents = np.ascontiguousarray(value, value.dtype.newbyteorder("<")).tobytes()
        return {"kind": kind, "bytes": base64.b64encode(contents).decode()}
    return value


@lru_cache(maxsize=4)
def _component(name: str) -> Any:
    parts: dict[str, Any] = {}
    for kind in ("html", "css", "js"):
        file = resources.files(__package__) / f"{name}.{kind}"
        if file.is_file():
            parts[kind] = file.read_text(encoding="utf-8")
    return st.components.v2.component(f"ri_analysis_{name}", **parts)
