"""A click on a cell of the classes' matrix shows its images."""

from __future__ import annotations

import pytest
from browsing import Visit, settle
from playwright.sync_api import expect

pytestmark = pytest.mark.long  # one server and one Chromium for all of the file

# Where the first cell off the diagonal is in the window, and the two classes that it stands for.
CELL = """() => {
  const drawn = [...document.querySelectorAll(".js-plotly-plot")].find((each) => each.data.some((t) => t.customdata));
  drawn.scrollIntoView({ block: "center" });
  const points = drawn._fullData.find((each) => each.customdata);
  const place = points.customdata.findIndex(([first, second]) => first !== second);
  const { xaxis, yaxis } = drawn._fullLayout, box = drawn.getBoundingClientRect();
  return { x: box.x + xaxis._offset + xaxis.c2p(xaxis.d2c(points.x[place])),
    y: box.y + yaxis._offset + yaxis.c2p(yaxis.d2c(points.y[place])), names: points.customdata[place] };
}"""


def test_a_cell_shows_its_images(visit: Visit):
    page = visit("interference")
    settle(page, rest=0.6)
    cell = page.evaluate(CELL)
    page.mouse.move(cell["x"], cell["y"])
    page.mouse.click(cell["x"], cell["y"])
    expect(page.get_by_role("combobox", name="The expert predicts")).to_have_value(cell["names"][0])
    expect(page.get_by_role("combobox", name="Merged before RI predicts")).to_have_value(cell["names"][1])
    page.wait_for_url("**interference.says=**")
