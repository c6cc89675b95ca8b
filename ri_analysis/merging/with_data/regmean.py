"""RegMean: the linear layer whose outputs are nearest to every expert's on that expert's own inputs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from math import isqrt
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from ri_analysis.checkpoints.towers import PREFIX
from ri_analysis.hyperparameters import Hyperparameter
from ri_analysis.merging.averaging import average
from ri_analysis.merging.method import IMAGES, Method, Observed, TaskStatistic, scale
from ri_analysis.suite import stratified
from ri_analysis.task_vectors import Layer

_BATCH = 32  # images through the tower at once, at most: the Gram matrices leave little room beside them
_RIDGE = 1e-6  # share of the mean diagonal; float32 sums know no smaller directions
_PRODUCTS = (torch.ops.aten.mm.default, torch.ops.aten.addmm.default, torch.ops.aten.bmm.default)
_PROJECTION = PREFIX + "proj"  # open_clip multiplies it from the other side: it is stored (inputs, outputs)


def input_grams(observed: Observed, *, images: int) -> dict[str, torch.Tensor]:
    """Return XᵀX of every matrix that multiplies activations X (tokens, inputs), for one expert; see `pack`."""
    (task,) = observed.vectors.tasks
    encoder = observed.encoder
    encoder.load((name, observed.vectors.expert(name, task)) for name in observed.vectors.names)
    with recording(observed, encoder.module.named_parameters()) as recorder:
        count = 0
        for inputs in batches(observed, task, images):
            encoder.forward(inputs)
            count += len(inputs)
            observed.seen(count)
    return recorder.found()


def batches(observed: Observed, task: str, images: int) -> Iterator[torch.Tensor]:
    """Yield so many of a task's images, of all classes alike, as the tower's inputs, some at a time."""
    encoder, data = observed.encoder, observed.images[task]
    rows, size = stratified(None, len(data), images), min(encoder.batch, _BATCH)
    for start in range(0, len(rows), size):
        yield encoder.preprocess(data.pixels(rows[start : start + size], encoder.image_size))


@contextmanager
def recording(observed: Observed, parameters: Iterable[tuple[str, torch.Tensor]]) -> Iterator[_Recorder]:
    """Record XᵀX of all activations X that meanwhile meet those of the tower's `parameters` that are matrices."""
    matrices = {name: item for name, item in parameters if item.ndim == 2}
    widths = {name: len(_inputs_first(PREFIX + name, matrix)) for name, matrix in matrices.items()}
    recorder = _Recorder(matrices, observed.zeros({name: (n * (n + 1) // 2,) for name, n in widths.items()}))
    with torch.no_grad(), _plain_attention(), observed.encoder.every_token(), recorder:
        yield recorder


class _Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds packed XᵀX to `grams` wherever activations X are multiplied by one of `matrices`, in whatever module."""

    def __init__(self, matrices: Mapping[str, torch.Tensor], grams: Mapping[str, torch.Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._names = {matrix.untyped_storage().data_ptr(): name for name, matrix in matrices.items()}
        self._grams, self._seen = grams, dict[str, None]()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if func in _PRODUCTS:
            inputs, matrix = args[-2:]
            name = self._names.get(matrix.untyped_storage().data_ptr())
            if name is not None:
                rows = inputs.flatten(0, -2)  # a batched product repeats the same matrix
                self._grams[name].add_(pack(rows.T @ rows))
                self._seen[name] = None
        return func(*args, **(kwargs or {}))

    def found(self) -> dict[str, torch.Tensor]:
        """Return what was recorded, by canonical name."""
        return {PREFIX + name: self._grams[name].cpu() for name in self._seen}


def pack(gram: torch.Tensor) -> torch.Tensor:
    """Return the upper triangle of a symmetric matrix (n, n) row by row, n(n + 1)/2 values: Gram matrices are large."""
    return torch.cat([row[place:] for place, row in enumerate(gram)])


def unpack(triangle: torch.Tensor) -> torch.Tensor:
    """Return the symmetric matrix (n, n) of which `pack` kept the triangle."""
    width = (isqrt(8 * len(triangle) + 1) - 1) // 2
    gram = triangle.new_empty(width, width)
    for place, row in enumerate(torch.split(triangle, list(range(width, 0, -1)))):
        gram[place, place:] = row
        gram[place:, place] = row
    return gram


@contextmanager
def _plain_attention() -> Iterator[None]:
    """Keep torch from computing attention in one piece, which would hide its matrix products."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


def match_outputs(layer: Layer, *, statistics: Sequence[torch.Tensor], off_diagonal: float) -> torch.Tensor:
    """Return M that minimises Σ_t ‖X_t(M − τ_t)ᵀ‖² of one layer: (Σ_t τ_tG_t)(Σ_t G_t)⁻¹, the mean of anything else.

    G_t is X_tᵀX_t, handed packed, with its off-diagonal entries times `off_diagonal`. Every G_t gets the same small
    ridge, so that directions which no task's inputs have are averaged. float64.
    """
    if not statistics:
        return average(layer)
    target = torch.zeros_like(_inputs_first(layer.name, layer.pretrained), dtype=torch.float64)
    shares, weight = torch.zeros_like(target), target.new_zeros(len(target), len(target))
    for triangle, delta in zip(statistics, layer.each(), strict=True):
        shrunk, rows = unpack(triangle).double(), _inputs_first(layer.name, delta).double()
        diagonal = shrunk.diagonal().clone()
        shrunk.mul_(off_diagonal).diagonal().copy_(diagonal)
        target += shrunk @ rows
        weight += shrunk
        shares += rows
    ridge = _RIDGE * float(weight.diagonal().mean()) / len(statistics)
    if ridge == 0.0:
        return average(layer)
    weight.diagonal().add_(ridge * len(statistics))
    return _inputs_first(layer.name, torch.linalg.solve(weight, target + ridge * shares)).float().contiguous()


def _inputs_first(name: str, matrix: torch.Tensor) -> torch.Tensor:
    """Turn a weight (outputs, inputs) into (inputs, outputs), and back."""
    return matrix if name == _PROJECTION else matrix.T


METHOD = Method(
    name="regmean",
    title="RegMean",
    summary="For every weight matrix, solves the regression for the matrix whose outputs are closest to each expert's "
    "on images of that expert's own task. Everything else is averaged.",
    formula=r"\theta_m = \theta_0 + \lambda \Big(\sum_t \tau_t \hat G_t\Big)\Big(\sum_t \hat G_t\Big)^{-1},\quad "
    r"\hat G_t = \alpha X_t^\top X_t + (1-\alpha)\operatorname{diag}(X_t^\top X_t)",
    reference="Jin et al. 2023, Dataless knowledge fusion by merging weights of language models, arXiv 2212.09849",
    direction=match_outputs,
    statistic=TaskStatistic(input_grams, lambda sizes, images: min(images, *sizes), options=("images",)),
    hyperparameters=(
        scale(1.0, sweep=(0.2, 3.0)),
        IMAGES,
        Hyperparameter(
            "off_diagonal",
            "factor of the off-diagonal entries of XᵀX",
            0.9,
            0.0,
            1.0,
            sweep=(0.1, 1.0),
            step=0.1,
            label="off-diagonal factor α",
        ),
    ),
)
