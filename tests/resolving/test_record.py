"""The record of an RI run, which may come with a stranger's suite: it is looked at before any of it is used."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tiny import make_suite

from ri_analysis.cli import main
from ri_analysis.engine import Evaluator, check_suite
from ri_analysis.errors import Cancelled, InputError
from ri_analysis.resolving import record_of, resolve
from ri_analysis.suite import Suite, open_suite

SETTINGS: dict[str, Any] = {"steps": 2, "lr": 3e-5, "views": 8}
Record = dict[str, Any]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A suite file whose set `mild` was made by RI, with held-out images."""
    folder = tmp_path_factory.mktemp("made")
    path = make_suite(folder, resolved=False)
    settings = SETTINGS | {"held_out": 0.25}
    resolve(open_suite(str(path)), auxiliary="noise", name="mild", settings=settings, directory=folder / "mild")
    with path.open("a") as file:
        file.write('[[resolved]]\nname = "mild"\ndirectory = "mild"\n')
    return path


@pytest.fixture
def changed(made: Path) -> Any:
    """Change the record within a test."""
    path = made.parent / "mild" / "resolve.json"
    whole = path.read_text()

    def change(how: Callable[[Record], object]) -> Suite:
        record = json.loads(whole)
        how(record)
        path.write_text(json.dumps(record))
        return open_suite(str(made))

    yield change
    path.write_text(whole)


def test_what_was_written_is_read(changed: Callable[..., Suite]) -> None:
    record = record_of(changed(lambda _: None), "mild")
    assert [*record["history"]] == record["tasks"] == ["Reds", "Greens", "Blues"]
    assert len(record["held_out"]["looks"]["Reds"][0]) == 5
    assert record["settings"]["steps"] == 2
    assert [*record["experts"]] == record["tasks"]


def put(*keys: str, value: object) -> Callable[[Record], None]:
    def change(record: Record) -> None:
        for key in keys[:-1]:
            record = record[key]
        record[keys[-1]] = value

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            put("held_out", "looks", value=float("nan")),
            r"found float as held_out\.looks: input should be an object",
        ),
        (put("history", "Reds", value=[[1, 2, 3]]), r"found list as history\.Reds\.0\.3: field required"),
        (put("history", value="x"), r"found \w+ as history: "),
        (put("tasks", value=["../../etc/x"]), r"found \w+ as tasks\.0: "),
        (put("auxiliary", value=[]), r"found \w+ as auxiliary: "),
        (put("auxiliary", "images", value=-1), r"found \w+ as auxiliary\.images: "),
        (put("seconds", value="1"), r"found \w+ as seconds: "),
        (put("seconds", value=float("inf")), r"found \w+ as seconds: "),
        (put("held_out", value={"looks": {}}), r"found dict as held_out\.images: field required"),
        (put("seed", value=1.5), r"found \w+ as seed: "),
        (put("made", value=None), r"found \w+ as made: "),
        (put("settings", "steps", value="x"), r"resolve\.json: settings: steps must be a whole number"),
        (put("settings", "distance", value="far"), r"resolve\.json: settings: distance must be one of"),
        (put("settings", "lr", value=[]), r"found list as settings\.lr\."),
    ],
)
def test_what_is_of_another_shape_is_one_message(changed: Any, change: Any, message: str) -> None:
    suite = changed(change)
    with pytest.raises(InputError, match=message):
        record_of(suite, "mild")


def test_settings_of_another_version_are_left_alone(changed: Callable[..., Suite]) -> None:
    suite = changed(put("settings", "later", value="whatever"))
    assert record_of(suite, "mild")["settings"]["later"] == "whatever"


def test_check_and_report_say_it(changed: Any, made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    changed(put("held_out", "looks", value="x"))
    report = check_suite(str(made), tmp_path / "ws")
    [finding] = report.findings
    assert "resolve.json: expected the record of an RI run, found str as held_out.looks" in finding.problem
    assert "or delete that file" in finding.remedy
    (tmp_path / "ws").mkdir(exist_ok=True)
    out = str(tmp_path / "r.html")
    assert main(["report", str(made), "--out", out, "--workspace", str(tmp_path / "ws"), "--device", "cpu"]) == 2
    assert "found str as held_out.looks" in capsys.readouterr().err


def test_an_expert_that_is_not_the_one_written_is_an_error(changed: Any, made: Path, tmp_path: Path) -> None:
    suite = changed(lambda _: None)
    Evaluator(suite, tmp_path / "ws", "cpu").measure(suite_recipe(suite, tmp_path))
    expert = made.parent / "mild" / "Greens.safetensors"
    whole = expert.read_bytes()
    try:
        expert.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
        for use in (
            lambda: suite_recipe(open_suite(str(made)), tmp_path),
            lambda: open_suite(str(made)).task_vectors("mild"),
            lambda: open_suite(str(made)).weight_digests("mild"),
        ):
            with pytest.raises(InputError, match=r"Greens\.safetensors: expected the expert that the RI run wrote"):
                use()
        assert open_suite(str(made)).task_vectors("original")
    finally:
        expert.write_bytes(whole)


def suite_recipe(suite: Suite, folder: Path) -> Any:
    evaluator = Evaluator(suite, folder / "ws", "cpu")
    recipe = evaluator.recipe("averaging", experts="mild")
    evaluator.measure(recipe)
    return recipe


@pytest.mark.parametrize("together", [0, 2])
def test_a_finished_expert_that_changed_before_the_run_went_on_is_made_again(tiny: Path, together: int) -> None:
    def run(folder: Path, last: float) -> dict[str, bytes]:
        def stop(done: int, total: int) -> None:
            if done > last * total:
                raise Cancelled

        settings = SETTINGS | {"together": together}
        resolve(
            open_suite(str(tiny)), auxiliary="noise", name="x", settings=settings, directory=folder, resume=True,
            progress=stop,
        )  # fmt: skip
        return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.name != "resolve.json"}

    whole = run(tiny.parent / "whole", 1.0)
    with pytest.raises(Cancelled):
        run(tiny.parent / "half", 0.5)
    first = tiny.parent / "half" / "Reds.safetensors"
    first.write_bytes(first.read_bytes()[:-1] + bytes([first.read_bytes()[-1] ^ 1]))
    assert run(tiny.parent / "half", 1.0) == whole
