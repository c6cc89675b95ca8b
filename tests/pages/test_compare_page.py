"""The Compare page: what is measured is in the table, what is added is measured on request, and all of it stays."""

from __future__ import annotations

import time

import pandas as pd
import pytest
from shown import clean, text
from streamlit.testing.v1 import AppTest

from ri_analysis.engine import Evaluator, accuracy_change
from ri_analysis.engine.recipe_texts import expand, written
from ri_analysis.export.shelf import Shelf
from ri_analysis.ui import resources
from ri_analysis.views.comparing import table

PAGE = "pages/compare.py"


def opened(app: AppTest) -> AppTest:
    return clean(app.run().switch_page(PAGE).run())


def shown(app: AppTest) -> pd.DataFrame:
    return app.dataframe[0].value.set_index("recipe")


def press(app: AppTest, key: str) -> AppTest:
    return clean(next(button for button in app.button if button.key == key).click().run())


def finished(app: AppTest) -> AppTest:
    for job in resources.jobs().starting_with("compare."):
        job.wait(60)
    return clean(app.run())


def choose(app: AppTest, **entries: str) -> AppTest:
    for name, value in entries.items():
        app.session_state["ri.choice"][f"compare.{name}"] = value
    return clean(app.run())


def test_what_other_pages_measured_is_there_with_paired_differences(app: AppTest, evaluator: Evaluator) -> None:
    recipes = expand(evaluator, "task-arithmetic,ties experts=all")
    found = {recipe: evaluator.measure(recipe) for recipe in recipes}
    opened(app)
    rows = shown(app)
    assert list(rows.index) == [
        "Task Arithmetic, original",
        "Task Arithmetic, mild",
        "TIES, original",
        "TIES, mild",
    ]
    last = found[recipes[3]]
    change = accuracy_change(found[recipes[0]], last)
    assert rows.loc["TIES, mild", "accuracy %"] == pytest.approx(100 * last.mean_accuracy[0])
    assert rows.loc["TIES, mild", "interference ξ"] == pytest.approx(last.mean_interference[0])
    assert rows.loc["TIES, mild", "difference"] == pytest.approx(100 * change.value)
    assert rows.loc["TIES, mild", "images"] == last.n
    assert (rows["numbers"] == "measured").all()
    assert pd.isna(rows.loc["Task Arithmetic, original", "difference"])  # the baseline
    choose(app, baseline=table.token(written(recipes[3], evaluator.suite)))
    assert shown(app).loc["Task Arithmetic, original", "difference"] == pytest.approx(-100 * change.value)


def test_added_recipes_are_measured_on_request_and_survive_a_new_session(
    app: AppTest, evaluator: Evaluator, start, tiny
) -> None:
    opened(app)
    next(field for field in app.text_input if field.key == "compare.add.text").set_value("averaging scale=0.5,1")
    press(app, "compare.add.submit")
    rows = shown(app)
    assert list(rows["numbers"]) == ["not measured"] * 2 + ["measured"] * 2  # by the Overview, which opened first
    press(app, "compare.measure")
    finished(app)
    rows = shown(app)
    assert (rows["numbers"] == "measured").all()
    (half, _) = expand(evaluator, "averaging scale=0.5,1")
    accuracy = evaluator.measure(half).mean_accuracy[0]
    assert rows.loc["Averaging, scale λ = 0.5, original", "accuracy %"] == pytest.approx(100 * accuracy)
    assert "compare.measure" not in [button.key for button in app.button]
    another = opened(start(tiny))
    assert list(shown(another).index) == list(rows.index)


def test_a_text_that_is_no_recipe_is_said(app: AppTest) -> None:
    opened(app)
    next(field for field in app.text_input if field.key == "compare.add.text").set_value("tise")
    press(app, "compare.add.submit")
    assert "did you mean 'ties'" in text(app).replace("\\", "")


def test_filters_order_and_groups(app: AppTest, evaluator: Evaluator) -> None:
    for recipe in expand(evaluator, "averaging,ties experts=all scale=0.2,1"):
        evaluator.measure(recipe)
    opened(app)
    assert len(shown(app)) == 8 + 2  # the Overview's
    choose(app, methods="ties", sets="mild")
    assert list(shown(app).index) == ["TIES, scale λ = 0.2, mild", "TIES, scale λ = 1, mild"]
    choose(app, methods="", sets="", search="scale=0.2 aver")
    assert list(shown(app).index) == ["Averaging, scale λ = 0.2, original", "Averaging, scale λ = 0.2, mild"]
    choose(
        app,
        search="scale",
        methods="averaging,ties",
        sort="interference",
        group="experts",
        tasks="True",
        intervals="True",
    )
    rows = shown(app)
    assert list(rows["expert set"]) == ["original"] * 4 + ["mild"] * 4
    for name in ("original", "mild"):
        assert rows.loc[rows["expert set"] == name, "interference ξ"].is_monotonic_increasing
    assert {"Reds %", "Greens %", "Blues %", "accuracy %: interval"} <= set(rows)


