"""Time the first visit of every page on a new workspace: `python tests/browser/first_paint.py [SUITE]`.

Each page gets a server and a workspace of its own. Printed are the seconds from the server's first answer until the
page's main content is painted, beside those of an empty Streamlit page in the same run; it never fails on time.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from browsing import PAGES, await_health, free_port, open_chromium, served
from playwright.sync_api import Browser, sync_playwright

GOAL = 3.0  # seconds
FIGURE = "[data-testid=stMain] .js-plotly-plot .main-svg"
TABLE = "[data-testid=stMain] [data-testid=stDataFrame]"
HEADING = "[data-testid=stMain] [data-testid=stHeading]"
# What a page is opened for; a figure where nothing else is named.
MAIN = {
    "compare": TABLE,
    "embeddings": "canvas",
    "experts": TABLE,
    "figures": HEADING,
    "merge": "input[type=range]",
    "resolve": HEADING,
}
# A frame's callbacks run before it is painted, what they put off right after.
NOTE = """
const holds = (root) => root.querySelector(CONTENT)
  || [...root.querySelectorAll("*")].some((each) => each.shadowRoot && holds(each.shadowRoot));
const look = () => holds(document)
  ? setTimeout(() => (window.painted = Date.now() / 1000))
  : requestAnimationFrame(look);
requestAnimationFrame(look);
"""
EMPTY = "import streamlit as st\n\nst.title('Empty')\n"


def main() -> int:
    """Print the seconds of every page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("suite", nargs="?", default="demo")
    parser.add_argument("--pages", default=",".join(PAGES), help="which pages, separated by commas")
    options = parser.parse_args()
    with sync_playwright() as playwright:
        browser = open_chromium(playwright)
        with tempfile.TemporaryDirectory() as folder, empty(Path(folder)) as address:
            print(f"{'an empty Streamlit page':<24}{seconds(browser, address, HEADING):6.1f} s", flush=True)
        for name in options.pages.split(","):
            with tempfile.TemporaryDirectory() as folder, served(options.suite, Path(folder)) as address:
                taken = seconds(browser, f"{address}/{PAGES[name]}", MAIN.get(name, FIGURE))
                print(f"{name:<24}{taken:6.1f} s{'' if taken <= GOAL else '  more than the goal'}", flush=True)
        browser.close()
    return 0


def seconds(browser: Browser, address: str, content: str) -> float:
    """Return how long it takes from now until a page's content is painted, in a browser that knows nothing of it.

    The page itself notes the moment: a question from here would wait until the browser has time for it.
    """
    page = browser.new_context(viewport={"width": 1400, "height": 900}).new_page()
    page.set_default_timeout(300_000)
    page.add_init_script(NOTE.replace("CONTENT", json.dumps(content)))
    started = time.time()
    page.goto(address)
    painted: float = page.wait_for_function("() => window.painted").json_value()
    page.context.close()
    return painted - started


@contextmanager
def empty(folder: Path) -> Iterator[str]:
    """Serve a Streamlit page that has a title and nothing else."""
    script, port = folder / "empty.py", free_port()
    script.write_text(EMPTY, encoding="utf-8")
    flags = ["--server.port", str(port), "--server.headless", "true", "--server.fileWatcherType", "none"]
    flags += ["--browser.gatherUsageStats", "false"]
    command = [sys.executable, "-m", "streamlit", "run", str(script), *flags]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=os.environ)
    address = f"http://127.0.0.1:{port}"
    try:
        await_health(address)
        yield address
    finally:
        server.terminate()
        server.wait(20)


if __name__ == "__main__":
    raise SystemExit(main())
