from __future__ import annotations

import pytest
from shown import clean, text
from streamlit.testing.v1 import AppTest

PAGES = ["overview", "merge", "accuracy", "interference", "sensitivity", "embeddings", "figures"]


def visit(app: AppTest, page: str, **entries: str) -> AppTest:
    for name, value in entries.items():
        app.query_params[name] = value
    return clean(app.run() if page == "overview" else app.switch_page(f"pages/{page}.py").run())


@pytest.mark.parametrize("page", PAGES)
def test_a_method_of_two_experts_offers_to_choose_them_in_place(app: AppTest, page: str) -> None:
    visit(app, page, method="slerp")
    assert "SLERP merges exactly 2 experts; 3 are switched on." in text(app)
    assert app.multiselect(key="choosing.slerp").value == ["Reds", "Greens"]
    app.multiselect(key="choosing.slerp").set_value(["Greens", "Blues"])
    clean(app.button(key="choosing.merge").click().run())
    assert "switched on" not in text(app)
    assert app.query_params["off"] == "Reds"


def test_too_few_experts_are_not_taken(app: AppTest) -> None:
    visit(app, "accuracy", method="slerp")
    app.multiselect(key="choosing.slerp").set_value(["Greens"])
    clean(app.button(key="choosing.merge").click().run())
    assert "Choose 1 more." in text(app)
    assert "off" not in app.query_params


@pytest.mark.parametrize("page", PAGES)
def test_no_task_is_one_sentence_and_a_way_to_switch_them_on(app: AppTest, page: str) -> None:
    visit(app, page, off="Reds,Greens,Blues")
    assert "No task is switched on, so there is nothing to merge." in text(app)
    assert not app.metric
    assert [item.key for item in app.main.button] == ["choosing.merge"]
    clean(app.button(key="choosing.merge").click().run())
    assert "No task is switched on" not in text(app)
    assert "off" not in app.query_params
