from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from shown import clean, text
from streamlit.testing.v1 import AppTest
from tiny import make_suite

from ri_analysis.engine import Evaluator
from ri_analysis.figures import words

PAGES = ["pages/overview.py", "pages/merge.py", "pages/accuracy.py", "pages/resolve.py"]


def visit(app: AppTest, page: str) -> AppTest:
    return app.run() if page == PAGES[0] else app.switch_page(page).run()


@pytest.mark.parametrize("page", PAGES)
def test_every_page_opens(app: AppTest, page: str):
    clean(visit(app, page))
    assert app.title
    assert app.query_params["method"] == "task-arithmetic"


def test_overview_shows_what_the_engine_measures(app: AppTest, evaluator: Evaluator):
    clean(app.run())
    before = evaluator.measure(evaluator.recipe("task-arithmetic"))
    after = evaluator.measure(evaluator.recipe("task-arithmetic", experts="ri"))
    shown = {item.label: item for item in app.metric}
    assert shown["Mean accuracy"].value == words.percent(after.mean_accuracy[0])
    assert shown["Normalised accuracy"].value == words.percent(after.mean_normalised_accuracy)
    assert shown["Mean interference ξ"].value == words.nats(after.mean_interference[0])
    change = after.mean_interference[0] - before.mean_interference[0]
    assert shown["Mean interference ξ"].delta == words.nats_change(change).replace("−", "-")
    assert words.percent(before.mean_accuracy[0]) in text(app)
    assert f"{before.n} test images" in text(app)
    assert "how far the merged model's predictions have moved" in text(app)
    assert "on average an expert moves" in text(app).lower()


def test_accuracy_says_whether_it_is_absolute_or_normalised(app: AppTest):
    clean(visit(app, "pages/accuracy.py"))
    assert "Absolute: each bar" in text(app)
    app.session_state["ri.choice"] = {"method": "task-arithmetic", "accuracy.view": "normalised"}
    clean(app.run())
    assert "Normalised: each bar" in text(app)
    assert set(app.query_params) == {"method", "accuracy.view"}  # a link restores the view too
    clean(app.switch_page("pages/overview.py").run())
    assert set(app.query_params) == {"method"}  # it is no part of the recipe, so no other page's link has it
    clean(app.switch_page("pages/accuracy.py").run())
    table = app.dataframe[0].value
    assert list(table["task"]) == ["Reds", "Greens", "Blues"]
    assert all(cell.startswith("100.0% (") for cell in table["expert"])
    assert {"zero-shot", "expert", "merged before RI", "merged after RI"} <= set(table)


def test_without_an_ri_set_there_is_only_before(start: Callable[[Path], AppTest], tmp_path: Path):
    suite = make_suite(tmp_path / "bare", resolved=False)
    app = start(suite)
    for page in PAGES[:3]:
        clean(visit(app, page))
        assert "no RI-adapted experts yet" in text(app)
    clean(visit(app, PAGES[3]))
    assert "None yet." in text(app)


@pytest.mark.parametrize("damage", ["toml", "missing", "weights"])
def test_an_unreadable_suite_is_one_message(start: Callable[[Path], AppTest], tiny: Path, damage: str):
    if damage == "toml":
        tiny.write_text("name = ")
    elif damage == "weights":
        expert = tiny.parent / "original" / "Reds.safetensors"
        expert.write_bytes(expert.read_bytes()[:1000])
    app = start(tiny if damage != "missing" else tiny.parent / "nowhere.toml").run()
    assert not app.exception
    assert len(app.error) == 1
    assert "expected" in app.error[0].value
