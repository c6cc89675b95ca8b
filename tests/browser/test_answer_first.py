"""What only a browser shows of the Overview: what is above the fold, terms that explain themselves, and contents."""

from __future__ import annotations

import pytest
from browsing import Visit, settle
from playwright.sync_api import Locator, Page

pytestmark = pytest.mark.long  # one server and one Chromium for all of the file

SENTENCE = "[data-testid=stMain] [data-testid=stMarkdown] h3"
PLAIN_WORDS = "[data-testid=stMain] [data-testid=stMarkdown] p:has(.term)"
TERM = "[data-testid=stMain] .term"


def sized(page: Page, width: int, height: int) -> Page:
    page.set_viewport_size({"width": width, "height": height})
    settle(page, rest=0.6)
    return page


def top(place: Locator) -> float:
    return box(place)["y"]


def bottom(place: Locator) -> float:
    return box(place)["y"] + box(place)["height"]


def box(place: Locator) -> dict[str, float]:
    found = place.bounding_box()
    assert found is not None
    return dict(found)  # type: ignore[arg-type]


def test_the_answer_stands_above_the_fold(visit: Visit):
    page = sized(visit("overview"), 1400, 900)
    metrics, figure = page.locator("[data-testid=stMetric]"), page.locator(".js-plotly-plot").first
    words, guide = page.locator(PLAIN_WORDS), page.locator(".st-key-guide")
    assert metrics.count() == 3
    assert top(page.locator("h1")) < top(page.locator(SENTENCE)) < top(metrics.first)
    assert bottom(metrics.last) < top(words.nth(0)) < bottom(words.nth(1)) < top(figure) < bottom(figure) < 900
    assert top(page.locator(".contents")) > bottom(figure)
    assert not guide.count() or top(guide) > bottom(figure)


def test_on_a_phone_the_answer_comes_first_and_nothing_is_wider_than_the_screen(visit: Visit):
    page = sized(visit("overview"), 390, 844)
    metrics = page.locator("[data-testid=stMetric]")
    assert bottom(page.locator(SENTENCE)) < top(metrics.first)
    assert bottom(metrics.last) < top(page.locator(PLAIN_WORDS).first) < 844
    assert page.evaluate("document.documentElement.scrollWidth") == 390


def test_a_term_explains_itself_when_hovered_or_focused(visit: Visit):
    page = sized(visit("overview"), 1400, 900)
    term = page.locator(TERM, has_text="Interference").first
    meaning = term.locator("[role=tooltip]")
    assert not meaning.is_visible()
    term.hover()
    assert meaning.is_visible()
    assert "KL(expert ‖ merged)" in meaning.inner_text()
    page.mouse.move(0, 0)
    assert not meaning.is_visible()
    for place in range(page.locator(TERM).count()):
        page.locator(TERM).nth(place).focus()
        shown = box(page.locator(f"{TERM} [role=tooltip]").nth(place))
        assert shown["x"] >= 0
        assert shown["x"] + shown["width"] <= 1400


def test_the_sidebar_has_the_whole_glossary(visit: Visit):
    page = visit("overview")
    page.get_by_test_id("stSidebar").get_by_role("button", name="Glossary").click()
    page.locator("[data-testid=stPopoverBody] li", has_text="task vector").first.wait_for()


@pytest.mark.parametrize(
    ("name", "section"), [("overview", "Who disturbs whom"), ("interference", "Who disturbs whom")]
)
def test_the_contents_lead_to_a_section_without_another_run(visit: Visit, name: str, section: str):
    page = sized(visit(name), 1400, 900)
    heading = page.locator("h2", has_text=section)
    assert top(heading) > 300
    page.evaluate(
        "window.runs = 0; new MutationObserver(() => {"
        " if (document.querySelector('[data-test-script-state=running]')) window.runs += 1; }"
        ").observe(document.body, {subtree: true, attributes: true, attributeFilter: ['data-test-script-state']})"
    )
    page.locator(".contents a", has_text=section).click()
    arrived = "document.getElementById('who-disturbs-whom').getBoundingClientRect().top < 200"
    page.wait_for_function(arrived)
    assert page.evaluate("window.runs") == 0
    assert page.url.endswith("#who-disturbs-whom")
