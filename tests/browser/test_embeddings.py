"""The map of images: pointer, lasso, and what follows from a selection."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
from browsing import settle
from conftest import Visit
from playwright.sync_api import Locator, Page, expect

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
    expect(page.locator(".ri-card")).to_have_count(min(24, len(ids)))
    rows = pd.read_csv(selected_rows(page, tmp_path))
    assert set(rows["id"]) == set(ids)
    shown = page.locator(".ri-card b").all_inner_texts()
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
