"""Print the oldest versions that pyproject.toml allows, as constraints for pip, but those of the packages named."""

import re
import sys
import tomllib
from pathlib import Path

project = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]
for line in (*project["dependencies"], *project["optional-dependencies"]["cluster"]):
    name, version = re.fullmatch(r"([\w.-]+)>=([\w.]+)", line).groups()
    if name not in sys.argv[1:]:
        print(f"{name}=={version}")
