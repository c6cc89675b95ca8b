"""What docs/python.md and the README show in Python runs."""

from __future__ import annotations

import re
import warnings
from pathlib import Path

import pytest
from worked import ROOT

OPEN = 'ri.open_suite("demo")'


def blocks(document: str) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```$", (ROOT / document).read_text(encoding="utf-8"), re.M | re.S)


@pytest.mark.parametrize(("document", "least"), [("docs/python.md", 7), ("README.md", 1)])
def test_every_example_runs(
    document: str, least: int, tiny: Path, workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """On the tiny suite instead of the embedded one; nothing is called that the document does not call."""
    examples = blocks(document)
    assert len(examples) >= least
    assert sum(OPEN in example for example in examples) == 1
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    with warnings.catch_warnings(action="ignore"):
        for number, example in enumerate(examples):
            source = example.replace(OPEN, f"ri.open_suite({str(tiny)!r}, workspace={str(workspace)!r}, device='cpu')")
            exec(compile(source, f"{document}, example {number + 1}", "exec"), names)
    assert (tmp_path / "merged.safetensors").exists() is (document == "docs/python.md")
