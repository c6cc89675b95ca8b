from __future__ import annotations

from pathlib import Path

import pytest

from ri_analysis.suite.file_stamps import FileStamps


@pytest.mark.parametrize("note", [b"\xff", b"", b"other"])
def test_where_the_memory_of_the_first_files_is_damaged_files_have_a_name_of_their_own(
    note: bytes, tmp_path: Path
) -> None:
    (tmp_path / "a.png").write_bytes(b"a")
    named = FileStamps.of(tmp_path, [tmp_path / "a.png"], tmp_path / "memory").digest
    assert FileStamps.of(tmp_path, [tmp_path / "a.png"], tmp_path / "memory").digest == named
    (kept,) = (tmp_path / "memory").iterdir()
    kept.write_bytes(note)
    assert FileStamps.of(tmp_path, [tmp_path / "a.png"], tmp_path / "memory").digest != named
