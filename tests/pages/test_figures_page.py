from __future__ import annotations

import io
import shutil
import zipfile
from collections.abc import Callable
from html import unescape
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from running import Start
from shown import clean, pinned, text
from streamlit.testing.v1 import AppTest
from streamlit.testing.v1.element_tree import Button

from ri_analysis.export import browser, shelf
from ri_analysis.export.shelf import SUFFIX
from ri_analysis.ui import resources, tray
from ri_analysis.views import figure_page

pytestmark = pytest.mark.long

PAGE = "pages/figures.py"
USUAL = ["headline", "accuracy-by-task", "interference-by-task", "crosstalk"]
Files = dict[str, Callable[[], bytes]]


@pytest.fixture
def app(app: AppTest, monkeypatch: pytest.MonkeyPatch) -> AppTest:
    monkeypatch.setattr(browser, "missing", lambda: browser.MISSING)
    monkeypatch.setattr(tray, "_MOMENT", 0.0)
    return app


@pytest.fixture
def files(monkeypatch: pytest.MonkeyPatch) -> Files:
    """What the download buttons that were drawn last would hand over, by their key."""
    found: Files = {}
    monkeypatch.setattr(figure_page.st, "download_button", lambda label, data, *_, key, **__: found.update({key: data}))
    return found


def key(number: int) -> str:
    """Return the key of the figure in a place of the tray."""
    return pinned()[number].key


def names() -> list[str]:
    return [snapshot.name for snapshot in pinned()]


def pin(app: AppTest, figure: str) -> None:
    """Press a figure's pin button, on a busy machine after more than one run of the page."""
    button(app, f"pin.{figure}").click()
    clean(app.run())


def button(app: AppTest, key: str) -> Button:
    for _ in range(8):
        found = [each for each in clean(app.run()).button if each.key == key]
        if found:
            return found[0]
    pytest.fail(f"{key} was not shown")


def two_figures(app: AppTest) -> None:
    """Pin two figures and turn to their page."""
    clean(app.run())
    pin(app, "headline")
    pin(app, "accuracy-by-task")
    clean(app.switch_page(PAGE).run())


def warnings(app: AppTest) -> str:
    return "\n".join(item.value for item in app.warning)


def test_an_empty_tray_shows_the_usual_figures_to_pin_one_or_all(app: AppTest):
    clean(app.switch_page(PAGE).run())
    assert "Nothing is pinned yet" in text(app)
    for figure in USUAL:
        button(app, f"pin.{figure}")
    pin(app, "crosstalk")
    assert names() == ["crosstalk"]
    app.button(key=f"tray.{key(0)}.delete").click()
    clean(app.run())
    button(app, "pin.crosstalk")  # all are drawn
    app.button(key="tray.standard").click()
    clean(app.run())
    assert names() == USUAL
    assert [item.value for item in app.text_input] == [snapshot.title for snapshot in pinned()]


def test_a_pinned_figure_stays_as_it_was_across_pages_and_choices(app: AppTest):
    clean(app.run())
    pin(app, "accuracy-by-task")
    first = pinned()[0]
    assert first.origin.recipes[0].startswith("Task Arithmetic, scale λ = 0.3")
    assert len(first.origin.suite_digest) == 32
    app.session_state["ri.choice"] = {"method": "averaging"}
    clean(app.run())
    pin(app, "accuracy-by-task")
    clean(app.switch_page(PAGE).run())
    assert len(pinned()) == 2
    assert pinned()[0].json == first.json
    assert "No Chrome or Chromium" in warnings(app)


def test_words_and_size_are_edited_kept_ordered_and_taken_out(app: AppTest):
    two_figures(app)
    first, second = key(0), key(1)
    app.text_input(key=f"tray.{first}.title").set_value("Means")
    app.selectbox(key=f"tray.{first}.venue").set_value("CVPR, ICCV, one column")  # as wide as ICML's
    clean(app.run())
    assert app.selectbox(key=f"tray.{first}.venue").value == "CVPR, ICCV, one column"
    app.number_input(key=f"tray.{second}.height").set_value(2.5)
    clean(app.run())
    clean(app.switch_page("pages/accuracy.py").run())
    clean(app.switch_page(PAGE).run())
    assert (pinned()[0].title, pinned()[0].width) == ("Means", 3.25)
    assert pinned()[0].printed.layout.width == pytest.approx(3.25 * 96)
    assert pinned()[1].height == 2.5
    app.selectbox(key=f"tray.{first}.venue").set_value("another width")
    clean(app.run())
    app.number_input(key=f"tray.{first}.width").set_value(4.0)
    clean(app.run())
    assert pinned()[0].width == 4.0
    app.button(key=f"tray.{first}.arrow_downward").click()
    clean(app.run())
    assert [key(0), key(1)] == [second, first]
    app.button(key=f"tray.{second}.delete").click()
    clean(app.run())
    assert [snapshot.title for snapshot in pinned()] == ["Means"]
    app.button(key="tray.put_back").click()
    clean(app.run())
    assert [key(0), key(1)] == [second, first]
    assert pinned()[0].height == 2.5


