from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from running import Start
from safetensors.torch import load_file, save_file
from shown import text
from streamlit.testing.v1 import AppTest
from tiny import make_suite

from ri_analysis.engine import Report, check_suite
from ri_analysis.ui import opening, resources
from ri_analysis.ui.jobs import Job


@pytest.fixture
def other(tmp_path: Path) -> Path:
    """Another suite, of the same tasks, without RI-adapted experts."""
    path = make_suite(tmp_path / "other", resolved=False, seed=1)
    path.write_text(path.read_text().replace('name = "tiny"', 'name = "other"'))
    return path


def visit(app: AppTest) -> AppTest:
    return app.switch_page("pages/experts.py").run()


def open_suite_file(app: AppTest, path: Path | str) -> AppTest:
    app.text_input(key="widget.experts.path").set_value(str(path))
    return app.button(key="experts.open").click().run()


def test_the_page_says_what_each_file_is(app: AppTest, tiny: Path) -> None:
    assert not visit(app).exception
    assert not app.success
    assert "See the 3 remarks below before you trust the numbers." in app.warning[0].value
    (remarks,) = [item for item in app.expander if item.label == "Remarks (3)"]
    assert remarks.proto.expanded
    table = app.dataframe[0].value
    assert list(table["model"]) == ["pretrained", *["Reds", "Greens", "Blues"] * 2]
    assert list(table["experts"]) == ["", *["original"] * 3, *["mild"] * 3]
    reds = load_file(tiny.parent / "original" / "Reds.safetensors")
    row = table[table["model"] == "Reds"].iloc[0]
    assert row["parameters"] == sum(tensor.numel() for tensor in reds.values())
    assert row["size"] == (tiny.parent / "original" / "Reds.safetensors").stat().st_size
    assert (row["dtype"], row["taken"], row["filled"]) == ("float32", len(reds), 0)
    assert row["path"] == "original/Reds.safetensors"
    assert "Files are below" in text(app)


