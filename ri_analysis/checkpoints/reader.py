"""Open a checkpoint file without running anything in it: memory-mapped tensors under their names."""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from ri_analysis.errors import InputError
from ri_analysis.files import file_digest

TORCH_SUFFIXES = (".pt", ".pth", ".bin", ".ckpt")


class SafetensorsMapping(Mapping[str, torch.Tensor]):
    """The tensors of a safetensors file, each read from the memory map when it is asked for."""

    def __init__(self, path: Path) -> None:
        opened: Any = safe_open(path, framework="pt")
        self._file, self._keys = opened, tuple(opened.keys())

    def __getitem__(self, key: str) -> torch.Tensor:
        if key not in self._keys:
            raise KeyError(key)
        tensor: torch.Tensor = self._file.get_tensor(key)
        return tensor

    def __iter__(self) -> Iterator[str]:
        return iter(self._keys)

    def __len__(self) -> int:
        return len(self._keys)


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint file: where it lies, its tensors by name (lazy), and the digest of its content."""

    path: Path
    tensors: Mapping[str, torch.Tensor]
    digest: str


def read_checkpoint(path: Path) -> Checkpoint:
    """Open a `.safetensors` file or a torch state dict (`.pt`, `.pth`, `.bin`, `.ckpt`) at `path`.

    Torch files are read with `weights_only`, so a pickle that would run code is refused. A `state_dict` envelope is
    opened and entries that are not tensors are left out. Raises InputError for a missing, truncated or unsafe file.
    """
    content = file_digest(path)
    if path.suffix == ".safetensors":
        try:
            return Checkpoint(path, SafetensorsMapping(path), content)
        except (SafetensorError, OSError) as error:
            raise InputError(f"{path}: expected a whole safetensors file, found: {error}") from error
    if path.suffix in TORCH_SUFFIXES:
        return Checkpoint(path, _torch_tensors(path), content)
    expected = ", ".join((".safetensors", *TORCH_SUFFIXES))
    raise InputError(f"{path}: expected a checkpoint ({expected}), found suffix {path.suffix!r}")


def _torch_tensors(path: Path) -> dict[str, torch.Tensor]:
    try:
        loaded: Any = torch.load(path, map_location="cpu", weights_only=True, mmap=_is_zip(path))
    except pickle.UnpicklingError as error:
        raise InputError(
            f"{path}: expected a state dict of tensors, found Python objects that would have to be run to be "
            f"loaded; save `model.state_dict()` instead"
        ) from error
    except (RuntimeError, EOFError, OSError, ValueError) as error:
        raise InputError(f"{path}: expected a whole torch checkpoint, found: {error}") from error
    if isinstance(loaded, dict) and isinstance(loaded.get("state_dict"), dict):
        loaded = loaded["state_dict"]
    if not isinstance(loaded, dict):
        raise InputError(f"{path}: expected a state dict, found {type(loaded).__name__}")
    return {key: value for key, value in loaded.items() if isinstance(value, torch.Tensor)}


def _is_zip(path: Path) -> bool:
    with path.open("rb") as stream:
        return stream.read(4) == b"PK\x03\x04"
