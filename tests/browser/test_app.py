"""The app in a browser: every page, links, the hand on the Merge page, the map of images, figures to files.

All in one file, so that one worker has them, with one server and one Chromium.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pandas as pd
import pytest
from browsing import FAULTS, PAGES, Visit, settle, turn_to
from PIL import Image
from playwright.sync_api import Locator, Page, expect

from ri_analysis.figures import look

# --- pages -----------------------------------------------------------------------------------------------------------

# An element's ink, and the ground of the first element around it that has one.
COLOURS = """element => {
  const channels = colour => colour.match(/\\d+/g);
  let around = element;
  while (channels(getComputedStyle(around).backgroundColor).length > 3) around = around.parentElement;
  return [getComputedStyle(element).color, getComputedStyle(around).backgroundColor].map(channels);
}"""
# What fonts may lack: icons are Streamlit's Material ones, which it brings along.
EMOJI = re.compile("[\u2300-\u23ff\u2600-\u27bf\u2b00-\u2bff\ufe0f\U0001f000-\U0001faff]")
GROUND = {"light": "rgb(255, 255, 255)", "dark": "rgb(18, 23, 30)"}


@pytest.mark.parametrize(("theme", "width"), [("light", 1280), ("dark", 390)])  # a phone's width
def test_every_page_opens_in_both_themes_and_fits_its_window(visit: Visit, theme: str, width: int):
    page = visit("overview", theme=theme)
    page.set_viewport_size({"width": width, "height": 844})
    for name in PAGES:
        turn_to(page, name)
        assert page.locator(FAULTS).all_inner_texts() == [], name
        assert page.locator("[data-testid=stMain] h1").count() == 1, name
        ground = page.locator("[data-testid=stApp]").evaluate("element => getComputedStyle(element).backgroundColor")
        assert ground == GROUND[theme], name
        assert EMOJI.findall(page.locator("body").inner_text()) == [], name
        unnamed = page.locator("[data-testid=stMain] img:not([alt]), .ri-map canvas:not([aria-label])")
        assert unnamed.count() == 0, name
        wide = page.locator("[data-testid=stMain]").evaluate("element => [element.scrollWidth, element.clientWidth]")
        assert wide[0] <= wide[1], name
        if name == "resolve":
            what_stands_on_the_accent_colour_can_be_read(page)


def what_stands_on_the_accent_colour_can_be_read(page: Page) -> None:
    run = page.get_by_role("button", name="Run RI", exact=True)
    expect(run).to_be_enabled(timeout=60_000)  # a step is timed
    for place in (run, page.locator("[data-tag] span").first):
        colours = place.evaluate(COLOURS)
        low, high = sorted(float(look.luminance([int(part) for part in each])) for each in colours)
        assert (high + 0.05) / (low + 0.05) >= 4.5, colours


def test_a_link_restores_the_recipe(visit: Visit):
    page = visit("merge", "method=ties&ties.scale=0.5&c.Reds=-0.5&off=Blues")
    assert chosen(page, "Method") == "TIES"
    expect(page.get_by_label("λ, typed")).to_have_value("0.5")
    expect(page.get_by_label("coefficient of Reds, typed")).to_have_value("-0.5")
    expect(page.get_by_label("merge Blues")).not_to_be_checked()
    expect(page.get_by_label("merge Greens")).to_be_checked()


def test_a_link_restores_what_was_chosen_on_a_page(visit: Visit):
    page = visit("interference", "interference.distance=l1&tasks=Greens&interference.images=drift")
    assert chosen(page, "Task") == "Greens"
    assert chosen(page, "Show").startswith("largest drift")
    expect(page.get_by_text("Mean drift over the tasks")).to_contain_text("after (L1")


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


# --- the Merge page --------------------------------------------------------------------------------------------------


def test_the_bars_follow_the_hand_before_it_lets_go(visit: Visit):
    page = visit("merge")
    page.locator(".ri-live[data-kind=exact]").wait_for()
    before, address = bars(page), page.url
    left, middle = drag(page, "coefficient of Reds")
    page.locator(".ri-live[data-kind=estimate], .ri-live[data-kind=surrogate]").wait_for()
    held = bars(page)
    assert held != before
    assert page.url == address  # the address is left alone while a slider moves
    page.mouse.move(left, middle, steps=4)
    page.wait_for_function("held => " + LIVE_BARS + " !== held", arg=held)
    page.mouse.up()
    page.locator(".ri-live[data-kind=exact]").wait_for()
    page.wait_for_url("**c.Reds=-1*")
    assert bars(page) != before


def test_values_that_fall_behind_the_hand_are_not_passed_off_as_exact(visit: Visit):
    page = visit("merge")
    page.locator(".ri-live[data-kind=exact]").wait_for()
    page.evaluate(HOLD_BACK)
    drag(page, "coefficient of Reds")
    page.locator(".ri-live[data-kind=late]").wait_for()
    expect(page.locator(".ri-live-status")).to_contain_text("showing the previous recipe")
    page.mouse.up()
    page.evaluate("riRelease()")
    page.locator(".ri-live[data-kind=exact]").wait_for()
    expect(page.locator(".ri-live-status")).to_contain_text("Exact")


# Keeps what the page sends until it is released, as a busy server would.
HOLD_BACK = """() => {
  const send = WebSocket.prototype.send, kept = [];
  WebSocket.prototype.send = function (message) { kept.push([this, message]); };
  window.riRelease = () => {
    WebSocket.prototype.send = send;
    kept.forEach(([socket, message]) => socket.send(message));
  };
}"""


def drag(page: Page, name: str) -> tuple[float, float]:
    """Take a coefficient's slider from 1 to the left and hold it; return its left end and its height."""
    box = page.get_by_role("slider", name=name).bounding_box()
    assert box is not None
    middle = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + box["width"] * 2 / 3, middle)  # where the coefficient is 1
    page.mouse.down()
    for share in (0.6, 0.4, 0.2):
        page.mouse.move(box["x"] + box["width"] * share, middle, steps=4)
    return box["x"], middle


