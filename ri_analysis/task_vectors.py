"""θ₀ and the task vectors τ_t = θ_t − θ₀, walked tensor by tensor, and piece by piece, through files."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import copy
from functools import cached_property

import numpy as np
import torch

from ri_analysis.checkpoints import Tensors, is_in_order, outline, outlines, pieces
from ri_analysis.errors import InputError
from ri_analysis.stamps import Watch
from ri_analysis.threads import one_thread

PIECE = 1 << 15  # entries: a row and its temporaries stay in the cache, and torch takes no second thread for it

FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


class Layer:
    """One named tensor of the model, as a merging method sees it.

    `pretrained` is θ₀'s tensor and `deltas` the stacked task vectors (T, *shape), both float32. A method that
    treats every entry alike reads `pieces` or calls `map`, one that takes the experts in turn reads `each`: for them
    the stack is not built.
    """

    def __init__(self, name: str, pretrained: torch.Tensor, deltas: torch.Tensor) -> None:
        self.name, self.pretrained, self._deltas = name, pretrained, deltas

    @property
    def deltas(self) -> torch.Tensor:
        """The stacked task vectors (T, *shape)."""
        return self._deltas

    @property
    def count(self) -> int:
        """T, the number of experts."""
        return len(self.deltas)

    @property
    def is_matrix(self) -> bool:
        """Whether the tensor is 2-D, which is what the SVD methods merge as a matrix."""
        return self.pretrained.ndim == 2

    def pieces(self) -> Iterator[torch.Tensor]:
        """Yield the task vectors as (T, n) pieces of consecutive entries; each is valid until the next one."""
        yield from torch.split(self.deltas.reshape(self.count, self.pretrained.numel()), PIECE, dim=1)

    def each(self) -> Iterator[torch.Tensor]:
        """Yield every task vector (*shape) by itself."""
        yield from self.deltas

    def sum(self) -> torch.Tensor:
        """Return the sum of the task vectors, float64."""

        def add_up(piece: torch.Tensor) -> torch.Tensor:
            total = torch.zeros(piece.shape[1], dtype=torch.float64)
            for row in piece:
                total += row
            return total

        return self.map(add_up, torch.float64)

    def map(self, merge: Callable[[torch.Tensor], torch.Tensor], dtype: torch.dtype = torch.float32) -> torch.Tensor:
        """Return what `merge`, (T, n) → (n,), makes of the task vectors entry by entry, in the tensor's shape."""
        merged = _empty(self.pretrained.shape, dtype)
        with one_thread:
            for target, piece in zip(torch.split(merged.view(-1), PIECE), self.pieces(), strict=True):
                target.copy_(merge(piece))
        return merged

    def apart(self) -> Layer:
        """Return this layer with a θ₀ of its own: who writes into that changes no other merge."""
        found = copy(self)
        found.pretrained = self.pretrained.clone()
        return found

    def every(self, stride: int, start: int) -> torch.Tensor:
        """Return every `stride`-th entry of the task vectors, from entry `start` on: (T, n)."""
        return self.deltas.reshape(self.count, self.pretrained.numel())[:, start::stride]


class _StoredLayer(Layer):
    """A layer whose experts lie in files: task vectors are computed where they are asked for.

    `experts` maps a task to its tensors; `read` reads one of them as a whole and raises the error for a NaN or
    infinity.
    """

    def __init__(
        self,
        name: str,
        pretrained: torch.Tensor,
        experts: Mapping[str, Tensors],
        coefficients: Sequence[float],
        read: Callable[[str, str], torch.Tensor],
    ) -> None:
        self.name, self.pretrained = name, pretrained
        self._experts, self._coefficients, self._read = experts, coefficients, read

    @cached_property
    def deltas(self) -> torch.Tensor:
        """The stacked task vectors (T, *shape)."""
        stack = _empty((self.count, *self.pretrained.shape), torch.float32)
        targets = torch.split(stack.view(self.count, self.pretrained.numel()), PIECE, dim=1)
        for target, parts in zip(targets, self._read_pieces(), strict=True):
            self._subtract(target, *parts)
        return stack

    @property
    def count(self) -> int:
        """See Layer."""
        return len(self._experts)

    def each(self) -> Iterator[torch.Tensor]:
        """See Layer."""
        for (task, tensors), coefficient in zip(self._experts.items(), self._coefficients, strict=True):
            yield _StoredLayer(self.name, self.pretrained, {task: tensors}, [coefficient], self._read).deltas[0]

    def pieces(self) -> Iterator[torch.Tensor]:
        """See Layer."""
        buffer = torch.empty(self.count, min(PIECE, self.pretrained.numel()))
        for parts in self._read_pieces():
            yield self._subtract(buffer[:, : len(parts[0])], *parts)

    def every(self, stride: int, start: int) -> torch.Tensor:
        """See Layer."""
        found = []
        for parts in self._read_pieces():
            chosen = [part[start::stride] for part in parts]
            found.append(self._subtract(torch.empty(self.count, len(chosen[0])), *chosen))
            start = (start - len(parts[0])) % stride
        return torch.cat(found, dim=1)

    def _read_pieces(self) -> Iterator[tuple[torch.Tensor, ...]]:
        """Yield θ₀ and every expert, a piece of each at a time."""
        experts = (pieces(tensors, self.name, PIECE) for tensors in self._experts.values())
        return zip(torch.split(self.pretrained.reshape(-1), PIECE), *experts, strict=True)

    def _subtract(self, target: torch.Tensor, pretrained: torch.Tensor, *experts: torch.Tensor) -> torch.Tensor:
        for row, expert, coefficient in zip(target, experts, self._coefficients, strict=True):
            torch.sub(expert, pretrained, out=row)
            if coefficient != 1.0:
                row.mul_(coefficient)
            # A sum is several times cheaper than looking at every value, and finite only if all of them are.
            if not math.isfinite(row.sum().item()):
                self._refuse()
        return target

    def _refuse(self) -> None:
        for task in self._experts:
            self._read(self.name, task)


