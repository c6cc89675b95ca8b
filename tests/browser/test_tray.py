"""Pinned figures in a browser: their files after an edit, and what a reload leaves of them."""

from __future__ import annotations

import re
from pathlib import Path
from zipfile import ZipFile

import pytest
from browsing import Visit, settle, turn_to
from playwright.sync_api import Page, expect

pytestmark = pytest.mark.long  # one server and one Chromium for all of the file

CAPTION = "What we saw, in our own words."


def test_files_have_what_was_typed_last_and_a_reload_keeps_it(visit: Visit, tmp_path: Path):
    page = visit("overview")
    page.get_by_role("button", name="Pin", exact=True).first.click()
    page.get_by_role("link", name="Figures (1)").wait_for()
    turn_to(page, "figures")
    page.get_by_label("Title", exact=True).fill("Ours and theirs")
    page.get_by_label("Caption", exact=True).fill(CAPTION)
    report = pressed(page, "Report", tmp_path)
    assert "<h2>Ours and theirs</h2>" in report
    assert f"<figcaption>{CAPTION}" in report
    page.get_by_label("Title", exact=True).fill("Ours only")
    assert told("Ours only", pressed(page, "SVG", tmp_path))
    page.get_by_label("Title", exact=True).fill("Ours at last")
    with ZipFile(saved(page, "zip", tmp_path)) as archive:
        (drawing,) = (name for name in archive.namelist() if name.endswith(".svg"))
        assert told("Ours at last", archive.read(drawing).decode())
    page.reload()
    settle(page, rest=0.6)
    expect(page.get_by_label("Title", exact=True)).to_have_value("Ours at last")
    page.get_by_role("button", name="Remove").click()
    page.get_by_role("button", name="Put back").click()
    page.get_by_label("Title", exact=True).wait_for()
    page.get_by_role("button", name="Remove").click()
    page.get_by_text("Nothing is pinned yet").wait_for()
    page.get_by_role("button", name="Pin all of them").wait_for()
    page.reload()
    settle(page, rest=0.6)
    page.get_by_text("Nothing is pinned yet").wait_for()


def told(title: str, drawing: str) -> bool:
    """Whether a vector image says its title and the caption."""
    return re.search(rf"<svg[^>]*><title>{title}</title><desc>{CAPTION}</desc>", drawing) is not None


def pressed(page: Page, button: str, folder: Path) -> str:
    """Press a download button; return the file's text."""
    return saved(page, button, folder).read_text(encoding="utf-8")


def saved(page: Page, button: str, folder: Path) -> Path:
    """End the edit and press a download button; return the file."""
    page.keyboard.press("Tab")
    settle(page, rest=0.6)  # a press while the page is drawn anew finds its file gone, and has to be repeated
    with page.expect_download(timeout=200_000) as download:  # the server starts a browser of its own for images
        page.get_by_role("button", name=button).first.click()
    path = folder / download.value.suggested_filename
    download.value.save_as(path)
    return path
