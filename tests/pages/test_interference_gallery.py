"""The images on the Interference page: which are shown, with what the models say about them."""

from __future__ import annotations

import base64
import io
import re

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from shown import clean
from streamlit.testing.v1 import AppTest

from ri_analysis.analyses.drift import measure_drift
from ri_analysis.engine import Evaluator
from ri_analysis.ui import gallery


@pytest.fixture
def page(app: AppTest, monkeypatch: pytest.MonkeyPatch) -> AppTest:
    monkeypatch.setattr(gallery, "PAGE", 5)
    clean(app.run())
    return clean(app.switch_page("pages/interference.py").run())


def shown(app: AppTest) -> list[str]:
    """Return the texts of the cards on the page."""
    bodies = [
        item.proto.body for item in app.get("html") if "ri-card'" in item.proto.body or 'ri-card"' in item.proto.body
    ]
    cards = [card for body in bodies for card in body.split('<div class="ri-card">')[1:]]
    return [re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", card)).strip() for card in cards]


def choose(app: AppTest, key: str, value: object) -> AppTest:
    return clean(app.selectbox(key=key).set_value(value).run())


def expected(evaluator: Evaluator, task: str) -> pd.DataFrame:
    images = measure_drift(evaluator, evaluator.recipe("task-arithmetic")).images("kl")
    return images[images["task"] == task].sort_values("drift", ascending=False, ignore_index=True)


def test_the_images_that_drift_most_come_first_page_by_page(page: AppTest, evaluator: Evaluator):
    choose(page, "widget.tasks", "Greens")
    app = choose(page, "widget.interference.images", "drift")
    rows = expected(evaluator, "Greens")
    assert len(shown(app)) == 5
    for card, row in zip(shown(app), rows.itertuples(), strict=False):
        assert card.startswith(f"{row._3} Greens")  # the column "class"
        assert f"drift {row.drift:.3f} nats" in card
    app = clean(app.selectbox(key="images.page.5").set_value(5).run())
    assert len(shown(app)) == 4  # 24 images, five a page
    assert f"drift {rows['drift'].iloc[-1]:.3f} nats" in shown(app)[-1]


def test_drilling_down_to_a_class_shows_its_images_only(page: AppTest, evaluator: Evaluator):
    choose(page, "widget.tasks", "Blues")
    choose(page, "widget.interference.images", "drift")
    app = choose(page, "widget.interference.class", "blues 1")
    assert shown(app)
    assert all(card.startswith("blues 1 Blues") for card in shown(app))


def test_lost_images_are_right_under_the_expert_alone(page: AppTest, evaluator: Evaluator):
    for task in ("Reds", "Greens", "Blues"):
        rows = expected(evaluator, task)
        lost = rows[rows["outcome"] == "lost"]
        app = choose(page, "widget.tasks", task)
        assert len(shown(app)) == min(5, len(lost))
        for card, row in zip(shown(app), lost.itertuples(), strict=False):
            assert f"{row.expert_says} ✓ {row.merged_says}" in card


def test_disagreement_of_single_images_is_ranked_by_kl(page: AppTest, evaluator: Evaluator):
    choose(page, "widget.interference.images", "drift")
    app = clean(page.segmented_control(key="widget.interference.distance").set_value("disagreement").run())
    assert any("ranked by KL divergence" in item.value for item in app.caption)
    assert f"drift {expected(evaluator, 'Reds')['drift'].iloc[0]:.3f} nats" in shown(app)[0]
    app = clean(app.segmented_control(key="widget.interference.distance").set_value("l1").run())
    assert all(card.endswith("L1") for card in shown(app))  # the images follow the choice of distance


def test_thumbnails_are_the_images_asked_for_in_that_order(evaluator: Evaluator):
    tasks, indices = ["Blues", "Reds", "Blues"], [7, 3, 2]
    for task, index, url in zip(tasks, indices, gallery.thumbnails(evaluator, tasks, indices), strict=True):
        with Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))) as image:
            pixels = np.load(evaluator.suite.spec.path.parent / f"{task}-test.npz")["images"][index]
            assert np.array_equal(np.asarray(image), pixels)


def test_names_in_cards_are_no_markup(evaluator: Evaluator, monkeypatch: pytest.MonkeyPatch):
    written: list[str] = []
    monkeypatch.setattr(gallery.st, "html", written.append)
    row = {"task": "Reds", "index": 0, "class": "<b>&", "expert_says": "<b>&", "before_says": "x", "note": "<i>"}
    gallery.cards(evaluator, pd.DataFrame([row]))
    assert "<b>&lt;b&gt;&amp;</b>" in written[0]
    assert "&lt;b&gt;&amp; ✓" in written[0]
    assert "x ✓" not in written[0]
    assert "<i>" not in written[0]
