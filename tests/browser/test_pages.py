"""Every page in both themes, on a phone, by a link, and by keyboard."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import pytest
from browsing import FAULTS, PAGES, settle, turn_to
from conftest import Visit
from playwright.sync_api import Page, expect

GROUND = {"light": "rgb(255, 255, 255)", "dark": "rgb(18, 23, 30)"}


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_page_opens_in_both_themes(visit: Visit, theme: str):
    page = visit("overview", theme=theme)
    for name in PAGES:
        turn_to(page, name)
        assert page.locator(FAULTS).all_inner_texts() == [], name
        assert page.locator("[data-testid=stMain] h1").count() == 1, name
        ground = page.locator("[data-testid=stApp]").evaluate("element => getComputedStyle(element).backgroundColor")
        assert ground == GROUND[theme], name
        unnamed = page.locator("[data-testid=stMain] img:not([alt]), .ri-map canvas:not([aria-label])")
        assert unnamed.count() == 0, name


def test_every_page_fits_a_phone(visit: Visit):
    page = visit("overview")
    page.set_viewport_size({"width": 390, "height": 844})
    for name in PAGES:
        turn_to(page, name)
        wide = page.locator("[data-testid=stMain]").evaluate("element => [element.scrollWidth, element.clientWidth]")
        assert wide[0] <= wide[1], name


def test_a_link_restores_the_recipe(visit: Visit):
    page = visit("merge", "method=ties&ties.scale=0.5&c.Reds=-0.5&off=Blues")
    assert chosen(page, "Method") == "TIES"
    expect(page.get_by_label("λ, typed")).to_have_value("0.5")
    expect(page.get_by_label("coefficient of Reds, typed")).to_have_value("-0.5")
    expect(page.get_by_label("merge Blues")).not_to_be_checked()
    expect(page.get_by_label("merge Greens")).to_be_checked()


def test_a_link_restores_what_was_chosen_on_a_page(visit: Visit):
    page = visit("interference", "interference.distance=l1&interference.task=Greens&interference.images=drift")
    assert chosen(page, "Task") == "Greens"
    assert chosen(page, "Images that").startswith("drift most")
    pressed = page.get_by_role("radio", name="L1 distance", exact=False)
    expect(pressed.first).to_be_checked()


def test_a_choice_made_below_goes_into_the_address_and_outlives_other_pages(visit: Visit):
    page = visit("embeddings")
    choose(page, "Colour by", "drift (1 − cosine)")
    assert query(page)["embeddings.colour"] == ["drift"]
    turn_to(page, "accuracy")
    assert "embeddings.colour" not in query(page)
    turn_to(page, "embeddings")
    assert chosen(page, "Colour by") == "drift (1 − cosine)"
    assert query(page)["embeddings.colour"] == ["drift"]
    page.reload()
    settle(page, rest=0.6)
    assert chosen(page, "Colour by") == "drift (1 − cosine)"


def query(page: Page) -> dict[str, list[str]]:
    """Return the parameters of the page's address."""
    return parse_qs(urlsplit(page.url).query)


def chosen(page: Page, label: str) -> str:
    """Return what a list of choices shows."""
    return page.locator("[data-testid=stSelectbox]").filter(has_text=label).first.get_by_role("combobox").input_value()


def choose(page: Page, label: str, option: str) -> None:
    """Pick an option of a list of choices."""
    page.locator("[data-testid=stSelectbox]").filter(has_text=label).first.get_by_role("combobox").click()
    page.get_by_role("option", name=option).click()
    settle(page, rest=0.6)
