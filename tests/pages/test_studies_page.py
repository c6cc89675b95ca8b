from __future__ import annotations

import json
from pathlib import Path
from threading import Event
from typing import Any

import pandas as pd
import pytest
from shown import clean, pinned, text
from streamlit.testing.v1 import AppTest
from tiny import TASKS

from ri_analysis.progress import Progress
from ri_analysis.studies import STUDIES
from ri_analysis.studies.conducting.conduct import Results, conduct
from ri_analysis.ui import resources
from ri_analysis.views import studies

PAGE = "pages/studies.py"
SMALL = {
    "studies.name": "steps",
    "studies.steps.methods": "iso-c",
    "studies.steps.longest": "2",
    "studies.steps.halvings": "1",
    "studies.steps.images": "4",
}


def choose(app: AppTest, **changed: str) -> AppTest:
    app.session_state["ri.choice"] = {**SMALL, **{f"studies.steps.{name}": value for name, value in changed.items()}}
    return app.switch_page(PAGE).run()


def test_a_study_is_carried_out_on_request_and_kept(app: AppTest, tiny: Path):
    clean(choose(app, seeds="2"))
    assert STUDIES["steps"].question in text(app)
    assert STUDIES["steps"].finding in text(app)
    assert f"ri-analysis study steps {tiny} --out studies/steps --set methods=iso-c" in text(app)
    assert "steps: 9 measurements, none saved" in text(app)  # four runs, and five merges
    app.button(key="start.study").click().run()
    job = resources.jobs().starting_with("study:")[-1]
    job.wait(120)
    assert job.error is None
    clean(app.run())
    assert "**Here:** " in text(app)
    assert "thick bars run from the lowest to the highest" in text(app)
    assert list(app.table[0].value["steps"]) == [1, 2]
    app.button(key="pin.steps-accuracy").click().run()
    [held] = pinned()
    assert (held.name, held.origin.recipes) == ("steps-accuracy", ())
    assert held.origin.commands[0].startswith("ri-analysis study steps")
    assert "seeds=2" in held.origin.commands[0]
    resources.memory.clear()
    clean(app.run())
    assert len(app.table) == 1  # from the store, nothing asked for
    assert app.query_params["studies.steps.seeds"] == "2"


def test_a_study_that_goes_on_shows_what_has_been_measured(app: AppTest, monkeypatch: pytest.MonkeyPatch):
    reached, go_on = Event(), Event()

    def slowly(*arguments: Any, progress: Progress, results: Results, **named: Any) -> pd.DataFrame:
        def hold(done: int, total: int) -> None:
            progress(done, total)
            if len(results) == 6:  # four RI runs, then merges
                reached.set()
                go_on.wait(60)

        return conduct(*arguments, progress=hold, results=results, **named)

    monkeypatch.setattr(studies, "conduct", slowly)
    clean(choose(app, seeds="2"))
    app.button(key="start.study").click().run()
    try:
        assert reached.wait(120)
        clean(app.run())
        assert "Each dot is a measured merge" in text(app)
        [chart] = app.get("plotly_chart")
        traces = json.loads(chart.proto.spec)["data"]
        assert [trace["name"] for trace in traces] == ["merged before RI", "merged after RI"]
        [[_], [hover]] = (trace["hovertext"] for trace in traces)
        assert hover.startswith("<b>Iso-C, scale λ = 1</b>")
        assert hover.endswith("test images")
    finally:
        go_on.set()
    job = resources.jobs().starting_with("study:")[-1]
    job.wait(120)
    assert job.error is None


def test_settings_are_a_form_that_counts_once_it_is_applied(app: AppTest):
    clean(choose(app))
    app.multiselect(key="widget.studies.steps.methods").set_value(["tsv-m", "ties"])
    app.number_input(key="widget.studies.steps.longest").set_value(3)
    apply = next(button for button in app.button if button.label == "Apply")
    app = clean(apply.click().run())
    assert app.query_params["studies.steps.methods"] == "tsv-m,ties"
    assert "--set methods=tsv-m,ties --set longest=3" in text(app)
    app.multiselect(key="widget.studies.steps.methods").set_value([])
    next(button for button in app.button if button.label == "Apply").click().run()
    assert not app.exception
    assert "methods must be one or more" in app.error[0].value
    assert app.query_params["studies.steps.methods"] == "tsv-m,ties"  # nothing was taken
    assert app.multiselect(key="widget.studies.steps.methods").value == []  # there to be mended


def test_numbers_and_axes_are_chosen_from_what_there_is(app: AppTest):
    app.session_state["ri.choice"] = {"studies.name": "ablation", "studies.ablation.alphas": "0,4"}
    app = clean(app.switch_page(PAGE).run())
    assert app.multiselect(key="widget.studies.ablation.alphas").value == ["0", "4"]
    app.session_state["ri.choice"] = {"studies.name": "sensitivity", "studies.sensitivity.methods": "ties,dare"}
    app = clean(app.run())
    axis = app.selectbox(key="widget.studies.sensitivity.x")
    coefficients = [f"coefficient of {task}" for task in TASKS]
    assert axis.options == ["scale λ", "density", *coefficients]
    assert app.selectbox(key="widget.studies.sensitivity.y").options == ["none (curves)", "density", *coefficients]


def test_every_study_can_be_chosen(app: AppTest):
    app = clean(app.switch_page(PAGE).run())
    for name in STUDIES:
        app.session_state["ri.choice"] = {"studies.name": name}
        clean(app.run())
        assert app.button(key="start.study")
        assert f"{name}: " in text(app), name
