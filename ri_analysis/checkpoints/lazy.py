"""Tensors that are read or put together when they are asked for; their shapes and types are known without that."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from operator import getitem
from typing import Generic, TypeVar

import torch

from ri_analysis.errors import one_message

Tensors = Mapping[str, torch.Tensor]
Read = Callable[[Tensors, str], torch.Tensor]  # `getitem` or `outline`
Maker = Callable[[Read], torch.Tensor]
_Entry = TypeVar("_Entry")


class LazyTensors(Mapping[str, torch.Tensor], Generic[_Entry]):
    """Tensors by name, of each of which only an entry is held that says how to get it."""

    def __init__(self, entries: Mapping[str, _Entry]) -> None:
        self._entries = dict(entries)

    @abstractmethod
    def outline(self, key: str) -> torch.Tensor:
        """Return tensor `key` on torch's meta device, with its shape and type but no data."""

    @abstractmethod
    def is_in_order(self, key: str) -> bool:
        """Whether tensor `key` lies in a file, its elements one after the other, so that a piece of it can be read."""

    def pieces(self, key: str, size: int) -> Iterator[torch.Tensor]:
        """Yield tensor `key`, flat, in pieces of `size` entries; each is valid until the next one."""
        yield from torch.split(self[key].reshape(-1), size)

    def __contains__(self, key: object) -> bool:
        return key in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)


@dataclass(frozen=True)
class Same:
    """The maker of a tensor that is one of others as it is."""

    tensors: Tensors
    key: str

    def __call__(self, read: Read) -> torch.Tensor:
        return read(self.tensors, self.key)


class Computed(LazyTensors[Maker]):
    """Tensors that are made of others, each by its maker; `source` is what errors call them."""

    def __init__(self, makers: Mapping[str, Maker], source: str) -> None:
        super().__init__(makers)
        self._source = source

    def __getitem__(self, key: str) -> torch.Tensor:
        return self._made(key, getitem)

    def outline(self, key: str) -> torch.Tensor:
        """See LazyTensors; made like the tensor itself, of the others' outlines."""
        return self._made(key, outline)

    def is_in_order(self, key: str) -> bool:
        """See LazyTensors."""
        maker = self._entries[key]
        return isinstance(maker, Same) and is_in_order(maker.tensors, maker.key)

    def pieces(self, key: str, size: int) -> Iterator[torch.Tensor]:
        """See LazyTensors."""
        maker = self._entries[key]
        return pieces(maker.tensors, maker.key, size) if isinstance(maker, Same) else super().pieces(key, size)

    def _made(self, key: str, read: Read) -> torch.Tensor:
        maker = self._entries[key]
        with one_message(self._source, f"a tensor {key!r} that can be put together"):
            return maker(read)


def outline(tensors: Tensors, key: str) -> torch.Tensor:
    """Return one tensor on torch's meta device, with its shape and type but no data; nothing is read for it."""
    return tensors.outline(key) if isinstance(tensors, LazyTensors) else tensors[key].to("meta")


def outlines(tensors: Tensors) -> dict[str, torch.Tensor]:
    """Return the outlines of all tensors by name, in their order."""
    return {key: outline(tensors, key) for key in tensors}


def is_in_order(tensors: Tensors, key: str) -> bool:
    """Whether one tensor lies in a file, its elements one after the other, so that a piece of it can be read."""
    return isinstance(tensors, LazyTensors) and tensors.is_in_order(key)


def pieces(tensors: Tensors, key: str, size: int) -> Iterator[torch.Tensor]:
    """Yield one tensor, flat, in pieces of `size` entries; each is valid until the next one."""
    if isinstance(tensors, LazyTensors):
        return tensors.pieces(key, size)
    return iter(torch.split(tensors[key].reshape(-1), size))
