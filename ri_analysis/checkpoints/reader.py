"""Open a checkpoint without running anything in it: tensors under their names, read when they are asked for."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from ri_analysis.checkpoints import lora
from ri_analysis.checkpoints.lazy import Computed, Same, Tensors
from ri_analysis.checkpoints.stamps import content_digest
from ri_analysis.checkpoints.stored import read_safetensors
from ri_analysis.checkpoints.torch_file import ZIP_MAGIC, read_torch, verify_records
from ri_analysis.checkpoints.towers import Place, bare_name, choose_tower, find_towers, without_wrappers
from ri_analysis.documents import opened, read_object
from ri_analysis.errors import InputError, one_message
from ri_analysis.files import digest
from ri_analysis.stamps import Stamp

_FOLDER_FILES = (
    *("adapter_model.safetensors", "adapter_model.bin"),
    *("open_clip_model.safetensors", "open_clip_pytorch_model.bin"),
    *("model.safetensors", "model.safetensors.index.json"),
    *("pytorch_model.bin", "pytorch_model.bin.index.json"),
)
# Names the content of a file; the second argument looks at the file's own checksums first.
_Naming = Callable[[Path, Callable[[Path], None] | None], str]
_PICKLE_STARTS = (b"\x80", b"c", b"(")  # a protocol number; a class or a mark in the oldest protocol


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint: where it lies, its tensors by name (lazy), and the digest of its content.

    Parameters
    ----------
    path: the file, or the folder of a Hugging Face model or adapter.
    tensors: the tensors under the names the file gives them, but for those of wrappers such as `_orig_mod.`.
    digest: digest of all files read, and of the choice where they hold several vision towers; empty where a file was
        only looked into.
    ignored: entries that are not tensors of the model (optimiser state, epoch …).
    module: class of a pickled module, as `src.modeling.ImageEncoder`; empty for a state dict.
    attributes: the pickled module's plain attributes (`normalize` of a head).
    classes: classes of its submodules, none of which was imported.
    config: `config.json` or `adapter_config.json` beside a Hugging Face model.
    size: bytes of all files of tensors.
    tower: prefix of the vision tower that was asked for, None where none was.
    unread: tensors of a kind that is not read (quantised, sparse …), and what makes them.
    remarks: see `Tower`.
    """

    path: Path
    tensors: Tensors
    digest: str
    ignored: tuple[str, ...] = ()
    module: str = ""
    attributes: Mapping[str, object] = field(default_factory=dict)
    classes: frozenset[str] = frozenset()
    config: Mapping[str, Any] = field(default_factory=dict)
    size: int = 0
    tower: str | None = None
    unread: Mapping[str, str] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()

    @cached_property
    def place(self) -> Place | None:
        """Where the vision tower lies, None without one. Raises InputError when it is not clear which is meant."""
        return choose_tower(self.tensors, self.tower, str(self.path))


def read_checkpoint(path: Path, memory: Path | None = None, tower: str | None = None) -> Checkpoint:
    """Open the checkpoint at `path`: what kind it is follows from its content, not its name.

    Reads safetensors, torch state dicts and whole pickled modules (zip and older format), folders of a Hugging Face
    model (sharded or not) and of a PEFT adapter. `memory` is a folder that remembers the digests of unchanged files;
    `tower` is the prefix of the vision tower that is meant, for a file with several. Raises InputError for a missing,
    truncated, damaged or unsafe file, and when no tower has the prefix.
    """
    with one_message(path, "a whole checkpoint"):
        read = _read(path, lambda file, verify: content_digest(file, memory, verify))
        return _with_choice(_without_wrappers(read), tower)


def look_into(path: Path) -> Checkpoint:
    """Open the checkpoint at `path` for its tensors' names and shapes, as `read_checkpoint`, but without its digest.

    What takes long there is to read all of a file: here only what is asked for is read. Nothing that is kept may come
    of it, as there is no digest to keep it under.
    """
    with one_message(path, "a whole checkpoint"):
        return replace(_without_wrappers(_read(path, lambda _, __: "")), digest="")


def is_model_folder(folder: Path) -> bool:
    """Whether `read_checkpoint` would read a folder as one model: it holds weights and says what they are."""
    present = [name for name in _FOLDER_FILES if (folder / name).is_file()]
    return any(name.startswith("open_clip") or name.endswith(".json") or _config_file(folder, name) for name in present)


def _read(path: Path, naming: _Naming) -> Checkpoint:
    if path.is_dir():
        return _read_folder(path, naming)
    checkpoint = _read_file(path, naming)
    config = _config(path.parent, path.name)
    if not config:
        return checkpoint
    return _with_config(path, checkpoint, config)


def _without_wrappers(found: Checkpoint) -> Checkpoint:
    names = without_wrappers(found.tensors, str(found.path))
    if all(new == old for new, old in names.items()):
        return found
    tensors = Computed({new: Same(found.tensors, old) for new, old in names.items()}, str(found.path))
    return replace(found, tensors=tensors, unread={bare_name(name): kind for name, kind in found.unread.items()})


