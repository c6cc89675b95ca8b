from __future__ import annotations

import runpy
from dataclasses import replace
from pathlib import Path

import pytest
from streamlit.runtime.scriptrunner import script_runner
from streamlit.testing.v1 import AppTest
from tiny import make_suite

from ri_analysis.engine import Evaluator
from ri_analysis.errors import Cancelled
from ri_analysis.figures import words
from ri_analysis.hyperparameters import Hyperparameter
from ri_analysis.merging import METHODS
from ri_analysis.resolving import ResolveProgress, resolve
from ri_analysis.suite import open_suite
from ri_analysis.ui import resources

APP = Path(__file__).resolve().parents[2] / "app.py"
PAGES = ["pages/overview.py", "pages/merge.py", "pages/accuracy.py", "pages/resolve.py"]


@pytest.fixture
def app(tiny: Path, workspace: Path, monkeypatch: pytest.MonkeyPatch) -> AppTest:
    return start(tiny, workspace, monkeypatch)


def start(suite: Path | str, workspace: Path, monkeypatch: pytest.MonkeyPatch) -> AppTest:
    monkeypatch.setenv(resources.SUITE, str(suite))
    monkeypatch.setenv(resources.WORKSPACE, str(workspace))
    monkeypatch.setenv(resources.DEVICE, "cpu")
    return AppTest.from_file(str(APP), default_timeout=60)


