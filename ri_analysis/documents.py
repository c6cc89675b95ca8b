"""Text, JSON and TOML of strangers: regular files of bounded size, their values few, shallow and plain."""

from __future__ import annotations

import json
import os
import re
import stat
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from ri_analysis import limits
from ri_analysis.allowed import is_hidden
from ri_analysis.errors import InputError, one_message
from ri_analysis.stamps import reading

_INTEGERS = 1 << 64
_LONGEST = 255  # bytes of a file's name
_QUOTED = re.compile(r""" "[^"\n]*" | '[^'\n]*' """, re.VERBOSE)


def place(folder: Path, name: str) -> Path:
    """Return the path that `name`, which somebody wrote, means in `folder`. Raises InputError for what can't be one."""
    try:
        longest = max(len(os.fsencode(part)) for part in name.split("/"))
        # Where others write the name, who has a home here, and where, is told to no one.
        path = folder / (Path(name) if is_hidden() else own_path(name))
    except UnicodeEncodeError as error:
        raise InputError(f"{name[:80]}: expected a path, found half a character") from error
    if "\0" in name or longest > _LONGEST:
        what = "a null character" if "\0" in name else f"a name of {longest:,} bytes"
        raise InputError(f"{name[:80]}: expected a path of names of at most {_LONGEST} bytes, found {what}")
    return path


def own_path(name: str | Path) -> Path:
    """Return the path that the program's operator means, whose home is `~`. Raises InputError for an unknown user's."""
    try:
        return Path(name).expanduser()
    except RuntimeError as error:  # ~somebody
        raise InputError(f"{str(name)[:80]}: expected a path, found an unknown user") from error


@contextmanager
def opened(path: Path, expected: str) -> Iterator[IO[bytes]]:
    """Open the regular file at `path`; what goes wrong within the block is one InputError, see `one_message`."""
    with one_message(path, expected):
        reading(path)
        with regular(path, expected) as stream:
            yield stream


@contextmanager
def regular(path: Path, expected: str) -> Iterator[IO[bytes]]:
    """Open the regular file at `path` without asking whether it may be read, as for one that was opened before."""
    # Without waiting: to open a pipe would wait for a writer.
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    with os.fdopen(handle, "rb") as stream:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise InputError(f"{path}: expected {expected}, found a device or pipe")
        yield stream


def read_text(path: Path, expected: str, most: str = "document-bytes") -> str:
    """Return the UTF-8 text of a file of at most the limit called `most`. Raises InputError."""
    with opened(path, expected) as stream:
        return _bounded(stream, path, most).decode("utf-8").replace("\r\n", "\n")


def own_bytes(path: Path, expected: str) -> bytes:
    """Return the bytes of a file that the program or its operator wrote: not an input that is watched for changes.

    Raises InputError where there is no regular file within the limit for documents.
    """
    with one_message(path, expected), regular(path, expected) as stream:
        return _bounded(stream, path, "document-bytes")


def own_text(path: Path, expected: str = "a note") -> str:
    """Return the UTF-8 text of such a file, see `own_bytes`."""
    with one_message(path, expected):
        return own_bytes(path, expected).decode("utf-8").replace("\r\n", "\n")


def _bounded(stream: IO[bytes], path: Path, most: str) -> bytes:
    data = stream.read(limits.limit(most) + 1)
    limits.require(most, len(data), path)
    return data


def read_json(path: Path, expected: str = "JSON") -> Any:
    """Return the value of a JSON file. Raises InputError."""
    return parse_json(read_text(path, expected), path, expected)


def parse_json(text: str, path: Path, expected: str = "JSON") -> Any:
    """Return the value of JSON text, which lies at `path`. Raises InputError."""
    with one_message(path, expected):
        try:
            found = json.loads(text)
        except ValueError as error:
            raise InputError(f"{path}: expected JSON, found: {error}") from error
        return _checked(found, path)


def read_object(path: Path, expected: str = "a JSON object") -> dict[str, Any]:
    """Return the object of a JSON file. Raises InputError for another value, too."""
    found = read_json(path, expected)
    if not isinstance(found, dict):
        raise InputError(f"{path}: expected {expected}, found {type(found).__name__}")
    return found


def read_toml(path: Path, expected: str = "TOML") -> dict[str, Any]:
    """Return the table of a TOML file. Raises InputError."""
    return parse_toml(read_text(path, expected, "suite-bytes"), path, expected)


def parse_toml(text: str, path: Path, expected: str = "TOML") -> dict[str, Any]:
    """Return the table that TOML is, which lies at `path` or is to. Raises InputError."""
    limits.require("suite-bytes", len(text.encode("utf-8", "replace")), path)
    with one_message(path, expected):
        # The parser takes time and memory that grow with the square of a key's parts.
        limits.require("key-parts", max(line.count(".") for line in _QUOTED.sub("", text).splitlines() or [""]), path)
        try:
            found = tomllib.loads(text)
        except ValueError as error:
            raise InputError(f"{path}: expected TOML, found: {error}") from error
        _checked(found, path)
        return found


def _checked(value: Any, source: Path) -> Any:
    """Return `value`. Raises InputError for too many values or levels, huge integers, and text that is no name."""
    count, depth, level = 0, 0, [value]
    while level:
        count, depth = count + len(level), depth + 1
        limits.require("levels", depth, source)
        limits.require("values", count, source)
        below: list[Any] = []
        for item in level:
            if isinstance(item, dict):
                below += [*item.keys(), *item.values()]
            elif isinstance(item, list):
                below += item
            elif isinstance(item, str):
                _require_plain(item, source)
            elif isinstance(item, int) and not -_INTEGERS < item < _INTEGERS:
                raise InputError(f"{source}: expected integers of at most 64 bits, found one of {item.bit_length():,}")
        level = below
    return value


def _require_plain(text: str, source: Path) -> None:
    if "\0" in text:
        raise InputError(f"{source}: expected text without null characters, found one in {text[:80]!r}")
    if not text.isascii() and any("\ud800" <= sign <= "\udfff" for sign in text):
        raise InputError(f"{source}: expected Unicode text, found half a character in {text[:80]!r}")
