"""The front door in Python gives what the command line gives, and shows it."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import ri_analysis as ri
from ri_analysis.api import Interference, OpenedSuite, Remark
from ri_analysis.cli import main
from ri_analysis.json_text import to_json
from ri_analysis.merging import METHODS
from ri_analysis.merging.registry import RESERVED
from ri_analysis.resolving import HYPERPARAMETERS
from ri_analysis.studies import STUDIES

Shell = Callable[..., dict[str, object]]

pytestmark = pytest.mark.filterwarnings("ignore::ri_analysis.api.Remark")  # that tiny experts are poor


@pytest.fixture
def suite(tiny: Path, workspace: Path) -> OpenedSuite:
    return ri.open_suite(tiny, workspace=workspace, device="cpu")


@pytest.fixture
def shell(tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Shell:
    """What a command prints as JSON, in a workspace of its own: nothing is taken over from the other way in."""

    def call(*words: str) -> dict[str, object]:
        place, name = (
            [str(tiny), "--workspace", str(tmp_path / "shell"), "--device", "cpu", "--json"],
            words[0] == "study",
        )
        assert main([*words[: 1 + name], *place, *words[1 + name :]]) == 0
        found: dict[str, object] = json.loads(capsys.readouterr().out)
        return found

    return call


def plain(value: object) -> object:
    return json.loads(to_json(value))


def test_importing_the_package_loads_no_library():
    code = (
        "import time; began = time.perf_counter(); import ri_analysis; took = time.perf_counter() - began\n"
        "import sys; heavy = {'torch', 'plotly', 'streamlit', 'pandas', 'numpy', 'tqdm'} & set(sys.modules)\n"
        "assert not heavy, heavy\nassert 'open_suite' in dir(ri_analysis)\nprint(took)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert float(ran.stdout) < 0.3


def test_what_is_not_there_is_said():
    with pytest.raises(AttributeError, match="no attribute 'open_suit'"):
        ri.open_suit  # noqa: B018


def test_measuring_gives_the_digits_of_the_command_line(suite: OpenedSuite, shell: Shell):
    found = suite.measure(
        "ties", scale=0.5, density=0.4, experts="ri", coefficients={"Reds": 2}, lines=(0.5, 1), tasks="Reds,Blues"
    )
    flags = ["--set", "scale=0.5", "--set", "density=0.4", "--experts", "ri", "--coefficient", "Reds=2"]
    printed = shell("measure", "--method", "ties", *flags, "--lines", "0.5,1", "--tasks", "Reds,Blues")
    assert plain(found.to_dict()) == printed
    other = suite.measure("dare", seed=3, split="validation", limit=6)
    printed = shell("measure", "--method", "dare", "--seed", "3", "--split", "validation", "--limit", "6")
    assert plain(other.to_dict()) == printed


def test_a_difference_is_that_of_against(suite: OpenedSuite, shell: Shell):
    found = suite.measure("ties").difference(suite.measure("averaging"))
    assert plain(found) == shell("measure", "--method", "ties", "--against", "--method averaging")["difference"]


def test_interference_gives_the_digits_of_the_command_line(suite: OpenedSuite, shell: Shell):
    assert plain(suite.interference("averaging").to_dict()) == shell("interference", "--method", "averaging")
    several = {"only": ["drift", "flips"], "options": {"drift.distance": "js"}, "after": "ri", "limit": 8}
    printed = shell(
        *("interference", "--method", "ties", "--set", "scale=0.4", "--only", "drift", "--only", "flips"),
        *("--option", "drift.distance=js", "--after", "ri", "--limit", "8"),
    )
    assert plain(suite.interference("ties", scale=0.4, **several).to_dict()) == printed


def test_a_merge_is_the_file_of_the_command_line(suite: OpenedSuite, shell: Shell, tmp_path: Path, tiny: Path):
    merged = suite.merge("ties", scale=0.7, experts="ri", out=tmp_path / "ours.safetensors")
    place = [str(tiny), "--device", "cpu", "--method", "ties", "--set", "scale=0.7", "--experts", "ri"]
    assert main(["merge", *place, "--out", str(tmp_path / "theirs.safetensors")]) == 0
    assert merged.path.read_bytes() == (tmp_path / "theirs.safetensors").read_bytes()
    expected = dict(suite.evaluator.merged(merged.recipe))
    for name, tensor in merged.state_dict().items():
        torch.testing.assert_close(tensor, expected[name], rtol=0, atol=0)
    assert list(merged.table["task"]) == list(suite.tasks)
    with pytest.raises(ri.InputError, match="one that the suite reads"):
        suite.merge("ties", out=tiny)


def test_a_file_is_measured_as_merged(suite: OpenedSuite, tmp_path: Path):
    merged = suite.merge("averaging", out=tmp_path / "merged.safetensors")
    file, recipe = suite.measure_file(merged.path), suite.measure(merged.recipe)
    assert list(file.table["accuracy"]) == list(recipe.table["accuracy"])
    assert file.figure is None  # nobody knows whether that is before or after RI


def test_resolving_makes_a_set_that_merges_can_use(suite: OpenedSuite, shell: Shell):
    made = suite.resolve("noise", "new", preset="quick", steps=3, probe="averaging")
    assert suite.expert_sets == ("original", "mild", "new")
    assert list(made.tables["losses"].columns) == ["task", "step", "keep", "free", "loss"]
    assert made.figure is not None
    assert [gain.finished for gain in made.gains][-1] == 3
    ours = suite.measure("averaging", experts="new").table
    record = shell("resolve", "--auxiliary", "noise", "--name", "new", "--preset", "quick", "--steps", "3")
    assert record["history"] == plain(made.record["history"])
    theirs = shell("measure", "--method", "averaging", "--experts", "new")["tasks"]
    assert plain(ours.to_dict(orient="records")) == theirs


def test_a_study_is_that_of_the_command_line(suite: OpenedSuite, shell: Shell, tmp_path: Path):
    found = suite.study("unseen", methods=["averaging", "ties"])
    place = ("--out", str(tmp_path / "theirs"), "--no-images")
    printed = shell("study", "unseen", "--set", "methods=averaging,ties", *place)
    assert found.manifest()["settings"] == printed["settings"]
    assert found.manifest()["command"].startswith("ri-analysis study unseen")
    found.write(tmp_path / "ours", images=False)
    ours, theirs = ((tmp_path / place / "table.csv").read_text() for place in ("ours", "theirs"))
    assert ours == theirs
    assert found.figure is not None
    assert "Averaging" in str(found)


def test_results_show_themselves(suite: OpenedSuite):
    measured = suite.measure("ties", experts="ri")
    html = measured._repr_html_()
    assert html.count("<table") == 1
    assert measured.figure is not None
    assert measured.figure.layout.xaxis.title.text == "mean accuracy"
    names = {name for trace in measured.figure.data for name in trace.y}
    assert "merged after RI" in names
    assert "merged before RI" not in names
    assert "mean accuracy" in repr(measured)
    found = suite.interference("ties", after="ri", only=["accuracy", "drift"])
    assert isinstance(found, Interference)
    assert list(found) == ["accuracy", "drift"]
    assert found.table.equals(found["accuracy"].table)
    assert found._repr_html_().count("<table") == 2


def test_an_analysis_that_does_not_apply_says_why(suite: OpenedSuite, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(type(suite.evaluator.encoder), "blocks", 0)
    found = suite.interference("averaging", limit=4)
    assert found.refused == {"blocks": "this tower has no transformer blocks to look into"}
    assert found.refused["blocks"] in found._repr_html_()
    assert found.refused["blocks"] in str(found)
    assert "blocks" not in found


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda suite: suite.measure("tise"), "did you mean 'ties'"),
        (lambda suite: suite.measure("ties", scal=0.5), "unknown keyword 'scal'; did you mean 'scale'"),
        (lambda suite: suite.measure("ties", expert="ri"), "did you mean 'experts'"),
        (lambda suite: suite.measure("ties", density=7), "density must be a number from 0.001 to 1, found 7"),
        (lambda suite: suite.measure("ties", tasks=["Red"]), "did you mean 'Reds'"),
        (lambda suite: suite.measure("ties", experts="mid"), "did you mean 'mild'"),
        (lambda suite: suite.measure("ties", coefficients={"Reds": "much"}), "coefficient of Reds: expected a finite"),
        (lambda suite: suite.measure("ties", lines=(1,)), "lines: expected LiNeS' α and β"),
        (lambda suite: suite.measure("dare", seed=-1), "seed: expected a whole number of at least 0"),
        (lambda suite: suite.measure("ties", limit=0), "limit: expected a whole number of at least 1, found 0"),
        (lambda suite: suite.measure("ties", split="tets"), "split: expected test or validation, found 'tets'"),
        (lambda suite: suite.measure(suite.recipe("ties"), scale=1), "a recipe alone or a method's name"),
        (lambda suite: suite.interference("ties", only="drif"), "did you mean 'drift'"),
        (lambda suite: suite.interference("ties", options={"distance": "l1"}), "expected NAME.distance"),
        (lambda suite: suite.resolve("noise", "new", lrr=1), "unknown keyword 'lrr'; did you mean 'lr'"),
        (lambda suite: suite.study("method"), "did you mean 'methods'"),
        (lambda suite: suite.study("methods", level=3), "did you mean 'levels'"),
    ],
)
def test_bad_input_is_one_message(suite: OpenedSuite, call: Callable[[OpenedSuite], object], said: str):
    with pytest.raises(ri.InputError) as error:
        call(suite)
    assert said in str(error.value)


def test_no_declared_name_is_a_keyword_of_the_front_door():
    def keywords(*functions: Callable[..., object]) -> set[str]:
        return {name for each in functions for name in inspect.signature(each).parameters}

    recipes = keywords(OpenedSuite.recipe, OpenedSuite.measure, OpenedSuite.interference, OpenedSuite.merge)
    assert set(RESERVED) == recipes - {"self", "method", "recipe", "hyperparameters"}
    declared = {item.name for method in METHODS.values() for item in method.hyperparameters}
    assert not (declared & (recipes - {"method"}))
    assert not ({item.name for item in HYPERPARAMETERS} & (keywords(OpenedSuite.resolve) - {"name", "auxiliary"}))
    settings = {item.name for study in STUDIES.values() for item in study.settings}
    assert not (settings & (keywords(OpenedSuite.study) - {"name"}))


def test_remarks_are_warnings_made_once(suite: OpenedSuite):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        suite.note(["one", "two"])
        suite.note(["one"])
    assert [(str(each.message), each.category) for each in caught] == [("one", Remark), ("two", Remark)]


@pytest.mark.parametrize(("quiet", "shown"), [(True, False), (False, True)])
def test_a_terminal_sees_a_bar_unless_it_is_to_be_quiet(
    suite: OpenedSuite,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    quiet: bool,
    shown: bool,
):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    with warnings.catch_warnings(action="ignore"):
        suite.measure("ties", progress=not quiet)
    out, err = capsys.readouterr()
    assert out == ""
    assert ("measuring" in err) is shown


def test_what_there_is_can_be_listed():
    assert "scale=0.3" in ri.all_methods().loc["ties", "hyperparameters"]
    assert "drift" in ri.all_analyses().index
    assert list(ri.all_studies().index) == list(STUDIES)
