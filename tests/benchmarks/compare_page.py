"""Time a sort and a filter of the Compare page: `python tests/benchmarks/compare_page.py [FOLDER]`.

200 measured recipes of a suite of 20 tasks, made in FOLDER unless they are there: minutes the first time. Printed are
the milliseconds from the key or the press until the table has changed, in Chromium; it never fails on time.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import torch
from playwright.sync_api import Page, sync_playwright

sys.path[:0] = [str(Path(__file__).resolve().parents[1] / name) for name in ("", "browser")]

import tiny  # noqa: E402
from browsing import open_chromium, served, settle  # noqa: E402

from ri_analysis.engine import Evaluator  # noqa: E402
from ri_analysis.engine.recipe_texts import expand  # noqa: E402
from ri_analysis.suite import open_suite  # noqa: E402

GOAL = 300  # milliseconds
TASKS = {f"Task{number:02d}": 2 + number % 3 for number in range(20)}
SCALES = ",".join(f"{number / 100:.2f}" for number in range(1, 101))
TABLE = "[data-testid=stDataFrame]"
WORDS = ("0.1", "0.25", "mild", "0.99", "")
HEADING = (410, 18)  # pixels from the table's corner
# Notes the time from an event until what `found` returns has changed, and is painted.
WATCH = """([event, found]) => {
  const look = new Function(found), before = look();
  window.taken = null;
  let start = null;
  addEventListener(event, () => { start = performance.now(); }, {once: true, capture: true});
  const tick = () => requestAnimationFrame(() => {
    if (start !== null && look() !== before) requestAnimationFrame(() => { window.taken = performance.now() - start; });
    else tick();
  });
  tick();
}"""
COUNT = """return [...document.querySelectorAll('[data-testid=stCaptionContainer]')]
  .map(each => each.textContent).find(text => /recipes?: /.test(text))"""
ROWS = f"return document.querySelector('{TABLE} table')?.textContent"


def main() -> int:
    """Make what there is to show, and print the times."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, help="where the suite and its answers are kept")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        suite, workspace = folder / "suite" / "suite.toml", folder / "w"
        make(suite, workspace)
        with sync_playwright() as playwright, served(str(suite), workspace) as address:
            browser = open_chromium(playwright)
            page = browser.new_page(viewport={"width": 1400, "height": 900})
            page.set_default_timeout(120_000)
            page.goto(f"{address}/compare?compare.tasks=True")
            page.wait_for_selector(TABLE)
            settle(page)
            show(page)
            browser.close()
    return 0


def make(suite: Path, workspace: Path) -> None:
    """Make the suite where it is not there, and measure the recipes that are not kept."""
    torch.set_num_threads(1)
    if not suite.is_file():
        plain = tiny.images
        tiny.TASKS = TASKS
        tiny.images = lambda n, classes, channel, seed: plain(n, classes, channel % 3, seed)
        tiny.make_suite(suite.parent)
        suite.write_text(suite.read_text().replace('tasks = ["Reds"]', 'tasks = ["Task01"]'))
    evaluator = Evaluator(open_suite(str(suite), workspace), workspace, "cpu")
    evaluator.choose_number_format()
    for recipe in expand(evaluator, f"task-arithmetic experts=all scale={SCALES}"):
        evaluator.measure(recipe)


def show(page: Page) -> None:
    """Print how long filters and sorts take."""
    search = page.get_by_role("textbox", name="Search")
    for word in WORDS:
        search.fill(word)
        page.evaluate(WATCH, ["keydown", COUNT])
        search.press("Enter")
        report(page, f"filter by {word!r}")
    corner = page.locator(f"{TABLE} canvas").first.bounding_box()
    assert corner is not None
    for turn in range(2):
        page.evaluate(WATCH, ["pointerdown", ROWS])
        page.mouse.move(corner["x"] + HEADING[0] - 40, corner["y"] + 200)
        page.mouse.click(corner["x"] + HEADING[0], corner["y"] + HEADING[1])
        report(page, f"sort, press {turn + 1}")


def report(page: Page, what: str) -> None:
    """Wait until it is done, and print its time."""
    page.wait_for_function("window.taken !== null")
    taken = float(page.evaluate("window.taken"))
    print(f"{what:<24}{taken:6.0f} ms{'' if taken <= GOAL else '  more than the goal'}", flush=True)
    page.wait_for_timeout(1200)


if __name__ == "__main__":
    raise SystemExit(main())
