"""Every study runs on the tiny suite, and says what stands in its table."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tiny import make_suite

from ri_analysis.cli import main
from ri_analysis.divergences import frechet_distance
from ri_analysis.encoder import architecture_of
from ri_analysis.engine import Evaluator
from ri_analysis.engine.grids import best_of, beyond, scales
from ri_analysis.engine.sections import usual_source
from ri_analysis.errors import InputError
from ri_analysis.figures import look
from ri_analysis.hyperparameters import Value
from ri_analysis.markdown import write_section
from ri_analysis.measures import off_diagonal_mean
from ri_analysis.merging import METHODS
from ri_analysis.resolving import default_settings, find_preset, record_of
from ri_analysis.studies import STUDIES
from ri_analysis.studies.adapted import runs_of
from ri_analysis.studies.conducting.adaptation import Adaptation
from ri_analysis.studies.conducting.conduct import conduct, plan
from ri_analysis.studies.conducting.distilled import distilled
from ri_analysis.studies.conducting.point import Point
from ri_analysis.studies.output import estimate
from ri_analysis.studies.tasks import subsets
from ri_analysis.suite import open_suite

pytestmark = pytest.mark.long

SMALL = {
    "levels": 4,
    "images": 6,
    "seeds": 2,
    "steps": 2,
    "longest": 4,
    "halvings": 1,
    "alphas": "0,1",
    "subsets": 1,
    "counts": "8,16,1000",
    "ranks": "2",
    "rates": "1e-3,1e-2",
}
FEW = "task-arithmetic,iso-c"


def run(evaluator: Evaluator, name: str, **changed: Value) -> pd.DataFrame:
    study = STUDIES[name]
    settings = {item.name: SMALL.get(item.name, item.default) for item in study.settings}
    settings |= ({"methods": FEW} if "methods" in settings else {}) | changed
    table = conduct(
        study.rounds(evaluator, settings), evaluator, planned=plan(study.rounds(evaluator, settings), evaluator)
    )
    again = plan(study.rounds(evaluator, settings), evaluator)
    assert again.kept == again.works
    for chart in study.charts(table, True).values():
        assert chart.figure.data
        assert "image" in chart.how_to_read
    assert study.verdict(table).endswith(".")
    assert len(study.summary(table))
    return table


@pytest.fixture
def few_methods(monkeypatch: pytest.MonkeyPatch) -> None:
    from ri_analysis.studies import methods

    chosen = [METHODS[name] for name in ("averaging", "dare", "karcher", "fisher")]
    monkeypatch.setattr(methods, "mergeable", lambda _experts: chosen)


def test_methods_are_compared_at_default_and_best(evaluator: Evaluator, few_methods: None):
    table = run(evaluator, "methods")
    merged = table[table["stage"] != "reference"]
    assert len(merged) == 2 * (2 * 3 + 1)  # karcher has no λ
    for row in merged.to_dict(orient="records"):
        settings = {} if row["method"] == "karcher" else {"scale": row["scale"]}
        expected = [
            evaluator.measure(evaluator.recipe(row["method"], settings, experts=row["experts"], seed=seed))
            for seed in range(row["seeds"])
        ]
        assert row["accuracy"] == pytest.approx(np.mean([found.mean_accuracy[0] for found in expected]))
        assert row["interference"] == pytest.approx(np.mean([found.mean_interference[0] for found in expected]))
        if row["stage"] == "after":
            other = merged[(merged["method"] == row["method"]) & (merged["setting"] == row["setting"])]
            before = other[other["stage"] == "before"].iloc[0]
            assert row["gain"] == pytest.approx(row["accuracy"] - before["accuracy"])
            assert row["gain_low"] <= row["gain"] <= row["gain_high"]
    gains = STUDIES["methods"].charts(table, False)["gain"].figure
    assert not {trace.marker.color for trace in gains.data} & {look.BEFORE.colour, look.AFTER.colour}
    assert set(merged.loc[merged["method"] == "dare", "seeds"]) == {2}
    dare = merged[merged["method"] == "dare"]
    assert (dare["accuracy_seed_low"] <= dare["accuracy"]).all()
    assert (dare["accuracy"] <= dare["accuracy_seed_high"]).all()
    reference = table[table["stage"] == "reference"].set_index("method")["accuracy"]
    whole = evaluator.measure(evaluator.recipe("averaging"))
    assert reference["zero-shot"] == pytest.approx(whole.mean_zero_shot_accuracy[0])
    assert reference["experts"] == pytest.approx(whole.mean_expert_accuracy[0])


def test_the_best_scale_is_the_validation_images_choice(evaluator: Evaluator, few_methods: None):
    table = run(evaluator, "methods")
    row = table[(table["method"] == "averaging") & (table["stage"] == "before") & (table["setting"] == "best")].iloc[0]
    chosen = evaluator.measure(evaluator.recipe("averaging", {"scale": row["scale"]}), split="validation", limit=6)
    for scale in (0.5, 1.26, 3.175, 8.0):
        tried = evaluator.measure(evaluator.recipe("averaging", {"scale": scale}), split="validation", limit=6)
        assert chosen.mean_accuracy[0] >= tried.mean_accuracy[0]


def test_tuning_never_sees_a_test_image(evaluator: Evaluator):
    table = run(evaluator, "tuning")
    assert set(table["tuned"]) == {"default", "labelled", "interference"}
    assert (table.groupby(["method", "stage"]).size() == 3).all()
    row = table[(table["method"] == "iso-c") & (table["stage"] == "after") & (table["tuned"] == "default")].iloc[0]
    assert row["scale"] == 1.0
    accuracy = table.set_index(["method", "stage", "tuned"])["accuracy"]
    worth = {key: value - accuracy[(*key[:2], "default")] for key, value in accuracy.items()}
    for row in table.to_dict(orient="records"):
        key = (row["method"], row["stage"], row["tuned"])
        assert row["worth"] == pytest.approx(worth[key], abs=1e-9)
        assert row["worth_low"] <= row["worth"] <= row["worth_high"]
        if row["stage"] == "after":
            expected = worth[key] - worth[row["method"], "before", row["tuned"]]
            assert row["worth_change"] == pytest.approx(expected, abs=1e-9)


def test_averaging_peaks_where_its_curve_does(evaluator: Evaluator):
    table = run(evaluator, "averaging")
    assert set(table["method"]) == {"averaging"}
    for stage in ("before", "after"):
        part = table[table["stage"] == stage]
        best = part[part["kind"] == "best"].iloc[0]
        assert best["accuracy"] == part.loc[part["kind"] == "grid", "accuracy"].max()
        assert f"{best['x']:.3g}" in STUDIES["averaging"].verdict(table)
    rows = table.set_index(["kind", "stage"])
    for kind in ("default", "best"):
        before, after = rows.loc[(kind, "before")].squeeze(), rows.loc[(kind, "after")].squeeze()
        assert after["gain"] == pytest.approx(after["accuracy"] - before["accuracy"])
        assert after["gain_low"] <= after["gain"] <= after["gain_high"]
    gap = after["gap"] - before["gap"]
    assert after["gap_change"] == pytest.approx(gap)
    assert after["gap_change_low"] <= gap <= after["gap_change_high"]


def test_experts_alone_are_each_measured_on_their_own_task(evaluator: Evaluator):
    table = run(evaluator, "alone")
    for experts, stage in (("original", "before"), ("mild", "after")):
        for row in table[(table["stage"] == stage) & (table["kind"] == "grid")].to_dict(orient="records"):
            each = [
                evaluator.measure(
                    evaluator.recipe("task-arithmetic", {"scale": row["x"]}, experts=experts, tasks=[task]),
                    limit=SMALL["images"],
                )
                for task in evaluator.suite.tasks
            ]
            assert row["accuracy"] == pytest.approx(np.mean([one.mean_accuracy[0] for one in each]))
            assert row["interference"] == pytest.approx(np.mean([one.mean_interference[0] for one in each]), abs=1e-6)
    itself = table[(table["stage"] == "before") & (table["kind"] == "default")].iloc[0]
    assert (itself["x"], itself["interference"]) == (1.0, pytest.approx(0.0, abs=1e-6))
    assert "λ = 1" in STUDIES["alone"].summary(table)


def test_joint_labels_are_no_easier(evaluator: Evaluator):
    table = run(evaluator, "joint")
    wide = table.pivot(index=["method", "stage"], columns="labels", values="accuracy")
    assert (wide["all labels together"] <= wide["task known"]).all()


def test_unseen_domains_and_tasks_left_out(evaluator: Evaluator):
    table = run(evaluator, "unseen")
    left_out = table[(table["kind"] == "task left out") & (table["images"] != "mean")]
    assert set(left_out["images"]) == {"Reds", "Greens", "Blues"}
    assert not any(row["images"] in row["merged"].split(",") for row in left_out.to_dict(orient="records"))
    assert set(table.loc[table["kind"] == "unseen domain", "images"]) == {"dim"}
    means = table[table["images"] == "mean"].set_index(["method", "stage"])
    for (method, stage), part in left_out.groupby(["method", "stage"]):
        mean = means.loc[method, stage]
        assert mean["n"] == part["n"].sum()
        assert mean["accuracy"] == pytest.approx(part["accuracy"].mean())
        if stage == "after":
            assert mean["gain"] == pytest.approx(mean["accuracy"] - means.loc[(method, "before"), "accuracy"])
            assert mean["gain_low"] <= mean["gain"] <= mean["gain_high"]


@pytest.mark.parametrize(("name", "variants"), [("steps", 3), ("ablation", 5), ("tasks", 2), ("auxiliary", 4)])
def test_studies_that_run_ri_themselves(evaluator: Evaluator, name: str, variants: int):
    table = run(evaluator, name)
    assert len(table) == 2 * variants
    for row in table[table["stage"] == "after"].to_dict(orient="records"):
        sets = row["experts"].split(",")
        assert len(sets) == row["seeds"] == 2
        tasks = row["subset"].split(",") if name == "tasks" else None
        recipe = evaluator.recipe(row["method"], tasks=tasks)
        before, *after = (
            evaluator.measure(recipe.with_experts(experts), limit=SMALL["images"]).mean_accuracy[0]
            for experts in ("original", *sets)
        )
        assert row["accuracy_before"] == pytest.approx(before)
        assert row["accuracy"] == pytest.approx(np.mean(after))
        assert row["gain"] == pytest.approx(np.mean(after) - before)
        assert row["gain_seed_low"] == pytest.approx(min(after) - before)
        assert row["gain_seed_high"] == pytest.approx(max(after) - before)
        assert row["gain_low"] <= row["gain"] <= row["gain_high"]
    if name == "ablation":
        kl = table[(table["distance"] == "kl") & (table["alpha"] == table["alpha"].mode()[0])].set_index("method")
        for row in table[table["stage"] == "after"].to_dict(orient="records"):
            assert row["lead"] == pytest.approx(row["accuracy"] - kl.loc[row["method"], "accuracy"], abs=1e-9)
    assert set(evaluator.suite.expert_sets) == {"original", "mild"}
    for chart in STUDIES[name].charts(table, False).values():
        assert "thick bars" in chart.how_to_read.lower()
        assert any("mean of" in text for trace in chart.figure.data for text in trace.hovertext or ())
        assert any(9 in (trace.error_x.thickness, trace.error_y.thickness) for trace in chart.figure.data)
    assert ", seeds " in STUDIES[name].summary(table).to_string()


@pytest.mark.parametrize("name", ["methods", "tuning", "joint", "unseen"])
def test_more_seeds_of_ri_are_runs_like_the_suites_own(evaluator: Evaluator, few_methods: None, name: str):
    with pytest.raises(InputError, match="how the set 'mild' was made is not recorded"):
        run(evaluator, name, ri_seeds=3)
    folder = evaluator.suite.resolved_set("mild").directory
    record = {"settings": {"steps": 2, "batch": 4}, "seed": 7, "auxiliary": {"name": "noise"}}
    (folder / "resolve.json").write_text(json.dumps(record))
    table = run(evaluator, name, ri_seeds=3)
    after = table[(table["stage"] == "after") & (table["method"] != "dare")]
    assert set(after["seeds"]) == {3}
    assert set(table.loc[table["stage"] == "before", "seeds"]) <= {1, 2}  # DARE draws twice
    assert (after["accuracy_seed_low"] <= after["accuracy"] + 1e-9).all()
    assert (after["accuracy"] <= after["accuracy_seed_high"] + 1e-9).all()
    study = STUDIES[name]
    assert "3 seeds" in " ".join(chart.how_to_read for chart in study.charts(table, False).values())
    assert "seeds" in study.summary(table).to_csv()


@pytest.mark.parametrize(
    ("name", "mark"), [("sensitivity", "default"), ("averaging", "default"), ("alone", "the experts themselves")]
)
def test_other_seeds_of_ri_are_thin_lines(evaluator: Evaluator, name: str, mark: str):
    folder = evaluator.suite.resolved_set("mild").directory
    record = {"settings": {"steps": 2, "batch": 4}, "seed": 7, "auxiliary": {"name": "noise"}}
    (folder / "resolve.json").write_text(json.dumps(record))
    one, three = run(evaluator, name), run(evaluator, name, ri_seeds=3)
    assert three.groupby("stage")["run"].max().to_dict() == {"before": 0, "after": 2}
    pd.testing.assert_frame_equal(three[three["run"] == 0].reset_index(drop=True), one)
    study = STUDIES[name]
    assert study.verdict(three) == study.verdict(one)
    assert study.summary(three)["best"].str.contains("seeds").tolist() == [
        stage == "after" for stage in study.summary(three)["RI"]
    ]
    [first, *_] = study.charts(three, False).values()
    assert first.how_to_read.endswith("Thin lines: other seeds of RI.")
    assert sum(line.line.width == 1 for line in first.figure.data) == 2
    [default] = (note for note in first.figure.layout.annotations if note.text == mark)
    assert default.x == pytest.approx(np.log10(first.figure.layout.shapes[0].x0))  # an exponent on a logarithmic axis


@pytest.mark.parametrize("name", ["joint", "unseen", "sensitivity"])
def test_an_expert_set_that_lacks_a_task_is_one_message(evaluator: Evaluator, name: str):
    (evaluator.suite.resolved_set("mild").directory / "Blues.safetensors").unlink()
    with pytest.raises(InputError, match="expert set 'mild' has no expert for task 'Blues'"):
        run(evaluator, name)


def test_one_seed_has_no_spread(evaluator: Evaluator):
    table = run(evaluator, "steps", seeds=1)
    assert set(table["seeds"]) == {1}
    assert (table["accuracy_seed_low"] == table["accuracy_seed_high"]).all()
    for chart in STUDIES["steps"].charts(table, False).values():
        assert chart.how_to_read.endswith("Bars show 95% intervals.")
        assert len(chart.figure.data) == 2  # a line for each method, and nothing else
    assert "seeds" not in STUDIES["steps"].summary(table).to_string()


def test_a_method_that_draws_is_drawn_anew_with_each_seed(evaluator: Evaluator):
    table = run(evaluator, "after", methods="dare").set_index("stage")
    assert set(table["seeds"]) == {2}
    found = [
        evaluator.measure(evaluator.recipe("dare", seed=seed), limit=SMALL["images"]).mean_accuracy[0]
        for seed in range(2)
    ]
    assert table.loc["before", "accuracy_seed_low"] == pytest.approx(min(found))
    assert table.loc["before", "accuracy_seed_high"] == pytest.approx(max(found))


@pytest.mark.parametrize(("name", "wanted"), [("tasks", {"lr": 1e-3, "steps": 2}), ("steps", {"lr": 1e-3})])
def test_a_short_run_may_take_another_rate(evaluator: Evaluator, name: str, wanted: dict[str, Value]):
    table = run(evaluator, name, seeds=1, lr=1e-3)
    for experts in table.loc[table["stage"] == "after", "experts"]:
        settings = record_of(evaluator.suite, experts)["settings"]
        assert {key: settings[key] for key in wanted} == wanted
    own = run(evaluator, name, seeds=1)
    rate = record_of(evaluator.suite, own.loc[own["stage"] == "after", "experts"].iloc[0])["settings"]["lr"]
    assert rate == default_settings(evaluator.suite)["lr"] != 1e-3


def test_gain_by_number_of_images(evaluator: Evaluator):
    table = run(evaluator, "auxiliary")
    assert table[table["source"] == "noise"].groupby("images").size().to_dict() == {8: 2, 16: 2, 32: 2}
    assert table.loc[table["source"] == "other", "images"].unique().tolist() == [40]
    for row in table.to_dict(orient="records"):
        for seed, name in enumerate(row["experts"].split(",")):
            record = record_of(evaluator.suite, name)
            assert record["auxiliary"]["images"] == row["images"]
            assert (record["seed"], record["settings"]["steps"]) == (seed, SMALL["steps"])
    charts = STUDIES["auxiliary"].charts(table, False)
    figure = charts["auxiliary-images"].figure
    assert figure.layout.xaxis.type == "log"
    assert figure.layout.xaxis.ticktext == ("8", "16", "32")
    assert [len(trace.y) for trace in charts["auxiliary"].figure.data if trace.hovertext] == [2, 2]
    assert "By number of images of noise, with the same number of steps: " in STUDIES["auxiliary"].verdict(table)
    whole = run(evaluator, "auxiliary", counts="")
    assert list(STUDIES["auxiliary"].charts(whole, False)) == ["auxiliary"]
    with pytest.raises(InputError, match="auxiliary: counts must be a whole number from 1 to 100,000,000, found 'few'"):
        STUDIES["auxiliary"].complete(evaluator.suite, {"counts": "64,few"})


def test_choices_of_weights_stand_side_by_side(evaluator: Evaluator):
    table = run(evaluator, "parameters")
    after = table[table["stage"] == "after"]
    trained = ["all weights", "matrices only", "attention only", "last block", "last 2 blocks", "LoRA, rank 2"]
    assert list(dict.fromkeys(after["trained"])) == trained  # the tower has no third block
    assert len(table) == 2 * (1 + len(trained))
    whole = after[after["trained"] == "all weights"].set_index("method")
    originals = evaluator.measure(evaluator.recipe("averaging"), limit=SMALL["images"]).mean_expert_accuracy[0]
    np.testing.assert_allclose(table["own"] - table["own_change"], originals)
    tried = {
        rate: np.mean(
            [
                evaluator.measure(
                    evaluator.recipe(name, experts=experts), split="validation", limit=SMALL["images"]
                ).mean_accuracy[0]
                for name in FEW.split(",")
            ]
        )
        for rate in (1e-3, 1e-2)
        if (experts := runs_of(evaluator, {"steps": 2, "seeds": 1}, lr=rate)[0].kept(evaluator))
    }
    assert len(tried) == 2
    assert tried[whole["rate"].iloc[0]] == max(tried.values())
    for row in after.to_dict(orient="records"):
        first, second = row["experts"].split(",")
        record = record_of(evaluator.suite, first)
        assert record["settings"]["lr"] == record_of(evaluator.suite, second)["settings"]["lr"] == row["rate"]
        assert row["lead"] == pytest.approx(row["accuracy"] - whole.loc[row["method"], "accuracy"], abs=1e-9)
        assert row["step_seconds"] > 0
        crosstalk = [off_diagonal_mean(evaluator.crosstalk(name, limit=SMALL["images"])) for name in (first, second)]
        assert row["crosstalk"] == pytest.approx(np.mean(crosstalk))
        own = [
            evaluator.measure(evaluator.recipe("averaging", experts=first, tasks=(task,)), limit=SMALL["images"])
            for task in evaluator.suite.tasks
        ]
        assert row["own_seed_low"] <= np.mean([found.mean_accuracy[0] for found in own]) <= row["own_seed_high"]


def test_distilling_afterwards_stands_beside_ri(evaluator: Evaluator):
    table = run(evaluator, "after")
    assert list(table["stage"]) == ["before", "distilled", "after"] * 2
    plain = evaluator.measure(evaluator.recipe("iso-c"), limit=SMALL["images"])
    row = table[(table["method"] == "iso-c") & (table["stage"] == "before")].iloc[0]
    assert row["accuracy"] == pytest.approx(plain.mean_accuracy[0])
    assert row["gain"] == 0


def test_distilling_a_merge_is_the_method_with_the_settings_of_ri(evaluator: Evaluator):
    point = Point(evaluator.recipe("tsv-m", {"scale": 0.9}, experts="mild", tasks=("Reds", "Blues")), limit=6)
    changed: dict[str, Value] = {"batch": 16, "lr": 1e-3, "steps": 30}
    work = distilled(evaluator, point, changed, 4)
    start = {"start": "tsv-m", "start_scale": 0.9, "scale": 1.0}
    usual = {name: value for name, value in default_settings(evaluator.suite).items() if name in work.recipe.settings}
    assert work.recipe.settings == usual | changed | start
    assert (work.recipe.experts, work.recipe.tasks, work.recipe.seed, work.limit) == ("mild", ("Reds", "Blues"), 4, 6)
    looks = 3 * 32 + 3 * 30 * 16  # two experts and the merge look at 32 images; a step is worth three encodings
    assert work.cost(evaluator) == point.cost(evaluator) + looks
    assert work.bytes_held(evaluator) == 32 * 3 * 8 * 8
    assert work.compute(evaluator).interference < point.compute(evaluator).interference
    assert work.cost(evaluator) == point.cost(evaluator)
    with pytest.raises(InputError, match=r"distilled: start must be one of averaging, .*found 'adamerging'"):
        distilled(evaluator, Point(evaluator.recipe("adamerging")), changed, 0)


def test_scales_are_tried_beyond_an_end_that_is_the_best():
    assert beyond({1.0: 0.3, 2.0: 0.2, 4.0: 0.1}) == [0.5]
    assert beyond({1.0: 0.1, 2.0: 0.2, 4.0: 0.3}) == [8.0]
    assert beyond({1.0: 0.1, 2.0: 0.3, 4.0: 0.2}) == []
    assert beyond({0.001: 0.3, 0.002: 0.2}) == beyond({5.0: 0.1, 10.0: 0.2}) == beyond({}) == []
    assert best_of({1.0: 0.3, 2.0: 0.3, 4.0: 0.3}) == 2.0
    assert beyond({1.0: 0.3, 2.0: 0.3, 4.0: 0.1}) == []


def test_a_dry_run_counts_what_ri_costs(evaluator: Evaluator):
    study = STUDIES["steps"]
    settings = {item.name: SMALL.get(item.name, item.default) for item in study.settings}
    planned, once = (plan(study.rounds(evaluator, settings | {"seeds": count}), evaluator) for count in (2, 1))
    measuring = 3 * 5 * 3 * 6  # three methods on original experts and after four runs, six images of three tasks
    assert planned.images > measuring
    assert (once.works, planned.works) == (2 + 3 * 3, 4 + 3 * 5)
    assert planned.images - 3 * 3 * 6 == 2 * (once.images - 3 * 3 * 6)  # what is merged before RI is the same
    assert planned.held == 3 * 8 * 8 * 32  # the source's images
    words = estimate(study, evaluator, planned, 1)
    assert words.startswith(f"steps: {planned.works} measurements, none saved")


def test_a_dry_run_knows_that_fewer_images_take_less_room(evaluator: Evaluator):
    whole, few = (Adaptation("noise", evaluator.suite.tasks, (), 0, count) for count in (None, 8))
    assert few.bytes_held(evaluator) == 3 * 8 * 8 * 8
    assert few.cost(evaluator) < whole.cost(evaluator)
    assert few.name(evaluator) != whole.name(evaluator)


def test_subsets_are_seeded_and_end_with_all():
    tasks = tuple("abcdefgh")
    found = subsets(tasks, 3)
    assert found == subsets(tasks, 3)
    assert found[-1] == tasks
    assert {len(part) for part in found} == {2, 4, 8}
    assert all(list(part) == sorted(part) for part in found)


def test_without_an_ri_set_a_study_says_so(tmp_path: Path):
    suite = open_suite(str(make_suite(tmp_path / "bare", resolved=False)), tmp_path / "w")
    assert "no RI-adapted expert set to compare" in STUDIES["joint"].verdict(
        run(Evaluator(suite, tmp_path / "w", "cpu"), "joint")
    )


def test_frechet_distance_of_normal_samples():
    generator = np.random.default_rng(0)
    first = generator.normal(size=(40000, 3))
    second = generator.normal(size=(40000, 3)) * [1.0, 2.0, 3.0] + [1.0, 0.0, 0.0]
    assert frechet_distance(first, second) == pytest.approx(1 + 1 + 4, rel=0.03)  # (Δμ)² + Σ (σ₁ − σ₂)²
    assert frechet_distance(first, first) == pytest.approx(0, abs=1e-9)
    # tr (Σ₁Σ₂)^½ for matrices that do not commute, by scipy's general square root
    from scipy.linalg import sqrtm

    mixed = generator.normal(size=(500, 3)) @ generator.normal(size=(3, 3))
    one, other = np.cov(first[:500], rowvar=False), np.cov(mixed, rowvar=False)
    naive = ((first[:500].mean(0) - mixed.mean(0)) ** 2).sum() + np.trace(one + other - 2 * sqrtm(one @ other).real)
    assert frechet_distance(first[:500], mixed) == pytest.approx(naive)
    with pytest.raises(ValueError, match="equal width"):
        frechet_distance(first, first[:, :2])


# --- the command ------------------------------------------------------------------------------------------


def test_the_command_writes_table_figures_manifest_and_document(
    tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    document = tmp_path / "studies.md"
    document.write_text("above\n<!-- study joint: start -->\nold\n<!-- study joint: end -->\nbelow\n")
    common = ["--workspace", str(tmp_path / "w"), "--device", "cpu", "--set", f"methods={FEW}"]
    assert main(["study", "joint", str(tiny), *common, "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert "joint: 10 measurements, none saved" in said
    assert "plus merging" in said
    assert "memory" in said
    out = tmp_path / "out"
    readme = tmp_path / "README.md"
    readme.write_text(document.read_text())
    documents = ["--docs", str(document), "--docs", str(readme)]
    assert main(["study", "joint", str(tiny), *common, "--out", str(out), "--no-images", *documents]) == 0
    assert readme.read_text() == document.read_text()
    assert {path.name for path in out.iterdir()} == {
        *("table.csv", "table.parquet", "joint.html", "plotly.min.js", "manifest.json")
    }
    left, right = pd.read_csv(out / "table.csv"), pd.read_parquet(out / "table.parquet")
    pd.testing.assert_frame_equal(left, right, check_dtype=False)
    text = document.read_text()
    assert text.startswith("above")
    assert text.endswith("below\n")
    assert "old" not in text
    assert "| Task Arithmetic | task known |" in text


def test_the_manifest_says_which_seeds(tiny: Path, tmp_path: Path):
    common = ["--workspace", str(tmp_path / "w"), "--device", "cpu", "--no-images", "--out", str(tmp_path / "out")]
    small = [f"--set={name}={value}" for name, value in {"longest": 1, "images": 4, "seeds": 3, "methods": FEW}.items()]
    assert main(["study", "steps", str(tiny), *common, *small]) == 0
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["seeds"]["RI and methods that draw at random"] == [0, 1, 2]
    assert manifest["settings"]["seeds"] == 3
    assert set(pd.read_csv(tmp_path / "out" / "table.csv")["seeds"]) == {1, 3}


def test_the_command_refuses_what_it_cannot_do(tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    common = [str(tiny), "--workspace", str(tmp_path / "w"), "--device", "cpu"]
    for words, message in (
        (["study", "joined", *common], "unknown study 'joined'; did you mean 'joint'"),
        (["study", "joint", *common], "--out: expected a folder"),
        (["study", "joint", *common, "--set", "levels=2"], "unknown hyperparameter 'levels'"),
        (
            ["study", "joint", *common, "--set", "methods=", "--out", str(tmp_path / "o")],
            "methods must be one or more",
        ),
    ):
        assert main(words) == 2
        assert message in capsys.readouterr().err
    empty, out = tmp_path / "empty.md", tmp_path / "out"
    empty.write_text("")
    with pytest.raises(InputError, match="expected the marks"):
        write_section(empty, "study joint", "text")
    assert main(["study", "joint", *common, "--out", str(out), "--docs", str(empty)]) == 2
    said = capsys.readouterr().err
    assert f"{empty}: expected the marks" in said
    assert "points" not in said  # refused before the work, not after it
    assert not out.exists()


def test_distilling_starts_from_the_merges_at_their_best_scale(evaluator: Evaluator, monkeypatch: pytest.MonkeyPatch):
    from ri_analysis.studies import beyond

    short: tuple[tuple[str, Value], ...] = (("batch", 8), ("lr", 1e-3), ("steps", 2))
    stages = {"together": (*short, ("together", 3)), "quick-together": (*short, ("together", 2))}
    monkeypatch.setattr(beyond, "two_stages", lambda stage, _: stages[stage])
    table = run(evaluator, "beyond")
    assert list(table["stage"]) == ["before", "after", "distilled", "both", "together", "quick-together"] * 2
    for row in table[table["method"] == "iso-c"].to_dict(orient="records"):
        assert row["seeds"] == (1 if row["stage"] in ("before", "after") else SMALL["seeds"])
        assert row["lead"] == pytest.approx(row["accuracy"] - _accuracy(table, "iso-c", "after"))
    for stage, experts in (("before", "original"), ("after", "mild")):
        row = table[(table["method"] == "iso-c") & (table["stage"] == stage)].iloc[0]
        best, *grid = [
            evaluator.measure(
                evaluator.recipe("iso-c", {"scale": scale}, experts=experts), split="validation", limit=SMALL["images"]
            ).mean_accuracy[0]
            for scale in (row["scale"], *scales(METHODS["iso-c"], SMALL["levels"]))
        ]
        assert best == pytest.approx(max(best, *grid))
        assert len(set(grid)) > 1
        merge = evaluator.measure(evaluator.recipe("iso-c", {"scale": row["scale"]}, experts=experts))
        assert row["accuracy"] == pytest.approx(merge.mean_accuracy[0])
    for stage, changed in stages.items():
        row = table[(table["method"] == "iso-c") & (table["stage"] == stage)].iloc[0]
        sets = [
            Adaptation(usual_source(evaluator.suite), evaluator.suite.tasks, changed, seed).name(evaluator)
            for seed in (0, 1)
        ]
        recipe = evaluator.recipe("iso-c", {"scale": row["scale"]})
        each = [evaluator.measure(recipe.with_experts(name)).mean_accuracy[0] for name in sets]
        assert row["accuracy"] == pytest.approx(np.mean(each))


def test_two_stages_are_the_suites_own_with_a_second_or_the_preset(tiny: Path, workspace: Path):
    from ri_analysis.studies.beyond import two_stages

    tower = architecture_of(open_suite(str(tiny), workspace))
    assert dict(two_stages("together", tower)) == {"together": 600, "together_scale": 1.0, "together_lr": 1e-4}
    assert dict(two_stages("quick-together", tower)) == find_preset("quick-together").settings(tower)


def _accuracy(table: pd.DataFrame, method: str, stage: str) -> float:
    return float(table.loc[(table["method"] == method) & (table["stage"] == stage), "accuracy"].iloc[0])
