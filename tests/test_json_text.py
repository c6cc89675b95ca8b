"""JSON that is read back from files: whatever is wrong with it is a ValueError."""

from __future__ import annotations

from pathlib import Path

import pytest

from ri_analysis.caches import read_note, write_note
from ri_analysis.json_text import from_json, to_json

DEEP = "[" * 100_000


@pytest.mark.parametrize("text", [DEEP, DEEP.replace("[", '{"a":'), "{", "", b"\xff", "1" * 5_000])
def test_what_is_no_json_is_a_value_error(text: str | bytes) -> None:
    with pytest.raises(ValueError, match=r"^(?!.*\n)"):
        from_json(text)


def test_what_was_written_is_read() -> None:
    value = {"a": [1, 2.5, None, "é"], "b": {}}
    assert from_json(to_json(value)) == value


@pytest.mark.parametrize("text", [DEEP, '{"made_from": "x", "check": "y", "value": ' + "[" * 900 + "]" * 900 + "}"])
def test_a_note_that_is_too_deep_is_none(tmp_path: Path, text: str) -> None:
    path = tmp_path / "note.json"
    write_note(path, "x", [1])
    assert read_note(path, "x") == [1]
    path.write_text(text)
    assert read_note(path, "x") is None
