"""θ₀ and the task vectors τ_t = θ_t − θ₀, walked tensor by tensor over memory-mapped files."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch

from ri_analysis.errors import InputError

Tensors = Mapping[str, torch.Tensor]


@dataclass(frozen=True)
class Layer:
    """One named tensor of the model, as a merging method sees it.

    `pretrained` is θ₀'s tensor and `deltas` the stacked task vectors (T, *shape), both float32.
    """

    name: str
    pretrained: torch.Tensor
    deltas: torch.Tensor

    @property
    def is_matrix(self) -> bool:
        """Whether the tensor is 2-D, which is what the SVD methods merge as a matrix."""
        return self.pretrained.ndim == 2


class TaskVectors:
    """The task vectors of some experts of one pretrained model.

    Only one layer of all experts is in memory at a time: `walk` reads them from the files as it goes.

    Parameters
    ----------
    pretrained: canonical `visual.` tensors of θ₀.
    experts: task name → canonical tensors of θ_t.
    sources: what to call each in an error, by task name and "pretrained" (defaults to the name itself).

    Raises InputError when an expert's keys or shapes differ from the pretrained model's.
    """

    def __init__(
        self, pretrained: Tensors, experts: Mapping[str, Tensors], sources: Mapping[str, str] | None = None
    ) -> None:
        self._pretrained, self._experts = pretrained, dict(experts)
        self._sources = dict(sources or {})
        for task, tensors in self._experts.items():
            self._check(task, tensors)
        self.names: tuple[str, ...] = tuple(pretrained)

    @property
    def tasks(self) -> tuple[str, ...]:
        """The tasks whose experts are held, in order."""
        return tuple(self._experts)

    @cached_property
    def size(self) -> int:
        """Floating-point parameters of one model."""
        return sum(tensor.numel() for tensor in self._pretrained.values() if tensor.is_floating_point())

    def select(self, tasks: Sequence[str]) -> TaskVectors:
        """Return the task vectors of `tasks` alone, in that order."""
        return TaskVectors(self._pretrained, {task: self._experts[task] for task in tasks}, self._sources)

    def is_float(self, name: str) -> bool:
        """Whether tensor `name` is merged; integer buffers are kept from the pretrained model."""
        return self._pretrained[name].is_floating_point()

    def pretrained(self, name: str) -> torch.Tensor:
        """Return θ₀'s tensor `name`, float32 where it is a float."""
        return self._read(self._pretrained, name, "pretrained")

    def expert(self, name: str, task: str) -> torch.Tensor:
        """Return θ_t's tensor `name`, float32 where it is a float."""
        return self._read(self._experts[task], name, task)

    def layer(self, name: str) -> Layer:
        """Return tensor `name` of θ₀ with every task vector's, stacked."""
        pretrained = self.pretrained(name)
        deltas = torch.empty((len(self.tasks), *pretrained.shape))
        for row, task in zip(deltas, self.tasks, strict=True):
            torch.sub(self.expert(name, task), pretrained, out=row)
        return Layer(name, pretrained, deltas)

    def walk(self) -> Iterator[Layer]:
        """Yield every floating-point tensor as a Layer, in the model's order."""
        for name in self.names:
            if self.is_float(name):
                yield self.layer(name)

    def _read(self, tensors: Tensors, name: str, owner: str) -> torch.Tensor:
        tensor = tensors[name]
        if not tensor.is_floating_point():
            return tensor
        tensor = tensor.float()
        # A sum is several times cheaper than looking at every value, and finite only if all of them are.
        if not math.isfinite(tensor.sum().item()) and not torch.isfinite(tensor).all():
            bad = int((~torch.isfinite(tensor)).sum())
            raise InputError(
                f"{self._sources.get(owner, owner)}: tensor {name!r} must be finite, found {bad} NaN or infinite "
                f"of {tensor.numel()} values"
            )
        return tensor

    def _check(self, task: str, tensors: Tensors) -> None:
        source = self._sources.get(task, task)
        missing = [name for name in self._pretrained if name not in tensors]
        extra = [name for name in tensors if name not in self._pretrained]
        if missing:
            raise InputError(f"{source}: expected the pretrained model's tensors, {_listing(missing)} missing")
        if extra:
            raise InputError(f"{source}: tensors the pretrained model does not have: {_listing(extra)}")
        for name, reference in self._pretrained.items():
            if tensors[name].shape != reference.shape:
                raise InputError(
                    f"{source}: tensor {name!r} must have the pretrained model's shape {tuple(reference.shape)}, "
                    f"found {tuple(tensors[name].shape)}"
                )


def _listing(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:3])
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more"
