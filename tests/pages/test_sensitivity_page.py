from __future__ import annotations

from dataclasses import replace

import pytest
from shown import clean, pinned, text
from streamlit.testing.v1 import AppTest

from ri_analysis.hyperparameters import Hyperparameter
from ri_analysis.studies import sensitivity
from ri_analysis.studies.conducting.conduct import conduct, plan
from ri_analysis.studies.conducting.tables import KeptTable
from ri_analysis.studies.study import Setting
from ri_analysis.ui import resources
from ri_analysis.views import sensitivity as page

PAGE = "pages/sensitivity.py"


@pytest.fixture
def app(app: AppTest, monkeypatch: pytest.MonkeyPatch) -> AppTest:
    monkeypatch.setattr(sensitivity, "OWN_LEVELS", 4)
    monkeypatch.setattr(sensitivity, "OWN_IMAGES", 6)
    return app


def finish(app: AppTest) -> AppTest:
    """Press the button, wait for the work behind it, and look again."""
    app.button(key="sensitivity.start").click().run()
    job = resources.jobs().starting_with("sensitivity:")[-1]
    job.wait(120)
    assert job.error is None
    return clean(app.run())


def pinned_as(app: AppTest, name: str, kind: str, command: str) -> None:
    """Pin a figure; the tray then holds it last, drawn by traces of a kind, with a command that begins so."""
    app.button(key=f"pin.{name}").click()
    clean(app.run())
    snapshot = pinned()[-1]
    assert snapshot.name == name
    assert "Click" not in snapshot.caption
    assert kind in {trace.type for trace in snapshot.figure.data}
    assert snapshot.origin.commands[0].startswith(command)


def test_a_surface_is_measured_on_request_and_kept(app: AppTest):
    app.session_state["ri.choice"] = {"method": "ties"}
    clean(app.switch_page(PAGE).run())
    assert "4 × 4 grid before and after RI" in text(app)
    assert "none saved" in text(app)
    assert not app.dataframe
    finish(app)
    [plateaus] = app.dataframe
    assert list(plateaus.value["RI"]) == ["before", "after"]
    assert not plateaus.value["plateau"].str.contains(" to ").any()  # in the CSV
    assert "Star: best; ring: default" in text(app)
    pinned_as(app, "sensitivity", "contour", "ri-analysis study sensitivity")
    app.session_state["ri.choice"] = {"method": "ties", "sensitivity.view": "landscape"}
    clean(app.run())
    pinned_as(app, "sensitivity-landscape", "surface", "ri-analysis study sensitivity")
    clean(app.switch_page("pages/figures.py").run())
    assert sum("figure is a bitmap" in item.value for item in app.caption) == 1  # the landscape
    app.session_state["ri.choice"] = {"method": "ties"}
    clean(app.switch_page(PAGE).run())
    resources.memory.clear()
    clean(app.run())
    assert len(app.dataframe) == 1  # from the store, nothing asked for


def test_a_curve_over_one_task_and_methods_without_axes(app: AppTest):
    app.session_state["ri.choice"] = {"method": "iso-c", "sensitivity.x": "Greens", "sensitivity.y": page.NONE}
    clean(app.switch_page(PAGE).run())
    assert app.selectbox(key="widget.sensitivity.x").value == "Greens"
    finish(app)
    assert "bars the plateaus" in text(app)
    pinned_as(app, "sensitivity", "scatter", "ri-analysis study sensitivity")
    app.session_state["ri.choice"] = {"method": "karcher"}
    clean(app.run())
    assert "no hyperparameter to vary" in text(app)


def test_a_surface_measured_where_it_is_unsure_says_what_that_saved_and_can_be_completed(
    app: AppTest, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(sensitivity, "next_places", lambda *_: [])
    app.session_state["ri.choice"] = {"method": "ties"}
    clean(app.switch_page(PAGE).run())
    app.button(key="sensitivity.save").click().run()
    job = resources.jobs().starting_with("sensitivity:")[-1]
    job.wait(120)
    assert job.error is None
    clean(app.run())
    assert "points of each surface, saving" in text(app)
    assert len(app.dataframe) == 1
    resources.memory.clear()
    clean(app.run())  # from the store
    assert "points of each surface, saving" in text(app)
    assert len(app.dataframe) == 1
    assert app.button(key="sensitivity.start").label == "Measure the rest"
    finish(app)
    assert not [item for item in app.button if item.key in ("sensitivity.start", "sensitivity.save")]


def test_methods_stand_on_one_axis_once_the_study_has_measured_them(app: AppTest, monkeypatch: pytest.MonkeyPatch):
    clean(app.switch_page(PAGE).run())
    assert "Nothing is measured yet: run the study" in text(app)
    small = replace(sensitivity.STUDY, settings=tuple(_small(item) for item in sensitivity.STUDY.settings))
    monkeypatch.setattr(sensitivity, "STUDY", small)
    settings = {item.name: item.default for item in small.settings}
    evaluator = resources.evaluator(resources.BACKGROUND, resources.suite_name())
    rounds = small.rounds(evaluator, settings)
    table = conduct(rounds, evaluator, planned=plan(small.rounds(evaluator, settings), evaluator))
    KeptTable.of_study(small, settings, evaluator).keep(table, 1, 1.0)
    clean(app.run())
    app.button(key="start.effective").click().run()
    (job,) = resources.jobs().starting_with("effective:")
    job.wait(60)
    clean(app.run())
    assert "1 is as far as averaging goes" in text(app)
    pinned_as(app, "methods-together", "scatter", "ri-analysis study sensitivity")


def _small(item: Hyperparameter | Setting) -> Hyperparameter | Setting:
    values = {"methods": "task-arithmetic,ties", "levels": 3, "images": 6}
    return replace(item, default=values.get(item.name, item.default))


def test_a_clicked_place_is_read_whatever_its_form():
    assert page._place_of({"customdata": {"0": 0.5, "1": 0.2}}) == [0.5, 0.2]
    assert page._place_of({"customdata": [0.5, 0.2]}) == [0.5, 0.2]
    assert page._place_of({"x": 0.5, "y": 0.7}) == [0.5]
