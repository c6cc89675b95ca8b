from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from shown import clean, text
from streamlit.testing.v1 import AppTest
from tiny import make_suite

from ri_analysis.analyses import summary
from ri_analysis.engine import Comparison, Evaluator
from ri_analysis.figures import words
from ri_analysis.glossary import TERMS, find_term
from ri_analysis.ui import analysis, headings

MARK = '<span class="term"'


def meanings(app: AppTest) -> list[str]:
    """Return the meanings that the page's texts explain, in order."""
    parts = [part for item in app.main.markdown for part in item.value.split('role="tooltip">')[1:]]
    return [part.split("</span>")[0] for part in parts]


def test_without_an_ri_set_the_answer_is_about_the_merge_alone(start: Callable[[Path], AppTest], tmp_path: Path):
    app = clean(start(make_suite(tmp_path / "bare", resolved=False)).run())
    shown = text(app)
    assert summary.RI in shown
    assert "RI raises" not in shown
    assert "after RI" not in app.main.markdown[0].value
    assert all(not metric.delta for metric in app.metric)


def test_a_change_that_is_not_clear_is_grey_and_said_to_be_none(app: AppTest, evaluator: Evaluator):
    clean(app.run())
    recipes = [evaluator.recipe("task-arithmetic", experts=name) for name in ("original", "mild")]
    comparison = Comparison.of(evaluator.measure(recipe) for recipe in recipes)
    accuracy = next(item for item in app.metric if item.label == "Mean accuracy")
    assert comparison.accuracy_change is not None
    assert not comparison.accuracy_change.clear  # 24 images a task do not tell
    assert accuracy.delta == words.NO_CLEAR_CHANGE
    assert accuracy.proto.color == accuracy.proto.MetricColor.GRAY
    table = clean(app.switch_page("pages/accuracy.py").run()).dataframe[0].value
    assert any(cell.startswith(f"{words.NO_CLEAR_CHANGE} (") for cell in table["change by RI"])


def test_a_page_explains_each_term_once_and_again_when_it_is_drawn_again(app: AppTest):
    first = meanings(clean(app.run()))
    assert find_term("interference").meaning.replace("'", "&#x27;") in first
    assert len(first) == len(set(first))
    assert meanings(clean(app.run())) == first
    assert meanings(clean(app.switch_page("pages/interference.py").run()))


def test_the_sidebar_holds_every_term(app: AppTest):
    clean(app.run())
    (shown,) = [item.value for item in app.sidebar.markdown if item.value.startswith("- **auxiliary")]
    assert all(f"- **{term.name}**: {term.meaning}" in shown for term in TERMS)


def test_the_contents_name_the_sections_that_are_drawn(app: AppTest):
    clean(app.run())
    anchors = {item.value: item.anchor for item in app.header}
    assert list(anchors) == ["Task by task", "Who disturbs whom", "Next steps and details"]
    assert all(anchor == headings.anchor(title) for title, anchor in anchors.items())
    (shown,) = [item.proto.body for item in app.get("html") if 'class="contents"' in item.proto.body]
    links = [f'<a href="#{anchor}" target="_self">{title}</a>' for title, anchor in anchors.items()]
    assert "".join(links) in shown


def test_sessions_that_ask_for_the_same_share_its_figures(
    start: Callable[[Path], AppTest], tiny: Path, monkeypatch: pytest.MonkeyPatch
):
    drawn = clean(start(tiny).run()).get("plotly_chart")
    put: list[object] = []
    monkeypatch.setattr(analysis._figures, "put", lambda key, *_: put.append(key))
    again = clean(start(tiny).run()).get("plotly_chart")
    assert put == []
    assert [chart.proto.spec for chart in again] == [chart.proto.spec for chart in drawn]
