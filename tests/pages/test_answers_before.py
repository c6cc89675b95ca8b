"""Answers that came with the suite: pages show them at once, say so, and measure them again when asked."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from shown import clean, text
from streamlit.testing.v1 import AppTest

from ri_analysis.analyses import embeddings
from ri_analysis.analyses.maps import pca_map
from ri_analysis.demo.answers import gather
from ri_analysis.encoder import Encoder
from ri_analysis.engine import Evaluator
from ri_analysis.engine.shipped import FILE, Made, Shippable, write_shipped
from ri_analysis.studies import sensitivity
from ri_analysis.suite import open_suite
from ri_analysis.ui import pace, resources

pytestmark = pytest.mark.long

MADE = Made("2026-11-28", "0.1.0", "2.0", "Intel(R) Xeon(R) Processor", 2, "Linux x86_64")
SAYS = "Result that came with the suite: 28 Nov 2026, ri-analysis 0.1.0, 2-core Intel Xeon."


def make_small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have what pages ask first take little: UMAP is slow."""
    drawn = lambda evaluator, clouds, anchors, progress: pca_map(clouds, anchors)  # noqa: E731
    monkeypatch.setattr(embeddings, "umap_map", drawn)
    monkeypatch.setattr(sensitivity, "OWN_LEVELS", 4)
    monkeypatch.setattr(sensitivity, "OWN_IMAGES", 6)


@pytest.fixture(scope="module")
def answers(tiny_template: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Shippable]:
    """What pages ask first of the tiny suite: every copy of it has the same content, so the same answers."""
    folder = tmp_path_factory.mktemp("answers")
    suite = Path(shutil.copytree(tiny_template, folder / "suite")) / "suite.toml"
    with pytest.MonkeyPatch.context() as patch:
        make_small(patch)
        found = gather(str(suite), folder / "work", (), lambda _: None)
    return [answer for several in found.values() for answer in several]


@pytest.fixture
def shipped(tiny: Path, answers: list[Shippable], monkeypatch: pytest.MonkeyPatch) -> Path:
    """The answers beside the suite file."""
    make_small(monkeypatch)
    path = tiny.parent / FILE
    write_shipped(path, answers, MADE)
    return path


def forbid(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("an image was encoded")

    for name in ("features", "features_of_many", "block_tokens_of_many"):
        monkeypatch.setattr(Encoder, name, refuse)


@pytest.mark.parametrize("page", ["overview", "accuracy", "interference", "embeddings", "sensitivity"])
def test_a_page_shows_what_came_with_the_suite_and_encodes_nothing(
    app: AppTest, shipped: Path, page: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    clean(app.run())  # the suite is checked: that looks at images
    resources.forget()
    forbid(monkeypatch)
    clean(app.switch_page(f"pages/{page}.py").run())
    assert SAYS in text(app)


def test_measuring_again_replaces_what_came_with_the_suite(app: AppTest, shipped: Path) -> None:
    resources.forget()
    clean(app.run())
    clean(app.switch_page("pages/accuracy.py").run())
    app.button(key="start.again.accuracy").click().run()
    job = resources.jobs().starting_with("again.accuracy")[-1]
    job.wait(60)
    assert job.error is None
    assert SAYS not in text(clean(app.run()))


def test_without_them_everything_is_measured_here(tiny: Path, workspace: Path, shipped: Path) -> None:
    recipe_of = {}
    for fresh in (False, True):
        evaluator = Evaluator(open_suite(str(tiny), workspace), workspace, "cpu", fresh=fresh)
        recipe_of[fresh] = evaluator.kept(evaluator.recipe("task-arithmetic"))
    assert recipe_of == {False: True, True: False}


@pytest.mark.parametrize(
    ("page", "drawn"),
    [("interference", "largest single contribution"), ("sensitivity", "The plateau is the range")],
)
def test_what_is_short_starts_by_itself(app: AppTest, page: str, drawn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace, "SHORT", 1e6)
    monkeypatch.setattr(sensitivity, "OWN_LEVELS", 4)
    monkeypatch.setattr(sensitivity, "OWN_IMAGES", 6)
    of_others = resources.jobs().starting_with("")  # tests before this one
    clean(app.run())
    clean(app.switch_page(f"pages/{page}.py").run())
    for job in resources.jobs().starting_with(""):
        if job not in of_others:
            job.wait(120)
            assert job.error is None
    clean(app.run())
    assert drawn in text(app) + "".join(item.value for item in app.subheader)


def test_a_study_waits_for_its_button(app: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace, "SHORT", 1e6)
    clean(app.run())
    clean(app.switch_page("pages/studies.py").run())
    assert app.button(key="start.study").label == "Run study"
    assert not [job for job in resources.jobs().starting_with("study:") if job.look().running]


def test_a_coarse_grid_is_there_while_the_whole_would_take_long(app: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sensitivity, "OWN_LEVELS", 4)
    monkeypatch.setattr(sensitivity, "OWN_IMAGES", 6)
    monkeypatch.setattr(pace, "SHORT", 1.0)
    monkeypatch.setattr(pace, "seconds", lambda _, __, ___, merges: 100.0 if merges > 8 else 0.5)
    clean(app.run())
    clean(app.switch_page("pages/sensitivity.py").run())
    [job] = resources.jobs().starting_with("sensitivity first")
    job.wait(60)
    assert job.error is None
    clean(app.run())
    assert app.button(key="sensitivity.start")
    assert "Accuracy over both axes" in text(app)
