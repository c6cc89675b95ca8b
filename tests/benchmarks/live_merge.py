"""How live the Merge page is: `python tests/benchmarks/live_merge.py [SUITE] [--seconds N] [--sessions-seconds N]`.

Serves the app, drags a slider soon after it is there, and prints the time from the hand's first move to the first paint
on a new server and in its next session. Then it drags sliders in turn and prints painted updates a second, the time
from hand to paint, and the time from release to exact values, beside the floor: an app whose fragment holds one slider
and computes nothing. Then three sessions slide at once: each must see its own recipe only, and the server's memory must
not grow.

Times are taken in the page. An input counts as painted when the frame is out that first shows values at least as new.
Needs Playwright for Python and a Chromium; CHROMIUM names another binary.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from playwright.sync_api import Locator, Page, TimeoutError, sync_playwright

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "browser"))
from browsing import await_health, free_port, open_chromium, served, settle

from ri_analysis.engine import Evaluator
from ri_analysis.suite import open_suite

RECORD = """(root) => {
  const log = (window.riLog = { inputs: [], sent: {}, painted: [], slid: [], exact: [], released: [] });
  root.addEventListener("input", () => log.inputs.push(performance.now()), true);
  root.addEventListener("pointermove", (event) =>
    event.target.hasPointerCapture(event.pointerId) && log.inputs.push(performance.now()), true); // on the pad
  root.addEventListener("pointerup", () => log.released.push(performance.now()), true);
  new MutationObserver((changes) => {
    for (const { attributeName } of changes) {
      const seen = log.inputs.length;
      if (attributeName === "data-slid") setTimeout(() => log.slid.push([seen, performance.now()])); // after its frame
      if (attributeName === "data-sent") log.sent[root.dataset.sent] = log.inputs.length;
      const seq = Number(root.dataset.ack), exact = root.dataset.kind === "exact";
      if (attributeName === "data-ack" || attributeName === "data-kind")
        requestAnimationFrame(() => setTimeout(() => {
          const now = performance.now();
          if (attributeName === "data-ack") log.painted.push([seq, now]);
          if (exact) log.exact.push([seq, now]);
        }));
    }
  }).observe(root, { attributes: true });
}"""
HAND = """(slider, seconds) => {
  const started = performance.now(), middle = (Number(slider.min) + Number(slider.max)) / 2;
  const reach = 0.8 * (Number(slider.max) - middle);
  window.riHand = new Promise((done) => {
    const move = () => {
      const passed = (performance.now() - started) / 1000, before = slider.value;
      if (passed > seconds) return done(passed);
      slider.value = middle + reach * Math.sin(passed * 4);
      if (slider.value !== before) slider.dispatchEvent(new InputEvent("input", { bubbles: true }));
      requestAnimationFrame(move);
    };
    move();
  });
}"""  # one input a frame, as Chromium hands them out; by its driver only every third frame gets one
HAND_ON_PAD = """(square, seconds) => {
  const started = performance.now(), box = square.getBoundingClientRect();
  square.addEventListener("pointerdown", ({ pointerId }) => {
    window.riHand = new Promise((done) => {
      const move = () => {
        const passed = (performance.now() - started) / 1000;
        if (passed > seconds) return done(passed);
        const clientX = box.left + box.width * (0.5 + 0.4 * Math.sin(passed * 4));
        const clientY = box.top + box.height * (0.5 + 0.4 * Math.cos(passed * 3));
        square.dispatchEvent(new PointerEvent("pointermove", { bubbles: true, pointerId, clientX, clientY }));
        requestAnimationFrame(move);
      };
      move();
    });
  }, { once: true });
}"""
DELAYED = """(delay) => {
  const later = (work) => (event) => setTimeout(() => work(event), delay);
  window.WebSocket = class extends WebSocket {
    send(data) { setTimeout(() => super.send(data), delay); }
    set onmessage(work) { super.onmessage = later(work); }
    addEventListener(type, work) { super.addEventListener(type, type === "message" ? later(work) : work); }
  };
}"""
_TELL = 10.0  # seconds between two lines about the server's memory
FLOOR = '''
import streamlit as st
JS = """
export default function ({ data, parentElement, setStateValue }) {
  const root = parentElement.querySelector(".floor");
  const range = root.querySelector("input"), bar = root.querySelector("rect");
  const view = (root.view ??= { seq: data.ack, flight: 0, dirty: false });
  const flush = () => {
    if (view.dirty && !view.flight) {
      view.dirty = false;
      root.dataset.sent = view.flight = ++view.seq;
      setStateValue("message", { seq: view.seq, value: Number(range.value) });
    }
  };
  range.oninput = () => { view.dirty = true; flush(); };
  if (data.ack >= view.flight) view.flight = 0;
  bar.setAttribute("width", `${data.value * 100}%`);
  root.dataset.ack = data.ack;
  flush();
}
"""
SVG = '<svg width="400"><rect height="9"/></svg>'
HTML = '<div class="floor"><input type="range" min="0" max="1" step="0.01">' + SVG + "</div>"
draw = st.components.v2.component("floor", html=HTML, js=JS)

@st.fragment
def section():
    message = (st.session_state.get("floor") or {}).get("message") or {"seq": 0, "value": 0.5}
    draw(key="floor", data={"ack": message["seq"], "value": message["value"]}, on_message_change=lambda: None)

st.title("empty")
section()
'''


def main() -> int:
    """Print one line per measurement; exit 1 when sessions see each other's recipes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("suite", nargs="?", default="demo")
    parser.add_argument("--seconds", type=float, default=6, help="of each drag (default %(default)s)")
    parser.add_argument(
        "--drags", type=int, default=4, help="how many, 0 for the three sessions alone (default %(default)s)"
    )
    parser.add_argument("--firsts", type=int, default=3, help="new servers for a first drag (default %(default)s)")
    parser.add_argument("--rest", type=float, default=2, help="from the slider to a first drag (default %(default)s)")
    parser.add_argument("--sessions-seconds", type=float, default=120, help="three at once (default %(default)s)")
    parser.add_argument(
        "--points", action="store_true", help="let the hand rest on a slider until its points are there"
    )
    parser.add_argument(
        "--delay", type=float, default=0, help="ms that a message takes either way (default %(default)s)"
    )
    parser.add_argument("--workspace", type=Path, help="a workspace to keep (default: a new one)")
    options = parser.parse_args()
    print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores", flush=True)
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as folder:
        browser = open_chromium(playwright)
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.set_default_timeout(60_000)
        page.add_init_script(f"({DELAYED})({options.delay})")
        with _floor(Path(folder)) as address:
            page.goto(address)
            root = page.locator(".floor")
            root.wait_for()
            _report("floor: a fragment that computes nothing", _drags(page, root, options, 1, exact=False))
        workspace = options.workspace or Path(folder) / "workspace"
        for number in range(options.firsts):
            _first_drags(browser, options.suite, workspace, number, options.rest)
        with served(options.suite, workspace) as address:
            if options.drags:
                runs = _drags(page, _opened(page, address), options, options.drags, exact=True)
                _report("Merge page", runs)
                if options.points:
                    print("hand at rest → points: " + ", ".join(f"{run['points']:.2f} s" for run in runs), flush=True)
                if options.points:
                    _pad(page, options.seconds)
                waits = np.array([run["exact"] for run in runs])
                print(
                    f"{'release → exact values':<44} {np.median(waits):5.1f} s, at most {waits.max():.1f} s", flush=True
                )
            page.close()
            faults = _sessions(browser, address, options, workspace) if options.sessions_seconds > 0 else []
        browser.close()
    print(f"load average {os.getloadavg()[0]:.1f}")
    print("\n".join(faults))
    return 1 if faults else 0


