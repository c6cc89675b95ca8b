"""How much is read and asked: declared here, checked before the work, named in messages, changed by a variable."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from ri_analysis.errors import InputError

VARIABLE = "RI_ANALYSIS_LIMITS"


@dataclass(frozen=True)
class Limit:
    """The most there may be, and of what."""

    most: int
    what: str


LIMITS: dict[str, Limit] = {
    "suite-bytes": Limit(1 << 20, "bytes of a suite file"),
    "suite-tables": Limit(5_000, "tables of one kind in a suite file"),
    "document-bytes": Limit(1 << 26, "bytes of a JSON or text file"),
    "values": Limit(2_000_000, "values in a JSON or TOML file"),
    "levels": Limit(100, "levels of nesting"),
    "key-parts": Limit(32, "dots outside quotes in a line of TOML"),
    "structure-bytes": Limit(1 << 25, "bytes of a checkpoint without its tensors"),
    "operations": Limit(1_000_000, "operations of a pickle"),
    "classes": Limit(10_000, "names of classes in a pickle"),
    "name-characters": Limit(1_000, "characters of a name"),
    "entries": Limit(200_000, "entries of an archive"),
    "towers": Limit(100, "vision towers in a checkpoint"),
    "pattern-ways": Limit(1_000_000_000, "ways in which a pattern of an adapter may match"),
    "model-number": Limit(1_000_000, "as any number in a model config"),
    "model-layers": Limit(1_000, "layers of a model config"),
    "model-patches": Limit(65_536, "patches of an image in a model config"),
    "model-parameters": Limit(10_000_000_000, "parameters of a vision tower"),
    "pixels": Limit(89_478_485, "pixels"),  # where Pillow warns; RGB takes a quarter of a gigabyte there
    "image-bytes": Limit(1 << 29, "bytes of an encoded image"),
    "image-scans": Limit(200, "scans of a JPEG"),  # each passes over the whole image, and takes a few bytes
    "image-tags": Limit(1 << 26, "bytes of the tags of an image"),
    "head-texts": Limit(5_000_000, "texts, classes times templates, to build a head from"),
    "unpacked-bytes": Limit(1 << 31, "bytes of unpacked arrays"),
    "generated-images": Limit(10_000_000, "generated images"),
    "folder-entries": Limit(100_000, "files and folders to draft a suite file from"),
    "recipes": Limit(10_000, "recipes of one line of text"),
    "child-bytes": Limit(1 << 32, "bytes of memory to read a file"),
    "child-seconds": Limit(60, "seconds to read each GiB of a file"),
}


def limit(name: str) -> int:
    """Return the limit called `name`. Raises InputError where the environment variable is wrong."""
    return _chosen(os.environ.get(VARIABLE, "")).get(name, LIMITS[name].most)


def changed(name: str) -> bool:
    """Whether the limit called `name` is not the declared one."""
    return limit(name) != LIMITS[name].most


def beyond(name: str) -> str:
    """Return in words what there is too much of, and how more is allowed."""
    return f"more than {limit(name):,} {LIMITS[name].what} ({VARIABLE}={name}=N allows more)"


def require(name: str, found: float, source: object) -> None:
    """Raise InputError naming `source` where there is more than the limit called `name` says."""
    if found > limit(name):
        number = f"{found:,}" if found < 1e30 else "far more"
        raise InputError(
            f"{source}: expected at most {limit(name):,} {LIMITS[name].what}, found {number}; "
            f"{VARIABLE}={name}=N allows more"
        )


@lru_cache(maxsize=8)
def _chosen(text: str) -> Mapping[str, int]:
    """Return what the environment variable says: `name=number`, several separated by commas or spaces."""
    found = {}
    for part in text.replace(",", " ").split():
        name, _, number = part.partition("=")
        if name not in LIMITS or not number.isascii() or not number.isdigit() or len(number) > 18:
            raise InputError(f"{VARIABLE}: expected NAME=NUMBER of {', '.join(LIMITS)}, found {part!r}")
        found[name] = int(number)
    return found
