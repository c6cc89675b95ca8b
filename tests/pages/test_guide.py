from __future__ import annotations

from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from ri_analysis.ui import guide


@pytest.fixture
def app(app: AppTest, monkeypatch: pytest.MonkeyPatch, tiny: Path) -> AppTest:
    monkeypatch.setattr(guide, "EMBEDDED", (str(tiny),))
    return app


def welcomed(app: AppTest) -> bool:
    assert not app.exception, app.exception[0].message
    return any(item.value.startswith("**First time here?**") for item in app.markdown)


def links(app: AppTest) -> list[str]:
    """Return what the guide's links say: the sidebar has one to each page before them."""
    return [item.proto.label for item in app.get("page_link") if item.proto.label.startswith("**")]


def test_a_first_visit_is_guided_until_the_guide_is_closed(app: AppTest):
    assert welcomed(app.run())
    assert links(app) == [f"**{step.title}**" for step in guide.STEPS]
    app.switch_page("pages/merge.py").run()
    assert not welcomed(app)
    assert welcomed(app.switch_page("pages/overview.py").run())
    assert links(app)[0] == f"**{guide.STEPS[0].title}** (visited)"
    assert not welcomed(app.button(key="guide.close").click().run())
    app.switch_page("pages/merge.py").run()
    assert not welcomed(app.switch_page("pages/overview.py").run())


def test_who_comes_by_a_link_is_not_guided(app: AppTest):
    app.query_params["method"] = "ties"
    assert not welcomed(app.run())


def test_a_suite_of_ones_own_is_not_guided(app: AppTest, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(guide, "EMBEDDED", ())
    assert not welcomed(app.run())
