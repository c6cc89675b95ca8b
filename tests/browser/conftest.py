from __future__ import annotations

import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import started
from browsing import PAGES, Visit, chromium, open_chromium, served, settle
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, expect, sync_playwright
from tiny import make_suite

HERE = Path(__file__).parent
REQUIRED = "RI_ANALYSIS_BROWSER_TESTS"  # CI sets it to "required": there a missing Chromium is a failure


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give browser tests a second try, which the summary counts: on a busy machine a page may move under the hand."""
    for item in items:
        if item.path.parent == HERE:
            item.add_marker(pytest.mark.flaky(reruns=1))


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One Chromium, closed before other tests run here: as long as it is open, this thread has a running event loop."""
    if chromium() is None:
        reason = "no Chromium on this machine: apt-get install chromium, or name one in CHROMIUM"
        if os.environ.get(REQUIRED) == "required":
            pytest.fail(reason)
        pytest.skip(reason)
    expect.set_options(timeout=60_000)  # the machine may be busy
    with sync_playwright() as playwright:
        opened = open_chromium(playwright)
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def themes(browser: Browser) -> dict[str, BrowserContext]:
    """One context a theme for all tests, so that the app's scripts are loaded once."""
    # Without animations: drawing them took a tenth of the CPU time of all these tests.
    same: dict[str, Any] = {"viewport": {"width": 1280, "height": 900}, "reduced_motion": "reduce"}
    return {theme: browser.new_context(color_scheme=theme, **same) for theme in ("light", "dark")}  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The app, served on the tiny suite."""
    folder = tmp_path_factory.mktemp("served")
    allow = ("--allow", str(tmp_path_factory.getbasetemp()))
    with served(str(make_suite(folder / "suite")), folder / "workspace", *allow, begin=started.command) as found:
        yield found


@pytest.fixture
def visit(themes: dict[str, BrowserContext], address: str) -> Iterator[Visit]:
    """Return a function that opens a page in a session of its own; what goes wrong in the browser fails the test."""
    faults: list[str] = []
    opened: list[Page] = []

    def visit(name: str, query: str = "", *, theme: str = "light") -> Page:
        page = themes[theme].new_page()
        opened.append(page)
        page.set_default_timeout(60_000)
        page.on("pageerror", lambda error: faults.append(f"{name}: {error}"))
        page.on("console", partial(_note, faults, name))
        page.goto(f"{address}/{PAGES[name]}?{query}")
        settle(page, rest=0.6)
        return page

    yield visit
    for page in opened:
        page.close()
    assert not faults


def _note(faults: list[str], name: str, message: ConsoleMessage) -> None:
    # Streamlit looks for its server below a page's own address first.
    if message.type == "error" and "/_stcore/" not in message.location.get("url", ""):
        faults.append(f"{name}: {message.text} ({message.location.get('url', '')})")
