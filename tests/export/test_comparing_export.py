"""The table of recipes for papers, and the command that prints every number of the page's figures."""

from __future__ import annotations

import json
import shlex

import numpy as np
import pandas as pd
import pytest

from ri_analysis.cli import comparing, main
from ri_analysis.engine import Evaluator
from ri_analysis.engine.comparing import Collection
from ri_analysis.engine.recipe_texts import expand
from ri_analysis.errors import InputError
from ri_analysis.export.comparing import (
    NUMBERS,
    RECIPE_COLUMNS,
    compare_command,
    explained_rows,
    label,
    latex,
    markdown,
    recipe_rows,
    task_rows,
)


def table() -> pd.DataFrame:
    """Two recipes; the second, with a name full of signs, is better by a clear 2 points; a third is not measured."""
    nothing = dict.fromkeys(NUMBERS, float("nan"))
    first = nothing | {"accuracy": 0.6, "accuracy_low": 0.59, "accuracy_high": 0.61, "interference": 0.5, "n": 4104}
    second = nothing | {"accuracy": 0.62, "accuracy_low": 0.61, "accuracy_high": 0.63, "interference": 0.7, "n": 4104}
    second |= {"difference": 0.02, "difference_low": 0.01, "difference_high": 0.03}
    third = nothing | {"accuracy": 0.59, "difference": -0.01, "difference_low": -0.03, "difference_high": 0.01}
    rows = [("A", first), (r"B & C_1 100% | {x} \y λ", second), ("D", third)]
    return pd.DataFrame([{"name": name, **row} for name, row in rows], columns=[*RECIPE_COLUMNS, *NUMBERS])


def test_latex_is_a_booktabs_table_with_the_best_in_bold_and_clear_differences_starred() -> None:
    lines = latex(table(), "A").splitlines()
    assert lines[1:3] == [r"\begin{tabular}{lrrrr}", r"\toprule"]
    assert lines[3] == r"Recipe & Accuracy (\%) & Interference (nats) & Difference (points) & Images \\"
    assert lines[5] == r"A & 60.0 (59.0--61.0) & \textbf{0.500} & --- & 4,104 \\"
    assert lines[6] == (
        r"B \& C\_1 100\% | \{x\} \textbackslash{}y $\lambda$ & \textbf{62.0 (61.0--63.0)} & 0.700 & "
        r"+2.0* (+1.0 to +3.0) & 4,104 \\"
    )
    assert lines[7] == r"D & 59.0 & --- & $-$1.0 ($-$3.0 to +1.0) & --- \\"
    assert lines[8:10] == [r"\bottomrule", r"\end{tabular}"]
    assert "difference of mean accuracy from A" in lines[10]


def test_markdown_has_the_same_cells() -> None:
    lines = markdown(table(), "A").splitlines()
    assert lines[1] == "| --- | ---: | ---: | ---: | ---: |"
    assert lines[3] == r"| B & C_1 100% \| {x} \y λ | **62.0 (61.0–63.0)** | 0.700 | +2.0* (+1.0 to +3.0) | 4,104 |"


def test_a_label_says_what_is_not_the_default(evaluator: Evaluator) -> None:
    (recipe,) = expand(evaluator, "ties experts=mild scale=0.5 tasks=Reds,Blues coefficient.Reds=-2")
    assert label(recipe, evaluator.suite) == "TIES, scale λ = 0.5, Reds × −2, 2 tasks: Reds, Blues, mild"
    assert label(evaluator.recipe("ties"), evaluator.suite) == "TIES, original"


def test_the_command_prints_every_number_of_the_figures(
    evaluator: Evaluator, capsys: pytest.CaptureFixture[str]
) -> None:
    recipes = expand(evaluator, "ties experts=all scale=0.2,0.4,0.6,0.8,1")
    baseline, names = recipes[0], {recipes[3]: "Mine: it's & so"}
    collection = Collection()
    collection.measure(evaluator, recipes)
    command = compare_command(evaluator, str(evaluator.suite.spec.path), recipes, baseline, names)
    program, *arguments = shlex.split(command)
    assert program == "ri-analysis"
    capsys.readouterr()
    assert main([*arguments, "--device", "cpu"]) == 0
    printed = json.loads(capsys.readouterr().out)
    measured = [collection.get(evaluator, recipe) for recipe in recipes]
    for name, expected in (
        ("recipes", recipe_rows(evaluator, collection, recipes, baseline, names)),
        ("tasks", task_rows(evaluator, collection, recipes, names)),
        ("explained", explained_rows(evaluator, [each for each in measured if each is not None])),
    ):
        pd.testing.assert_frame_equal(
            pd.DataFrame(printed[name], columns=list(expected)), expected, check_dtype=False, check_exact=True
        )
    assert printed["recipes"][3]["name"] == "Mine: it's & so"
    assert len(printed["explained"]) == 2
    assert np.isfinite([row["share"] for row in printed["explained"]]).all()


@pytest.mark.parametrize("form", ["text", "csv", "markdown", "latex"])
def test_the_command_prints_all_that_is_measured(
    evaluator: Evaluator, form: str, capsys: pytest.CaptureFixture[str]
) -> None:
    suite = [str(evaluator.suite.spec.path), "--workspace", str(evaluator.store.workspace), "--device", "cpu"]
    assert main(["compare", *suite]) == 2
    assert "nothing is measured yet" in capsys.readouterr().err
    evaluator.measure(evaluator.recipe("averaging"))
    evaluator.measure(evaluator.recipe("averaging", experts="mild"))
    assert main(["compare", *suite, "--format", form, "--baseline", "averaging"]) == 0
    out = capsys.readouterr().out
    assert "Averaging, original" in out
    assert "Averaging, mild" in out


def test_the_command_says_what_it_can_t_read(evaluator: Evaluator, capsys: pytest.CaptureFixture[str]) -> None:
    suite = [str(evaluator.suite.spec.path), "--workspace", str(evaluator.store.workspace), "--device", "cpu"]
    for flags, said in (
        (["--recipe", "Mine: ties,tsv-m"], "one recipe after the name 'Mine'"),
        (["--recipe", "ties", "--baseline", "ties,tsv-m"], "--baseline: expected one recipe, found 2"),
    ):
        assert main(["compare", *suite, *flags]) == 2
        assert said in capsys.readouterr().err


def test_a_name_before_a_recipe_may_hold_colons_and_so_may_a_task(evaluator: Evaluator) -> None:
    for text, name in (("averaging", None), ("ties: averaging", "ties"), ("a: b: averaging seed=0", "a: b")):
        assert comparing._named(evaluator, text) == (name, [evaluator.recipe("averaging")])
    for text in ("averaging 'tasks=Reds,x: y'", "Mine: averaging 'tasks=Reds,x: y'"):
        with pytest.raises(InputError, match="x: y"):
            comparing._named(evaluator, text)
