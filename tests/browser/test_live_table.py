"""The live table as it is drawn, and pages on a phone."""

from __future__ import annotations

import pytest
from browsing import Visit, settle
from playwright.sync_api import Page, expect

pytestmark = pytest.mark.long  # one server and one Chromium for all of the file

SHOWN = """(root) => {
  const plot = root.querySelector(".ri-live-row:not(.ri-live-mean):not(.ri-live-header) .ri-live-plot");
  const shown = (mark) => getComputedStyle(plot.querySelector(mark)).visibility === "visible";
  const at = (mark, name) => parseFloat(plot.querySelector(mark).getAttribute(name));
  return { bar: shown(".bar"), tick: shown(".tick"), place: at(".tick", "x1"),
    low: at(".whisker", "x1"), high: at(".whisker", "x2"), figure: plot.querySelector(".ri-live-values").innerText };
}"""
WIDER = """(root) => {
  const main = document.querySelector("[data-testid=stMain]");
  const edge = main.getBoundingClientRect().right, parts = [...root.querySelectorAll("*")];
  const beyond = parts.filter((each) => each.getBoundingClientRect().right > edge);
  return { page: main.scrollWidth - main.clientWidth, beyond: beyond.length, parts: parts.length > 50 };
}"""


def hold(page: Page, label: str) -> None:
    slider = page.get_by_role("slider", name=label)
    slider.scroll_into_view_if_needed()
    box = slider.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.8, box["y"] + box["height"] / 2)  # at once: not over the known start


def test_an_estimate_is_a_tick_with_a_whisker_and_an_exact_value_a_bar(visit: Visit):
    page = visit("merge")
    page.locator(".ri-live[data-kind=exact]").wait_for()
    exact = page.locator(".ri-live").evaluate(SHOWN)
    assert (exact["bar"], exact["tick"]) == (True, False)
    settle(page)  # until then the slider may move away from the hand
    hold(page, "coefficient of Reds")
    page.locator(".ri-live[data-kind=estimate], .ri-live[data-kind=surrogate]").wait_for()
    for _ in range(15):  # what the page had under way may not draw over what is held
        page.wait_for_timeout(100)
        assert page.locator(".ri-live").get_attribute("data-kind") != "exact"
    page.locator(".ri-live[data-kind=estimate], .ri-live[data-kind=surrogate]").wait_for()
    held = page.locator(".ri-live").evaluate(SHOWN)
    assert (held["bar"], held["tick"]) == (False, True)
    assert held["low"] <= held["place"] <= held["high"]
    assert held["place"] == pytest.approx(float(held["figure"].split("%")[0]), abs=0.1)
    expect(page.locator(".ri-live-legend")).to_contain_text("tick with whisker = estimate")
    page.mouse.up()
    page.locator(".ri-live[data-kind=exact]").wait_for()
    assert page.locator(".ri-live").evaluate(SHOWN)["bar"]


def test_linked_coefficients_say_where_they_are_limited(visit: Visit):
    page = visit("merge")
    page.locator(".ri-live[data-kind=exact]").wait_for()
    blues, reds = (page.get_by_label(f"coefficient of {task}, typed") for task in ("Blues", "Reds"))
    said = page.locator(".ri-live-limit")
    blues.fill("2")
    blues.press("Enter")
    page.get_by_role("button", name="Link all").click()
    reds.fill("10")
    reds.press("Enter")
    expect(said).to_have_text("Linked: Blues would be 11; 10 is used.")
    expect(blues).to_have_value("10")
    reds.fill("9.5")
    reds.press("Enter")
    expect(said).to_be_empty()


def test_the_preview_is_ready_before_the_hand_comes_and_what_is_under_way_is_said(visit: Visit):
    page = visit("merge")
    status = page.locator(".ri-live-status")
    expect(status).not_to_contain_text("Getting the live preview ready")  # any more
    expect(status).to_contain_text("Exact: all")
    expect(page.locator(".ri-live-change").first).to_contain_text("by RI")


def test_a_phone_holds_the_live_table_and_says_where_panels_go_on(visit: Visit):
    page = visit("merge")
    page.set_viewport_size({"width": 390, "height": 844})
    settle(page, rest=0.6)
    assert page.locator(".ri-live").evaluate(WIDER) == {"page": 0, "beyond": 0, "parts": True}
    page.goto(page.url.replace("/merge", "/interference"))
    settle(page, rest=0.6)
    cue = "each => getComputedStyle(each, '::before').content"
    several, single = page.locator("[class*=st-key-panels]"), page.locator("[class*=st-key-figure]")
    assert all("scroll sideways" in each.evaluate(cue) for each in several.all())
    assert several.count() > 0
    assert single.count() > 0
    assert all(each.evaluate(cue) == "none" for each in single.all())
