from __future__ import annotations

import subprocess
import sys


def test_merging_files_needs_no_encoder() -> None:
    """Importing open_clip takes seconds and 140 MiB, and few methods look at images."""
    code = "import sys, ri_analysis.merging; sys.exit('open_clip' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