class TaskVectors:
    """The task vectors of some experts of one pretrained model.

    Only one layer of all experts is in memory at a time: `walk` reads them from the files as it goes.

    Parameters
    ----------
    pretrained: canonical `visual.` tensors of θ₀.
    experts: task name → canonical tensors of θ_t.
    sources: what to call each in an error, by task name and "pretrained" (defaults to the name itself).
    files: the files that the tensors lie in.

    Raises InputError when an expert's keys or shapes differ from the pretrained model's, or when it has something else
    than floating-point numbers where the pretrained model has them.
    """

    def __init__(
        self,
        pretrained: Tensors,
        experts: Mapping[str, Tensors],
        sources: Mapping[str, str] | None = None,
        files: Watch | None = None,
    ) -> None:
        self._files = files or Watch()
        self._pretrained, self._experts = pretrained, dict(experts)
        self._sources = dict(sources or {})
        for task, tensors in {"pretrained": pretrained, **self._experts}.items():
            self._check(task, tensors)
        self.names: tuple[str, ...] = tuple(pretrained)

    @property
    def tasks(self) -> tuple[str, ...]:
        """The tasks whose experts are held, in order."""
        return tuple(self._experts)

    @cached_property
    def size(self) -> int:
        """Floating-point parameters of one model."""
        return sum(tensor.numel() for tensor in outlines(self._pretrained).values() if tensor.is_floating_point())

    def source(self, owner: str) -> str:
        """Return what an error calls a task's expert, or "pretrained"."""
        return self._sources.get(owner, owner)

    def require_unchanged(self) -> None:
        """Raise ChangedFile where a file has changed since it was opened: what was made of it must not be kept."""
        self._files.check()

    def select(self, tasks: Sequence[str]) -> TaskVectors:
        """Return the task vectors of `tasks` alone, in that order."""
        chosen = copy(self)
        chosen._experts = {task: self._experts[task] for task in tasks}
        return chosen

    def is_float(self, name: str) -> bool:
        """Whether tensor `name` is merged; integer buffers are kept from the pretrained model."""
        return outline(self._pretrained, name).is_floating_point()

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of tensor `name`."""
        return tuple(outline(self._pretrained, name).shape)

    def pretrained(self, name: str) -> torch.Tensor:
        """Return θ₀'s tensor `name`, float32 where it is a float."""
        return self._read(self._pretrained, name, "pretrained")

    def expert(self, name: str, task: str) -> torch.Tensor:
        """Return θ_t's tensor `name`, float32 where it is a float."""
        return self._read(self._experts[task], name, task)

    def layer(self, name: str, coefficients: Mapping[str, float] | None = None) -> Layer:
        """Return tensor `name` of θ₀ with every task vector's, times the task's coefficient (1 by default)."""
        # What is put together, as an adapter's tensor, is so once, however often a method goes through the layer.
        experts = {
            task: tensors if is_in_order(tensors, name) else {name: tensors[name]}
            for task, tensors in self._experts.items()
        }
        factors = [(coefficients or {}).get(task, 1.0) for task in self.tasks]
        return _StoredLayer(name, self.pretrained(name), experts, factors, self.expert)

    def walk(self, coefficients: Mapping[str, float] | None = None) -> Iterator[Layer]:
        """Yield every floating-point tensor as a Layer, in the model's order."""
        for name in self.names:
            if self.is_float(name):
                yield self.layer(name, coefficients)

    def _read(self, tensors: Tensors, name: str, owner: str) -> torch.Tensor:
        tensor = tensors[name]
        if not tensor.is_floating_point():
            return tensor
        tensor = tensor.float()
        if not math.isfinite(tensor.sum().item()) and not torch.isfinite(tensor).all():
            bad = int((~torch.isfinite(tensor)).sum())
            raise InputError(
                f"{self.source(owner)}: tensor {name!r} must be finite, found {bad} NaN or infinite "
                f"of {tensor.numel()} values"
            )
        return tensor

    def _check(self, task: str, tensors: Tensors) -> None:
        source = self.source(task)
        missing = [name for name in self._pretrained if name not in tensors]
        extra = [name for name in tensors if name not in self._pretrained]
        if missing:
            raise InputError(f"{source}: expected the pretrained model's tensors, {_listing(missing)} missing")
        if extra:
            raise InputError(f"{source}: tensors the pretrained model does not have: {_listing(extra)}")
        for name, reference in outlines(self._pretrained).items():
            found = outline(tensors, name)
            if found.shape != reference.shape:
                raise InputError(
                    f"{source}: tensor {name!r} must have the pretrained model's shape {tuple(reference.shape)}, "
                    f"found {tuple(found.shape)}"
                )
            if reference.is_floating_point() and found.dtype not in FLOATS:
                raise InputError(
                    f"{source}: tensor {name!r} must be float16, bfloat16, float32 or float64, found {found.dtype}"
                )


def _empty(shape: Sequence[int], dtype: torch.dtype) -> torch.Tensor:
    """Return memory to write to. NumPy asks for huge pages, which are much cheaper to get than torch's small ones."""
    return torch.from_numpy(np.empty(tuple(shape), torch.empty(0, dtype=dtype).numpy().dtype))


def _listing(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:3])
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more"
