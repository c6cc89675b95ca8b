"""The worked examples in CONTRIBUTING.md: Python blocks whose first line names the file that they are."""

from __future__ import annotations

import re
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parents[1]
DOCUMENT = ROOT / "CONTRIBUTING.md"


def examples() -> dict[str, str]:
    """Return the examples' source by path, in the order of the document."""
    return dict(re.findall(r"^```python\n# (\S+)\n(.*?)^```$", DOCUMENT.read_text(encoding="utf-8"), re.M | re.S))


def load(path: str) -> ModuleType:
    """Return an example as a module that is in no package."""
    module = ModuleType(Path(path).stem)
    exec(compile(examples()[path], path, "exec", dont_inherit=True), module.__dict__)
    return module
