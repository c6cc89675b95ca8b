from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import killed
import pytest
import started
from tiny import make_suite

LAST: dict[str, Any] = {"parameters": "last-blocks", "blocks": 1}
CHOICES: dict[str, dict[str, Any]] = {
    "all": {},
    "lora in parts": {"parameters": "lora", "rank": 2, "memory": 5e-6},
    "patience": {"held_out": 0.25, "patience": 5, "lr": 0.003, "steps": 12},
    "together": {"together": 5},
    "last block, together": LAST | {"together": 5},
}


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(make_suite(tmp_path_factory.mktemp("tiny")))


@pytest.mark.long
def test_a_run_killed_at_any_moment_resumes_to_the_same_weights(
    suite: str, tmp_path: Path, subtests: pytest.Subtests
) -> None:
    """Killed over and over, in other places each time, until it is done; for every choice of parameters."""

    def run(folder: Path, settings: dict[str, Any], moment: str) -> int:
        arguments = (suite, folder, {"steps": 6, "lr": 1e-3, "batch": 16} | settings, moment, "block" in folder.name)
        return started.call(killed.run, *arguments).wait()

    for choice, settings in CHOICES.items():
        with subtests.test(choice):
            undisturbed, disturbed = tmp_path / f"{choice} whole", tmp_path / choice
            assert run(undisturbed, settings, "never") == 0
            first = ["making tokens"] if "block" in choice else []
            last = ["saving", "share written", "share taken"] if "together" in choice else []
            for moment in [
                "at once",
                *first,
                "step 2",
                "saving",
                "step 1",
                "expert written",
                "step 4",
                *last,
                "record written",
            ]:
                assert run(disturbed, settings, moment) == -signal.SIGKILL, moment
            for task in ("Reds", "Blues"):
                name = f"{task}.safetensors"
                assert (disturbed / name).read_bytes() == (undisturbed / name).read_bytes()
            assert not list(disturbed.rglob("*.tokens"))
