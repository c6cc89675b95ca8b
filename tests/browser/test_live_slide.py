"""Sliding without the server: what the page computes is what the server's surrogate says, and what it paints."""

from __future__ import annotations

from importlib import resources

import numpy as np
import pytest
import torch
from browsing import Visit
from playwright.sync_api import Browser, Page, expect

from ri_analysis.encoder import Head
from ri_analysis.engine import Evaluation
from ri_analysis.engine.comparison import Comparison
from ri_analysis.live.sample import Sample
from ri_analysis.live.surrogate import Surrogate
from ri_analysis.views.live.line import Line, SliderPath
from ri_analysis.views.live.payload import rows
from ri_analysis.views.live.session import View

CLASSES = {"A": 3, "B": 7}
SEEN, ALL = 12, 60
ROWS = "(sent) => { window.path = new SlidePath(sent); }"
AT = "(values) => { const at = path.position(values); return at === null ? null : path.rows(at); }"


def unit(features: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.normalize(features, dim=-1)


def line_of(points: int, *, known: bool) -> tuple[Line, Comparison]:
    """A line of two models whose features turn smoothly, and what was measured last."""
    generator, rng = torch.Generator().manual_seed(1), np.random.default_rng(1)
    heads = {
        task: Head(10 * unit(torch.randn(count, 8, generator=generator)), tuple(map(str, range(count))))
        for task, count in CLASSES.items()
    }
    chosen = {task: np.sort(rng.permutation(ALL)[:SEEN]) for task in CLASSES}
    labels = {task: rng.integers(0, count, SEEN) for task, count in CLASSES.items()}
    expert = {task: 5 * torch.randn(SEEN, count, generator=generator) for task, count in CLASSES.items()}
    sample = Sample(chosen, dict.fromkeys(CLASSES, ALL), labels, heads, expert)
    line = Line(SliderPath((), "c.A", -1.0, 2.0, (("c.B", 0.5),)), SEEN, 2)
    places = rng.permutation(np.linspace(-1, 2, points))
    for _ in range(2):
        starts, ways = ({task: torch.randn(SEEN, 8, generator=generator) for task in CLASSES} for _ in range(2))
        measured = {
            float(place): {task: unit(starts[task] + torch.sin(ways[task] * place)) for task in CLASSES}
            for place in places
        }
        line._surrogates.append(Surrogate(sample, measured))
    flags = [{task: rng.random(ALL if known else SEEN) < 0.6 for task in CLASSES} for _ in range(6)]
    nats = [{task: rng.gamma(1.0, 0.5, len(flags[0][task])).astype(np.float32) for task in CLASSES} for _ in range(2)]
    found = [Evaluation("made", {}, *flags[3 * model : 3 * model + 3], nats[model]) for model in range(2)]
    return line, Comparison(*found)


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("count", [3, 7])
def test_the_page_computes_what_the_surrogate_says(browser: Browser, count: int, known: bool):
    page = blank(browser)
    line, last = line_of(count, known=known)
    sent = line.sent(("", 0, 0), last, 1, {"c.A": 0.0, "c.B": 0.5, "other": 0.3})
    page.evaluate(ROWS, sent)
    for place in (-1.0, -0.73, 0.0, 0.41, 1.5, 1.999):
        found = page.evaluate(AT, {"c.A": place, "c.B": place + 0.5, "other": 0.3})
        estimates, says = line.estimates(place, last)
        assert sent["says"] == says
        wanted = rows(View(pair=None, estimates=estimates), None)
        assert found.keys() == wanted.keys()
        for name, row in wanted.items():
            for measure, bars in row.items():
                assert found[name][measure] == [pytest.approx(bar, abs=2e-5) for bar in bars], (place, name, measure)


def test_points_come_one_by_one_and_a_path_is_left_where_another_slider_stands_elsewhere(browser: Browser):
    page = blank(browser)
    line, last = line_of(7, known=True)
    whole, base = line._surrogates, {"c.A": 0.0, "c.B": 0.5, "other": 0.3}
    line._surrogates = [Surrogate(each.sample, dict(list(each.points.items())[:4])) for each in whole]
    page.evaluate(ROWS, line.sent(("", 0, 0), last, 1, base))
    line._surrogates = whole
    rest = line.sent(tuple(page.evaluate("path.have()")), last, 1, base)
    assert (rest["first"], len(rest["nodes"][0]), rest["constants"]) == (4, 3, None)
    page.evaluate("(sent) => path.take(sent)", rest)
    assert line.sent(tuple(page.evaluate("path.have()")), last, 1, base) is None
    values = {"c.A": 0.2, "c.B": 0.7, "other": 0.3}
    step_by_step = page.evaluate(AT, values)
    page.evaluate(ROWS, line.sent(("", 0, 0), last, 1, base))
    assert page.evaluate(AT, values) == step_by_step
    for other in (
        {"other": 0.4},
        {"c.B": 0.5},
        {"c.A": 2.5, "c.B": 3.0},
    ):  # another recipe, not linked, beyond the ends
        assert page.evaluate(AT, values | other) is None


def test_a_hand_slides_without_the_server_and_the_exact_values_follow(visit: Visit):
    page = visit("merge")
    root = page.locator(".ri-live")
    page.locator(".ri-live[data-kind=exact]").wait_for()
    expect(page.locator(".ri-live-status")).not_to_contain_text("Getting the live preview ready")
    slider = page.get_by_role("slider", name="coefficient of Reds")
    over(page, slider, 0.6)
    page.locator(".ri-live[data-path]:not([data-path='0'])").wait_for()
    page.mouse.down()
    over(page, slider, 0.7)
    page.locator(".ri-live[data-slid]").wait_for()
    quiet = root.get_attribute("data-sent")
    for share in (0.75, 0.8, 0.85, 0.8):
        over(page, slider, share)
    assert (root.get_attribute("data-kind"), root.get_attribute("data-sent")) == ("surrogate", quiet)
    expect(page.locator(".ri-live-status")).to_contain_text("interpolated between")
    page.mouse.up()
    page.locator(".ri-live[data-kind=exact]").wait_for()
    expect(page.locator(".ri-live-status")).to_contain_text("Exact: all")


def blank(browser: Browser) -> Page:
    """Return an empty page in which the component's mathematics stands."""
    page, source = browser.new_page(), resources.files("ri_analysis.views.live") / "slide.js"
    page.evaluate(f"() => {{ {source.read_text()}\nwindow.SlidePath = SlidePath; }}")
    return page


def over(page: Page, slider, share: float) -> None:  # type: ignore[no-untyped-def]
    slider.scroll_into_view_if_needed()
    box = slider.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] * share, box["y"] + box["height"] / 2)
    page.wait_for_timeout(100)
