"""What the browser tests, the pictures and the benchmarks share: an app served, a Chromium opened, a page at rest."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, Playwright

ROOT = Path(__file__).resolve().parents[2]
# The app's pages by name, with their place in the address.
PAGES = {file.stem: "" if file.stem == "overview" else file.stem for file in sorted((ROOT / "pages").glob("*.py"))}
CHROMIUM = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
Visit = Callable[..., Page]  # opens a page of the app, see the fixture `visit`
IDLE = "[data-testid=stApp][data-test-script-state=notRunning]"
_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
# What a page says when something went wrong.
FAULTS = "[data-testid=stException], [data-testid=stAlertContentError]"


def chromium() -> str | None:
    """Return the Chromium of this machine: the one that CHROMIUM names, else the first on the path; None without."""
    return os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, _NAMES)), None)


def open_chromium(playwright: Playwright) -> Browser:
    """Open the Chromium of this machine, without a window."""
    binary = chromium()
    if binary is None:
        raise SystemExit("no Chromium on this machine: install one (apt-get install chromium) or name it in CHROMIUM")
    return playwright.chromium.launch(executable_path=binary, args=CHROMIUM)


def start(words: Sequence[str], *, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """Start a command of ri-analysis as a shell would."""
    program = "import sys; from ri_analysis.cli import main; sys.exit(main())"
    variables = {**environment, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen([sys.executable, "-c", program, *words], env=variables, stdout=subprocess.DEVNULL)


@contextmanager
def served(suite: str, workspace: Path, *flags: str, begin: Callable[..., Any] = start) -> Iterator[str]:
    """Serve the app on a free port, with more flags; yield its address. `begin` starts the command, see `start`."""
    port = free_port()
    words = ["app", suite, "--port", str(port), "--workspace", str(workspace), *flags]
    server = begin(words, environment=os.environ | {"STREAMLIT_SERVER_HEADLESS": "true"})
    address = f"http://127.0.0.1:{port}"
    try:
        await_health(address)
        yield address
    finally:
        server.terminate()
        server.wait(20)


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def await_health(address: str) -> None:
    """Wait until a server answers."""
    for _ in range(600):
        try:
            with urllib.request.urlopen(f"{address}/_stcore/health", timeout=1):
                return
        except OSError:
            time.sleep(0.2)
    raise SystemExit("the server did not answer within two minutes")


def settle(page: Page, timeout: float = 120, rest: float = 1.6) -> None:
    """Wait until the script has run, nothing is refined any more, and that has been so for `rest` seconds."""
    page.wait_for_selector("[data-testid=stHeading]", timeout=timeout * 1000)
    quiet, end = 0, time.monotonic() + timeout
    while quiet < 4 and time.monotonic() < end:
        busy = page.locator("[data-testid=stProgress], [data-stale=true]").count()
        quiet = quiet + 1 if page.locator(IDLE).count() and not busy else 0
        page.wait_for_timeout(rest * 250)


def turn_to(page: Page, name: str, rest: float = 0.6) -> None:
    """Open another page of the same session, by its link in the sidebar."""
    link = page.locator("[data-testid=stSidebar] [data-testid=stPageLink] a").filter(has_text=name.capitalize())
    link.evaluate("link => link.click()")  # on a phone the sidebar is folded away
    page.wait_for_url(re.compile(rf"^[^?]*:\d+/{PAGES[name]}(\?|$)"))
    settle(page, rest=rest)


def full_height(page: Page, width: int) -> None:
    """Make the window as tall as the page, so that the picture holds all of it."""
    block = page.locator("[data-testid=stMainBlockContainer]").bounding_box()
    assert block is not None
    page.set_viewport_size({"width": width, "height": max(900, int(block["height"]) + 40)})
    page.wait_for_timeout(1200)
