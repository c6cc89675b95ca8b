"""What a path is that is no suite file, and what can be done with it."""

from __future__ import annotations

import shlex
import zipfile
from dataclasses import dataclass
from pathlib import Path

from ri_analysis.allowed import is_allowed
from ri_analysis.archives import require_few_entries
from ri_analysis.documents import opened, read_toml
from ri_analysis.errors import InputError, listing
from ri_analysis.suite.listing import hidden, is_image

_HEAD = 512  # bytes that tell what a file is
_DEEP = 200  # entries of a folder that are looked at for suite files
_LISTED = 5

_ARCHIVES = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ\x00", b"7z\xbc\xaf", b"Rar!", b"\x28\xb5\x2f\xfd", b"PK\x03\x04")
_IMAGES = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"BM", b"II*\x00", b"MM\x00*")
_TEXTS = {".json": "JSON", ".yaml": "YAML", ".yml": "YAML", ".py": "a Python file", ".csv": "a table"}


@dataclass(frozen=True)
class Instead:
    """What lies where a suite file was expected.

    `found` says what it is, `remedy` what to do; `suites` are suite files that can be opened in its place, and `folder`
    is one that a suite file can be drafted from (see `drafting`), None where that is no help.
    """

    found: str
    remedy: str
    suites: tuple[Path, ...] = ()
    folder: Path | None = None


class NotASuite(InputError):
    """Raised for a path that is no suite file; `instead` says what it is."""

    def __init__(self, path: str, instead: Instead) -> None:
        self.problem, self.instead = f"{path}: expected a suite file, found {instead.found}", instead
        super().__init__(f"{self.problem}; {instead.remedy}")


def look(path: Path) -> Instead | None:
    """Return what lies at `path`, None where it may be a suite file: text that is nothing else. Raises OSError."""
    if path.is_dir():
        return _folder(path)
    head = _head(path)
    if not head:
        return Instead("an empty file", "give the path of a suite file, which is TOML")
    if _is_checkpoint(path, head):
        return Instead("a checkpoint", f"a suite file names it; {_drafted(path.parent)}", folder=path.parent)
    if head.startswith(_IMAGES) or (head[:4] == b"RIFF" and head[8:12] == b"WEBP"):
        return Instead("an image", "a suite file names the folder of a task's images as its 'data'")
    if head.startswith(b"\x93NUMPY") or (path.suffix == ".npz" and head.startswith(b"PK")):
        return Instead("an array file", "a suite file names it as the 'data' of a task")
    if head.startswith(_ARCHIVES) or head[257:262] == b"ustar":
        return Instead("an archive", "unpack it, and give the path of the suite file or its folder")
    if b"\x00" in head or not _is_text(head):
        return Instead("a file that holds no text", "give the path of a suite file, which is TOML")
    if path.suffix.lower() in _TEXTS:
        return Instead(_TEXTS[path.suffix.lower()], "give the path of a suite file, which is TOML")
    return None


def _drafted(folder: Path) -> str:
    command = f"ri-analysis init {shlex.quote(str(folder))}"
    return f"`{command}` writes one from what is in the folder, as does the Experts page"


def _folder(folder: Path) -> Instead:
    entries = sorted(item for item in folder.iterdir() if not hidden(item.name))[:_DEEP]
    files = [item for item in entries if is_allowed(item) and item.is_file()]
    inner = [item / "suite.toml" for item in entries if is_allowed(item) and item.is_dir()]
    suites = tuple(item for item in (*files, *inner) if item.suffix == ".toml" and _is_suite(item))
    if suites:
        which = "it" if len(suites) == 1 else "one of them"
        names = listing([item.relative_to(folder) for item in suites], _LISTED)
        return Instead(f"a folder that holds no suite.toml but {names}", f"open {which} instead", suites)
    weights = [item for item in files if not is_image(item) and _is_checkpoint(item, _head(item))]
    what = f"a folder with {weights[0].name} but no suite.toml" if weights else "a folder without a suite.toml"
    names = "a suite file names the pretrained model, and each task's expert, head and images"
    return Instead(what, f"{names}; {_drafted(folder)}", folder=folder)


def _head(path: Path) -> bytes:
    with opened(path, "a file") as file:
        return file.read(_HEAD)


def _is_suite(path: Path) -> bool:
    """Whether a file is TOML that names a model and tasks."""
    try:
        found = read_toml(path)
    except InputError:
        return False
    return "model" in found and "task" in found


def is_weights(path: Path) -> bool:
    """Whether the file at `path` begins like a checkpoint: PyTorch's, old or new, or safetensors."""
    return _is_checkpoint(path, _head(path))


def _is_checkpoint(path: Path, head: bytes) -> bool:
    """Whether a file holds weights: PyTorch's, old or new, or safetensors."""
    if head.startswith(b"PK"):
        try:
            with opened(path, "an archive") as stream:
                require_few_entries(path, stream)
                return any(name.endswith("data.pkl") for name in zipfile.ZipFile(stream).namelist())
        except InputError:
            return path.suffix in (".pt", ".pth", ".bin", ".ckpt")
    if head[:1] == b"\x80" and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        return True
    return len(head) > 8 and head[8:9] == b"{" and int.from_bytes(head[:8], "little") < 2**32


def _is_text(head: bytes) -> bool:
    try:
        head.decode("utf-8")
    except UnicodeDecodeError as error:
        return error.end == len(head) == _HEAD and error.start > _HEAD - 4  # cut within a character
    return True
