from __future__ import annotations

import pytest
from shown import clean
from streamlit.testing.v1 import AppTest
from streamlit.testing.v1.element_tree import Button

from ri_analysis.export import browser
from ri_analysis.ui import tray

PAGE = "pages/figures.py"


@pytest.fixture
def app(app: AppTest, monkeypatch: pytest.MonkeyPatch) -> AppTest:
    monkeypatch.setattr(browser, "missing", lambda: browser.MISSING)
    return app


def held(app: AppTest) -> list[tray.Pinned]:
    found: list[tray.Pinned] = app.session_state["ri.tray"]
    return found


def test_an_empty_tray_says_how_to_fill_it(app: AppTest):
    clean(app.switch_page(PAGE).run())
    assert "No figure is pinned yet" in app.info[0].value
    app.button(key="tray.standard").click()
    clean(app.run())
    assert [item.snapshot.name for item in held(app)] == [
        "headline",
        "accuracy-by-task",
        "interference-by-task",
        "crosstalk",
    ]


def test_a_pinned_figure_stays_as_it_was_across_pages_and_choices(app: AppTest):
    clean(app.run())
    pin(app, "accuracy-by-task").click()
    clean(app.run())
    first = held(app)[0].snapshot
    assert first.origin.recipes[0].startswith("Task Arithmetic, scale λ = 0.3")
    assert len(first.origin.suite_digest) == 32
    app.session_state["ri.choice"] = {"method": "averaging"}
    clean(app.run())
    pin(app, "accuracy-by-task").click()
    clean(app.run())
    clean(app.switch_page(PAGE).run())
    assert len(held(app)) == 2
    assert held(app)[0].snapshot.json == first.json
    assert "no Chrome or Chromium" in app.warning[0].value.replace("No Chrome", "no Chrome")


def test_words_and_size_are_edited_kept_ordered_and_taken_out(app: AppTest):
    clean(app.run())
    pin(app, "headline").click()
    clean(app.run())
    pin(app, "accuracy-by-task").click()
    clean(app.run())
    clean(app.switch_page(PAGE).run())
    app.text_input(key="tray.1.title").set_value("Means")
    app.selectbox(key="tray.1.venue").set_value("ICML, one column")
    clean(app.run())
    app.number_input(key="tray.2.height").set_value(2.5)
    clean(app.run())
    clean(app.switch_page("pages/accuracy.py").run())
    clean(app.switch_page(PAGE).run())
    first, second = (item.snapshot for item in held(app))
    assert (first.title, first.width) == ("Means", 3.25)
    assert first.printed.layout.width == pytest.approx(3.25 * 96)
    assert second.height == 2.5
    app.button(key="tray.1.arrow_downward").click()
    clean(app.run())
    assert [item.number for item in held(app)] == [2, 1]
    app.button(key="tray.2.delete").click()
    clean(app.run())
    assert [item.snapshot.title for item in held(app)] == ["Means"]


def pin(app: AppTest, figure: str) -> Button:
    """Return a figure's pin button, on a busy machine after more than one run of the page."""
    for _ in range(5):
        found = [button for button in clean(app.run()).button if button.key == f"pin.{figure}"]
        if found:
            return found[0]
    pytest.fail(f"{figure} was not shown")


def test_the_tray_is_bounded(app: AppTest, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tray, "MOST", 1)
    for _ in range(2):  # the same figure is not kept twice either
        pin(app, "headline").click()
        clean(app.run())
    pin(app, "accuracy-by-task").click()
    clean(app.run())
    assert [item.snapshot.name for item in held(app)] == ["headline"]
    assert "full" in app.toast[-1].value