def test_names_colours_and_hidden_recipes_stay(app: AppTest, evaluator: Evaluator, start, tiny) -> None:
    recipes = expand(evaluator, "averaging experts=all")
    for recipe in recipes:
        evaluator.measure(recipe)
    tokens = [table.token(written(recipe, evaluator.suite)) for recipe in recipes]
    opened(app)
    choose(app, shown=",".join(tokens))
    clean(next(each for each in app.text_input if each.key == f"compare.name.{tokens[0]}").set_value("Mine").run())
    clean(
        next(each for each in app.color_picker if each.key == f"compare.colour.{tokens[0]}").set_value("#123456").run()
    )
    assert "Mine" in shown(app).index
    another = opened(start(tiny))
    choose(another, shown=",".join(tokens))
    assert "Mine" in shown(another).index
    assert "#123456" in another.get("plotly_chart")[0].proto.spec
    choose(another, shown=tokens[1])
    press(another, "compare.hide")
    assert "Averaging, mild" not in shown(another).index
    choose(another, hidden="True")
    assert "Averaging, mild" in shown(another).index


def test_a_recipe_is_loaded_on_every_page(app: AppTest, evaluator: Evaluator) -> None:
    (recipe,) = expand(evaluator, "ties scale=0.123456789 tasks=Reds,Blues coefficient.Reds=0.5")
    evaluator.measure(recipe)
    opened(app)
    choose(app, shown=table.token(written(recipe, evaluator.suite)))
    press(app, "compare.load")
    chosen = app.session_state["ri.choice"]
    assert chosen["method"] == "ties"
    assert chosen["ties.scale"] == "0.123456789"
    assert chosen["off"] == "Greens"
    assert chosen["c.Reds"] == "0.5"
    clean(app.switch_page("pages/overview.py").run())
    measured = evaluator.measure(recipe)
    assert f"{100 * measured.mean_accuracy[0]:.1f}%" in text(app) + "".join(item.value for item in app.metric)


def test_figures_have_a_command_and_are_pinned_with_it(app: AppTest, evaluator: Evaluator, workspace) -> None:
    for recipe in expand(evaluator, "ties experts=all scale=0.2,0.4,0.6,0.8"):
        evaluator.measure(recipe)
    (averaging,) = expand(evaluator, "averaging")
    evaluator.measure(averaging)
    opened(app)
    ticked = expand(evaluator, "ties scale=0.2,0.4")
    choose(app, shown=",".join(table.token(written(recipe, evaluator.suite)) for recipe in ticked))
    for name in ("recipes-by-task", "recipes-parallel", "recipes-shares", "recipes-by-set"):
        press(app, f"pin.{name}")
    (folder,) = (workspace / "figures").iterdir()
    held = [kept.snapshot for kept in Shelf(folder).read()[0].values()]
    commands = {snapshot.name: snapshot.origin.commands[0] for snapshot in held}
    assert len(commands) == 4
    assert all(command.startswith("ri-analysis compare ") for command in commands.values())
    assert commands["recipes-by-task"].count("--recipe") == 2
    assert commands["recipes-shares"].count("--recipe") == 8
    assert all("averaging" not in command for command in commands.values())
    shares = next(snapshot.table for snapshot in held if snapshot.name == "recipes-shares")
    assert set(shares["setting"]) == {"scale", "expert set"}
    assert all(snapshot.printed.data for snapshot in held)  # as it goes into a paper


def test_too_few_recipes_explain_nothing_and_that_is_said(app: AppTest, evaluator: Evaluator) -> None:
    first, second, third = expand(evaluator, "ties scale=0.2,0.4,0.6")
    for recipe in (first, second):
        evaluator.measure(recipe)
    opened(app)
    assert "At least 3 measured recipes of one method are needed." in text(app)
    evaluator.measure(third)
    opened(app)
    choose(app, method="ties")
    assert "Too few recipes to say how much these explain: Scale λ. There are 3" in text(app)


def test_other_weights_have_other_numbers(app: AppTest, evaluator: Evaluator, tiny) -> None:
    evaluator.measure(evaluator.recipe("averaging"))
    opened(app)
    assert "Averaging, original" in shown(app).index
    expert = tiny.parent / "original" / "Reds.safetensors"
    expert.write_bytes((tiny.parent / "original" / "Blues.safetensors").read_bytes())
    for _ in range(3):  # the change is noticed, and the suite is opened again
        app.run()
        time.sleep(0.1)
    assert not app.exception
    assert not app.dataframe or "Averaging, original" not in shown(app).index
