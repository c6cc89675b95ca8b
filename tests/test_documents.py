from __future__ import annotations

import os
from pathlib import Path

import pytest

from ri_analysis import limits
from ri_analysis.caches import read_note
from ri_analysis.documents import own_text, place, read_json, read_text, read_toml
from ri_analysis.errors import InputError, one_message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"[" * 100_000, "found too many levels of nesting"),
        (b"[" * 150 + b"]" * 150, "expected at most 100 levels of nesting, found 101; RI_ANALYSIS_LIMITS=levels=N"),
        (b"9" * 5_000, "expected JSON, found: Exceeds the limit"),
        (b"9" * 400, "expected integers of at most 64 bits, found one of 1,329"),
        (b'"a\\u0000b"', "expected text without null characters"),
        (b'{"\\ud800": 1}', "expected Unicode text, found half a character"),
        (b"\xff", "damaged data (UnicodeDecodeError"),
        (b"{", "expected JSON, found: Expecting"),
    ],
)
def test_json_of_strangers_is_one_short_message(text: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "x.json").write_bytes(text)
    with pytest.raises(InputError) as error:
        read_json(tmp_path / "x.json")
    assert str(error.value).startswith(f"{tmp_path / 'x.json'}: ")
    assert message in str(error.value)
    assert len(str(error.value)) < 700


def test_a_key_of_many_parts_is_refused_before_it_is_parsed(tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_text("a" + ".a" * 20_000 + " = 1")
    with pytest.raises(InputError, match="at most 32 dots outside quotes in a line of TOML, found 20,000"):
        read_toml(tmp_path / "x.toml")
    (tmp_path / "x.toml").write_text("templates = [" + ", ".join(['"a photo of a {}."'] * 80) + "]")
    assert len(read_toml(tmp_path / "x.toml")["templates"]) == 80


def test_only_regular_files_of_bounded_size_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe")
        for path in (tmp_path / "pipe", Path("/dev/zero")):
            with pytest.raises(InputError, match="found a device or pipe"):
                read_text(path, "text")
    (tmp_path / "x").write_text("a" * 100)
    monkeypatch.setenv("RI_ANALYSIS_LIMITS", "document-bytes=99, levels=3")
    with pytest.raises(InputError, match="at most 99 bytes of a JSON or text file, found 100; RI_ANALYSIS_LIMITS="):
        read_text(tmp_path / "x", "text")


@pytest.mark.parametrize("name", ["a\0b", "~nosuchuser/x", "n" * 256, "\ud800"])
def test_what_is_no_path_is_one_message(name: str) -> None:
    with pytest.raises(InputError, match="expected a path"):
        place(Path(), name)
    assert place(Path("a"), "n" * 255).name == "n" * 255


@pytest.mark.parametrize("text", ["pixels", "pixels=-1", "nothing=3", "pixels=1e9"])
def test_a_wrong_limit_is_named(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RI_ANALYSIS_LIMITS", text)
    with pytest.raises(InputError, match="RI_ANALYSIS_LIMITS: expected NAME=NUMBER"):
        limits.limit("pixels")


def test_every_limit_is_documented() -> None:
    text = (Path(__file__).parents[1] / "docs" / "formats.md").read_text(encoding="utf-8")
    rows = [f"| `{name}` | {item.most:,} | {item.what} |" for name, item in limits.LIMITS.items()]
    assert [row for row in rows if row not in text] == []


def test_messages_are_bounded_and_printable() -> None:
    message = str(InputError("a\x1b[31m\ud800" + "b" * 100_000 + "\n" + "line\n" * 1_000))
    assert message.isascii() is False
    assert len(message) < 2_000
    assert all(line.isprintable() for line in message.split("\n"))


@pytest.mark.parametrize(
    "error", [ValueError("v"), KeyError("k"), MemoryError(), RecursionError(), OSError(5, "Input")]
)
def test_whatever_goes_wrong_is_one_message(error: Exception) -> None:
    with pytest.raises(InputError, match=r"^x: expected a file, found "), one_message("x", "a file"):
        raise error


@pytest.mark.parametrize("kind", ["none", "folder", "pipe", "bytes", "loop"])
def test_a_note_of_ours_that_was_damaged_is_one_message(kind: str, tmp_path: Path) -> None:
    note = tmp_path / "note"
    if kind == "folder":
        note.mkdir()
    elif kind == "pipe":
        getattr(os, "mkfifo", Path.mkdir)(note)
    elif kind == "bytes":
        note.write_bytes(b"\xff")
    elif kind == "loop":
        note.symlink_to(note)
    with pytest.raises(InputError, match="expected a note, found"):
        own_text(note)
    assert read_note(note, "anything") is None
