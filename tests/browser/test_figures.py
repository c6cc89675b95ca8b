"""From a figure on a page to a file."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from browsing import turn_to
from conftest import Visit
from PIL import Image
from playwright.sync_api import Page


def test_a_pinned_figure_is_saved_as_image_vectors_and_table(visit: Visit, tmp_path: Path):
    page = visit("overview")
    page.get_by_role("button", name="Pin").first.click()
    page.get_by_role("link", name="Figures (1)").wait_for()
    turn_to(page, "figures")
    vectors = saved(page, "SVG", tmp_path).read_text(encoding="utf-8")
    assert vectors.startswith("<svg")
    assert "<image" not in vectors
    assert "merged after RI" in vectors
    with Image.open(saved(page, "PNG", tmp_path)) as image:
        assert image.width > image.height > 300
    table = pd.read_csv(saved(page, "CSV", tmp_path))
    assert {"model", "measure", "value", "low", "high"} <= set(table)


def saved(page: Page, kind: str, folder: Path) -> Path:
    """Press a figure's button for a kind of file; return the file."""
    with page.expect_download() as download:
        page.get_by_role("button", name=kind, exact=True).first.click()
    path = folder / download.value.suggested_filename
    download.value.save_as(path)
    return path
