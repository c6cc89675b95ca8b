"""A suite file drafted on the Experts page."""

from __future__ import annotations

from pathlib import Path

import pytest
from layouts import flat
from running import Start
from shown import text
from streamlit.testing.v1 import AppTest

from ri_analysis.ui import resources


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of checkpoints beside the open suite, in which one thing is left to decide."""
    made = flat(tmp_path / "mine")
    (made / "mnist.npz").rename(made / "digits.npz")
    return made


def look_through(app: AppTest, folder: Path | str) -> AppTest:
    app.switch_page("pages/experts.py").run()
    app.text_input(key="widget.experts.folder").set_value(str(folder))
    app.button(key="experts.look").click().run()
    assert not app.exception
    return app


def test_a_draft_is_mended_checked_written_and_opened(app: AppTest, folder: Path) -> None:
    look_through(app, folder)
    said = app.warning[0].value.replace("\\", "")
    assert "3 things to decide" in said
    assert "[[task]] mnist: no images were found under its name" in said
    assert "digits.npz (12 images in an npz file): the task" in said
    draft = app.text_area(key="widget.experts.draft")
    assert '# data = "digits.npz"' in draft.value  # the one under no task's name
    app.button(key="experts.draft.check").click().run()
    assert "key 'data' missing" in app.error[0].value.replace("\\", "")
    draft = app.text_area(key="widget.experts.draft")
    draft.set_value(draft.value.replace('# data = "digits', 'data = "digits', 1)).run()
    assert not app.error  # that was about another text
    app.button(key="experts.draft.check").click().run()
    assert "The draft passed the check." in app.success[0].value
    assert not (folder / "suite.toml").exists()
    app.button(key="experts.draft.write").click().run()
    assert not app.exception
    assert 'data = "digits.npz"' in (folder / "suite.toml").read_text()
    assert "Suite **mine**" in text(app)
    assert "widget.experts.draft" not in app.session_state


def test_no_file_is_replaced_and_none_written_elsewhere(app: AppTest, folder: Path) -> None:
    (folder / "suite.toml").write_text("mine")
    look_through(app, folder)
    wrong = {
        "suite.toml": "expected no such file yet",
        "../x.toml": "expected the name of a file that ends in .toml",
        "/tmp/x.toml": "expected the name of a file that ends in .toml",
        "suite.py": "expected the name of a file that ends in .toml",
    }
    for name, message in wrong.items():
        app.text_input(key="widget.experts.draft.name").set_value(name)
        app.button(key="experts.draft.write").click().run()
        assert message in app.error[0].value
    assert (folder / "suite.toml").read_text() == "mine"
    assert not (folder.parent / "x.toml").exists()
    app.text_input(key="widget.experts.draft.name").set_value("other.toml")
    app.button(key="experts.draft.write").click().run()
    assert (folder / "other.toml").is_file()


def test_a_folder_that_may_not_be_read_or_holds_nothing_is_one_message(
    start: Start, tiny: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = start(tiny)
    monkeypatch.setenv(resources.ALLOW, "")
    for path in (folder, folder / "nothing", tiny.parent / ".." / "mine", "/"):
        look_through(app, path)
        assert "points outside the folders that the app may read" in app.error[0].value.replace("\\", "")
    (tiny.parent / "empty").mkdir()
    look_through(app, tiny.parent / "empty")
    assert "suite/empty: expected experts" in app.error[0].value.replace("\\", "")
    app.button(key="experts.draft.close").click().run()
    assert not app.error


def test_the_drafts_text_may_lead_nowhere_else(app: AppTest, folder: Path, tmp_path: Path) -> None:
    look_through(app, folder)
    draft = app.text_area(key="widget.experts.draft")
    draft.set_value(draft.value.replace('"cars.npz"', '"/etc/passwd"')).run()
    app.button(key="experts.draft.check").click().run()
    assert "points outside the folders that the app may read" in app.error[0].value.replace("\\", "")


def test_a_checkpoint_opened_as_a_suite_leads_to_the_draft_which_outlives_another_page(
    app: AppTest, folder: Path
) -> None:
    app.switch_page("pages/experts.py").run()
    app.text_input(key="widget.experts.path").set_value(str(folder / "cars.safetensors"))
    app.button(key="experts.open").click().run()
    app.button(key="experts.instead.draft").click().run()
    assert not app.error
    draft = app.text_area(key="widget.experts.draft")
    draft.set_value(draft.value + "# mine\n").run()
    app.switch_page("pages/merge.py").run()
    app.switch_page("pages/experts.py").run()
    assert not app.exception
    assert app.text_area(key="widget.experts.draft").value.endswith("# mine\n")


def test_where_others_see_the_app_a_draft_is_only_downloaded(
    app: AppTest, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(resources.SHARED, "1")
    look_through(app, folder)
    keys = {button.key for button in app.button}
    assert not {"experts.draft.write", "experts.draft.check"} & keys
    assert any("have whoever runs the app put it into the folder" in each.value for each in app.caption)
