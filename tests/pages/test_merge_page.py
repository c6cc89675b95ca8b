from __future__ import annotations

import json
import shlex
from dataclasses import replace
from pathlib import Path
from urllib.parse import parse_qsl

import hand
import pytest
from safetensors import safe_open
from shown import clean, pinned, text
from streamlit.testing.v1 import AppTest

from ri_analysis.cli import main
from ri_analysis.engine import Evaluator
from ri_analysis.hyperparameters import Hyperparameter
from ri_analysis.json_text import to_json
from ri_analysis.merging import METHODS, recipe_of
from ri_analysis.ui import resources
from ri_analysis.ui.recipes import Pair
from ri_analysis.views.live import session
from ri_analysis.views.live.line import SliderPath
from ri_analysis.views.live.section import _checkpoint
from ri_analysis.views.live.session import LiveSession


def opened(app: AppTest) -> dict[str, object]:
    app.switch_page("pages/merge.py").run()
    return hand.seen(clean(app))


def query(data: dict[str, object]) -> dict[str, str]:
    return dict(parse_qsl(str(data["query"])))


def commands(data: dict[str, object]) -> list[str]:
    return str(data["copies"][0]["text"]).split("\n")  # type: ignore[index]


def test_bars_follow_the_hand_and_exact_values_replace_the_estimate(app: AppTest, evaluator: Evaluator):
    before = hand.until_exact(app, opened(app))
    assert before["kind"] == "exact"
    moving = hand.move(app, **{"c.Reds": -0.5})
    assert moving["kind"] == "estimate"
    app.run()  # the whole page, for another reason: the slider is still held
    assert (hand.seen(app)["kind"], hand.seen(app)["poll"]) == ("estimate", True)
    assert moving["rows"] != before["rows"]
    assert "query" not in moving  # the address is left alone while a slider moves
    exact = hand.release(app, {"c.Reds": -0.5})
    assert exact["kind"] == "exact"
    for place, experts in enumerate(("original", "ri")):
        recipe = evaluator.recipe("task-arithmetic", experts=experts, coefficients={"Reds": -0.5})
        summary = evaluator.measure(recipe).summary()
        assert exact["rows"]["mean"]["accuracy"][place][0] == round(summary["mean_accuracy"], 5)
        for row in summary["tasks"]:
            assert exact["rows"][row["task"]]["interference"][place][0] == round(row["interference"], 5)
    # The tiny suite's probe holds all images, so that the estimate is what bfloat16 makes of them.
    for name, row in moving["rows"].items():
        for place, (value, low, high) in enumerate(row["interference"]):
            assert value == pytest.approx(exact["rows"][name]["interference"][place][0], abs=0.02)
            assert low == pytest.approx(high, abs=1e-4)


def test_what_the_hand_chose_goes_into_the_url_the_commands_and_the_other_pages(app: AppTest):
    opened(app)
    app.selectbox(key="widget.method").set_value("ties").run()
    data = hand.release(app, {"ties.scale": 0.5, "c.Reds": -0.5})
    wanted = {"method": "ties", "ties.scale": "0.5", "c.Reds": "-0.5"}
    assert query(data) == wanted
    assert all("--method ties" in line and "--coefficient Reds=-0.5" in line for line in commands(data))
    assert "--experts original" in commands(data)[0]
    assert "--experts mild" in commands(data)[1]
    clean(app.switch_page("pages/accuracy.py").run())
    assert {name: app.query_params[name] for name in wanted} == wanted
    assert "**TIES**, scale λ = 0.5" in text(app)
    assert "Reds × −0.5" in text(app)
    assert app.slider(key="widget.ties.scale").value == 0.5