def _with_choice(found: Checkpoint, tower: str | None) -> Checkpoint:
    chosen = replace(found, tower=tower)
    prefix = None if tower is None or chosen.place is None else chosen.place.prefix
    if len(find_towers(found.tensors)) < 2:
        return chosen
    # Answers about one tower must never be taken for another's, nor those for what an older version chose.
    return replace(chosen, digest=digest(found.digest, "tower", json.dumps(prefix)))


def _read_file(path: Path, naming: _Naming) -> Checkpoint:
    with opened(path, "a checkpoint") as stream:
        stamp, head = Stamp.settled(path), stream.read(64)
    if not head:
        raise InputError(f"{path}: expected a checkpoint, found an empty file")
    if path.suffix == ".safetensors" or head[8:9] == b"{":
        _refuse_stand_ins(path, head)
        content = naming(path, None)
        return Checkpoint(path, read_safetensors(path, stamp), content, size=stamp.size)
    if head[:4] != ZIP_MAGIC and head[:1] not in _PICKLE_STARTS:
        _refuse_stand_ins(path, head)
        raise InputError(
            f"{path}: expected a checkpoint (safetensors, a torch file, or the folder of a Hugging Face model), "
            f"found another kind of file"
        )
    tensors, flat, asked = read_torch(path, stamp)
    content = naming(path, verify_records if head[:4] == ZIP_MAGIC else None)
    return Checkpoint(
        path,
        tensors,
        content,
        tuple(flat.ignored),
        flat.module,
        flat.attributes,
        frozenset(flat.classes),
        size=path.stat().st_size,
        unread=flat.unread,
        remarks=_not_called(path, asked),
    )


def _not_called(path: Path, functions: Sequence[str]) -> tuple[str, ...]:
    if not functions:
        return ()
    more = f" and {len(functions) - 5} more" if functions[5:] else ""
    return (f"{path}: holds data made by {', '.join(functions[:5])}{more}; nothing was called, the data is left out.",)


def _refuse_stand_ins(path: Path, head: bytes) -> None:
    """Name what often lies in a checkpoint's place."""
    if head.startswith(b"version https://git-lfs"):
        raise InputError(f"{path}: expected a checkpoint, found a Git LFS pointer to it; run `git lfs pull`")
    if head.lstrip()[:1] == b"<":
        raise InputError(f"{path}: expected a checkpoint, found a web page; the download failed")


def _read_folder(folder: Path, naming: _Naming) -> Checkpoint:
    present = [name for name in _FOLDER_FILES if (folder / name).is_file()]
    if not present:
        raise InputError(f"{folder}: expected a model folder with one of {', '.join(_FOLDER_FILES)}, found none")
    name, *others = present
    config = _config(folder, name)
    if name.startswith("adapter_model") and not config:
        raise InputError(f"{folder}: expected 'adapter_config.json' beside {name!r}, found none")
    if name.endswith(".index.json"):
        found = _read_shards(folder, name, config, naming)
    else:
        found = _with_config(folder, _read_file(folder / name, naming), config)
    if not others:
        return found
    remark = f"{folder}: holds several files of weights; {name} was read, {', '.join(others)} not."
    return replace(found, remarks=(*found.remarks, remark))


def _with_config(path: Path, found: Checkpoint, config: Mapping[str, Any]) -> Checkpoint:
    content = digest(found.digest, json.dumps(config, sort_keys=True), *lora.reading(found.tensors, config))
    return replace(found, path=path, digest=content, config=config)


def _read_shards(folder: Path, name: str, config: Mapping[str, Any], naming: _Naming) -> Checkpoint:
    index = read_object(folder / name).get("weight_map")
    if not isinstance(index, dict) or not all(isinstance(item, str) for item in index.values()):
        raise InputError(f"{folder / name}: expected a 'weight_map' of tensors to files, found none")
    if any(Path(item).name != item for item in index.values()):
        raise InputError(f"{folder / name}: expected plain file names in 'weight_map', found a path")
    shards = {item: _read_file(folder / item, naming) for item in sorted(set(index.values()))}
    for key, item in index.items():
        if key not in shards[item].tensors:
            raise InputError(f"{folder / item}: expected tensor {key!r}, which {name!r} places there, found none")
    tensors = Computed({key: Same(shards[item].tensors, key) for key, item in index.items()}, str(folder))
    content = digest(*(shards[item].digest for item in shards), json.dumps([index, config], sort_keys=True))
    size = sum(shard.size for shard in shards.values())
    unread = {key: kind for shard in shards.values() for key, kind in shard.unread.items()}
    ignored = tuple(key for shard in shards.values() for key in shard.ignored)
    remarks = tuple(remark for shard in shards.values() for remark in shard.remarks)
    return Checkpoint(folder, tensors, content, ignored, config=config, size=size, unread=unread, remarks=remarks)


def _config(folder: Path, name: str) -> dict[str, Any]:
    path = _config_file(folder, name)
    return {} if path is None else read_object(path)


def _config_file(folder: Path, name: str) -> Path | None:
    """Return the config that says how to read a Hugging Face file: it lies beside it under a fixed name."""
    if name not in _FOLDER_FILES or name.startswith("open_clip"):
        return None
    path = folder / ("adapter_config.json" if name.startswith("adapter_model") else "config.json")
    return path if path.is_file() else None
