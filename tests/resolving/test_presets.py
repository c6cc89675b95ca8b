from __future__ import annotations

from pathlib import Path

import pytest

from ri_analysis.encoder import architecture_of, read_architecture
from ri_analysis.errors import InputError
from ri_analysis.resolving import PRESETS, cost, default_settings, find_preset, record_of, resolve
from ri_analysis.suite import EMBEDDED, open_suite

VIT_B_32 = read_architecture("ViT-B-32", Path())


def test_the_papers_preset_is_the_papers() -> None:
    settings = find_preset("paper").settings(VIT_B_32)
    expected = {"distance": "kl", "alpha": 1.0, "lr": 1e-6, "weight_decay": 1e-4, "steps": 2500, "batch": 128}
    assert expected.items() <= settings.items()
    assert settings["parameters"] == "all"


@pytest.mark.parametrize("suite", EMBEDDED)
def test_the_embedded_sets_were_made_with_small(suite: str) -> None:
    opened = open_suite(suite)
    assert default_settings(opened) == find_preset("small").settings(architecture_of(opened))


def test_quick_runs_on_a_small_suite(tiny: Path, workspace: Path) -> None:
    suite = open_suite(str(tiny), workspace)
    settings = find_preset("quick").settings(architecture_of(suite)) | {"steps": 3, "batch": 8}
    resolve(suite, auxiliary="other", name="fast", settings=settings)
    record = record_of(suite, "fast")
    assert record["settings"]["parameters"] == "last-blocks"
    assert record["settings"]["blocks"] == 2
    assert "rank" not in record["settings"]  # which plays no part
    assert record["precision"] == "float32"
    assert resolve(suite, auxiliary="other", name="again", settings=record["settings"])


def test_presets_are_explained_and_cost_what_they_should() -> None:
    with pytest.raises(InputError, match="did you mean 'quick'"):
        find_preset("quik")
    assert list(PRESETS) == ["quick", "paper", "small", "together", "quick-together"]
    assert all(preset.purpose.endswith(".") for preset in PRESETS.values())
    deep = VIT_B_32  # 12 blocks, of which two are trained
    quick = find_preset("quick").settings(deep)
    assert cost(10_000, 8, quick, deep) == (8 * 120 * 64 // 6, (8 + 1) * 2048)
    assert cost(10_000, 8, quick | {"pool": 80_000}, deep) == (8 * 120 * 64 // 6, 2 * 8 * 120 * 64)
    assert cost(10_000, 8, quick | {"parameters": "all"}, deep)[0] == 8 * 120 * 64
    assert cost(10_000, 8, quick, read_architecture("RN50", Path()))[0] == 8 * 120 * 64  # which has no blocks


def test_large_towers_are_trained_at_lower_rates_but_for_the_papers_preset(tiny: Path, workspace: Path) -> None:
    small = architecture_of(open_suite(str(tiny), workspace))
    rates = {name: (preset.settings(small)["lr"], preset.settings(VIT_B_32)["lr"]) for name, preset in PRESETS.items()}
    assert rates.pop("paper") == (1e-6, 1e-6)
    assert all(large < few / 4 for few, large in rates.values())
