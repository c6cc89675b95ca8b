"""The hand on the Merge page."""

from __future__ import annotations

from conftest import Visit
from playwright.sync_api import Page


def test_the_bars_follow_the_hand_before_it_lets_go(visit: Visit):
    page = visit("merge")
    page.locator(".ri-live[data-kind=exact]").wait_for()
    before, address = bars(page), page.url
    box = page.get_by_role("slider", name="coefficient of Reds").bounding_box()
    assert box is not None
    middle = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + box["width"] * 2 / 3, middle)  # where the coefficient is 1
    page.mouse.down()
    for share in (0.6, 0.4, 0.2):
        page.mouse.move(box["x"] + box["width"] * share, middle, steps=4)
    page.locator(".ri-live[data-kind=estimate]").wait_for()
    held = bars(page)
    assert held != before
    assert page.url == address  # the address is left alone under the hand
    page.mouse.move(box["x"], middle, steps=4)
    page.wait_for_function("held => " + LIVE_BARS + " !== held", arg=held)
    page.mouse.up()
    page.locator(".ri-live[data-kind=exact]").wait_for()
    page.wait_for_url("**c.Reds=-1*")
    assert bars(page) != before


LIVE_BARS = """(() => {
  const seek = (node) => node.querySelector?.(".ri-live") ??
    [...(node.querySelectorAll?.("*") ?? [])].map((each) => each.shadowRoot && seek(each.shadowRoot)).find(Boolean);
  return [...seek(document).querySelectorAll("rect.bar")].map((bar) => bar.getAttribute("width")).join();
})()"""


def bars(page: Page) -> str:
    """Return the widths of all bars."""
    return str(page.evaluate(LIVE_BARS))
