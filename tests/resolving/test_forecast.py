"""What a run will take, against what it takes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ri_analysis.encoder import architecture_of, read_architecture
from ri_analysis.errors import InputError
from ri_analysis.resolving import PRESETS, find_preset, record_of, resolve
from ri_analysis.resolving.forecast import Pace, forecast, pace, size
from ri_analysis.suite import Suite, open_suite

PACE = Pace(
    step=0.5,
    trained=0.01,
    seen=0.001,
    decoded=0.002,
    varied=0.004,
    held=100,
    tokens=10,
    features=4,
    tower=1000,
    file=500,
    moved=400,
    beside=1200,
    precision="float32",
)
SETTINGS = find_preset("paper").settings(read_architecture("ViT-B-32", Path())) | {"steps": 5, "batch": 8, "views": 3}


@pytest.fixture
def suite(tiny: Path, workspace: Path) -> Suite:
    return open_suite(str(tiny), workspace)


def test_everything_is_counted(suite: Suite) -> None:
    """Two experts, 5 steps of 8 images each: 40 of 96 variants of 32 images; 28 of these are trained on, 4 are not."""
    settings = SETTINGS | {"held_out": 0.125}
    found = forecast(
        suite, auxiliary="noise", name="new", pace=PACE, settings=settings, tasks=("Reds", "Blues"), seed=1
    )
    drawn, pixels = 28 * 3, 8 * 8 * 3
    assert found.passes == 2 * 5 * 8
    assert found.held_out == 4
    assert found.images == 32
    assert found.step_seconds == pytest.approx(0.5 + 8 * 0.01)
    # Teachers look at 40 images an expert and at all of them together (at most 80), and at 4 held-out ones each; six
    # looks an expert at 4 images take a third of a step's time for an image.
    # 28 images are decoded ahead, and two other views of each are made.
    rest = found.seconds - 10 * 0.58 - 2 * 6 * 4 * 0.01 / 3 - 28 * (0.002 + 2 * 0.004)
    together = rest / 0.001 - 2 * 40 - 3 * 4
    assert together == pytest.approx(round(together), abs=1e-6)
    assert 40 < together <= 80
    tokens = 40 * 10
    assert found.memory == 3 * 1000 + 1200 + 8 * 100 + drawn * pixels + tokens + (round(together) + 40) * 4
    assert found.disk == 2 * 500
    assert found.disk_meanwhile == 3 * 400
    assert found.files == ("Reds.safetensors", "Blues.safetensors", "resolve.json")
    assert found.obstacle == ""
    assert replace(found, disk_free=2000).obstacle == "needs 2.2 kB on a disk with 2.0 kB free"
    patient = forecast(
        suite, auxiliary="noise", name="new", pace=PACE, settings=settings | {"patience": 1}, tasks=("Reds", "Blues"),
        seed=1,
    )  # fmt: skip
    assert patient.disk_meanwhile - found.disk_meanwhile == 400  # the best weights so far


def test_no_batch_is_larger_than_the_source(suite: Suite) -> None:
    settings = SETTINGS | {"steps": 2, "batch": 1000, "views": 1}
    assert forecast(suite, auxiliary="noise", name="new", pace=PACE, settings=settings, tasks=("Reds",)).passes == 64


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"name": "mild"}, "exists already"),
        ({"auxiliary": "emoji"}, "unknown auxiliary source"),
        ({"settings": {"patience": 3, "steps": 100}}, "patience: every auxiliary image is used for training"),
    ],
)
def test_what_a_run_would_refuse_is_refused(suite: Suite, given: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        forecast(suite, **({"auxiliary": "noise", "name": "new", "pace": PACE} | given))


def test_steps_are_timed_as_they_are_taken_and_write_nothing(suite: Suite, workspace: Path) -> None:
    tower = architecture_of(suite)
    found = {name: pace(suite, "noise", preset.settings(tower), suite.tasks) for name, preset in PRESETS.items()}
    assert all(each.trained > 0 and each.seen > 0 and each.held > 0 for each in found.values())
    assert found["quick"].moved < found["small"].moved == found["small"].tower
    assert found["small"].tokens == 0 < found["quick"].tokens
    lora = pace(suite, "noise", find_preset("paper").settings(tower) | {"parameters": "lora", "rank": 1}, suite.tasks)
    assert lora.moved < found["small"].moved
    assert not list(workspace.rglob("*.safetensors"))
    with pytest.raises(InputError, match="has 2 blocks, found 9"):
        pace(suite, "noise", find_preset("quick").settings(tower) | {"blocks": 9}, suite.tasks)


def test_a_run_writes_what_was_expected(suite: Suite) -> None:
    settings = find_preset("quick").settings(architecture_of(suite)) | {"steps": 4, "batch": 4, "held_out": 0.2}
    expected = forecast(suite, auxiliary="other", name="new", pace=PACE, settings=settings)
    resolve(suite, auxiliary="other", name="new", settings=settings)
    assert record_of(suite, "new")["held_out"]["images"] == expected.held_out
    written = {path.name for path in Path(expected.folder).iterdir()}
    assert written == set(expected.files)
    size_on_disk = sum((Path(expected.folder) / name).stat().st_size for name in expected.files[:-1])
    measured = pace(suite, "other", settings, suite.tasks)
    assert measured.file * 3 == pytest.approx(size_on_disk, rel=0.2)  # and a header each


def test_sizes_are_in_the_unit_that_reads_best() -> None:
    assert [size(count) for count in (500, 3_240, 26_600_000, 999_600_000, 2.5e12)] == [
        "0.5 kB", "3.2 kB", "27 MB", "1.0 GB", "2500.0 GB",
    ]  # fmt: skip
