"""How fast the Interference and Embeddings pages answer: `python tests/benchmarks/interference_page.py [SUITE]`.

Serves the app on a new workspace and drives it in Chromium, as tests/browser/screenshots.py does. Every time comes with
the CPU seconds that the server spent meanwhile, and stands beside an empty page's in the same run: on a busy machine
the wall times are the machine's as much as the page's.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from playwright.sync_api import Page, sync_playwright

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "browser"))
from browsing import await_health, free_port, open_chromium, served, settle

TICKS = os.sysconf("SC_CLK_TCK")
RECORD = """() => { window.frames_ = []; const tick = (time) => { window.frames_.push(time);
requestAnimationFrame(tick); }; requestAnimationFrame(tick); }"""
MOVES = 120  # steps of the pointer in a drag


def main() -> int:
    """Print one line per measurement."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("suite", nargs="?", default="demo")
    options = parser.parse_args()
    print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores", flush=True)
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as folder:
        browser = open_chromium(playwright)
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.set_default_timeout(300_000)
        with _empty_app(Path(folder)) as address:
            _first_visit(page, address, "empty page")
        for state in ("cold", "warm workspace, new server"):
            with served(options.suite, Path(folder) / "workspace") as address:
                _interference(page, address, state)
                if state != "cold":
                    _changes(page)
                    _embeddings(page, address)
        browser.close()
    print(f"load average {os.getloadavg()[0]:.1f}")
    return 0


def _interference(page: Page, address: str, state: str) -> None:
    _first_visit(page, f"{address}/interference", f"Interference, {state}")
    _timed("Interference, second visit", lambda: _visit(page, f"{address}/interference"))


def _first_visit(page: Page, address: str, what: str) -> None:
    _timed(f"{what}: first answer", lambda: _visit(page, address))
    _timed(f"{what}: all of it, after that", lambda: settle(page, 300))


def _visit(page: Page, address: str) -> None:
    page.goto(address)
    page.wait_for_selector("[data-testid=stPlotlyChart] .xtitle, [data-testid=stHeading]:has-text('empty')")


def _changes(page: Page) -> None:
    settle(page)
    for title, axis in (("1 − cosine of features", "1 − cosine"), ("KL divergence", "nats")):
        page.get_by_role("radio", name=title).or_(
            page.get_by_text(title, exact=True)
        ).first.scroll_into_view_if_needed()
        _timed(f"change of distance to {title}", lambda title=title, axis=axis: _choose_distance(page, title, axis))
        page.wait_for_timeout(1500)
    box = page.get_by_role("combobox", name="Task").first
    box.scroll_into_view_if_needed()
    box.click()
    option = page.get_by_role("option").nth(1)
    name = option.inner_text().strip()
    _timed("change of task", lambda: _choose(page, option.click, f"images of {name}."))


def _choose_distance(page: Page, title: str, axis: str) -> None:
    page.get_by_text(title, exact=True).first.click()
    page.wait_for_function("axis => [...document.querySelectorAll('.xtitle')][0].textContent.includes(axis)", arg=axis)


def _choose(page: Page, click: Callable[[], None], text: str) -> None:
    click()
    page.wait_for_function("text => document.body.innerText.includes(text)", arg=text)


def _embeddings(page: Page, address: str) -> None:
    _timed("Embeddings, first visit", lambda: _map(page, address))
    settle(page)
    page.evaluate(RECORD)
    page.wait_for_timeout(1000)
    _frames(page, "map at rest")
    points = page.locator(".ri-map").count()
    assert points, "no map on the Embeddings page"
    for mode in ("Move", "Lasso"):
        page.get_by_role("button", name=mode, exact=True).click()
        _drag(page)
        _frames(page, f"map, {mode.lower()}")
    _timed("selection shown", lambda: page.wait_for_selector("text=/Selected: /"))


def _map(page: Page, address: str) -> None:
    page.goto(f"{address}/embeddings")
    page.wait_for_selector(".ri-map canvas")


def _drag(page: Page) -> None:
    box = page.locator(".ri-map canvas").first.bounding_box()
    assert box is not None
    x, y, reach = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2, box["width"] / 4
    page.evaluate("window.frames_ = []")
    page.mouse.move(x + reach, y)
    page.mouse.down()
    for turn in np.linspace(0, 2 * np.pi, MOVES):
        page.mouse.move(x + reach * np.cos(turn), y + reach * np.sin(turn))
    page.mouse.up()


def _frames(page: Page, what: str) -> None:
    gaps = np.diff(page.evaluate("window.frames_"))
    print(f"{what:<58} {np.median(gaps):6.0f} ms a frame, 95% within {np.quantile(gaps, 0.95):.0f} ms", flush=True)


# --- time and CPU -----------------------------------------------------------------------------------------------


def _timed(what: str, work: Callable[[], object]) -> None:
    wall, cpu = time.monotonic(), _server_seconds()
    work()
    print(f"{what:<58} {time.monotonic() - wall:6.1f} s, server {_server_seconds() - cpu:.1f} CPU s", flush=True)


def _server_seconds() -> float:
    """Return the CPU seconds of this process's Python children: the server, not the browser."""
    total = 0
    for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split():
        name, _, rest = Path(f"/proc/{pid}/stat").read_text().rpartition(")")
        if "python" in name:
            fields = rest.split()
            total += int(fields[11]) + int(fields[12])  # user and system time
    return total / TICKS


@contextmanager
def _empty_app(folder: Path) -> Iterator[str]:
    """Serve a page that shows its title and nothing else."""
    script = folder / "empty.py"
    script.write_text("import streamlit as st\nst.title('empty')\n")
    port = free_port()
    flags = ["--server.headless=true", "--server.address=127.0.0.1", f"--server.port={port}"]
    server = subprocess.Popen(
        [sys.executable, "-m", "streamlit", "run", str(script), *flags], stdout=subprocess.DEVNULL
    )
    try:
        await_health(f"http://127.0.0.1:{port}")
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(20)


if __name__ == "__main__":
    raise SystemExit(main())
