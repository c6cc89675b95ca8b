"""Some kinds of faults, once each, by the command that `docs/reliability.md` names: a small part of its hours."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

FAULTS = ("kill", "signals", "store", "shared", "disk")


@pytest.mark.skipif(sys.platform != "linux", reason="looks for left processes in /proc")
@pytest.mark.long
def test_faults_leave_nothing_wrong() -> None:
    chosen = "--faults", ",".join(FAULTS), "--works", "merge,measure"
    command = [sys.executable, str(Path(__file__).with_name("run.py")), *chosen, "--times", "1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = [line.split(" | ")[0].removeprefix("| ") for line in done.stdout.splitlines()[2:]]
    assert {"kill", "signals", "store", "shared"} <= {*rows}, done.stdout
    assert "disk" in rows or "only root may mount" in done.stderr
