"""The Compare page in a browser: rows are added, measured, ticked, and drawn, and a reload shows the same."""

from __future__ import annotations

import pytest
from browsing import Visit, settle
from playwright.sync_api import Page, expect

pytestmark = pytest.mark.long  # one server and one Chromium for all of the file

TABLE = "[data-testid=stDataFrame]"


def cells(page: Page) -> str:
    """Return what the table says to those who can't see it."""
    return page.locator(f"{TABLE} table").first.text_content() or ""


def test_recipes_are_added_measured_ticked_and_survive_a_reload(visit: Visit) -> None:
    visit("overview")  # which measures the first two
    page = visit("compare")
    page.wait_for_selector(TABLE)
    assert "Task Arithmetic, original" in cells(page)
    page.get_by_text("Add recipes").click()
    page.get_by_role("textbox", name="Or as text").fill("averaging experts=all")
    page.get_by_role("textbox", name="Or as text").press("Enter")
    page.get_by_role("button", name="Measure 2 recipes").click()
    page.get_by_role("button", name="Measure 2 recipes").wait_for(state="detached")
    settle(page, rest=0.6)
    expect(page.get_by_text("4 measured")).to_be_visible()
    dots = page.locator("[class*=recipes-by-task] .legendtext")
    assert dots.all_text_contents()[2:] == ["Task Arithmetic, original", "Task Arithmetic, mild"]

    # The first row's box: Averaging, original.
    canvas = page.locator(f"{TABLE} canvas").first
    canvas.scroll_into_view_if_needed()
    corner = canvas.bounding_box()
    assert corner is not None
    page.mouse.move(corner["x"] + 60, corner["y"] + 100)
    page.mouse.click(corner["x"] + 18, corner["y"] + 35 + 17)
    settle(page, rest=0.6)
    assert "Averaging, original" in dots.all_text_contents()
    assert "compare.shown=" in page.url

    page.get_by_role("textbox", name="Search").fill("averaging")
    page.get_by_role("textbox", name="Search").press("Enter")
    expect(page.get_by_text("2 recipes: 2 measured")).to_be_visible()
    page.reload()
    settle(page, rest=0.6)
    expect(page.get_by_text("2 recipes: 2 measured")).to_be_visible()
    assert "Averaging, original" in dots.all_text_contents()
