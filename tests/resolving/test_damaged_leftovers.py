"""What a stopped RI run left is damaged before it is resumed: that is said or made again, and never trained on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ri_analysis.errors import Cancelled, InputError
from ri_analysis.files import atomic_path
from ri_analysis.resolving import resolve, together
from ri_analysis.suite import open_suite
from ri_analysis.training import descent, start

BLOCKS: dict[str, Any] = {"steps": 4, "batch": 16, "lr": 1e-3, "parameters": "last-blocks", "blocks": 1}


@pytest.fixture(autouse=True)
def all_on_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(descent, "SAVE_SECONDS", -1.0)
    monkeypatch.setattr(start, "IN_MEMORY", 0)


def adapt(suite: Path, folder: Path, steps: int = 10**6) -> bytes:
    """Begin or resume a run, and stop it after so many steps; return what it made."""

    def stop(done: int, _: int) -> None:
        if done >= steps:
            raise Cancelled

    resolve(
        open_suite(str(suite)),
        auxiliary="other",
        name="x",
        tasks=("Reds",),
        settings=BLOCKS,
        directory=folder,
        resume=True,
        progress=stop,
    )
    return (folder / "Reds.safetensors").read_bytes()


def flip(path: Path, place: int) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 64
    path.write_bytes(data)


def test_a_bit_that_flipped_in_a_saved_state_is_one_message(tiny: Path, tmp_path: Path) -> None:
    with pytest.raises(Cancelled):
        adapt(tiny, tmp_path / "set", 2)
    state = tmp_path / "set" / "Reds-state.pt"
    flip(state, state.stat().st_size // 2)
    with pytest.raises(InputError, match=r"Reds-state\.pt: expected a saved state, found: damaged .*; delete it"):
        adapt(tiny, tmp_path / "set")


def test_a_finished_set_holds_no_temporary_file_of_a_run_that_was_killed(tiny: Path, tmp_path: Path) -> None:
    with pytest.raises(Cancelled):
        adapt(tiny, tmp_path / "set", 2)
    with atomic_path(tmp_path / "set" / "Reds-state.pt") as temporary:
        temporary.write_text("whole")
    temporary.write_text("half")
    (tmp_path / "set" / "Reds-state.pt").unlink()
    adapt(tiny, tmp_path / "set")
    assert {path.name for path in (tmp_path / "set").iterdir()} == {"Reds.safetensors", "resolve.json"}


@pytest.mark.parametrize("damage", ["zeroed", "cut"])
def test_tokens_that_are_not_what_was_kept_are_made_again(tiny: Path, tmp_path: Path, damage: str) -> None:
    expected = adapt(tiny, tmp_path / "whole")
    with pytest.raises(Cancelled):
        adapt(tiny, tmp_path / "set", 2)
    (tokens,) = (tmp_path / "set").rglob("*.tokens")
    if damage == "cut":
        tokens.write_bytes(tokens.read_bytes()[:1000])
    else:
        tokens.write_bytes(bytes(tokens.stat().st_size))
    assert adapt(tiny, tmp_path / "set") == expected


def test_a_share_of_the_second_stage_that_changed_is_one_message(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*_: object) -> None:
        raise Cancelled

    def run() -> None:
        settings = {"steps": 2, "batch": 16, "together": 2}
        suite = open_suite(str(tiny))
        resolve(suite, auxiliary="other", name="x", settings=settings, directory=tmp_path / "set", resume=True)

    with monkeypatch.context() as patch:
        patch.setattr(together, "_add", stopped)
        with pytest.raises(Cancelled):
            run()
    (share,) = (tmp_path / "set").rglob("share.safetensors")
    flip(share, share.stat().st_size - 2)
    with pytest.raises(InputError, match=r"share\.safetensors: expected the second stage's file, found another"):
        run()
    flip(share, share.stat().st_size - 2)
    run()
    assert {path.name for path in (tmp_path / "set").iterdir()} == {
        *(f"{task}.safetensors" for task in ("Reds", "Greens", "Blues")),
        "resolve.json",
    }
