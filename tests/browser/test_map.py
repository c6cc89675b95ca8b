"""The map of images: what is searched, singled out and shown over it."""

from __future__ import annotations

import pytest
from browsing import Visit, settle, turn_to
from playwright.sync_api import Locator, expect

pytestmark = pytest.mark.long  # one server and one Chromium for all of the file

# What the component holds.
VIEW = """(root, work) => {
  let node = root;
  while (node && !node.riMap) node = node.parentNode ?? node.host;
  return new Function("view", `return ${work}`)(node.riMap);
}"""


def held(root: Locator, work: str):
    return root.evaluate(VIEW, work)


def test_a_search_leaves_what_it_finds_in_colour_and_selects_it(visit: Visit):
    page = visit("embeddings")
    root = page.locator(".ri-map")
    assert held(root, "view.panels.map(panel => panel.title.textContent)") == [
        "own expert", "merged before RI", "merged after RI"
    ]  # fmt: skip
    ids = held(root, "view.data.ids")
    wanted = [name for name in ids if name.startswith("Reds:1")]
    field = root.get_by_label("Find images: class, task, prediction or id")
    field.fill("reds:1")
    expect(root.locator("[data-act=found]")).to_have_text(f"{len(wanted)} found, Enter selects")
    page.wait_for_timeout(300)
    assert held(root, "view.panels.map(panel => panel.bright.filter(Boolean).length)") == [len(wanted)] * 3
    field.press("Enter")
    expect(page.get_by_text(f"Selected: {len(wanted)} images")).to_be_visible()
    settle(page, rest=0.6)
    assert held(root, "[...view.chosen]") == wanted
    page.get_by_role("tab", name="By task and class").click()
    expect(page.get_by_text("Regained: wrong before RI, right after it.")).to_be_visible()
    expect(page.get_by_text("Nearest images of the same class")).to_be_visible()


def test_a_click_looks_closely_and_the_task_goes_along_to_other_pages(visit: Visit):
    page = visit("embeddings", "tasks=Greens")
    root = page.locator(".ri-map")
    assert {name.split(":")[0] for name in held(root, "view.data.ids")} == {"Greens"}
    across, down = held(root, "view.panels[0].projection()(5)")
    root.locator("canvas").first.click(position={"x": across, "y": down})
    expect(page.get_by_text("Selected: 1 image")).to_be_visible()
    settle(page, rest=0.6)
    [chosen] = held(root, "[...view.chosen]")
    assert held(root, "view.marked") == chosen
    task, index = chosen.split(":")
    expect(page.get_by_text(f"Image {index} of {task} is")).to_be_visible()
    turn_to(page, "interference")
    assert page.get_by_role("combobox", name="Task", exact=True).input_value() == "Greens"
    assert f"image={task}%2F{index}" in page.url


def test_the_legend_singles_out_and_every_panel_shows_the_same_part(visit: Visit):
    page = visit("embeddings", "embeddings.colour=class")
    root = page.locator(".ri-map")
    legend = root.locator(".ri-legend button")
    count = held(root, "view.data.panels[0].colour.filter(code => code === 1).length")
    legend.nth(1).click()
    expect(legend.nth(1)).to_have_attribute("aria-pressed", "true")
    page.wait_for_timeout(300)
    assert held(root, "view.panels.map(panel => panel.bright.filter(Boolean).length)") == [count] * 3
    canvas = root.locator("canvas").first
    canvas.focus()
    canvas.press("Enter")  # what is in view, and in colour
    expect(page.get_by_text(f"Selected: {count} image")).to_be_visible()
    canvas.press("+")
    assert len(set(held(root, "view.panels.map(panel => panel.scale().toFixed(6))"))) == 1
    for name in ("labels", "density", "prototypes", "arrows"):
        root.locator(f"[data-show={name}]").check()
    page.wait_for_timeout(300)
    assert held(root, "view.panels[0].contours.some(lines => lines.length > 4)")