@pytest.fixture(autouse=True)
def navigation(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have AppTest run app.py: beside a folder pages/ it would run a page's script alone (see `preload`)."""
    monkeypatch.setattr(script_runner, "_mpa_v1", lambda path: runpy.run_path(path, run_name="__main__"))


def visit(app: AppTest, page: str) -> AppTest:
    return app.run() if page == PAGES[0] else app.switch_page(page).run()


def clean(app: AppTest) -> AppTest:
    assert not app.exception, app.exception[0].message
    assert [item.value for item in app.error] == []
    return app


def text(app: AppTest) -> str:
    return "\n".join(str(item.value) for item in [*app.markdown, *app.caption, *app.info])


@pytest.mark.parametrize("page", PAGES)
def test_every_page_opens(app: AppTest, page: str):
    clean(visit(app, page))
    assert app.title
    assert app.query_params["method"] == "task-arithmetic"


def test_overview_shows_what_the_engine_measures(app: AppTest, evaluator: Evaluator):
    clean(app.run())
    before = evaluator.measure(evaluator.recipe("task-arithmetic"))
    after = evaluator.measure(evaluator.recipe("task-arithmetic", experts="ri"))
    shown = {item.label: item for item in app.metric}
    assert shown["Mean accuracy"].value == words.percent(after.mean_accuracy[0])
    assert shown["Normalised accuracy"].value == words.percent(after.mean_normalised_accuracy)
    assert shown["Mean interference ξ"].value == words.nats(after.mean_interference[0])
    change = after.mean_interference[0] - before.mean_interference[0]
    assert shown["Mean interference ξ"].delta == words.nats_change(change).replace("−", "-")
    assert words.percent(before.mean_accuracy[0]) in text(app)
    assert f"{before.n} test images" in text(app)
    assert "how far the merged model's predictions have moved" in text(app)
    assert "on average an expert moves" in text(app).lower()


def test_choices_go_into_the_url_and_to_the_other_pages(app: AppTest):
    clean(visit(app, "pages/merge.py"))
    app.selectbox(key="widget.method").set_value("ties").run()
    app.slider(key="widget.ties.scale").set_value(0.5).run()
    clean(app.slider(key="widget.c.Reds").set_value(-0.5).run())
    assert {key: app.query_params[key] for key in ("method", "ties.scale", "c.Reds")} == {
        "method": "ties",
        "ties.scale": "0.5",
        "c.Reds": "-0.5",
    }
    commands = [item.value for item in app.code]
    assert len(commands) == 2
    assert all("--method ties" in line and "--coefficient Reds=-0.5" in line for line in commands)
    assert "--experts original" in commands[0]
    assert "--experts mild" in commands[1]
    clean(visit(app, "pages/accuracy.py"))
    assert "**TIES**, λ = 0.5" in text(app)
    assert "Reds × -0.5" in text(app)


def test_a_link_restores_the_recipe_and_survives_what_it_cannot_read(app: AppTest):
    for key, value in {
        "method": "ties",
        "ties.density": "0.5",
        "ties.scale": "much",
        "c.Reds": "x",
        "off": "Blues",
    }.items():
        app.query_params[key] = value
    clean(visit(app, "pages/merge.py"))
    assert app.selectbox(key="widget.method").value == "ties"
    assert app.slider(key="widget.ties.density").value == 0.5
    assert app.slider(key="widget.ties.scale").value == METHODS["ties"].hyperparameters[0].default
    assert app.slider(key="widget.c.Reds").value == 1.0
    assert app.checkbox(key="widget.on.Blues").value is False
    assert "--tasks Reds,Greens" in app.code[0].value


def test_reset_takes_everything_back(app: AppTest):
    clean(visit(app, "pages/merge.py"))
    app.slider(key="widget.c.Reds").set_value(0.0).run()
    app.checkbox(key="widget.on.Blues").uncheck().run()
    app.slider(key="widget.task-arithmetic.scale").set_value(0.7).run()
    clean(next(item for item in app.button if item.label == "Reset").click().run())
    assert set(app.query_params) == {"method"}
    assert app.slider(key="widget.c.Reds").value == 1.0
    assert app.checkbox(key="widget.on.Blues").value is True


def test_no_task_at_all_is_one_clear_message(app: AppTest):
    app.query_params["off"] = "Reds,Greens,Blues"
    visit(app, "pages/merge.py")
    assert not app.exception
    assert len(app.error) == 1
    assert "at least one" in app.error[0].value
    app.checkbox(key="widget.on.Reds").check().run()
    clean(app)


def test_a_method_added_to_the_registry_appears_by_itself(app: AppTest, monkeypatch: pytest.MonkeyPatch):
    added = replace(
        METHODS["averaging"],
        name="odd",
        title="Odd",
        weighted=False,
        direction=lambda layer, **_: layer.deltas.mean(dim=0),
        hyperparameters=(
            Hyperparameter("kind", "which kind", "plain", choices=("plain", "fancy")),
            Hyperparameter("rate", "a rate", 1e-3, 1e-6, 1.0, log=True),
            Hyperparameter("rounds", "how many rounds", 3, 1, 9),
            Hyperparameter("free", "any number", 2.0),
        ),
    )
    monkeypatch.setitem(METHODS, "odd", added)
    app.query_params["method"] = "odd"
    clean(visit(app, "pages/merge.py"))
    assert app.select_slider(key="widget.odd.rate").value == 1e-3
    assert app.slider(key="widget.odd.rounds").value == 3
    assert app.number_input(key="widget.odd.free").value == 2.0
    assert app.slider(key="widget.c.Reds").disabled
    assert "takes no coefficient" in text(app)
    clean(app.select_slider(key="widget.odd.rate").set_value(0.1).run())
    assert app.query_params["odd.rate"] == "0.1"


def test_accuracy_says_whether_it_is_absolute_or_normalised(app: AppTest):
    clean(visit(app, "pages/accuracy.py"))
    assert "Absolute: each bar" in text(app)
    app.session_state["ri.choice"] = {"method": "task-arithmetic", "accuracy.view": "normalised"}
    clean(app.run())
    assert "Normalised: each bar" in text(app)
    assert set(app.query_params) == {"method", "accuracy.view"}  # a link restores the view too
    table = app.dataframe[0].value
    assert list(table["task"]) == ["Reds", "Greens", "Blues"]
    assert all(cell.startswith("100.0% (") for cell in table["expert"])
    assert {"zero-shot", "expert", "merged before RI", "merged after RI"} <= set(table)


def test_without_an_ri_set_there_is_only_before(tmp_path: Path, workspace: Path, monkeypatch: pytest.MonkeyPatch):
    suite = make_suite(tmp_path / "bare", resolved=False)
    app = start(suite, workspace, monkeypatch)
    for page in PAGES[:3]:
        clean(visit(app, page))
        assert "no RI-adapted experts yet" in text(app)
    clean(visit(app, PAGES[3]))
    assert "None yet." in text(app)


@pytest.mark.parametrize("damage", ["toml", "missing", "weights"])
def test_an_unreadable_suite_is_one_message(tiny: Path, workspace: Path, monkeypatch: pytest.MonkeyPatch, damage: str):
    if damage == "toml":
        tiny.write_text("name = ")
    elif damage == "weights":
        expert = tiny.parent / "original" / "Reds.safetensors"
        expert.write_bytes(expert.read_bytes()[:1000])
    app = start(tiny if damage != "missing" else tiny.parent / "nowhere.toml", workspace, monkeypatch).run()
    assert not app.exception
    assert len(app.error) == 1
    assert "expected" in app.error[0].value


def test_resolve_makes_a_set_that_can_stand_for_after_ri(app: AppTest, tiny: Path, workspace: Path):
    app.session_state["ri.choice"] = {"method": "task-arithmetic", "resolve.steps": "2", "resolve.name": "quick"}
    clean(visit(app, "pages/resolve.py"))
    assert app.select_slider(key="widget.resolve.steps").value == 2
    assert "on this machine" in text(app)
    app.button(key="resolve.run").click().run()
    job = resources.jobs().get(f"resolve:{open_suite(str(tiny)).spec.path}:quick")
    assert job is not None
    job._future.result(timeout=60)
    clean(app.run())
    assert "quick" in app.success[0].value
    assert "quick" in open_suite(str(tiny), workspace).expert_sets
    clean(app.button(key=f"use.{job.key}").click().run())
    assert app.query_params["ri"] == "quick"
    clean(visit(app, "pages/merge.py"))
    assert "--experts quick" in app.code[1].value


def test_resolve_says_what_is_wrong_with_a_name(app: AppTest):
    app.session_state["ri.choice"] = {"method": "task-arithmetic", "resolve.name": "mild"}
    visit(app, "pages/resolve.py")
    app.button(key="resolve.run").click().run()
    assert not app.exception
    assert "exists already" in app.error[0].value


def test_a_run_left_unfinished_is_taken_up_again(app: AppTest, tiny: Path, workspace: Path):
    def stop(progress: ResolveProgress) -> None:
        if progress.expert == 1:
            raise Cancelled

    suite = open_suite(str(tiny), workspace)
    with pytest.raises(Cancelled):
        resolve(suite, auxiliary="noise", name="half", settings={"steps": 2}, progress=stop)
    clean(visit(app, "pages/resolve.py"))
    assert "**half** was left unfinished" in text(app)
    app.button(key="resume.left.half").click().run()
    job = resources.jobs().get(f"resolve:{suite.spec.path}:half")
    assert job is not None
    job._future.result(timeout=60)
    clean(app.run())
    assert "half" in app.success[0].value
    assert "half" in suite.expert_sets
