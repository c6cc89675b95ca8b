"""The canonical names: open_clip's vision tower, every key with the prefix `visual.`"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch

from ri_analysis.checkpoints.reader import Checkpoint
from ri_analysis.errors import InputError

PREFIX = "visual."
_WRAPPERS = ("", "module.", "model.", "module.model.", "model.module.")
_MARKERS = ("conv1.weight", "class_embedding", "trunk.patch_embed.proj.weight")


class Renamed(Mapping[str, torch.Tensor]):
    """A view of `tensors` under other names: `names` maps the new name to the old one."""

    def __init__(self, tensors: Mapping[str, torch.Tensor], names: Mapping[str, str]) -> None:
        self._tensors, self._names = tensors, dict(names)

    def __getitem__(self, key: str) -> torch.Tensor:
        return self._tensors[self._names[key]]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def vision_tower(checkpoint: Checkpoint) -> Mapping[str, torch.Tensor]:
    """Return the vision tower's tensors of `checkpoint` under canonical names, still lazy.

    Accepts a whole CLIP or its vision tower alone, with the wrappers `module.` and `model.`; the text tower is left
    out. Raises InputError when no vision tower is found.
    """
    keys = list(checkpoint.tensors)
    for wrapper in _WRAPPERS:
        for inner in (wrapper + PREFIX, wrapper):
            if any(inner + marker in keys for marker in _MARKERS):
                names = {PREFIX + key.removeprefix(inner): key for key in keys if key.startswith(inner)}
                return Renamed(checkpoint.tensors, names)
    sample = ", ".join(keys[:3]) or "no tensors"
    raise InputError(
        f"{checkpoint.path}: expected open_clip vision tower keys such as 'visual.conv1.weight', found {sample} …"
    )
