"""Results keep their names and places: runs of RI, those left unfinished, and one number a place of a surface."""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np
import pytest
import started
from browsing import Visit, served, settle
from playwright.sync_api import Locator, Page, expect
from tiny import TASKS, images, make_suite

pytestmark = pytest.mark.long  # one server and one Chromium for all of the file

LONG = 600_000  # milliseconds: the machine may be busy
# Every text that the progress bar shows from now on, with the share that the bar is filled.
WATCH_PROGRESS = """() => {
  window.riProgress = [];
  const look = () => {
    const bar = document.querySelector("[data-testid=stMain] [data-testid=stProgress]");
    const filled = bar?.querySelector("[aria-valuenow]");
    if (filled) window.riProgress.push([bar.innerText, Number(filled.getAttribute("aria-valuenow"))]);
  };
  new MutationObserver(look).observe(document.body, {subtree: true, childList: true, attributes: true,
    characterData: true});
}"""
# What a figure says of each of its points when it is hovered, with the axis of its panel.
HOVERED = """figure => figure._fullData.flatMap(trace =>
  Array.isArray(trace.hovertext) ? trace.hovertext.map(text => [text, trace.xaxis]) : [])"""


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The app, served on the tiny suite with so many images that some places of a surface are measured on more."""
    folder = tmp_path_factory.mktemp("served")
    suite = make_suite(folder / "suite")
    for channel, (task, classes) in enumerate(TASKS.items()):
        np.savez_compressed(suite.parent / f"{task}-test.npz", **images(96, classes, channel, channel))  # type: ignore[arg-type]
    with served(str(suite), folder / "workspace", begin=started.command) as found:
        yield found


# --- RI --------------------------------------------------------------------------------------------------------------


def test_a_set_is_named_after_the_steps_chosen_by_key(visit: Visit) -> None:
    page = visit("resolve", "resolve.steps=50")
    name = page.get_by_label("Name of the new set", exact=True)
    steps = page.get_by_role("slider", name="Steps per expert")
    expect(name).to_have_value("noise-50")
    steps.press("ArrowRight")
    steps.press("ArrowRight")
    expect(name).to_have_value("noise-120")
    name.fill("mild")
    name.press("Enter")
    expect(page.get_by_text("exists already")).to_be_visible()
    expect(run_button(page)).to_be_disabled()
    name.fill("")
    name.press("Enter")
    expect(run_button(page)).to_be_enabled(timeout=LONG)
    steps.press("ArrowLeft")
    run_button(page).click()  # the page may not know of the key yet
    made = page.get_by_text(re.compile(r"Expert set noise-\d+ is ready"))
    made.wait_for(timeout=LONG)
    (number,) = re.findall(r"\d+", made.inner_text())
    page.locator("summary", has_text=f"noise-{number}").click()
    expect(page.get_by_text(re.compile(rf"\b{number} steps per expert")).last).to_be_visible()


def test_a_run_left_unfinished_is_listed_after_a_reload_and_can_be_resumed_and_deleted(visit: Visit) -> None:
    page = visit("resolve", "resolve.steps=5000&resolve.name=half")
    run_button(page).click(timeout=LONG)
    shares = []
    for _ in range(2):
        page.get_by_text(re.compile(r"Adapting half: .*step \d")).wait_for(timeout=LONG)
        page.get_by_role("button", name="Cancel", exact=True).click()
        page.get_by_role("heading", name="Unfinished runs").wait_for(timeout=LONG)
        page.reload()
        found = page.get_by_text(re.compile(r"half: \d+% done"))
        shares.append(int(found.inner_text().split("%")[0].split()[-1]))
        page.get_by_role("button", name="Resume" if len(shares) == 1 else "Delete", exact=True).click()
    assert shares == sorted(shares)
    page.get_by_role("button", name="Delete for good").click()
    page.get_by_role("heading", name="Unfinished runs").wait_for(state="detached")
    page.reload()
    run_button(page).wait_for()
    expect(page.get_by_text("half", exact=True)).to_have_count(0)


def run_button(page: Page) -> Locator:
    return page.get_by_role("button", name="Run RI", exact=True)


# --- Sensitivity -----------------------------------------------------------------------------------------------------


def test_progress_counts_up_and_then_every_place_has_one_number(visit: Visit) -> None:
    page = visit("sensitivity", "method=ties")
    page.evaluate(WATCH_PROGRESS)
    measure = page.get_by_role("button", name="Measure", exact=True)
    done = page.get_by_role("heading", name="Plateaus")
    measure.or_(done).first.wait_for(timeout=LONG)
    if measure.count():  # the machine is busy: what is long is not started unasked
        measure.click()
    done.wait_for(timeout=LONG)
    settle(page, rest=0.6)
    never_backwards(page.evaluate("riProgress"))

    surface, panels = {}, {"x": "before", "x2": "after"}
    for text, panel in page.locator(".st-key-panels-three-sensitivity .js-plotly-plot").evaluate(HOVERED):
        if panel in panels:
            place, _, number = text.partition("<br>accuracy: ")
            assert re.fullmatch(r"[\d.]+% \([\d.]+–[\d.]+%\)<br>ξ .* nats<br>(192|288) images", number)
            assert surface.setdefault((place, panels[panel]), number) == number
    assert len(surface) == 2 * 15 * 15
    slices = page.locator(".st-key-figure-sensitivity-slice .js-plotly-plot").evaluate(HOVERED)
    for text, _ in slices:
        place, stage, number = re.fullmatch(r"(.*)<br>merged (before|after) RI: (.*)", text).groups()
        assert surface[place, stage] == number
    assert len(slices) == 2 * 15
    table = page.locator("[data-testid=stDataFrame] table").first.text_content() or ""
    finest = [float(number.split("%")[0]) for (_, stage), number in surface.items() if "288" in number]
    assert f"{max(finest)}% (at " in table


def never_backwards(seen: list[tuple[str, float]]) -> None:
    """Check texts of a progress bar and how far it was filled: counts, time left, and no step back."""
    counts = [re.search(r"([\d,]+) of ([\d,]+) images", text) for text, _ in seen]
    done = [int(found[1].replace(",", "")) for found in counts if found]
    filled = [share for _, share in seen]
    assert len(set(done)) > 2, "more than a moment was seen"
    assert done == sorted(done)
    assert filled == sorted(filled)
    assert any(re.search(r"about \d+ (s|min) left", text) for text, _ in seen)
