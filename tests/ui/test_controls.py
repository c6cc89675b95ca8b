from __future__ import annotations

from ri_analysis.export.facts import history_table, record_in_words
from ri_analysis.figures import words
from ri_analysis.hyperparameters import Hyperparameter
from ri_analysis.merging import METHODS
from ri_analysis.resolving import HYPERPARAMETERS
from ri_analysis.ui.controls import grid
from ri_analysis.ui.state import text_of


def test_a_logarithmic_slider_holds_the_default_and_the_value():
    item = Hyperparameter("steps", "steps", 2500, 1, 1_000_000, sweep=(50, 25000), log=True)
    stops = grid(item, 50, 25000, 7)
    assert stops == sorted(stops)
    assert {7, 50, 100, 2500, 20000, 25000} <= set(stops)
    assert all(isinstance(stop, int) for stop in stops)
    rates = grid(Hyperparameter("lr", "rate", 1e-6, 1e-9, 1.0, log=True), 1e-7, 1e-3, 1e-6)
    assert rates[0] == 1e-7
    assert 1e-5 in rates


def test_texts_of_values_are_short():
    assert [text_of(value) for value in (0.3, 1e-6, 5, "sum", ["a", "b"])] == ["0.3", "1e-6", "5", "sum", "a,b"]


def test_a_record_in_words():
    record = {
        "auxiliary": {"name": "mix", "images": 2048, "oracle": False},
        "settings": {"steps": 150, "alpha": 1.0, "lr": 1e-4},
        "seed": 3,
        "seconds": 240.0,
        "history": {"A": [[1, 0.0, 0.5, 0.5], [2, 0.1, 0.3, 0.4]]},
    }
    text = record_in_words(record)
    for part in (
        "**mix** (2,048 images)",
        "150 steps per expert",
        "free weight α = 1",
        "learning rate 0.0001",
        "seed 3",
        "in 4 min",
    ):
        assert part in text
    assert "oracle" not in text
    record["auxiliary"]["oracle"] = True
    assert "oracle" in record_in_words(record)
    assert history_table(record).to_dict(orient="list")["free"] == [0.5, 0.3]
    assert "not recorded" in record_in_words({})
    assert history_table({}).empty


def test_methods_that_need_images_stand_apart_at_the_end_of_the_list() -> None:
    titles = [method.called for method in METHODS.values()]
    assert [title for title in titles if "(needs " in title] == titles[-6:]
    assert titles[-5] == "Distilled Merge (needs auxiliary images)"
    assert titles[-2:] == ["RegMean (needs task data)", "RegMean++ (needs task data)"]


def test_settings_have_words_and_minus_signs():
    settings = {"distance": "kl", "lr": 3e-5, "views": 8, "schedule": "warm-cosine"}
    said = ", ".join(words.settings(HYPERPARAMETERS, settings))
    assert said == "KL divergence, learning rate 3e−5, 8 augmented views per image, warm-up then cosine"
    assert words.settings(HYPERPARAMETERS, {"views": 1, "old": 2.0}) == ["1 augmented view per image", "old 2"]
    assert [words.setting(value) for value in (1e10, 2.5e20, 1e-10, 100.0)] == ["1e10", "2.5e20", "1e-10", "100"]
    assert (words.signed(-0.5), words.signed(2.0), words.signed(-1 / 3, ".3g")) == ("−0.5", "2", "−0.333")
    assert [words.significant(value, 2) for value in (100.0, 123.0, 0.00456, 0.0)] == ["100", "120", "0.0046", "0"]
    assert [words.saved(*counts) for counts in ((0, 9), (3, 9), (9, 9))] == ["none saved", "3 saved", "all saved"]


def test_a_zero_that_is_not_none_is_said_in_words():
    items = {item.name: item for item in METHODS["distilled"].hyperparameters}
    said = {name: words.chosen(items[name], 0) for name in ("lr", "start_scale", "pool", "steps", "weight_decay")}
    assert (said["lr"], said["start_scale"]) == ("automatic learning rate", "automatic scale λ of the start")
    assert (said["pool"], said["steps"], said["weight_decay"]) == (
        "whole pool of images",
        "0 gradient steps",
        "weight decay 0",
    )
    assert words.chosen(items["lr"], 1e-3) == "learning rate 0.001"
