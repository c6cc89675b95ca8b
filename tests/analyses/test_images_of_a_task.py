from __future__ import annotations

import pandas as pd
import pytest

from ri_analysis.analyses import Answer
from ri_analysis.analyses.drift import ANALYSIS as DRIFT
from ri_analysis.analyses.drift import Drift
from ri_analysis.analyses.images import drift_histogram, image_table
from ri_analysis.analyses.plane import plane_figure
from ri_analysis.analyses.weight_space import short_name
from ri_analysis.engine import Evaluator
from ri_analysis.figures import drift as drift_figures
from ri_analysis.sides import Sides
from ri_analysis.views import images


@pytest.fixture
def drifts(evaluator: Evaluator) -> Answer[Drift]:
    recipe = evaluator.recipe("task-arithmetic", {"scale": 1.0})
    return DRIFT.ask(evaluator, Sides(recipe, recipe.with_experts("mild")), {"distance": "js"})


def test_image_tables_count_flips_and_filter(drifts: Answer[Drift]):
    table = image_table(drifts.results, "kl", "Greens")
    assert len(table) == 24
    classes = images.class_table(table, "before")
    lost = table[table["before_outcome"] == "lost"]
    assert classes["lost"].sum() == len(lost)
    assert classes["n"].sum() == 24
    assert len(images.pick(table, "lost", "before", {})) == len(lost)
    most = images.pick(table, "drift", "after", {"class": "greens 1"})
    assert set(most["class"]) == {"greens 1"}
    assert most["after_drift"].is_monotonic_decreasing


def test_drift_figures_draw_their_tables(drifts: Answer[Drift]):
    tables = drifts.results.map(lambda drift: drift.table("kl"))
    figure = drift_figures.drift_by_task(tables, None, "nats")
    assert list(figure.data[0].x) == tables.before["drift"].tolist()
    assert figure.data[1].marker.color == "#0072B2"
    values = drifts.results.before.values("kl")["Reds"]
    line = drift_histogram(Sides(values), "nats").data[0]
    assert sum(line.y[::2]) == pytest.approx(1)


def test_the_drift_table_names_its_expert_sets_and_pairs_the_change(drifts: Answer[Drift]):
    table = DRIFT.tables(drifts)["drift"].set_index(["experts", "task"])
    assert list(table.index.get_level_values("experts").unique()) == ["original", "mild"]
    change = table.loc[("mild", "Reds"), "drift"] - table.loc[("original", "Reds"), "drift"]
    assert table.loc[("mild", "Reds"), "change"] == pytest.approx(change, abs=1e-6)
    assert table.loc["original", "change"].isna().all()


def test_plane_and_layer_names():
    table = pd.DataFrame({"alpha_1": [0, 0, 1, 1], "alpha_2": [0, 1, 0, 1], "error": [0.0, 0.1, 0.2, 0.5]})
    figure = plane_figure(Sides(table), ("a", "b"))
    assert figure.data[0].z.tolist() == [[0.0, 0.2], [0.1, 0.5]]
    assert short_name("visual.transformer.resblocks.2.attn.in_proj_weight") == "3 attn.in_proj"
    assert short_name("visual.proj") == "proj"
