from __future__ import annotations

import pytest

from ri_analysis.engine import Evaluator
from ri_analysis.resolving import default_settings
from ri_analysis.ui import estimate


def test_the_estimate_counts_every_image_that_a_run_looks_at(evaluator: Evaluator, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(estimate, "_seconds_per_image", lambda evaluator: (1.0, 10.0))
    settings = default_settings(evaluator.suite) | {"steps": 5, "batch": 8, "views": 3}
    # The source holds 32 images, 96 with their variants, of which each expert's 5 steps of 8 draw 40. The expert sees
    # those once, and the pretrained model all 80 of them; training sees them forward and back.
    found = estimate.seconds(evaluator, evaluator.suite, "noise", settings, experts=2)
    assert found == pytest.approx((80 + 2 * 40) * 1.0 + 2 * 40 * 10.0)


def test_no_batch_is_larger_than_the_source(evaluator: Evaluator, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(estimate, "_seconds_per_image", lambda evaluator: (0.0, 1.0))
    settings = default_settings(evaluator.suite) | {"steps": 2, "batch": 1000, "views": 1}
    assert estimate.seconds(evaluator, evaluator.suite, "noise", settings, experts=1) == pytest.approx(2 * 32)
