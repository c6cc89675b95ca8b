"""What the registry promises of every analysis, and what one more of them gets by being registered."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from shown import pinned
from streamlit.testing.v1 import AppTest
from worked import load

from ri_analysis import cli
from ri_analysis.analyses import ANALYSES, Analysis, Answer, find_analysis, on_page
from ri_analysis.analyses.analysis import Option
from ri_analysis.analyses.documents import SECTION, in_words
from ri_analysis.demo.answers import first_recipes
from ri_analysis.engine import Evaluator
from ri_analysis.errors import InputError
from ri_analysis.export.facts import answer_commands
from ri_analysis.json_text import to_json
from ri_analysis.markdown import around_section
from ri_analysis.sides import Sides
from ri_analysis.suite import open_suite
from ri_analysis.ui import frame

pytestmark = pytest.mark.long

Run = Callable[[str], Any]
DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "tables.md"
# Options that change the numbers, beside the defaults.
OTHERS: dict[str, dict[str, str]] = {
    "drift": {"distance": "l1"},
    "images": {"task": "Blues", "distance": "cosine"},
    "plane": {"first": "Blues", "second": "Reds"},
    "confidence": {"rank": "second"},
}


@pytest.fixture
def extra() -> Iterator[Analysis[Any]]:
    """The worked example of CONTRIBUTING.md, registered as anyone may."""
    example: Analysis[Any] = load("ri_analysis/analyses/confidence.py").ANALYSIS
    ANALYSES.register(example)
    yield example
    del ANALYSES[example.name]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Return what a shell command prints as JSON."""

    def call(command: str) -> Any:
        program, *arguments = shlex.split(command)
        assert program == "ri-analysis"
        capsys.readouterr()
        assert cli.main(arguments) == 0
        return json.loads(capsys.readouterr().out)

    return call


def asked(evaluator: Evaluator, analysis: Analysis[Any], limit: int | None = 12) -> Answer[Any]:
    recipe = evaluator.recipe("task-arithmetic", {"scale": 0.7})
    return analysis.ask(evaluator, Sides(recipe, recipe.with_experts("mild")), OTHERS.get(analysis.name), limit)


def printed_rows(table: pd.DataFrame) -> Any:
    """Return a table's rows as they come out of JSON."""
    return json.loads(to_json(table.to_dict(orient="records")))


def names(patterns: list[str]) -> set[str]:
    filled = {
        "<stage>": ("before", "after"),
        "<model>": ("pretrained", "expert", "before", "after"),
        "<task>": ("Blues", "Reds"),
    }
    found = set(patterns)
    for pattern, values in filled.items():
        found = {name.replace(pattern, value) for name in found for value in values}
    return found


@pytest.mark.parametrize("name", list(ANALYSES))
def test_every_table_is_explained_and_every_chart_draws_one(evaluator: Evaluator, name: str):
    analysis = ANALYSES[name]
    answer = asked(evaluator, analysis)
    tables = analysis.tables(answer)
    assert set(tables) <= set(analysis.columns)
    assert set(analysis.charts(answer, True)) <= set(tables)
    assert analysis.says(answer).endswith(".")
    for file, table in tables.items():
        columns = {re.sub("_(low|high)$", "", column) for column in table}
        explained = names(list(analysis.columns[file].meaning))
        assert columns - explained == set(), file
        # What is explained is there: only the expert has no drift from itself.
        assert explained - columns <= {"expert_drift"}, file


@pytest.mark.parametrize("name", list(ANALYSES))
def test_the_command_of_a_figure_prints_its_table_to_the_digit(evaluator: Evaluator, run: Run, name: str):
    analysis = ANALYSES[name]
    answer = asked(evaluator, analysis)
    (command,) = answer_commands(evaluator, answer, str(evaluator.suite.spec.path))
    printed = run(command)["analyses"][name]
    assert printed["says"] == analysis.says(answer).replace("**", "")
    for file in analysis.charts(answer, False):
        assert printed["tables"][file] == printed_rows(analysis.tables(answer)[file]), file


