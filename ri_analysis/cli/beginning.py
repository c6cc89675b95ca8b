"""`ri-analysis init` and `new`: a suite file from what lies in a folder, and a commented file to start from."""

from __future__ import annotations

import argparse
import re
import shlex
from pathlib import Path
from typing import Any

from ri_analysis.cli.flags import to_path
from ri_analysis.errors import InputError

KINDS = ("method", "analysis", "study")
_TEMPLATES = Path(__file__).with_name("templates")


def add_commands(commands: Any) -> None:
    """Declare the commands."""
    text = "write a suite file from the checkpoints, heads and images in a folder"
    more = " Anything undecided is reported, with how to decide it, and noted in the file as comments."
    init = commands.add_parser("init", help=text, description=f"{text[0].upper() + text[1:]}.{more}")
    init.add_argument("folder", type=to_path, metavar="FOLDER", help="folder to scan, with all its subfolders")
    init.add_argument("--out", type=to_path, metavar="FILE", help="the file to write (default: suite.toml in FOLDER)")
    init.add_argument("--overwrite", action="store_true", help="replace the file if it exists")
    init.set_defaults(run=_init)

    text = "write a commented starter file for a method, an analysis or a study, with its test"
    new = commands.add_parser("new", help=text, description=text[0].upper() + text[1:] + ".")
    new.add_argument("kind", choices=KINDS, help="what to write")
    new.add_argument("name", metavar="NAME", help="its name: letters a to z, digits and single -")
    new.add_argument("--folder", type=to_path, default=Path(), metavar="DIR", help="folder to write to (default: here)")
    new.set_defaults(run=_new)


def _init(options: argparse.Namespace) -> int:
    """Write the draft, and print what was found, what is open, and what to do next."""
    from ri_analysis.api.progress import Progress
    from ri_analysis.files import check_target, write_text
    from ri_analysis.suite.drafting import draft, require_new, to_toml

    out = options.out or options.folder / "suite.toml"
    if not options.overwrite:
        require_new(out)
    check_target(out)
    with Progress("looking", "checkpoints") as show:
        found = draft(options.folder, show)
    write_text(out, to_toml(found, out))
    lines = [("found", found.found), ("left out", found.left_out), ("to decide", found.undecided)]
    for what, texts in lines:
        print("".join(f"{what:10} {text}\n" for text in texts), end="")
    print(f"{'wrote':10} {out}\n{'next':10} ri-analysis check {shlex.quote(str(out))}")
    return 0


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
