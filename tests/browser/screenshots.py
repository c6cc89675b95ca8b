"""Serve the app on a suite and take a picture of every page: `python tests/browser/screenshots.py SUITE OUT`.

Needs Playwright for Python and a Chromium; CHROMIUM names another binary. With --docs what pages show only when asked
is asked for, and the pictures at 1280 px also replace those in docs/: keep the --workspace, and the second theme finds
everything measured.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from contextlib import nullcontext
from functools import partial
from pathlib import Path

from browsing import FAULTS, PAGES, ROOT, full_height, open_chromium, served, settle, turn_to
from PIL import Image
from playwright.sync_api import Page, sync_playwright

DOCS_WIDTH = 1280
CONTENT = "[data-testid=stMain] [data-testid=stHeading] >> nth=0"
# What is worked out only when asked, by the buttons that ask for it.
ASKED = {"interference": ("Compute contributions", "Compute the plane"), "sensitivity": ("Measure", "Resume")}


def main() -> int:
    """Take the pictures; exit 1 when a page shows an error or the console does."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("suite")
    parser.add_argument("out", type=Path)
    parser.add_argument("--pages", default=",".join(PAGES), help="which pages, separated by commas")
    parser.add_argument("--themes", default="light,dark")
    parser.add_argument("--widths", default="1280,1920")
    parser.add_argument("--workspace", type=Path, help="a workspace to keep (default: a new one each time)")
    parser.add_argument("--address", help="a server that runs already, instead of one of its own")
    parser.add_argument("--query", default="", help="parameters of the pages' address")
    parser.add_argument("--docs", action="store_true", help="also write the pictures in docs/")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        server = served(options.suite, options.workspace or Path(folder))
        with nullcontext(options.address) if options.address else server as address:
            faults = take(options, address)
    print("\n".join(faults) or "no errors on any page")
    return 1 if faults else 0


def take(options: argparse.Namespace, address: str) -> list[str]:
    """Take the pictures that the options ask for; return the faults seen."""
    faults: list[str] = []
    with sync_playwright() as playwright:
        browser = open_chromium(playwright)
        for theme in options.themes.split(","):
            for width in map(int, options.widths.split(",")):
                page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=theme)
                page.set_default_timeout(120_000)
                page.on("pageerror", partial(_note, faults))
                for name in options.pages.split(","):
                    path = options.out / f"{name}-{theme}-{width}.png"
                    faults += picture(page, address, name, options, path)
                    if options.docs and width == DOCS_WIDTH:
                        keep(path, ROOT / "docs" / "pages" / f"{name}-{theme}.webp")
                page.close()
        browser.close()
    return faults


def picture(page: Page, address: str, name: str, options: argparse.Namespace, path: Path) -> list[str]:
    """Open a page, wait until it stands still, and take its picture; return the errors on it."""
    started = time.monotonic()
    width = page.viewport_size["width"] if page.viewport_size else DOCS_WIDTH
    page.set_viewport_size({"width": width, "height": 900})
    if name == "figures":
        _pin_figures(page, address, options.query)
    else:
        page.goto(f"{address}/{PAGES[name]}?{options.query}")
    page.wait_for_selector(CONTENT)
    first = time.monotonic() - started
    settle(page)
    for button in ASKED.get(name, ()) if options.docs else ():
        _ask(page, button)
    print(f"{path.name}: first content {first:.1f} s, settled {time.monotonic() - started:.1f} s", flush=True)
    full_height(page, width)
    page.screenshot(path=path)
    return [f"{path.stem}: {text}" for text in page.locator(FAULTS).all_inner_texts()]


def _pin_figures(page: Page, address: str, query: str) -> None:
    """Pin the two figures that stand first on the Overview page, where none are, and turn to the Figures page."""
    page.goto(f"{address}/?{query}")
    settle(page)
    pinned = page.get_by_role("link", name="Figures (").count()
    for place in range(0 if pinned else 2):
        page.get_by_role("button", name="Pin", exact=True).nth(place).click()
        page.get_by_role("link", name=f"Figures ({place + 1})").wait_for()
    turn_to(page, "figures")


def _ask(page: Page, label: str) -> None:
    """Press a button where it stands, and wait for what it brings: minutes on a new workspace."""
    button = page.get_by_role("button", name=label, exact=True)
    if button.count():
        button.click()
        button.wait_for(state="detached")
        settle(page, timeout=1800)


def keep(path: Path, place: Path) -> None:
    """Write a picture small enough for the repository."""
    place.parent.mkdir(parents=True, exist_ok=True)
    with Image.open(path) as image:
        image.convert("RGB").save(place, "WEBP", quality=70, method=6)


def _note(faults: list[str], error: object) -> None:
    faults.append(f"console: {error}")


if __name__ == "__main__":
    raise SystemExit(main())