LIVE_BARS = """(() => {
  const seek = (node) => node.querySelector?.(".ri-live") ??
    [...(node.querySelectorAll?.("*") ?? [])].map((each) => each.shadowRoot && seek(each.shadowRoot)).find(Boolean);
  return [...seek(document).querySelectorAll("rect.bar")].map((bar) => bar.getAttribute("width")).join();
})()"""


def bars(page: Page) -> str:
    """Return the widths of all bars."""
    return str(page.evaluate(LIVE_BARS))


# --- the map of images -----------------------------------------------------------------------------------------------

# What the component holds: the ids selected, and where on its canvas a panel has the image at a place.
VIEW = """(root, work) => {
  let node = root;
  while (node && !node.riMap) node = node.parentNode ?? node.host;
  return new Function("view", `return ${work}`)(node.riMap);
}"""
# Pixels with a colour: in grey ones, and on the ground, the channels are close together.
COLOURED = """canvas => {
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  let count = 0;
  for (let at = 0; at < data.length; at += 4) {
    const channels = [data[at], data[at + 1], data[at + 2]];
    count += Math.max(...channels) - Math.min(...channels) > 60;
  }
  return count;
}"""


def test_the_pointer_shows_an_image_with_what_the_models_say(visit: Visit):
    page = visit("embeddings")
    root = page.locator(".ri-map")
    across, down = held(root, "view.panels[1].projection()(5)")
    root.locator("canvas").nth(1).hover(position={"x": across, "y": down})
    tip = root.locator(".ri-tip")
    expect(tip).to_be_visible()
    for text in ("own expert:", "merged before RI:", "drift"):
        expect(tip).to_contain_text(text)
    assert "data:image/jpeg" in tip.locator("div").evaluate("element => element.style.backgroundImage")