def _opened(page: Page, address: str) -> Locator:
    page.goto(f"{address}/merge")
    root = page.locator(".ri-live")
    page.locator(".ri-live[data-kind=exact]").wait_for()
    page.wait_for_timeout(3000)  # the figures below
    return root


# --- the first drag -----------------------------------------------------------------------------------------------


def _first_drags(browser: Any, suite: str, workspace: Path, number: int, rest: float) -> None:
    """Print how long a hand waits for the first estimate: on a new server, and in another session of it."""
    with served(suite, workspace) as address:
        waits = []
        for _ in range(2):
            page = browser.new_page(viewport={"width": 1280, "height": 900})
            page.set_default_timeout(60_000)
            opened = time.monotonic()
            page.goto(f"{address}/merge")
            root = page.locator(".ri-live")
            slider = root.locator("input[type=range]").first
            slider.wait_for()
            there = time.monotonic() - opened
            root.evaluate(RECORD)
            page.wait_for_timeout(1000 * rest)
            _drag(page, slider, 5)
            log = page.evaluate("window.riLog")
            sent = [int(seq) for seq, count in log["sent"].items() if count]
            painted = [when for seq, when in log["painted"] if sent and seq >= min(sent)]
            painted = sorted([*painted, *(when for _, when in log["slid"])])
            waits.append((there, (painted[0] - log["inputs"][0]) / 1000 if painted else np.inf))
            page.close()
    told = "; ".join(f"slider there after {there:.1f} s, first move → paint {wait:.2f} s" for there, wait in waits)
    print(f"first drag {number + 1}, new server, then its next session: {told}", flush=True)


