"""A draft as the text of a suite file: what is open stands there as comments, where it is to be decided."""

from __future__ import annotations

import json
import os
import textwrap
from collections.abc import Iterable, Mapping
from pathlib import Path

from ri_analysis.errors import InputError
from ri_analysis.suite.drafting.draft import MODEL, Choice, Draft, Open

Value = str | tuple[str, ...] | bool
_WIDTH = 110
_BESIDE = ("architecture", "classes")  # keys whose paths begin at the suite file, and not at `root`


def to_toml(draft: Draft, out: Path) -> str:
    """Return the suite file for a draft, to be written to `out`: paths are relative to the folder of the draft."""
    head = "Drafted by `ri-analysis init`. TO DECIDE marks what is open; `ri-analysis check` says what is wrong."
    lines = [*_comment(head), f"name = {_value(draft.name)}"]
    moved = None if _same(out.parent, draft.folder) else draft.folder.resolve()
    if moved is not None:
        lines.append(f"root = {_value(moved.as_posix())}  # where the paths below begin")
    lines += _decide(draft.undecided, "")
    lines += ["", "[model]", *_keys(draft.model, moved), *_decide(draft.undecided, MODEL)]
    for task in draft.tasks:
        lines += ["", "[[task]]", *_keys(task, moved), *_decide(draft.undecided, str(task["name"].value))]
    for source in draft.auxiliary:
        lines += ["", "[[auxiliary]]", *_keys(source, moved)]
    if not draft.auxiliary:
        lines += [
            "",
            *_comment("Images for RI, unlabelled and unrelated to any task: a folder of them works better than this."),
        ]
        lines += ["[[auxiliary]]", 'name = "shapes"', 'generator = "shapes"']
    for domain in draft.unseen:
        lines += ["", "# [[unseen]]", *(f"# {line.removeprefix('# ')}" for line in _keys(domain, moved))]
    for item in draft.resolved:
        lines += ["", "[[resolved]]", *_keys(item, moved)]
    left = [text for line in draft.left_out for text in _comment(f"Left out: {line}.")]
    lines += ["", *left] if left else []
    return "\n".join(lines) + "\n"


def _same(one: Path, two: Path) -> bool:
    return os.path.realpath(one) == os.path.realpath(two)


def _decide(undecided: Iterable[Open], table: str) -> list[str]:
    return [
        line
        for item in undecided
        if item.table == table
        for line in _comment(f"TO DECIDE: {item.problem}; {item.remedy}.")
    ]


def _keys(table: Mapping[str, Choice], moved: Path | None) -> list[str]:
    lines = []
    for key, choice in table.items():
        beside = None if moved is None or key not in _BESIDE else moved
        why = f"  # {_plain(choice.why)}" if choice.why else ""
        if choice.value is not None:
            lines.append(f"{key} = {_value(_placed(choice.value, beside))}{why}")
        elif choice.options:
            lines += [f"# {key} = {_value(_placed(option, beside))}{why}" for option in choice.options]
        else:
            lines.append(f"# {key} = {why}".rstrip())
    return lines


def _placed(value: Value, folder: Path | None) -> Value:
    """Return a path with the folder that it begins at, where the suite file lies in another one."""
    is_file = folder is not None and isinstance(value, str) and (folder / value).is_file()
    return (folder / value).as_posix() if folder is not None and isinstance(value, str) and is_file else value


def _value(value: Value) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return f"[{', '.join(map(_value, value))}]"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _comment(text: str) -> list[str]:
    return textwrap.wrap(_plain(text), _WIDTH, initial_indent="# ", subsequent_indent="#   ", break_long_words=False)


def _plain(text: str) -> str:
    """Return text that may stand in a comment: one line of printable characters."""
    return "".join(sign if sign.isprintable() else " " for sign in text)


def require_new(path: Path) -> None:
    """Raise InputError where there is something at `path` already: no draft takes the place of a suite file."""
    if path.exists() or path.is_symlink():
        raise InputError(f"{path}: expected no such file yet, found one")
