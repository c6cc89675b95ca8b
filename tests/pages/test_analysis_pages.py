from __future__ import annotations

import runpy
import time
from pathlib import Path
from threading import Event

import pandas as pd
import pytest
from shown import pinned, text
from streamlit.delta_generator import DeltaGenerator
from streamlit.runtime.scriptrunner import script_runner
from streamlit.testing.v1 import AppTest

from ri_analysis import figures
from ri_analysis.analyses import embeddings
from ri_analysis.analyses.clouds import Clouds, Prototypes
from ri_analysis.analyses.drift import measure_drift
from ri_analysis.analyses.maps import Map, pca_map
from ri_analysis.engine import Evaluator
from ri_analysis.ui import asking, frame, opening, pace, resources

pytestmark = pytest.mark.long

PAGES = Path(__file__).resolve().parents[2] / "pages"
SCRIPT = """
import streamlit as st
from ri_analysis.ui import shell
shell.run([st.Page("{pages}/{page}.py", default=True), st.Page("{pages}/resolve.py")])
"""


@pytest.fixture
def visit(tiny: Path, workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, registered: None):
    monkeypatch.setenv(resources.SUITE, str(tiny))
    monkeypatch.setenv(resources.WORKSPACE, str(workspace))
    monkeypatch.setenv(resources.DEVICE, "cpu")
    # However slow the machine is: AppTest does not come back for fragments.
    monkeypatch.setattr(opening, "PATIENCE", 60.0)
    monkeypatch.setattr(asking, "MOMENT", 60.0)
    # Have AppTest run the script itself, not its pages alone.
    monkeypatch.setattr(script_runner, "_mpa_v1", lambda path: runpy.run_path(path, run_name="__main__"))

    def open_page(page: str) -> AppTest:
        path = tmp_path / "app.py"
        path.write_text(SCRIPT.format(pages=PAGES.as_posix(), page=page))
        return clean(AppTest.from_file(str(path), default_timeout=60).run())

    return open_page


def clean(app: AppTest) -> AppTest:
    assert not app.exception, app.exception[0].message
    assert [item.value for item in app.error] == []
    return app


def press(app: AppTest, label: str) -> AppTest:
    """Press a button that starts a job, and wait until its answer is there."""
    next(button for button in app.button if button.label == label).click()
    clean(app.run())
    for _ in range(200):
        if not any(button.label in (label, "Cancel") for button in app.button):
            return app
        time.sleep(0.1)
        clean(app.run())
    raise AssertionError(f"{label}: no answer")


def test_interference_page_shows_what_the_engine_measures(visit, evaluator: Evaluator):
    app = visit("interference")
    before = measure_drift(evaluator, evaluator.recipe("task-arithmetic")).table("kl")
    assert f"{before['drift'].mean():.3g}" in text(app)
    assert "Based on all 72 test images of 3 tasks" in text(app)
    choice = next(item for item in app.segmented_control if "Distance" in item.label)
    choice.set_value("disagreement")
    clean(app.run())
    share = measure_drift(evaluator, evaluator.recipe("task-arithmetic")).table("disagreement")["drift"].mean()
    assert f"{share:.3g}" in text(app)
    assert "share of images" in text(app)


@pytest.fixture
def tables(monkeypatch: pytest.MonkeyPatch) -> dict[str, pd.DataFrame]:
    """The tables that pages offer to download, by the name of their file."""
    found: dict[str, pd.DataFrame] = {}
    caption = frame.caption

    def note(text: str, table: pd.DataFrame, name: str, *more: str) -> DeltaGenerator:
        found[name] = table
        return caption(text, table, name, *more)

    monkeypatch.setattr(frame, "caption", note)
    return found