# --- one hand -----------------------------------------------------------------------------------------------------


def _drags(page: Page, root: Locator, options: argparse.Namespace, drags: int, *, exact: bool) -> list[dict[str, Any]]:
    root.evaluate(RECORD)
    found = []
    for number in range(drags):
        ranges = root.locator("input[type=range]")
        waited = _rest_on(page, ranges.nth(number % ranges.count())) if exact and options.points else None
        page.evaluate(
            "Object.assign(window.riLog, {inputs: [], sent: {}, painted: [], slid: [], exact: [], released: []})"
        )
        seconds = _drag(page, ranges.nth(number % ranges.count()), options.seconds)
        log = page.evaluate("window.riLog")
        run = _lags(log) | {"seconds": seconds, "points": waited}
        if exact:
            page.wait_for_function(
                "() => { const [r] = riLog.released.slice(-1); return r && riLog.exact.some(([, t]) => t > r) }"
            )
            log = page.evaluate("window.riLog")
            let_go = log["released"][-1]
            run["exact"] = min(when for _, when in log["exact"] if when > let_go) / 1000 - let_go / 1000
            page.wait_for_timeout(3000)  # the page below follows
        found.append(run)
    return found


def _pad(page: Page, seconds: float) -> None:
    """Print how long a hand waits on the pad of two coefficients until the page moves by itself, and how it follows."""
    page.get_by_role("button", name="Pad").click()
    square = page.locator(".ri-live-pad .square").first
    waited = _rest_on(page, square)
    page.evaluate("Object.assign(window.riLog, {inputs: [], sent: {}, painted: [], slid: []})")
    square.evaluate(HAND_ON_PAD, seconds)
    page.mouse.down()
    passed = page.evaluate("window.riHand")
    page.mouse.up()
    _report(f"pad, hand at rest → points {waited:.1f} s", [_lags(page.evaluate("window.riLog")) | {"seconds": passed}])
    page.wait_for_timeout(3000)


def _rest_on(page: Page, slider: Locator) -> float:
    """Have the pointer rest on a slider until the page can slide by itself; return how many seconds that took."""
    slider.scroll_into_view_if_needed()
    page.mouse.move(0, 0)
    page.wait_for_timeout(500)
    started = time.monotonic()
    slider.hover()
    with suppress(TimeoutError):  # nothing is smooth along this slider
        page.locator(".ri-live[data-path]:not([data-path='0'])").wait_for(timeout=60_000)
    return time.monotonic() - started


def _drag(page: Page, slider: Locator, seconds: float) -> float:
    """Hold a slider and move it to and fro for some seconds; return how long that took."""
    _grab(page, slider, seconds)
    passed = page.evaluate("window.riHand")
    page.mouse.up()
    return float(passed)


def _grab(page: Page, slider: Locator, seconds: float) -> None:
    """Hold a slider by its middle and start to move it."""
    slider.scroll_into_view_if_needed()
    box = slider.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    slider.evaluate(HAND, seconds)


def _lags(log: dict[str, Any]) -> dict[str, Any]:
    """Return the painted updates and each input's milliseconds until the first paint at least as new."""
    covered = {int(seq): count for seq, count in log["sent"].items()}
    lags, done, shown = [], 0, 0
    answered = [(covered.get(seq, 0), when) for seq, when in log["painted"]]
    for upto, when in sorted([*answered, *map(tuple, log["slid"])], key=lambda paint: paint[1]):
        if upto > done:
            lags += [when - pressed for pressed in log["inputs"][done:upto]]
            done, shown = upto, shown + 1
    return {"painted": shown, "lags": lags, "inputs": len(log["inputs"])}


def _report(what: str, runs: list[dict[str, Any]]) -> None:
    lags = np.concatenate([run["lags"] for run in runs])
    rate = sum(run["painted"] for run in runs) / sum(run["seconds"] for run in runs)
    print(
        f"{what:<44} {rate:5.1f} painted updates a second; hand to paint: median {np.median(lags):.0f} ms, "
        f"95% within {np.quantile(lags, 0.95):.0f} ms ({sum(run['inputs'] for run in runs)} inputs)",
        flush=True,
    )