def test_a_suite_outside_the_allowed_folders_is_not_opened(
    start: Start, tiny: Path, other: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = start(tiny)
    monkeypatch.setenv(resources.ALLOW, "")
    visit(app)
    for path in (other, other.parent, other.parent / "nothing", tiny.parent / ".." / "other"):
        open_suite_file(app, path)
        assert not app.exception
        assert "points outside the folders that the app may read" in app.error[0].value.replace("\\", "")
        assert "Suite **tiny**" in text(app)
    app = start(tiny)
    monkeypatch.setenv(resources.ALLOW, "")
    app.query_params["suite"] = str(other)
    app.run()
    assert "points outside the folders that the app may read" in app.warning[0].value
    assert "Suite **tiny**" in text(app)


def test_messages_name_paths_from_the_allowed_folder_on(start: Start, tiny: Path) -> None:
    (tiny.parent / "Reds-test.npz").unlink()
    app = start(tiny).run()
    message = app.error[0].value.replace("\\", "")
    assert "suite/Reds-test.npz: expected" in message
    assert str(tiny.parent) not in text(app) + message


def test_opening_another_suite_changes_every_page_and_the_link(app: AppTest, other: Path, workspace: Path) -> None:
    visit(app)
    app.slider(key="widget.task-arithmetic.scale").set_value(0.5).run()
    app.session_state["ri.choice"]["c.Reds"] = "0.5"
    open_suite_file(app, other.parent)
    assert not app.exception
    assert "Suite **other**" in text(app)
    assert app.query_params["suite"] == str(other)
    assert app.query_params["task-arithmetic.scale"] == "0.5"  # a method's setting means the same everywhere
    assert "c.Reds" not in app.query_params
    app.switch_page("pages/merge.py").run()
    assert not app.exception
    assert app.query_params["suite"] == str(other)
    assert json.loads((workspace / "recent.json").read_text()) == [str(other)]


def test_a_link_opens_its_suite_and_the_recent_ones_lead_back(app: AppTest, tiny: Path, other: Path) -> None:
    app.query_params["suite"] = str(other)
    visit(app)
    assert "Suite **other**" in text(app)
    # Pills are no element that AppTest knows by name: choose the suite the app was started on as its callback does.
    app.session_state["widget.experts.recent"] = None
    open_suite_file(app, tiny)
    assert "Suite **tiny**" in text(app)
    assert "suite" not in app.query_params


def test_a_wrong_path_is_one_message_and_the_open_suite_stays(app: AppTest, tmp_path: Path, workspace: Path) -> None:
    visit(app)
    open_suite_file(app, tmp_path / "nowhere.toml")
    assert not app.exception
    assert len(app.error) == 1
    assert "nowhere.toml" in app.error[0].value
    assert "is still open" in app.error[0].value
    assert "Suite **tiny**" in text(app)
    assert "suite" not in app.query_params
    assert not (workspace / "recent.json").exists()
    app.button(key="experts.close").click().run()
    assert not app.error


def test_a_broken_suite_shows_every_finding_with_what_to_do(app: AppTest, other: Path) -> None:
    (other.parent / "original" / "Reds.safetensors").unlink()
    for task in ("Greens", "Blues"):
        path = other.parent / "original" / f"{task}.safetensors"
        tensors = load_file(path)
        tensors["visual.proj"][0, 0] = torch.nan
        save_file(tensors, path)
    visit(app)
    open_suite_file(app, other)
    said = text(app).replace("\\", "")
    assert "3 problems" in app.error[0].value
    assert "expert Reds (original)" in said
    assert "in [[task]] 'Reds', set 'expert' to a checkpoint fine-tuned from the pretrained model" in said
    for task in ("Greens", "Blues"):
        assert f"{task}.safetensors: tensor 'visual.proj' must be finite, found 1 NaN" in said
    assert "Suite **tiny**" in said


def test_an_unusable_first_suite_can_be_mended_and_looked_at_again(app: AppTest, tiny: Path) -> None:
    expert = tiny.parent / "original" / "Reds.safetensors"
    whole = expert.read_bytes()
    expert.write_bytes(whole[:1000])
    app.run()
    assert len(app.error) == 1
    assert "1 problem" in app.error[0].value
    visit(app)
    assert "Reds.safetensors" in text(app)
    assert list(app.dataframe[0].value["model"][:2]) == ["pretrained", "Greens"]
    expert.write_bytes(whole)
    app.button(key="opening.again").click().run()
    assert not app.exception
    assert not app.error
    assert "Suite **tiny**" in text(app)


def test_a_suite_that_is_ready_just_after_the_sidebar_was_drawn_gets_its_recipe(
    app: AppTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    known, waits, wait = threading.Event(), [], Job.wait

    def looked_through(*arguments: Any, **options: Any) -> Report:
        known.wait(60)
        return check_suite(*arguments, **options)

    def first_in_vain(job: Job, seconds: float) -> None:
        waits.append(seconds)
        if len(waits) > 1:
            known.set()
            wait(job, seconds)

    monkeypatch.setattr(opening, "check_suite", looked_through)
    monkeypatch.setattr(Job, "wait", first_in_vain)
    app.run()
    assert not app.exception
    assert len(waits) > 1
    assert app.title[0].value
    assert app.slider(key="widget.task-arithmetic.scale").value == 0.3


def test_the_record_of_recent_suites_may_be_damaged(app: AppTest, other: Path, workspace: Path) -> None:
    workspace.mkdir()
    (workspace / "recent.json").write_text("{")
    visit(app)
    open_suite_file(app, other)
    assert not app.exception
    assert json.loads((workspace / "recent.json").read_text()) == [str(other)]


@pytest.fixture
def good_experts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Say nothing about the tiny suite's experts: they are random."""
    monkeypatch.setattr("ri_analysis.engine.check.expert_remarks", lambda *_: ())


@pytest.mark.usefixtures("good_experts")
def test_remarks_about_the_files_stand_on_every_page(app: AppTest, tiny: Path) -> None:
    head = tiny.parent / "head-Greens.safetensors"
    save_file({"weight": torch.nn.functional.normalize(load_file(head)["weight"])}, head)
    app.run()
    assert not app.exception
    folded = [item for item in app.sidebar.expander if "about this suite" in item.label]
    assert [item.label for item in folded] == ["1 remark about this suite's files"]
    assert "rows have length 1" in folded[0].markdown[0].value


@pytest.mark.usefixtures("good_experts")
def test_without_remarks_nothing_stands_there(app: AppTest) -> None:
    assert not [item for item in app.run().sidebar.expander if "about this suite" in item.label]


def test_a_folder_around_a_suite_offers_to_open_it(app: AppTest, other: Path) -> None:
    visit(app)
    open_suite_file(app, other.parent.parent)
    assert "found a folder that holds no suite.toml but" in app.error[0].value.replace("\\", "")
    app.button(key="experts.instead.0").click().run()
    assert not app.exception
    assert not app.error
    assert "Suite **other**" in text(app)


@pytest.mark.usefixtures("good_experts")
def test_a_checkpoint_leads_to_a_draft_and_it_stays_clear_which_suite_is_open(app: AppTest, tiny: Path) -> None:
    visit(app)
    open_suite_file(app, tiny.parent / "original" / "Reds.safetensors")
    said = app.error[0].value.replace("\\", "")
    assert "Reds.safetensors: 1 problem." in said
    assert f"{tiny.parent.name}/suite.toml is still open." in said
    assert "found a checkpoint" in said
    assert app.button(key="experts.instead.draft").label == "Draft a suite file from suite/original"
    assert app.header[0].value.replace("\\", "") == f"Current suite: {tiny.parent.name}/suite.toml"
    assert "All files are valid." not in text(app)  # it would be read as the error's contradiction
    app.button(key="experts.close").click().run()
    assert not app.exception
    assert "All files are valid." in text(app)