def test_what_is_asked_for_comes_and_every_table_of_the_pages_is_an_analysis(
    visit, tables: dict[str, pd.DataFrame], monkeypatch: pytest.MonkeyPatch
):
    """What analyses declare is tested over the registry; here nothing else is offered."""
    app = visit("interference")
    assert "largest single contribution" not in text(app)
    app = press(app, "Compute contributions")
    assert "largest single contribution" in text(app)
    app = press(app, "Compute the plane")
    assert "At each point the two experts are added" in text(app)
    assert set(tables) == {
        "drift", "drift-images", "flips", "crosstalk", "drift-by-block", "contribution", "weight-cosine",
        "weight-interference", "overlap", "plane",
    }  # fmt: skip
    tables.clear()
    monkeypatch.setattr(pace, "SHORT", 1e6)
    visit("embeddings")
    assert set(tables) == {"map-pca", "feature-drift"}


def test_features_that_take_long_are_measured_in_the_background(visit):
    app = visit("embeddings")  # where nothing counts as short
    assert [button.label for button in app.button if button.key.startswith("cancel.")] == ["Cancel"]
    for _ in range(600):
        if "two main axes of the experts' features" in text(app):
            break
        time.sleep(0.2)
        clean(app.run())
    assert "two main axes of the experts' features" in text(app)


def test_embeddings_page_draws_pca_at_once(visit, monkeypatch: pytest.MonkeyPatch):
    ready = Event()

    def slow(_: Evaluator, clouds: Clouds, prototypes: Prototypes, __: object) -> Map:
        assert ready.wait(300)
        return pca_map(clouds, prototypes)

    monkeypatch.setattr(embeddings, "umap_map", slow)
    monkeypatch.setattr(pace, "SHORT", 1e6)
    app = visit("embeddings")
    assert "two main axes of the experts' features" in text(app)
    assert "never read off the map" in text(app)
    assert "Nothing is selected yet." in text(app)
    monkeypatch.setattr(asking, "MOMENT", 0.1)
    monkeypatch.setattr(opening, "PATIENCE", 0.1)
    app.segmented_control[0].set_value("umap")
    clean(app.run())
    assert "Showing PCA until UMAP is ready." in text(app)
    assert "two main axes of the experts' features" in text(app)
    assert [button.label for button in app.button if button.key.startswith("cancel.")] == ["Cancel"]
    ready.set()
    for _ in range(600):
        if "Showing PCA" not in text(app):
            break
        time.sleep(0.2)
        clean(app.run())
    assert "Showing PCA" not in text(app)


LOOK = "Based on 48 test images of 3 tasks, a fixed sample of at most 16 a task"


def test_more_images_follow_a_first_look_in_the_background(visit, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(asking, "MOMENT", -1.0)
    app = visit("interference")
    assert LOOK in text(app)
    for _ in range(200):
        if LOOK not in text(app):
            break
        time.sleep(0.1)
        clean(app.run())
    assert "Based on all 72 test images of 3 tasks" in text(app)


def test_more_images_that_take_long_have_to_be_asked_for(visit, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(asking, "MOMENT", -1.0)
    monkeypatch.setattr(asking, "PATIENCE", -1.0)
    app = visit("interference")
    clean(app.run())
    assert LOOK in text(app)
    assert "A first look at 16 images a task; measuring more takes about" in text(app)
    app.button(key="start.drift").click()
    clean(app.run())
    for _ in range(200):
        if not any(button.key == "start.drift" for button in app.button) and LOOK not in text(app):
            break
        time.sleep(0.1)
        clean(app.run())
    assert "Based on all 72 test images of 3 tasks" in text(app)
    assert any(button.key == "start.crosstalk" for button in app.button)  # which nobody asked for


def test_the_map_is_drawn_for_print_when_it_is_pinned(visit, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(pace, "SHORT", 1e6)
    drawn: list[object] = []
    clouds = figures.clouds
    monkeypatch.setattr(figures, "clouds", lambda *given: drawn.append(given) or clouds(*given))
    app = visit("embeddings")
    assert not drawn
    clean(app.button(key="pin.map-pca").click().run())
    assert len(drawn) == 1
    [snapshot] = pinned()
    assert len(snapshot.figure.data) > 0