def test_every_file_has_the_words_size_and_order_that_the_page_shows(app: AppTest, files: Files):
    two_figures(app)
    first = key(0)
    app.text_input(key=f"tray.{first}.title").set_value("Means & more")
    app.text_area(key=f"tray.{first}.caption").set_value("What <we> found.")
    app.number_input(key=f"tray.{first}.height").set_value(2.5)
    clean(app.run())  # one run, as in a browser: what it draws must be what its buttons hand over
    app.button(key=f"tray.{first}.arrow_downward").click()
    clean(app.run())
    html = files["tray.report"]().decode()
    assert html.index("<h2>Accuracy per task</h2>") < html.index("<h2>Means &amp; more</h2>")
    assert "What &lt;we&gt; found." in html
    assert f'"height":{2.5 * 96}' in html
    with zipfile.ZipFile(io.BytesIO(files["tray.zip"]())) as archive:
        folders = sorted({name.partition("/")[0] for name in archive.namelist() if "/" in name})
        assert folders == ["01-accuracy-per-task", "02-means-more"]
        assert archive.read("02-means-more/02-means-more.txt").decode().startswith("Means & more\n\nWhat <we> found.")
    assert "<h1>Means & more</h1>" in unescape(files[f"tray.{first}.html"]().decode())
    assert pq.read_schema(io.BytesIO(files[f"tray.{first}.parquet"]())).metadata[b"title"] == b"Means & more"
    before_the_edit = files["tray.report"]
    app.text_area(key=f"tray.{first}.caption").set_value("Found later.")
    clean(app.run())
    assert "Found later." in before_the_edit().decode()  # pressed on leaving the field, before the page is drawn again


def test_figures_outlive_a_reload_and_are_every_sessions(app: AppTest, start: Start, tiny: Path, workspace: Path):
    two_figures(app)
    app.text_input(key=f"tray.{key(1)}.title").set_value("Mine")
    clean(app.run())
    other = start(tiny)
    clean(other.run())
    assert "Figures (2)" in [link.label for link in other.get("page_link")]
    clean(other.switch_page(PAGE).run())
    assert [item.value for item in other.text_input] == ["Before and after RI", "Mine"]
    other.text_input(key=f"tray.{key(1)}.title").set_value("Theirs")
    clean(other.run())
    app.text_area(key=f"tray.{key(1)}.caption").set_value("My caption")
    clean(app.run())
    assert (pinned()[1].title, pinned()[1].caption) == ("Theirs", "My caption")
    assert app.text_input(key=f"tray.{key(1)}.title").value == "Theirs"


def test_suites_of_one_name_have_figures_of_their_own(app: AppTest, start: Start, tiny: Path):
    clean(app.run())
    pin(app, "headline")
    copied = Path(shutil.copytree(tiny.parent, tiny.parents[1] / "copy")) / "suite.toml"
    clean((other := start(copied)).switch_page(PAGE).run())
    assert "Nothing is pinned yet" in text(other)


def test_figures_follow_a_suite_that_was_moved(start: Start, tiny: Path, tmp_path: Path):
    first = Path(shutil.copytree(tiny.parent, tmp_path / "first")) / "suite.toml"
    clean((app := start(first)).run())
    pin(app, "headline")
    moved = Path(shutil.move(first.parent, tmp_path / "second")) / "suite.toml"
    clean((app := start(moved)).switch_page(PAGE).run())
    assert names() == ["headline"]
    assert "Nothing is pinned yet" not in text(app)


def test_what_is_damaged_or_foreign_is_a_remark_and_stays(app: AppTest):
    two_figures(app)
    folder = next((resources.workspace() / "figures").iterdir())
    damaged = folder / f"{key(0)}{SUFFIX}"
    damaged.write_bytes(damaged.read_bytes()[:-30])
    (folder / "thesis.tex").write_text("mine")
    clean(app.run())
    assert f"{damaged.name}: expected a pinned figure, found" in warnings(app).replace("\\", "")
    assert "thesis.tex: expected only pinned figures" in warnings(app)
    assert len(app.text_input) == 1
    assert damaged.exists()
    assert (folder / "thesis.tex").exists()


def test_what_cannot_be_saved_lasts_for_the_session(app: AppTest, start: Start, tiny: Path, monkeypatch: Any):
    two_figures(app)

    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as full:
        full.setattr(shelf, "_packed", refuse)
        app.text_input(key=f"tray.{key(0)}.title").set_value("Unsaved")
        clean(app.run())
        assert app.text_input(key=f"tray.{key(0)}.title").value == "Unsaved"
        assert "no space left on device" in warnings(app)
        pin_page = app.switch_page("pages/interference.py")
        pin(pin_page, "crosstalk")
        assert "this browser tab only" in pin_page.toast[-1].value
        clean(app.switch_page(PAGE).run())
        assert [item.value for item in app.text_input] == ["Unsaved", "Accuracy per task", "Who disturbs whom"]
    clean((other := start(tiny)).switch_page(PAGE).run())
    assert [item.value for item in other.text_input] == ["Before and after RI", "Accuracy per task"]
    app.text_input(key=f"tray.{key(0)}.title").set_value("Saved")
    clean(app.run())
    assert pinned()[0].title == "Saved"


def test_the_tray_is_bounded(app: AppTest, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tray, "MOST", 1)
    clean(app.run())
    for _ in range(2):  # the same figure is not kept twice either
        pin(app, "headline")
    pin(app, "accuracy-by-task")
    assert names() == ["headline"]
    assert "full" in app.toast[-1].value


def test_nothing_is_read_again_until_it_changes(app: AppTest, monkeypatch: pytest.MonkeyPatch):
    two_figures(app)
    monkeypatch.setattr(shelf, "_unpacked", lambda path: pytest.fail(f"{path} was read again"))
    clean(app.run())
    assert len(app.text_input) == 2
