from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from threading import Event
from typing import Any

import hand
import pytest
from shown import clean, pinned, text
from streamlit.testing.v1 import AppTest

from ri_analysis import cli
from ri_analysis.engine import Evaluator
from ri_analysis.engine.check import check_suite
from ri_analysis.errors import Cancelled
from ri_analysis.export.facts import origin_of_losses
from ri_analysis.resolving import PRESETS, record_of, resolve, unfinished
from ri_analysis.suite import Suite, open_suite
from ri_analysis.ui import resources
from ri_analysis.ui.jobs import Job
from ri_analysis.views import resolving

pytestmark = pytest.mark.long

PAGE = "pages/resolve.py"


@pytest.fixture
def suite(tiny: Path, workspace: Path) -> Suite:
    return open_suite(str(tiny), workspace)


@pytest.fixture
def half(suite: Suite) -> Path:
    """The folder of a run that was stopped after the first of three experts."""

    def stop(done: int, total: int) -> None:
        if done > total / 3:
            raise Cancelled

    with pytest.raises(Cancelled):
        resolve(suite, auxiliary="noise", name="half", settings={"steps": 2, "lr": 3e-5, "views": 8}, progress=stop)
    assert suite.resolved_folder is not None
    return suite.resolved_folder / "half"


def visit(app: AppTest, **choice: str) -> AppTest:
    if choice:
        app.session_state["ri.choice"] = {f"resolve.{name}": value for name, value in choice.items()}
    return clean(app.switch_page(PAGE).run())


def warnings(app: AppTest) -> str:
    return "\n".join(item.value for item in app.warning)


def finished(app: AppTest, name: str) -> Job:
    job = resources.jobs().get(f"resolve:{resources.stamp(resources.suite_name())[0]}:{name}")
    assert job is not None
    job.wait(60)
    assert job.error is None
    clean(app.run())
    return job


# --- a new set ------------------------------------------------------------------------------------------------


def test_a_run_makes_a_set_that_can_stand_for_after_ri(app: AppTest, suite: Suite):
    visit(app, steps="2", name="quick", views="8", distance="mse")
    assert app.select_slider(key="widget.resolve.steps").value == 2
    assert "on this machine" in text(app)
    assert "**quick**: 2 steps per expert" in text(app)
    assert "mean squared error" in text(app)
    assert "8 augmented views per image" in text(app)
    app.button(key="resolve.run").click().run()
    job = finished(app, "quick")
    assert "quick" in app.success[0].value
    assert "quick" in suite.expert_sets
    clean(app.button(key=f"use.{job.key}").click().run())
    assert app.query_params["ri"] == "quick"
    clean(app.switch_page("pages/merge.py").run())
    assert "--experts quick" in hand.seen(app)["copies"][0]["text"]


def test_a_suggested_name_follows_its_settings_until_another_is_typed(app: AppTest):
    visit(app, auxiliary="noise", steps="50")
    assert app.text_input(key="widget.resolve.name").value == "noise-50"
    app.select_slider(key="widget.resolve.steps").set_value(1000)
    app.text_input(key="widget.resolve.name").set_value("noise-50")  # what a browser sends that has not heard of 1,000
    clean(app.run())
    assert app.text_input(key="widget.resolve.name").value == "noise-1000"
    app.text_input(key="widget.resolve.name").set_value("mine")
    clean(app.run())
    app.select_slider(key="widget.resolve.steps").set_value(500)
    clean(app.run())
    assert app.text_input(key="widget.resolve.name").value == "mine"
    assert "**mine**: 500 steps per expert" in text(app)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("mild", "exists already"),
        ("half", "An unfinished run is named half"),
        ("a/b", "expected letters"),
        ("others", "found other files"),
        ("elsewhere", "holds a finished expert set"),
    ],
)
def test_a_name_that_is_taken_says_so_before_the_start(app: AppTest, half: Path, name: str, said: str):
    (half.parent / "others").mkdir()
    (half.parent / "others" / "thesis.tex").write_text("")
    (half.parent / "elsewhere").mkdir()
    (half.parent / "elsewhere" / "resolve.json").write_text('{"weights": {"Reds": "of another suite of this name"}}')
    visit(app, name=name)
    assert said in warnings(app)
    assert app.button(key="resolve.run").disabled


def test_a_suggested_name_avoids_every_folder_there_is(app: AppTest, half: Path):
    half.rename(half.parent / "noise-7")
    visit(app, auxiliary="noise", steps="7")
    assert app.text_input(key="widget.resolve.name").value == "noise-7-2"
    assert not app.button(key="resolve.run").disabled


# --- presets and what a run takes ---------------------------------------------------------------------------------


