"""Move and lasso maps of many points in a browser: `python tests/benchmarks/map.py [POINTS]`; prints frames a second.

The component alone, in three panels of an otherwise empty page. The floor beside it is the same page with three empty
canvases that are drawn over in each frame.
"""

from __future__ import annotations

import sys
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from playwright.sync_api import sync_playwright

sys.path.insert(0, str(Path(__file__).parents[1] / "browser"))
from browsing import open_chromium

from ri_analysis.views.map import packed

GOAL, PANELS = 30, 3
START = """(data) => {
  window.riMap({data, parentElement: document.body, setStateValue: () => 0});
  window.view = document.body.riMap;
}"""
# Frames a second over two seconds in which `act` is done once a frame.
FRAMES = """(act) => new Promise((done) => {
  const work = new Function("view", "step", act), start = performance.now();
  let count = 0;
  const frame = () => {
    const passed = performance.now() - start;
    if (passed > 2000) return done(1000 * count / passed);
    work(window.view, count++);
    requestAnimationFrame(frame);
  };
  requestAnimationFrame(frame);
})"""
# How many images a lasso selects, and how many are in colour in each panel then.
LASSO = """() => {
  view.panels[0].path = [[20, 20], [300, 20], [300, 300], [20, 300], [20, 20]];
  view.panels[0].up();
  const shown = (panel) => panel.inColour().reduce((sum, one) => sum + one, 0);
  return [view.selected.size, ...view.panels.map(shown)];
}"""
ACTS = {
    "floor": "for (const canvas of document.querySelectorAll('canvas')) { const pen = canvas.getContext('2d');"
    " pen.clearRect(0, 0, canvas.width, canvas.height); pen.fillRect(step % 100, 0, 9, 9); }",
    "move": "view.frame.x += 0.01 * Math.sin(step / 9); view.draw();",
    "zoom": "view.panels[0].zoom(1 + 0.02 * Math.sin(step / 9), [150, 150]);",
    "lasso": "const panel = view.panels[0]; if (!step) panel.path = [[20, 20]];"
    " panel.path.push([150 + 120 * Math.sin(step / 20), 150 + 120 * Math.cos(step / 20)]); view.draw();",
    "hover": "const box = view.panels[0].canvas.getBoundingClientRect();"
    " view.hover(view.panels[0], {clientX: box.left + 100 + step % 150, clientY: box.top + 150});",
}


def data(points: int) -> dict[str, Any]:
    """Return what the component draws: eight clouds in each panel."""
    rng = np.random.default_rng(0)
    task = rng.integers(0, 8, points)
    places = [rng.normal(0, 1, (points, 2)) + rng.normal(0, 2, (8, 2))[task] for _ in range(PANELS)]
    panels = [
        {
            "title": "",
            "x": xy[:, 0].astype(np.float32),
            "y": xy[:, 1].astype(np.float32),
            "colour": task.astype(np.uint16),
        }
        for xy in places
    ]
    said = {"title": "", "says": task.astype(np.uint32), "right": np.ones(points, np.uint8), "drift": None}
    names = [f"task {place}" for place in range(8)]
    palette = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8B8B00", "#444444"]
    items = [{"label": name, "colour": colour} for name, colour in zip(names, palette, strict=True)]
    return {
        "version": "a", "places": "a", "ids": [str(place) for place in range(points)], "panels": panels,
        "extent": [-6, 6, -6, 6], "palette": palette, "distinct": palette, "ground": "#FFFFFF", "grey": "#CCCCCC",
        "ink": "#222222", "legend": {"items": items},
        "classes": names, "tasks": names, "task": task.astype(np.uint16), "truth": task.astype(np.uint32),
        "models": [said], "prototypes": {"x": [], "y": [], "code": [], "labels": []}, "pictures": "", "alt": "",
    }  # fmt: skip


def main() -> int:
    """Print the frames a second of every act."""
    points = int(sys.argv[1]) if len(sys.argv) > 1 else 50_000
    parts = {
        kind: (resources.files("ri_analysis.views.map") / f"map.{kind}").read_text("utf-8")
        for kind in ("html", "css", "js")
    }
    with sync_playwright() as playwright:
        browser = open_chromium(playwright)
        page = browser.new_page(viewport={"width": 1400, "height": 900})
        page.set_content(f"<style>{parts['css']}</style>{parts['html']}")
        page.add_script_tag(content=parts["js"].replace("export default function", "window.riMap = function"))
        page.evaluate(START, packed(data(points)))
        page.wait_for_timeout(500)
        print(f"{points:,} points in {PANELS} panels, goal {GOAL} frames a second")
        for name, act in ACTS.items():
            print(f"{name:<8}{page.evaluate(FRAMES, act):6.1f} frames a second", flush=True)
        selected = page.evaluate(LASSO)
        print(f"selected {selected[0]:,}; in colour in each panel: {selected[1:]}")
        browser.close()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