@pytest.mark.parametrize("name", list(ANALYSES))
def test_commands_print_every_figure_of_the_embedded_suite(tmp_path: Path, run: Run, name: str):
    """As its pages show it first."""
    evaluator, analysis = Evaluator(open_suite("demo", tmp_path), tmp_path, "cpu"), ANALYSES[name]
    answer = analysis.ask(evaluator, first_recipes(evaluator), {}, [None, *analysis.limits][-1])
    printed = [run(command) for command in answer_commands(evaluator, answer, "demo")]
    for file in analysis.charts(answer, False):
        rows = printed_rows(analysis.tables(answer)[file])
        assert printed[0]["analyses"][name]["tables"][file] == rows, file


def test_a_pinned_figure_names_the_command_of_what_is_shown(app: AppTest, run: Run, monkeypatch: pytest.MonkeyPatch):
    shown: dict[str, tuple[pd.DataFrame, Answer[Any]]] = {}
    chart = frame.chart

    def note(drawn: Any, table: pd.DataFrame, name: str, source: Any, *click: Any) -> None:
        shown[name] = (table, source)
        chart(drawn, table, name, source, *click)

    monkeypatch.setattr(frame, "chart", note)
    app.session_state["ri.choice"] = {"method": "ties", "interference.distance": "cosine", "tasks": "Blues"}
    assert not app.run().exception
    assert not app.switch_page("pages/interference.py").run().exception
    assert {"drift", "drift-images", "crosstalk", "drift-by-block", "weight-cosine"} <= set(shown)
    for name in ("drift", "drift-images", "flips"):
        app.button(key=f"pin.{name}").click().run()
    tray = {snapshot.name: snapshot for snapshot in pinned()}
    for snapshot in tray.values():
        (command,) = snapshot.origin.commands
        tables = [each["tables"] for each in run(command)["analyses"].values()]
        assert tables[0][snapshot.name] == printed_rows(shown[snapshot.name][0])
    assert set(tray) == {"drift", "drift-images", "flips"}
    assert all("cosine" in tray[name].origin.commands[0] for name in ("drift", "drift-images"))
    assert all("task=Blues" in tray[name].origin.commands[0] for name in ("drift-images", "flips"))


def test_the_documents_say_what_analyses_declare():
    above, below = around_section(DOCUMENT, SECTION)
    assert DOCUMENT.read_text(encoding="utf-8") == f"{above}\n\n{in_words()}\n\n{below}", (
        "run python -m ri_analysis.analyses docs/tables.md"
    )


# --- one more ---------------------------------------------------------------------------------------------


def test_one_more_analysis_is_on_the_page(extra: Analysis[Any], app: AppTest, evaluator: Evaluator):
    assert not app.run().exception
    assert not app.switch_page("pages/interference.py").run().exception
    assert extra.title in [item.value for item in app.header]
    recipe = evaluator.recipe("task-arithmetic")
    says = extra.says(extra.ask(evaluator, Sides(recipe, recipe.with_experts("mild"))))
    assert says in [item.value for item in app.markdown]
    choice = app.segmented_control(key="widget.interference.rank")
    assert choice.options == ["first", "second"]
    assert not choice.set_value("second").run().exception
    assert app.query_params["interference.rank"] == ["second"] or app.query_params["interference.rank"] == "second"
    app.button(key="pin.confidence").click().run()
    (held,) = pinned()
    assert "--only confidence --option rank=second" in held.origin.commands[0]


def test_one_more_analysis_is_in_the_command_line(extra: Analysis[Any], evaluator: Evaluator, run: Run, capsys: Any):
    answer = asked(evaluator, extra)
    (command,) = answer_commands(evaluator, answer, str(evaluator.suite.spec.path))
    found = run(command)
    assert found["after"]["experts"] == "mild"
    assert found["analyses"]["confidence"]["tables"]["confidence"] == printed_rows(extra.tables(answer)["confidence"])
    assert cli.main(shlex.split(command)[1:-1]) == 0  # the same as text
    assert extra.says(answer) in capsys.readouterr().out