def test_commands_and_python_give_the_same_numbers(app: AppTest, capsys: pytest.CaptureFixture[str]):
    opened(app)
    data = hand.release(app, {"c.Blues": 0.25})
    program, *arguments = shlex.split(commands(data)[1])
    assert program == "ri-analysis"
    assert main([*arguments, "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert data["rows"]["mean"]["accuracy"][1] == [
        round(printed[name], 5) for name in ("mean_accuracy", "mean_accuracy_low", "mean_accuracy_high")
    ]
    *lines, last = str(data["copies"][1]["text"]).splitlines()
    assert len(lines) == 2
    names: dict[str, object] = {}
    exec("\n".join(lines), names)
    found = eval(last, names)["accuracy"].answer.results
    assert json.loads(to_json(found.after.summary())) == printed


def test_a_link_restores_the_recipe_and_survives_what_it_cannot_read(app: AppTest):
    for key, value in {
        "method": "ties",
        "ties.density": "0.5",
        "ties.scale": "much",
        "c.Reds": "x",
        "off": "Blues",
        "mute": "Greens",
        "pin.A": "method=averaging&c.Reds=0.5",
    }.items():
        app.query_params[key] = value
    data = opened(app)
    assert app.selectbox(key="widget.method").value == "ties"
    stand = hand.values(data)
    assert stand["ties.density"] == 0.5
    assert stand["ties.scale"] == METHODS["ties"].hyperparameters[0].default
    assert stand["c.Reds"] == 1.0
    assert [task["name"] for task in data["tasks"] if not task["on"]] == ["Blues"]
    assert all("--tasks Reds,Greens" in line and "--coefficient Greens=0" in line for line in commands(data))
    assert "**A** · **Averaging**" in text(app)


def test_undo_redo_and_reset(app: AppTest):
    opened(app)
    hand.release(app, {"c.Reds": 0.5})
    hand.release(app, {"c.Reds": 0.5, "task-arithmetic.scale": 0.7})
    data = hand.send(app, "act", act="undo")
    assert (hand.values(data)["c.Reds"], hand.values(data)["task-arithmetic.scale"]) == (0.5, 0.3)
    assert data["undoable"] == [True, True]
    data = hand.send(app, "act", act="undo")
    assert hand.values(data)["c.Reds"] == 1.0
    assert data["undoable"] == [False, True]
    data = hand.send(app, "act", act="redo")
    assert hand.values(data)["c.Reds"] == 0.5
    hand.send(app, "act", act="off:Blues")
    data = hand.send(app, "act", act="reset")
    assert query(data) == {"method": "task-arithmetic"}
    data = hand.send(app, "act", act="undo")
    assert query(data) == {"method": "task-arithmetic", "c.Reds": "0.5", "off": "Blues"}


def test_undo_takes_back_a_change_of_method(app: AppTest):
    opened(app)
    app.selectbox(key="widget.method").set_value("averaging").run()
    hand.send(app, "act", act="undo")
    assert clean(app).selectbox(key="widget.method").value == "task-arithmetic"


def test_mute_and_solo_silence_experts_and_keep_their_tasks(app: AppTest):
    opened(app)
    data = hand.send(app, "act", act="mute:Reds")
    assert all("--coefficient Reds=0" in line and "--tasks Reds,Greens,Blues" in line for line in commands(data))
    data = hand.send(app, "act", act="solo:Greens")
    assert all("Reds=0" in line and "Blues=0" in line and "Greens=" not in line for line in commands(data))
    assert hand.values(data)["c.Reds"] == 1.0  # comes back with its own coefficient
    data = hand.send(app, "act", act="solo:Greens")
    assert [task["active"] for task in data["tasks"]] == [False, True, True]


def test_the_last_task_switched_off_leaves_one_sentence_and_a_way_back(app: AppTest):
    app.query_params["off"] = "Greens,Blues"
    seq = opened(app)["ack"] + 1  # type: ignore[operator]
    app.session_state[hand.KEY] = {"message": {"seq": seq, "kind": "act", "act": "off:Reds"}}
    clean(app.run())
    assert not app.get("bidi_component")
    assert "No task is switched on" in text(app)
    assert not app.download_button
    app.button(key="choosing.merge").click().run()
    hand.until_exact(app, hand.seen(clean(app)))
    assert "off" not in app.query_params


def test_a_method_added_to_the_registry_appears_by_itself(app: AppTest, monkeypatch: pytest.MonkeyPatch):
    added = replace(
        METHODS["averaging"],
        name="odd",
        title="Odd",
        weighted=False,
        linear=False,
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
    data = opened(app)
    assert hand.values(data) == {"odd.rate": 1e-3, "odd.rounds": 3}  # and no coefficients: it is not weighted
    assert app.number_input(key="widget.odd.free").value == 2.0
    assert app.segmented_control(key="widget.odd.kind").value == "plain"
    data = hand.release(app, {"odd.rate": 0.1, "odd.rounds": 4.0, "c.Reds": 0.5})
    assert query(data) == {"method": "odd", "odd.rate": "0.1", "odd.rounds": "4"}


def numbers_of(command: str, capture: pytest.CaptureFixture[str]) -> set[float]:
    """Return the numbers that a shell command prints as JSON, but for those of single tasks."""
    workspace, device = ["--workspace", str(resources.workspace())], ["--device", "cpu"]
    capture.readouterr()
    assert main([*shlex.split(command)[1:], *workspace, *device]) == 0
    found = json.loads(capture.readouterr().out)
    return {float(value) for value in (found | found.get("difference", {})).values() if isinstance(value, int | float)}


def test_pinned_recipes_are_compared_image_by_image(
    app: AppTest, evaluator: Evaluator, capsys: pytest.CaptureFixture[str]
):
    opened(app)
    hand.until_exact(app, hand.send(app, "act", act="pin:A"))
    data = hand.release(app, {"c.Reds": -1.0, "task-arithmetic.scale": 1.0})
    hand.send(app, "settle")
    assert "**A** · **Task Arithmetic**" in text(clean(app))
    assert "paired image by image" in text(app)
    app.button(key="pin.pinned").click().run()
    (held,) = pinned()
    printed = [numbers_of(command, capsys) for command in held.origin.commands]
    for row in json.loads(to_json(held.table.to_dict(orient="records"))):
        wanted = {float(value) for value in row.values() if isinstance(value, int | float)} - {float(row["n"])}
        assert any(wanted <= each for each in printed), row
    assert query(data)["pin.A"] == "method=task-arithmetic"
    data = hand.until_exact(app, hand.send(app, "act", act="recall:A"))
    assert hand.values(data)["c.Reds"] == 1.0
    data = hand.send(app, "act", act="unpin:A")
    assert "pin.A" not in query(data)


def test_the_download_is_the_merge_under_the_hand_with_its_recipe(evaluator: Evaluator, tmp_path: Path):
    recipe = evaluator.recipe("ties", coefficients={"Reds": 0.5})
    session = LiveSession(pair=Pair(recipe, recipe.with_experts("mild")))
    path = tmp_path / "merged.safetensors"
    path.write_bytes(_checkpoint(evaluator, session, 1))
    assert recipe_of(path) == recipe.with_experts("mild")
    with safe_open(path, "pt") as file:
        for name, tensor in evaluator.merged(recipe.with_experts("mild")):
            assert (file.get_tensor(name) == tensor).all()


def test_what_takes_too_long_to_look_at_is_interpolated_and_says_so(app: AppTest, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(session, "LIVE", 0.0)
    opened(app)
    data = hand.move(app, **{"c.Reds": 0.35})
    assert data["kind"] == "waiting"
    assert data["poll"]
    for _ in range(100):
        if data["kind"] == "surrogate":
            break
        data = hand.send(app, "poll", held="c.Reds", holding=True)
    assert "Estimate, interpolated between" in data["says"]
    exact = hand.release(app, {"c.Reds": 0.35})
    assert exact["kind"] == "exact"
    for name, row in data["rows"].items():
        for measure in ("accuracy", "interference"):
            for (_, low, high), (truth, *_) in zip(row[measure], exact["rows"][name][measure], strict=True):
                assert low - 1e-4 <= truth <= high + 1e-4, (name, measure)


def test_points_are_measured_where_the_hand_is_and_sent_once(app: AppTest):
    opened(app)
    at_rest = {"held": "", "near": "c.Reds", "values": {}}
    data = hand.send(app, "poll", **at_rest)
    for _ in range(100):
        if data.get("path") and not data["refining"]:
            break
        data = hand.send(app, "poll", **at_rest)
    path = data["path"]
    assert (data["kind"], data["on"], path["held"], path["first"]) == ("exact", path["id"], "c.Reds", 0)
    assert len(path["nodes"]) == 2
    assert [each["position"] for each in path["nodes"][0]][:3] == [[-1.0], [0.5], [2.0]]
    have = [path["id"], len(path["nodes"][0]), path["checked"], path["reference"]]
    assert hand.send(app, "poll", **at_rest, have=have)["path"] is None
    muted = hand.until_exact(app, hand.send(app, "act", act="mute:Blues"))
    assert muted["on"] != path["id"]  # it leads through other recipes


def test_the_direction_of_linked_coefficients_and_of_logarithms():
    linked = SliderPath.of({"c.A": "0.5"}, "c.A", {"c.A": "0.75", "c.B": "1.25"})
    assert linked is not None
    assert linked.at((0.25,)) == {"c.A": "0.25", "c.B": "0.75"}
    assert linked.at((1.0,)) == {"c.A": "1", "c.B": "1.5"}
    assert SliderPath.of({"c.A": "0.5"}, "c.A", {"c.A": "0.5"}, ("c.A", "c.B")) == linked  # before it moves
    images = SliderPath.of({"method": "fisher"}, "fisher.images", {"method": "fisher", "fisher.images": "512"})
    assert images is not None
    grid = images.grid(live=False)
    assert images.at(grid.low)["fisher.images"] == "32"
    assert images.at(grid.levels[0][1]) == {"method": "fisher", "fisher.images": "256"}
    assert SliderPath.of({}, "c", {}) is None