def test_the_page_starts_from_quick_and_says_what_each_preset_costs(app: AppTest):
    visit(app)
    presets = app.radio(key="widget.resolve.preset")
    assert presets.value == "quick"
    captions = presets.proto.captions
    assert [caption.partition(".")[0] for caption in captions] == [
        preset.purpose.partition(".")[0] for preset in PRESETS.values()
    ]
    assert all("of memory" in caption and "of disk" in caption for caption in captions)
    assert "120 steps per expert" in text(app)
    assert "last blocks only" in text(app)
    assert "Your own settings" not in text(app)


def test_what_differs_from_the_preset_is_said_and_can_be_taken_back(app: AppTest):
    visit(app)
    app.select_slider(key="widget.resolve.steps").set_value(50)
    clean(app.run())
    assert "**Your own settings**: quick, but with 50 steps per expert (not 120)" in text(app)
    app.radio(key="widget.resolve.preset").set_value("paper")
    clean(app.run())
    assert "Your own settings" not in text(app)  # a preset is taken whole
    assert "2,500 steps per expert" in text(app)
    assert app.query_params["resolve.preset"] == "paper"
    app.selectbox(key="widget.resolve.parameters").set_value("lora")
    clean(app.run())
    assert "paper, but with LoRA (not all weights)" in text(app)
    assert app.select_slider(key="widget.resolve.rank").value == 16
    app.button(key="resolve.back").click()
    clean(app.run())
    assert "Your own settings" not in text(app)
    assert "rank" not in {item.key.rpartition(".")[2] for item in app.select_slider if item.key}


def test_an_expert_may_have_a_free_weight_of_its_own(app: AppTest):
    visit(app, alphas="Reds=2")
    assert "quick, but with free weight of individual experts Reds=2 (not none)" in text(app)
    app.text_input(key="widget.resolve.alphas").set_value("Pinks=2")
    clean(app.run())
    assert "found 'Pinks=2'; known: Reds" in warnings(app).replace("\\", "")
    assert app.button(key="resolve.run").disabled


def test_a_tower_that_cannot_be_trained_so_says_it_before_the_start(app: AppTest):
    visit(app, blocks="9")
    assert "has 2 blocks, found 9" in warnings(app)
    assert app.button(key="resolve.run").disabled


def test_what_a_run_takes_and_writes_stands_there_before_it_starts(app: AppTest, suite: Suite):
    visit(app, name="new")
    said = text(app)
    assert "120 steps of" in said
    assert "64 pass through" not in said
    assert suite.resolved_folder is not None
    assert "/".join(suite.resolved_folder.parts[-2:]) in said.replace("\\", "")
    assert not suite.resolved_folder.exists()


# --- while it runs and after --------------------------------------------------------------------------------------


def test_a_run_shows_held_out_images_and_the_probe(app: AppTest, suite: Suite):
    visit(app, steps="3", batch="4", held_out="0.25", name="seen", probe="True")
    assert app.toggle[0].value
    app.button(key="resolve.run").click().run()
    job = finished(app, "seen")
    assert {task: looks[-1].step for task, looks in job.details["looks"].items()} == dict.fromkeys(suite.tasks, 3)
    last = job.details["gains"][-1]
    assert (last.finished, last.n) == (3, 36)
    assert "**Probe.** Task Arithmetic with 3 of 3 experts adapted" in text(app)
    assert "36 validation images" in text(app)
    assert "held-out share 0.25" in text(app)
    app.button(key="pin.losses-seen").click()
    clean(app.run())
    (snapshot,) = pinned()
    assert list(snapshot.table["images"].unique()) == ["training", "held-out"]
    looks = record_of(suite, "seen")["held_out"]["looks"]["Blues"]
    found = snapshot.table[(snapshot.table["task"] == "Blues") & (snapshot.table["images"] == "held-out")]
    assert found[["step", "keep", "free", "loss", "crosstalk"]].to_numpy().tolist() == looks


def test_sets_are_compared_on_request_and_at_once_where_that_is_kept(app: AppTest, suite: Suite):
    resolve(suite, auxiliary="other", name="two", settings={"steps": 1}, tasks=["Reds", "Blues"])
    visit(app)
    app.button(key="start.sets").click().run()
    job = next(job for job in resources.jobs().starting_with("sets:"))
    job.wait(60)
    clean(app.run())
    shown = app.dataframe[0].value
    assert list(shown["expert set"]) == ["original", "mild", "two"]
    assert list(shown["test images"]) == ["72", "72", "48"]
    assert " points (" in shown["gain"][2]
    assert shown["gain"][0] == ""
    resources.memory.clear()
    clean(app.run())  # the store answers
    assert app.dataframe[0].value.equals(shown)


# --- unfinished runs ------------------------------------------------------------------------------------------


def test_an_unfinished_run_says_how_far_it_is_and_is_resumed(app: AppTest, suite: Suite, half: Path):
    visit(app)
    assert "**half**: 33% done (1 of 3 experts finished)" in text(app)
    assert "On noise, 2 steps per expert" in text(app)
    assert "learning rate 3e−5" in text(app)
    assert "8 augmented views per image" in text(app)
    app.button(key="resume.left.half").click().run()
    finished(app, "half")
    assert "half" in app.success[0].value
    assert "half" in suite.expert_sets
    assert not unfinished(suite)


