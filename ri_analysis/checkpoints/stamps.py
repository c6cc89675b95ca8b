"""Digests of large files, remembered between runs: opening a suite again reads no weights."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from ri_analysis.documents import own_text
from ri_analysis.files import digest, file_digest, write_text
from ri_analysis.json_text import from_json
from ri_analysis.stamps import Stamp

WORTH_REMEMBERING = 1 << 24  # bytes; smaller files are read in no time


def content_digest(path: Path, memory: Path | None, verify: Callable[[Path], None] | None = None) -> str:
    """Return the content digest of the file at `path`.

    With a folder `memory`, a large file whose identity, size and times are the same as last time is not read again.
    `verify` looks at the file's own checksums first; only what passed it is remembered.
    """
    if memory is None or path.stat().st_size < WORTH_REMEMBERING:
        if verify is not None:
            verify(path)
        return file_digest(path)
    absolute = path.resolve()
    stamp = {"path": str(absolute), **Stamp.settled(path)._asdict()}
    note = memory / f"{digest(str(absolute))}.json"
    known = _read(note)
    if {key: known.get(key) for key in stamp} == stamp and isinstance(known.get("digest"), str):
        return str(known["digest"])
    if verify is not None:
        verify(path)
    found = file_digest(path)
    try:
        write_text(note, json.dumps(stamp | {"digest": found}))
    except OSError:  # a full or read-only disk: it is only slower next time
        return found
    return found


def _read(note: Path) -> dict[str, object]:
    try:
        found = from_json(own_text(note))
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
