"""Caches that carry what they were made from and a check of what they hold; one that does not fit is made again."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

from ri_analysis.documents import own_text
from ri_analysis.files import digest, file_digest, write_text
from ri_analysis.json_text import from_json


def write_note(path: Path, made_from: str, value: Any) -> None:
    """Keep `value`, which JSON can hold, made from what `made_from` names. On a full or read-only disk nothing is."""
    note = {"made_from": made_from, "check": _check(made_from, value), "value": value}
    with suppress(OSError):
        write_text(path, json.dumps(note))


def read_note(path: Path, made_from: str) -> Any:
    """Return what `write_note` kept; None where there is no such note, or it is damaged, altered or about another."""
    try:
        note = from_json(own_text(path))
        fits = note["made_from"] == made_from and note["check"] == _check(made_from, note["value"])
    except (ValueError, KeyError, TypeError):
        return None
    return note["value"] if fits else None


def seal(path: Path, made_from: str) -> None:
    """Note beside the whole file at `path` what it was made from and the digest of its content."""
    write_note(_seal(path), made_from, file_digest(path))


def sealed(path: Path, made_from: str, *, read: bool = True) -> bool:
    """Whether the file at `path` was made from what `made_from` names and still holds what it held when it was sealed.

    Without `read` the content is taken on trust: for large files, where a wrong answer only costs time.
    """
    content = read_note(_seal(path), made_from)
    return content is not None and path.is_file() and (not read or file_digest(path) == content)


def altered(path: Path, made_from: str) -> bool:
    """Whether the file at `path` holds something else than when it was sealed; not where it never was."""
    return _seal(path).exists() and not sealed(path, made_from)


def discard(path: Path) -> None:
    """Remove a sealed file with its seal."""
    path.unlink(missing_ok=True)
    discard_seal(path)


def discard_seal(path: Path) -> None:
    """Remove the seal of a file that stays."""
    _seal(path).unlink(missing_ok=True)


def _seal(path: Path) -> Path:
    return path.with_name(f"{path.name}.seal")


def _check(made_from: str, value: Any) -> str:
    return digest(made_from, json.dumps(value, sort_keys=True))