def test_one_more_analysis_is_in_the_documents(extra: Analysis[Any]):
    assert f"### `confidence`: {extra.title}" in in_words()
    assert "| `confidence` | an expert set and a task | `experts`; `task`; `confidence`: mean probability" in in_words()


# --- the registry itself ----------------------------------------------------------------------------------


def test_names_are_looked_up_with_the_near_match_and_taken_once(extra: Analysis[Any]):
    assert find_analysis("drift").name == "drift"
    with pytest.raises(InputError, match="did you mean 'drift'"):
        find_analysis("drfit")
    with pytest.raises(InputError, match="exists already"):
        ANALYSES.register(extra)
    assert [each.name for each in on_page("interference")] == [
        *("drift", "crosstalk", "blocks", "contribution", "weight-space", "plane", "confidence")
    ]


def test_options_are_settled_in_order():
    plane = find_analysis("plane")
    tasks = ("Reds", "Greens", "Blues")
    assert plane.settled(tasks, {}) == {"first": "Reds", "second": "Greens"}
    assert plane.settled(tasks, {"first": "Greens"}) == {"first": "Greens", "second": "Reds"}
    with pytest.raises(InputError, match="plane: second must be one of Reds, Blues, found 'Greens'"):
        plane.settled(tasks, {"first": "Greens", "second": "Greens"})
    with pytest.raises(InputError, match="drift: unknown option 'distanse'; did you mean 'distance'"):
        find_analysis("drift").settled(tasks, {"distanse": "kl"})
    number = Option("top", "how many", 3, 1, 5)
    assert number.among(tasks, {}) == number


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--only", "driftt"], "unknown analysis 'driftt'; did you mean 'drift'"),
        (["--only", "drift", "--option", "distance=far"], "drift: distance must be one of kl"),
        (["--option", "distance=kl"], "expected NAME.distance=VALUE"),
        (["--only", "drift", "--option", "plane.first=Reds"], "expected one of the requested analyses, found 'plane'"),
        (["--only", "contribution", "--method", "slerp", "--tasks", "Reds,Blues"], "slerp merges exactly 2"),
        (["--blame", "--method", "slerp", "--tasks", "Reds,Blues"], "slerp merges exactly 2"),
        (["--only", "plane", "--tasks", "Reds"], "at least two experts"),
        (["--only", "drift", "--after", "nowhere"], "nowhere"),
    ],
)
def test_bad_input_is_one_message(
    tiny: Path, workspace: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
):
    assert cli.main(["interference", str(tiny), "--workspace", str(workspace), "--device", "cpu", *arguments]) == 2
    assert message in capsys.readouterr().err


def test_several_analyses_take_options_by_name(evaluator: Evaluator, run: Run):
    suite, workspace = evaluator.suite.spec.path, evaluator.store.workspace
    found = run(
        f"ri-analysis interference {suite} --workspace {workspace} --device cpu --only drift --only plane "
        "--option drift.distance=js --option plane.first=Greens --limit 6 --json"
    )
    assert list(found["analyses"]) == ["drift", "plane"]
    assert {row["distance"] for row in found["analyses"]["drift"]["tables"]["drift"]} == {"js"}
    assert found["analyses"]["plane"]["options"] == {"first": "Greens", "second": "Reds"}
    assert found["after"] is None
    assert {row["n"] for row in found["drift"]["kl"]} == {6}


def test_what_does_not_apply_is_null_in_the_usual_report(evaluator: Evaluator, run: Run, monkeypatch: Any):
    monkeypatch.setattr("ri_analysis.encoder.Encoder.blocks", [])
    suite, workspace = evaluator.suite.spec.path, evaluator.store.workspace
    found = run(f"ri-analysis interference {suite} --workspace {workspace} --device cpu --limit 6 --json")
    assert found["drift_by_block"] is None
    assert found["blame"] is None
    assert found["drift"]["kl"]
