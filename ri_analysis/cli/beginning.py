"""`ri-analysis new`: a commented file to start from, with its test."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import Any

from ri_analysis.errors import InputError

KINDS = ("method", "analysis", "study")
_TEMPLATES = Path(__file__).with_name("templates")


def add_commands(commands: Any) -> None:
    """Declare the command."""
    text = "write a commented file to start a method, an analysis or a study from, with its test"
    new = commands.add_parser("new", help=text, description=text[0].upper() + text[1:] + ".")
    new.add_argument("kind", choices=KINDS, help="what it is to be")
    new.add_argument("name", metavar="NAME", help="its name: letters a to z, digits and single -")
    new.add_argument("--folder", type=Path, default=Path(), metavar="DIR", help="where to write (default: here)")
    new.set_defaults(run=_new)


def _new(options: argparse.Namespace) -> int:
    """Write the file and its test; neither takes the place of another."""
    from ri_analysis.files import write_text
    from ri_analysis.plugins import NAME

    name = options.name
    if not NAME.fullmatch(name) or not name[0].isalpha():
        raise InputError(f"{name}: expected a name of letters a to z, digits and single -, with a letter first")
    function = name.replace("-", "_")
    paths = {
        options.kind: options.folder / f"{function}.py",
        f"test_{options.kind}": options.folder / f"test_{function}.py",
    }
    for path in paths.values():
        if path.exists():
            raise InputError(f"{path}: expected no such file yet, found one")
    values = {
        "name": name,
        "title": name.replace("-", " ").capitalize(),
        "function": function,
        "file": f"{function}.py",
    }
    for template, path in paths.items():
        text = re.sub(r"\$(\w+)", lambda found: values[found[1]], (_TEMPLATES / f"{template}.txt").read_text("utf-8"))
        write_text(path, text)
        print(path)
    return 0