def test_a_lasso_selects_the_same_images_in_both_panels_the_table_and_the_gallery(visit: Visit, tmp_path: Path):
    page = visit("embeddings")
    root = page.locator(".ri-map")
    panels = [root.locator("canvas").nth(place) for place in range(2)]
    before = [panel.evaluate(COLOURED) for panel in panels]
    box = panels[0].bounding_box()
    assert box is not None
    left, middle = box["x"] + 4, box["x"] + box["width"] / 2
    top, bottom = box["y"] + 4, box["y"] + box["height"] - 4
    page.mouse.move(left, top)
    page.mouse.down()
    for x, y in ((middle, top), (middle, bottom), (left, bottom)):
        page.mouse.move(x, y, steps=3)
    page.mouse.up()
    page.get_by_text("Selected:").wait_for()
    settle(page, rest=0.6)

    everything, ids = held(root, "view.data.ids"), held(root, "[...view.chosen]")
    assert 0 < len(ids) < len(everything)
    assert held(root, "[...view.selected].map(place => view.data.ids[place])") == ids
    inside = held(root, f"view.panels[0].part.x.filter((_, place) => "
                        f"view.panels[0].projection()(place)[0] < {middle - box['x']}).length")  # fmt: skip
    assert len(ids) == inside
    for panel, coloured in zip(panels, before, strict=True):
        assert 0 < panel.evaluate(COLOURED) < coloured  # the others are still there, in grey
    expect(page.get_by_text(f"Selected: {len(ids)} images")).to_be_visible()
    table = page.locator("[data-testid=stDataFrame]").first.locator("table[role=grid]")
    expect(table).to_have_attribute("aria-rowcount", str(len(ids) + 1))
    cards = page.locator(".ri-cards").first
    expect(cards.locator(".ri-card")).to_have_count(min(24, len(ids)))
    rows = pd.read_csv(selected_rows(page, tmp_path))
    assert set(rows["id"]) == set(ids)
    shown = cards.locator("b").all_inner_texts()
    assert shown == rows["class"].tolist()[: len(shown)]

    page.get_by_role("button", name="Clear selection").click()
    page.get_by_text("Nothing is selected yet.").wait_for()
    assert [panel.evaluate(COLOURED) for panel in panels] == before


def test_the_map_answers_to_keys(visit: Visit):
    page = visit("embeddings")
    root = page.locator(".ri-map")
    canvas = root.locator("canvas").first
    canvas.focus()
    assert canvas.evaluate("element => getComputedStyle(element).outlineStyle") == "solid"
    before = held(root, "view.panels[0].frame")
    for key in ("ArrowRight", "+"):
        canvas.press(key)
    after = held(root, "view.panels[0].frame")
    assert after["x"] > before["x"]
    assert after["zoom"] > before["zoom"]


def selected_rows(page: Page, folder: Path) -> Path:
    """Download the selected rows."""
    button = page.get_by_role("button", name="CSV").nth(1)  # below the map's own
    with page.expect_download() as download:
        button.click()
    assert download.value.suggested_filename == "selected-images.csv"
    download.value.save_as(folder / "rows.csv")
    return folder / "rows.csv"


def held(root: Locator, work: str) -> Any:
    """Return what the component on the page says of itself."""
    return root.evaluate(VIEW, work)


# --- figures ---------------------------------------------------------------------------------------------------------


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
    page.get_by_role("button", name="Remove").click()  # the tray is every session's
    page.get_by_text("Nothing is pinned yet").wait_for()


def test_the_map_of_images_and_the_usual_figures_go_into_the_tray(visit: Visit, tmp_path: Path):
    page = visit("embeddings")
    page.get_by_role("button", name="Pin", exact=True).click()
    page.get_by_text("Pinned: 1 figure").wait_for()
    turn_to(page, "figures")
    vectors = saved(page, "SVG", tmp_path).read_text(encoding="utf-8")
    assert "<image" not in vectors
    assert "merged before RI" in vectors
    page.get_by_role("button", name="Pin the usual figures of this recipe").click()
    page.get_by_role("link", name="Figures (5)").wait_for()


def saved(page: Page, kind: str, folder: Path) -> Path:
    """Press a figure's button for a kind of file; return the file."""
    with page.expect_download(timeout=200_000) as download:  # the server starts a browser of its own for images
        page.get_by_role("button", name=kind, exact=True).first.click()
    path = folder / download.value.suggested_filename
    download.value.save_as(path)
    return path
