"""What lies in a folder that a suite can be made of: weights, heads, images, class names, sets of adapted experts."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path

from ri_analysis import limits
from ri_analysis.allowed import is_allowed, require_allowed
from ri_analysis.checkpoints import is_model_folder
from ri_analysis.errors import Cancelled, InputError
from ri_analysis.progress import Progress
from ri_analysis.suite import arrow, public_layouts
from ri_analysis.suite.data import arrays_of
from ri_analysis.suite.drafting import names
from ri_analysis.suite.drafting.weights import Adapter, HeadFile, Model, Sizes, read_config, what_is
from ri_analysis.suite.instead import is_weights
from ri_analysis.suite.listing import around, hidden, identity, is_image
from ri_analysis.suite.suite import RECORD

_WEIGHTS = (".pt", ".pth", ".bin", ".ckpt", ".safetensors", ".pkl", ".tar")
_SHARD = "-of-"  # in the names of files that an index puts together
_LONGEST_SUFFIX = 12
_FIRST = 64  # entries of a class's folder among which there must be an image
_RESOLVED = "resolved"  # what the folder of sets of adapted experts is called


@dataclass(frozen=True)
class Images:
    """A source of images: what it is in words, the split it is called after, and whether it has labels.

    `named` says whether it gives class names of its own, `public` whether it is a file of a public data set as its
    authors publish it, whose order of the classes is known.
    """

    path: Path
    what: str
    split: str
    labelled: bool = True
    named: bool = False
    public: bool = False


@dataclass(frozen=True)
class Config:
    """An open_clip model config in a JSON file."""

    path: Path
    sizes: Sizes
    quick_gelu: bool


@dataclass
class Survey:
    """What was found in `folder`; paths begin there. `trouble` is what looks useful and can't be used, with why.

    `passed` counts what else was passed over, by why: too much to name, and nothing whose name could be written.
    """

    folder: Path
    models: list[Model] = field(default_factory=list)
    adapters: list[Adapter] = field(default_factory=list)
    heads: list[HeadFile] = field(default_factory=list)
    images: list[Images] = field(default_factory=list)
    configs: list[Config] = field(default_factory=list)
    texts: list[Path] = field(default_factory=list)
    resolved: list[Path] = field(default_factory=list)
    trouble: list[tuple[Path, str]] = field(default_factory=list)
    passed: Counter[str] = field(default_factory=Counter)


def survey(folder: Path, progress: Progress | None = None) -> Survey:
    """Look through `folder` and all folders below it. Raises InputError for one that can't be read, or holds too much.

    Nothing in a file is run, and of weights little more than names and shapes is read. Links are followed where they
    may be read, but for those to a folder that `folder` lies in. `progress` may raise Cancelled.
    """
    require_allowed(folder)
    if not folder.is_dir():
        raise InputError(f"{folder}: expected a folder to look for checkpoints in, found {_instead(folder)}")
    walk = _Walk(Survey(folder))
    walk.look()
    for number, path in enumerate(walk.weights):
        if progress is not None:
            progress(number, len(walk.weights))
        walk.attempt(path, walk.take_weights)
    return walk.found


def _instead(path: Path) -> str:
    return "a file" if path.exists() else "none"


class _Walk:
    """Goes through folders, each once however many links lead there, and sorts what it finds."""

    def __init__(self, found: Survey) -> None:
        self.found, self.weights = found, list[Path]()
        self._around = around(found.folder)
        self._seen, self._entries = set[tuple[int, int]](), 0

    def look(self) -> None:
        """Look at everything but the content of weights."""
        waiting = [self.found.folder]
        while waiting:
            self.attempt(waiting.pop(), lambda item: waiting.extend(reversed(self._folder(item))))

    def attempt(self, path: Path, work: Callable[[Path], None]) -> None:
        """Do something with a file or folder; what goes wrong is noted."""
        try:
            work(path)
        except Cancelled:
            raise
        except InputError as error:
            if path == self.found.folder:
                raise
            self.note(path, str(error).removeprefix(f"{path}: "))
        except OSError as error:
            self.note(path, f"can't be read: {(error.strerror or 'damaged').lower()}")

    def note(self, path: Path, why: str) -> None:
        self.found.trouble.append((self._own(path), why))

    def _pass_over(self, why: str, count: int = 1) -> None:
        if count:
            self.found.passed[why] += count

    def _pass_over_kind(self, path: Path) -> None:
        if not public_layouts.is_read_beside(path):
            suffix = path.suffix.lower()
            self._pass_over(f"{suffix} files" if 0 < len(suffix) <= _LONGEST_SUFFIX else "files of no known kind")

    def take_weights(self, path: Path) -> None:
        """Sort a checkpoint by what it is."""
        one = replace(what_is(path), path=self._own(path))
        if isinstance(one, Model):
            self.found.models.append(one)
        elif isinstance(one, Adapter):
            self.found.adapters.append(one)
        else:
            self.found.heads.append(one)

    def _own(self, path: Path) -> Path:
        return path.relative_to(self.found.folder)

    def _folder(self, folder: Path) -> list[Path]:
        """Take what lies in a folder; return the folders below that are still to be looked through."""
        this = identity(folder)
        if this in self._around:
            self._pass_over("links to folders around this one")
        if this in self._seen or this in self._around:
            return []
        self._seen.add(this)
        entries = self._listed(folder)
        files = [item for item in entries if item.is_file()]
        folders = [item for item in entries if item.is_dir()]
        self._pass_over("links to nothing, pipes and devices", len(entries) - len(files) - len(folders))
        if (folder / RECORD).is_file() or (folder.parent.name == _RESOLVED and folder != self.found.folder):
            self.found.resolved.append(self._own(folder))
            return []
        if is_model_folder(folder):
            self.weights.append(folder)
            self._configs([item for item in files if item.name == "open_clip_config.json"])
            return folders if folder == self.found.folder else []  # a trainer's states on the way lie below others
        if (folder / "state.json").is_file() or (folder / "dataset_dict.json").is_file():
            self._saved(folder)
            return []
        if snapshot := self._snapshot(folder):
            return [snapshot]
        self._tables(folder)
        self._files(files)
        of_classes = self._classes(folder, folders)
        if not of_classes and any(is_image(item) for item in files):
            if folder == self.found.folder:
                self._pass_over("images in no folder of their own", sum(map(is_image, files)))
            else:
                self._images(folder, "images", labelled=False)
        return [] if of_classes else folders

    def _listed(self, folder: Path) -> list[Path]:
        """Return the entries of a folder that may be read and whose names can be written, sorted."""
        found = []
        with os.scandir(folder) as entries:
            for entry in entries:
                self._entries += 1
                limits.require("folder-entries", self._entries, self.found.folder)
                path = folder / entry.name
                if hidden(entry.name):
                    continue
                if not entry.name.isprintable():
                    self._pass_over("entries whose names can't be printed")
                elif not is_allowed(path):
                    self._pass_over("links to outside the folders that may be read")
                elif folder == self.found.folder and entry.name.startswith("~"):
                    self.note(path, "a suite file can't name it, as ~ begins a home folder; rename it")
                else:
                    found.append(path)
        return sorted(found)

    def _files(self, files: Sequence[Path]) -> None:
        for path in files:
            suffix = path.suffix.lower()
            if suffix in _WEIGHTS and not (suffix == ".bin" and public_layouts.is_known(path)):
                if _SHARD in path.name:
                    self._pass_over("parts of checkpoints without their index file")
                else:
                    self.attempt(path, self._maybe_weights)
            elif suffix == ".npz":
                self.attempt(path, self._npz)
            elif suffix == ".json":
                self._configs([path])
            elif suffix in (".h5", ".hdf5"):
                self.note(path, "HDF5 is not read: save the images as an npz file or in folders, one a class")
            elif suffix != ".parquet" and not is_image(path):
                self.attempt(path, self._maybe_public)

    def _maybe_weights(self, path: Path) -> None:
        if is_weights(path) or path.suffix == ".safetensors":
            self.weights.append(path)
        elif path.suffix in (".bin", ".pkl", ".tar"):
            self._pass_over_kind(path)
        else:
            self.note(path, "expected a checkpoint by its name, found another kind of file; fetch it again")

    def _maybe_public(self, path: Path) -> None:
        if path.suffix == ".gz" and path.with_suffix("").is_file():  # packed beside unpacked
            return
        if public_layouts.is_known(path):
            # Flowers102 and FER2013 keep all splits in one file, of which the test split is read.
            split = names.split_of(path) or names.TEST
            self._images(path, "a file of a public data set", split, public=True)
        elif path.suffix == ".txt":
            self.found.texts.append(self._own(path))
        else:
            self._pass_over_kind(path)

    def _npz(self, path: Path) -> None:
        arrays = arrays_of(path)
        if "images" in arrays:
            count, kind = arrays["images"][1][:1], arrays.get("labels", ("", ()))[0]
            what = f"{count[0]:,} images" if count else "images"
            self._images(path, f"{what} in an npz file", labelled=bool(kind), named=kind.startswith(("<U", ">U")))
        elif any(len(shape) == 2 for _, shape in arrays.values()):
            self.note(path, "heads in npz files are not read: save the matrix as 'weight' in a safetensors file")

    def _configs(self, files: Sequence[Path]) -> None:
        for path in files:
            sizes, quick = read_config(path)
            if sizes is not None:
                self.found.configs.append(Config(self._own(path), sizes, quick))

    def _saved(self, folder: Path) -> None:
        parts = [folder] if (folder / "state.json").is_file() else [p for p in self._listed(folder) if p.is_dir()]
        for part in parts:
            classes, labelled = arrow.class_names_of(part)
            what = "a data set saved by Hugging Face datasets"
            self._images(part, what, labelled=labelled, named=bool(classes))

    def _tables(self, folder: Path) -> None:
        splits = arrow.splits_of(folder)
        for split, files in splits.items():
            if len(splits) == 1:
                self._images(folder, "a table", names.split_of(Path(split)) or names.split_of(folder), named=True)
            elif len(files) == 1:
                self._images(files[0], "a table", names.split_of(Path(split)), named=True)
            else:
                self.note(
                    folder,
                    f"holds {len(files)} files of one split beside another split: keep each split in its own folder",
                )

    def _snapshot(self, folder: Path) -> Path | None:
        """Return the snapshot of a hub cache's repository that its main branch is at, else the newest."""
        below = folder / "snapshots"
        if "--" not in folder.name or not below.is_dir():
            return None
        there = [item for item in self._listed(below) if item.is_dir()]
        main = folder / "refs" / "main"
        if main.is_file() and is_allowed(main):
            with main.open(encoding="utf-8", errors="replace") as stream:
                wanted = stream.read(100).strip()
            there = [item for item in there if item.name == wanted] or there
        return max(there, key=lambda item: item.stat().st_mtime, default=None)

    def _classes(self, folder: Path, folders: Sequence[Path]) -> bool:
        """Take a folder with one subfolder of images a class; return whether it is one."""
        with_images = [item for item in folders if self._begins_with_images(item)]
        if len(with_images) < 2 or len(with_images) < len(folders) or any(names.is_split(f.name) for f in folders):
            return False
        if all(names.is_auxiliary(Path(item.name)) for item in folders):
            return False
        self._images(folder, f"a folder of {len(with_images)} classes", named=True)
        return True

    def _begins_with_images(self, folder: Path) -> bool:
        self._entries += 1
        with os.scandir(folder) as entries:
            return any(is_image(Path(entry.name)) for entry in islice(entries, _FIRST))

    def _images(self, path: Path, what: str, split: str = "", **more: bool) -> None:
        place = self._own(path)
        self.found.images.append(Images(place, what, split or names.split_of(place), **more))
