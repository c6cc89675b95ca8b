"""What goes wrong while something is read is one message, unless the process was told to end meanwhile."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

from ri_analysis.cli import main
from ri_analysis.errors import TOLD_TO_END, InputError, one_message


def test_whatever_goes_wrong_is_one_message() -> None:
    found = r"a\.pt: expected weights, found damaged data \(KeyError: 'x'\)"
    with pytest.raises(InputError, match=found), one_message("a.pt", "weights"):
        raise KeyError("x")


@pytest.mark.skipif(sys.platform == "win32", reason="no such signals here")
def test_a_signal_that_a_library_takes_for_damaged_data_ends_the_command(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from ri_analysis.checkpoints.stored import StoredTensors

    def swallow(*_: object) -> None:
        with one_message("a", "a tensor"):
            try:
                os.kill(os.getpid(), signal.SIGTERM)
            except KeyboardInterrupt:
                raise ValueError("damaged") from None

    monkeypatch.setattr(StoredTensors, "__getitem__", swallow)
    assert main(["init", str(tiny.parent), "--out", str(tmp_path / "suite.toml")]) == 128 + signal.SIGTERM
    assert capsys.readouterr().err.endswith("ri-analysis: stopped\n")
    assert not (tmp_path / "suite.toml").exists()
    assert not TOLD_TO_END
