"""Serve the app on a suite and take a picture of every page: `python tests/browser/screenshots.py SUITE OUT`.

Needs Playwright for Python and a Chromium; CHROMIUM names another binary. The overview, light and at 1280 px, is also
written to docs/overview.png with --docs.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from contextlib import nullcontext
from functools import partial
from pathlib import Path

from browsing import FAULTS, PAGES, ROOT, full_height, open_chromium, served, settle
from playwright.sync_api import Page, sync_playwright


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
    parser.add_argument("--docs", action="store_true", help="also write docs/overview.png")
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
                    faults += picture(page, f"{address}/{PAGES[name]}?{options.query}", width, path)
                    if options.docs and (name, theme, width) == ("overview", "light", 1280):
                        (ROOT / "docs").mkdir(exist_ok=True)
                        (ROOT / "docs" / "overview.png").write_bytes(path.read_bytes())
                page.close()
        browser.close()
    return faults


def picture(page: Page, address: str, width: int, path: Path) -> list[str]:
    """Open a page, wait until it stands still, and take its picture; return the errors on it."""
    started = time.monotonic()
    page.set_viewport_size({"width": width, "height": 900})
    page.goto(address)
    page.wait_for_selector(
        ", ".join(
            f"[data-testid=stMain] [data-testid={widget}]" for widget in ("stMetric", "stSelectbox", "stTextInput")
        )
    )
    first = time.monotonic() - started
    settle(page)
    print(f"{path.name}: first numbers {first:.1f} s, settled {time.monotonic() - started:.1f} s", flush=True)
    full_height(page, width)
    page.screenshot(path=path)
    shown = page.locator(FAULTS).all_inner_texts()
    return [f"{path.stem}: {text}" for text in shown]


def _note(faults: list[str], error: object) -> None:
    faults.append(f"console: {error}")


if __name__ == "__main__":
    raise SystemExit(main())