def test_a_run_that_was_cancelled_here_can_be_resumed_or_deleted(
    app: AppTest, suite: Suite, monkeypatch: pytest.MonkeyPatch
):
    reached, go_on = Event(), Event()

    def slowly(*given: Any, report: Callable[..., None], **more: Any) -> Path:
        def pause(now: Any) -> None:
            report(now)
            reached.set()
            go_on.wait(60)

        return resolve(*given, report=pause, **more)

    monkeypatch.setattr(resolving, "resolve", slowly)
    visit(app, steps="2", name="slow")
    app.button(key="resolve.run").click().run()
    job = resources.jobs().starting_with("resolve:")[-1]
    assert reached.wait(60)
    assert [button for button in app.button if button.key and button.key.startswith("delete.left")] == []
    job.cancel()
    go_on.set()
    job.wait(60)
    clean(app.run())
    assert "**slow**: 0% done (0 of 3 experts finished)" in text(app)
    assert not app.button(key="resume.left.slow").disabled
    app.button(key="delete.left.slow").click()
    clean(app.run())
    assert not unfinished(suite)
    assert "Unfinished runs" not in [item.value for item in app.header]


def test_what_cannot_be_resumed_says_why_and_can_be_deleted(app: AppTest, tiny: Path, half: Path):
    words = tiny.read_text().replace('name = "noise"', 'name = "static"')
    tiny.write_text(words)
    visit(app)
    assert "can't be resumed: unknown auxiliary source 'noise'" in text(app).replace("\\", "")
    assert app.button(key="resume.left.half").disabled
    app.button(key="delete.left.half").click()
    clean(app.run())
    assert not half.exists()


@pytest.mark.parametrize("change", ["weights", "task", "plan"])
def test_other_reasons_that_a_run_cannot_be_resumed(app: AppTest, tiny: Path, half: Path, change: str):
    plan = json.loads((half / "run.json").read_text())
    if change == "weights":
        plan["weights"]["Reds"] = "0" * 32
    elif change == "task":
        plan["tasks"] = ["Reds", "Pinks"]
    (half / "run.json").write_text("{ damaged" if change == "plan" else json.dumps(plan))
    visit(app)
    said = {"weights": "other weights", "task": "unknown task 'Pinks'", "plan": "run.json: expected JSON"}
    assert said[change] in text(app).replace("\\", "")
    assert app.button(key="resume.left.half").disabled
    app.button(key="delete.left.half").click()
    clean(app.run())
    assert not half.exists()


# --- what was made --------------------------------------------------------------------------------------------


def test_a_pinned_loss_curve_names_where_its_numbers_are_and_what_prints_them(
    app: AppTest, suite: Suite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    folder = resolve(suite, auxiliary="other", name="mine", settings={"steps": 3, "lr": 1e-3}, tasks=["Reds", "Blues"])
    visit(app)
    app.button(key="pin.losses-mine").click()
    clean(app.run())
    (snapshot,) = pinned()
    rows = {task: part.drop(columns="task").values.tolist() for task, part in snapshot.table.groupby("task")}
    file = Path(re.sub(r" \(.*\)$", "", snapshot.origin.file))
    assert file == folder / "resolve.json"
    assert json.loads(file.read_text())["history"] == rows
    monkeypatch.chdir(tmp_path)
    (command,) = snapshot.origin.commands
    assert cli.main([*shlex.split(command)[1:], "--device", "cpu"]) == 0
    assert json.loads(capsys.readouterr().out)["history"] == rows


def test_where_a_run_cannot_be_repeated_only_the_file_is_named(evaluator: Evaluator):
    folder = resolve(evaluator.suite, auxiliary="other", name="mine", settings={"steps": 1})
    record = json.loads((folder / "resolve.json").read_text())
    without = {key: value for key, value in record.items() if key != "settings"}
    for other in (record | {"auxiliary": {"name": "gone"}}, record | {"tasks": ["Pinks"]}, without):
        (folder / "resolve.json").write_text(json.dumps(other))
        origin = origin_of_losses(evaluator, "mine", "tiny")
        assert origin.commands == ()
        assert str(folder / "resolve.json") in origin.file


def test_a_set_of_some_experts_leaves_the_suite_usable(suite: Suite, workspace: Path):
    folder = resolve(suite, auxiliary="other", name="two", settings={"steps": 1}, tasks=["Reds", "Blues"])
    assert check_suite(str(suite.spec.path), workspace).findings == []
    (folder / "Blues.safetensors").unlink()
    (finding,) = check_suite(str(suite.spec.path), workspace).findings
    assert finding.about == "expert Blues (two)"
