"""Keys: the sheet, from page to page, and a selection on the map."""

from __future__ import annotations

import pytest
from browsing import Visit, settle
from playwright.sync_api import expect

pytestmark = pytest.mark.long  # one server and one Chromium for all of the file


def test_keys_open_the_sheet_and_other_pages_but_not_from_a_field(visit: Visit) -> None:
    page = visit("experts")
    page.locator("h1").first.click()
    page.keyboard.press("?")
    expect(page.get_by_text("Embeddings, on a map")).to_be_visible()
    page.keyboard.press("Escape")
    field = page.get_by_role("textbox", name="Suite file")
    field.fill("")
    field.press_sequentially("gm?")
    expect(field).to_have_value("gm?")
    expect(page.get_by_text("Embeddings, on a map")).not_to_be_visible()
    field.fill("")
    page.locator("h1").first.click()
    page.keyboard.press("g")
    page.keyboard.press("c")
    expect(page.get_by_role("heading", name="Compare", exact=True)).to_be_visible()


def test_the_map_selects_what_is_in_view(visit: Visit) -> None:
    page = visit("embeddings")
    settle(page, rest=0.6)
    canvas = page.locator(".ri-panel canvas").first
    canvas.focus()
    canvas.press("Enter")
    expect(page.get_by_text("Nothing is selected yet.")).not_to_be_visible()
    canvas.press("Escape")
    expect(page.get_by_text("Nothing is selected yet.")).to_be_visible()