@contextmanager
def _floor(folder: Path) -> Iterator[str]:
    """Serve an app with one slider in a fragment that computes nothing."""
    script, port = folder / "floor.py", free_port()
    script.write_text(FLOOR)
    flags = ["--server.headless=true", "--server.address=127.0.0.1", f"--server.port={port}"]
    flags += ["--browser.gatherUsageStats=false", "--server.fileWatcherType=none", "--runner.postScriptGC=false"]
    command = [sys.executable, "-m", "streamlit", "run", str(script), *flags]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        await_health(f"http://127.0.0.1:{port}")
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(20)


# --- three hands --------------------------------------------------------------------------------------------------


def _sessions(browser: Any, address: str, options: argparse.Namespace, workspace: Path) -> list[str]:
    """Slide in three sessions at once; return what any of them saw of another."""
    suite = open_suite(options.suite, workspace)
    own, faults = suite.tasks[:3], []
    pages = [browser.new_page(viewport={"width": 1280, "height": 900}) for _ in own]
    roots = []
    for page in pages:
        page.set_default_timeout(60_000)
        roots.append(_opened(page, address))
        roots[-1].evaluate(RECORD)
    for page, root, task in zip(pages, roots, own, strict=True):
        slider = root.get_by_label(f"coefficient of {task}", exact=True)
        if options.points:
            _rest_on(page, slider)
        _grab(page, slider, options.sessions_seconds)
    memory, started, told = [_server_memory()], time.monotonic(), 0.0
    while (passed := time.monotonic() - started) < options.sessions_seconds:
        for root, task in zip(roots, own, strict=True):
            faults += _seen_of_others(root, task)
        memory.append(_server_memory())
        pages[0].wait_for_timeout(1000)
        if passed >= told:
            print(f"  after {passed:4.0f} s: server {memory[-1]:.1f} MB", flush=True)
            told += _TELL
    seconds = [page.evaluate("window.riHand") for page in pages]
    logs = [_lags(page.evaluate("window.riLog")) for page in pages]
    for page, root in zip(pages, roots, strict=True):
        page.mouse.up()
        root.and_(page.locator("[data-kind=exact]")).wait_for()
        settle(page)  # while the page follows, what it showed before stands there too
    faults += _wrong_values(pages, roots, own, Evaluator(suite, workspace, "cpu"))
    settled = memory[len(memory) // 4 :]
    growth = np.polyfit(np.linspace(0, 1, len(settled)), settled, 1)[0]
    for task, run, took in zip(own, logs, seconds, strict=True):
        _report(f"one of three sessions, {task}", [run | {"seconds": took}])
    print(
        f"three sessions sliding for {max(seconds):.0f} s: "
        f"server {memory[0]:.0f} MB before, {memory[-1]:.0f} MB after, {growth:+.1f} MB over the last three quarters; "
        f"{'no cross-talk' if not faults else 'CROSS-TALK'}",
        flush=True,
    )
    return faults


def _seen_of_others(root: Locator, own: str) -> list[str]:
    """Return which sliders but its own a session saw move."""
    moved = root.locator("input[type=range]").evaluate_all(
        "all => all.filter(each => each.ariaLabel.startsWith('coefficient') && each.value !== '1')"
        ".map(each => each.ariaLabel)"
    )
    return [f"the session of {own} saw {name} move" for name in moved if not name.endswith(own)]


def _wrong_values(pages: list[Page], roots: list[Locator], own: tuple[str, ...], evaluator: Evaluator) -> list[str]:
    """Return which session's exact values are not those of its own recipe."""
    faults = []
    for root, task in zip(roots, own, strict=True):
        value = float(root.get_by_label(f"coefficient of {task}", exact=True).input_value())
        shown = root.locator(".ri-live-mean .ri-live-values").first.locator("span").all_inner_texts()
        for experts, text in zip(("original", "ri"), shown, strict=False):
            recipe = evaluator.recipe("task-arithmetic", experts=experts, coefficients={task: value})
            wanted = f"{100 * evaluator.measure(recipe).mean_accuracy[0]:.1f}%"
            if text != wanted:
                faults.append(f"the session of {task} at {value} shows {text}, {experts} measures {wanted}")
    return faults


def _server_memory() -> float:
    """Return the megabytes that this process's Python children, the server and not the browser, hold themselves.

    Pages of files read through memory maps are left out: the system takes them back when it wants.
    """
    total = 0.0
    for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split():
        status = Path(f"/proc/{pid}/status").read_text()
        if status.startswith("Name:\tpython"):
            total += int(status.partition("RssAnon:")[2].split()[0]) / 1024
    return total


if __name__ == "__main__":
    raise SystemExit(main())
