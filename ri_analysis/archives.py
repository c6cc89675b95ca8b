"""Zip archives of strangers, looked at before they are opened."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import IO, Any, cast

from ri_analysis import limits


def require_few_entries(path: Path, stream: IO[bytes]) -> None:
    """Raise InputError where an archive's directory has too many entries; ZipFile would make an object of each."""
    # The end record as the standard library finds it; of (…, entries, bytes of the directory, …) the bytes count.
    record = cast(Any, zipfile)._EndRecData(stream)
    if record:
        limits.require("entries", max(record[4], record[5] // 46), path)
    stream.seek(0)


def unpacked_size(archive: zipfile.ZipFile) -> int:
    """Return the bytes that all entries say they unpack to; reading one gives no more than it says."""
    return sum(entry.file_size for entry in archive.infolist())
