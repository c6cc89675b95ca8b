"""f(x; θ): the vision tower with whatever weights it is handed."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from open_clip.transformer import VisionTransformer
from torch.utils.checkpoint import checkpoint

from ri_analysis.checkpoints import outlines
from ri_analysis.checkpoints.towers import PREFIX
from ri_analysis.encoder.architecture import Architecture
from ri_analysis.encoder.device import compute_alike, within_memory
from ri_analysis.encoder.last_block import every_token
from ri_analysis.encoder.products import OneDNN
from ri_analysis.errors import InputError, NotFinite
from ri_analysis.memory import fitting
from ri_analysis.progress import Progress
from ri_analysis.suite import ImageSet
from ri_analysis.turns import Turns

Weights = Mapping[str, torch.Tensor] | Iterable[tuple[str, torch.Tensor]]
# image sets, each with the indices of the images wanted, None for all
Chosen = Sequence[tuple[ImageSet, Sequence[int] | npt.NDArray[np.int64] | None]]


def check_fit(architecture: Architecture, weights: Mapping[str, torch.Tensor], source: str) -> None:
    """Raise InputError for a missing, extra or misshapen tensor among canonical `visual.` ones."""
    shapes = architecture.tower_shapes()
    found = {_fitting(key, found.shape, shapes, architecture, source) for key, found in outlines(weights).items()}
    _refuse_missing(set(shapes) - found, source)


def _fitting(
    key: str, shape: torch.Size, expected: Mapping[str, torch.Size], architecture: Architecture, source: str
) -> str:
    """Return the tower's own name of tensor `key`. Raises InputError when the tower has none of this name and shape."""
    name = key.removeprefix(PREFIX)
    if name not in expected:
        raise InputError(f"{source}: tensor {key!r} is not part of {architecture.name}")
    if expected[name] != shape:
        raise InputError(
            f"{source}: tensor {key!r} must have shape {tuple(expected[name])} for {architecture.name}, "
            f"found {tuple(shape)}"
        )
    return name


def _refuse_missing(names: set[str], source: str) -> None:
    if names:
        raise InputError(f"{source}: tensor {PREFIX + sorted(names)[0]!r} missing ({len(names)} in all)")


def require_directions(features: torch.Tensor, source: str) -> torch.Tensor:
    """Return the unit `features` (n, embed_dim) of the model called `source`.

    Raises NotFinite where they have no direction: the tower's outputs were NaN, infinite or zero.
    """
    if not bool((features.norm(dim=1) > 0.5).all()):
        raise NotFinite(
            f"{source}: its outputs are NaN, infinite or zero, so there is nothing to measure; its weights are too "
            f"large or wrong: choose a smaller scale or coefficient, or check the experts with `ri-analysis check`"
        )
    return features


BATCH = 128  # images that go through the tower at once; fewer where little memory is declared
_OF_PIXELS, _OF_TOKENS = 16, 12  # float32 numbers that a tower holds at once for each number of its input, about


class Trace(NamedTuple):
    """What a tower makes of images: `tokens` (blocks, n, width) after each block, and `features` (n, embed_dim)."""

    tokens: torch.Tensor
    features: torch.Tensor


class Encoder:
    """One vision tower whose weights are swapped in place, so that N models need the memory of one.

    A lock makes loading and encoding one step: several sessions may share an encoder. The tower holds and computes
    numbers in `dtype`; what goes in and comes out is float32. For training, `autocast` names a shorter number format
    for the products alone, while the weights stay as they are, `onednn` has float32 ones computed by that library, and
    `recompute` has each block's inner values computed again on the way back instead of held.
    """

    autocast: torch.dtype | None = None
    onednn = False
    recompute = False

    def __init__(
        self,
        architecture: Architecture,
        device: str | torch.device = "cpu",
        batch: int | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.architecture, self.device, self.dtype = architecture, torch.device(device), dtype
        compute_alike(self.device)
        with within_memory(self.device):
            self.module = architecture.build_tower().to(self.device, dtype)
        self.batch = batch or fitting(BATCH, self._bytes_each())
        self._slots = dict(self.module.named_parameters()) | dict(self.module.named_buffers())
        self._kept = frozenset(self.module.state_dict())
        self._turns = Turns()
        shape = (1, 3, 1, 1)
        self._mean = torch.tensor(architecture.mean, device=self.device).view(shape) * 255
        self._std = torch.tensor(architecture.std, device=self.device).view(shape) * 255

    def _bytes_each(self) -> int:
        """Return about how many bytes the tower holds for an image."""
        tokens = getattr(self.module, "positional_embedding", None)
        inside = _OF_TOKENS * tokens.numel() if isinstance(tokens, torch.Tensor) else 0
        return 4 * max(inside, _OF_PIXELS * 3 * self.image_size**2)

    @property
    def image_size(self) -> int:
        """Side of the square input, in pixels."""
        return self.architecture.image_size

    def load(self, weights: Weights, source: str = "weights") -> None:
        """Copy canonical `visual.` tensors into the tower. Raises InputError for a missing, extra or misshapen one."""
        missing, expected = set(self._kept), {name: slot.shape for name, slot in self._slots.items()}
        pairs = weights.items() if isinstance(weights, Mapping) else weights
        with torch.no_grad():
            for key, tensor in pairs:
                name = _fitting(key, tensor.shape, expected, self.architecture, source)
                self._slots[name].copy_(tensor)
                missing.discard(name)
        _refuse_missing(missing, source)

    def preprocess(self, pixels: npt.NDArray[np.uint8]) -> torch.Tensor:
        """Return uint8 pixels (k, h, w, 3) as the tower's normalised input (k, 3, h, w)."""
        tensor = torch.from_numpy(np.ascontiguousarray(pixels)).to(self.device)
        return (tensor.permute(0, 3, 1, 2).float() - self._mean) / self._std

    def features(
        self,
        weights: Weights,
        images: ImageSet,
        indices: Sequence[int] | npt.NDArray[np.int64] | None = None,
        *,
        source: str = "weights",
        progress: Progress | None = None,
    ) -> torch.Tensor:
        """Return f(x; weights) of `images` (those at `indices`, all by default): (n, embed_dim), unit rows, on the CPU.

        `progress` counts images, batch by batch.
        """
        return self.features_of_many(weights, [(images, indices)], source=source, progress=progress)[0]

    def features_of_many(
        self,
        weights: Weights,
        sets: Chosen,
        *,
        source: str = "weights",
        progress: Progress | None = None,
    ) -> list[torch.Tensor]:
        """Return the features of several image sets under the same weights, which are loaded once.

        Raises NotFinite, naming `source`, where there are none to be had: see `require_directions`.
        """
        done, parts = 0, [list[torch.Tensor]() for _ in sets]
        total = sum(len(images) if indices is None else len(indices) for images, indices in sets)
        with self._turns.taken(total), torch.inference_mode(), within_memory(self.device):
            self.load(weights, source)
            for place, pixels in self._decoded(sets):
                found = self.forward(self.preprocess(pixels)).cpu()
                parts[place].append(require_directions(found, source))
                done += len(pixels)
                if progress is not None:
                    progress(done, total)
            results = [torch.cat(part) for part in parts]
        # Leave inference mode: callers may differentiate through what is computed from the features.
        return [result.clone() for result in results]

    def _decoded(self, sets: Chosen) -> Iterator[tuple[int, npt.NDArray[np.uint8]]]:
        """Yield the pixels of each batch with its set's place; the next batch is decoded while one is used."""
        batches = []
        for place, (images, indices) in enumerate(sets):
            chosen = np.arange(len(images)) if indices is None else np.asarray(indices)
            starts = range(0, len(chosen), self.batch)
            batches += [(place, images, chosen[start : start + self.batch]) for start in starts]
        with ThreadPoolExecutor(1, "ri-analysis-decoder") as ahead:
            futures = deque[tuple[int, Future[npt.NDArray[np.uint8]]]]()
            for place, images, rows in batches:
                futures.append((place, ahead.submit(images.pixels, rows, self.image_size)))
                if len(futures) > 1:
                    first, future = futures.popleft()
                    yield first, future.result()
            for last, future in futures:
                yield last, future.result()

    def block_tokens_of_many(
        self,
        weights: Weights,
        sets: Chosen,
        *,
        source: str = "weights",
        progress: Progress | None = None,
    ) -> list[Trace]:
        """Return the class tokens of several image sets after each transformer block, with their features.

        A tower without a class token gives the mean over its tokens. Raises InputError when the tower has no blocks.
        """
        blocks = self.blocks
        if not blocks:
            raise InputError(f"{self.architecture.name}: expected a vision transformer, found a tower without blocks")
        seen: list[list[torch.Tensor]] = [[] for _ in blocks]
        images = sum(len(each) if indices is None else len(indices) for each, indices in sets)
        # Also while the hooks are on: another session's images must not come in between.
        with self._turns.taken(images):
            hooks = [
                block.register_forward_hook(lambda _block, _input, output, kept=kept: kept.append(self._token(output)))
                for block, kept in zip(blocks, seen, strict=True)
            ]
            try:
                features = self.features_of_many(weights, sets, source=source, progress=progress)
            finally:
                for hook in hooks:
                    hook.remove()
        tokens = torch.stack([torch.cat(kept) for kept in seen])
        parts = torch.split(tokens, [len(rows) for rows in features], dim=1)
        return [Trace(part.clone(), found) for part, found in zip(parts, features, strict=True)]

    def every_token(self) -> AbstractContextManager[None]:
        """Return a context in which the last block computes all tokens, as a look at its inputs needs, not just one."""
        return every_token(self.module)

    @property
    def blocks(self) -> list[torch.nn.Module]:
        """The tower's transformer blocks; none where it is no transformer."""
        for path in ("transformer.resblocks", "trunk.blocks"):
            try:
                return list(self.module.get_submodule(path).children())
            except AttributeError:
                continue
        return []

    def _token(self, output: torch.Tensor) -> torch.Tensor:
        """Return the class token (batch, width) of a block's output."""
        transformer = getattr(self.module, "transformer", None)
        if transformer is not None and not getattr(transformer, "batch_first", True):
            output = output.transpose(0, 1)
        holder = getattr(self.module, "trunk", self.module)
        named = getattr(holder, "class_embedding", getattr(holder, "cls_token", None))
        return (output[:, 0] if named is not None else output.mean(dim=1)).cpu()

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return f(x) of preprocessed inputs (k, 3, h, w) under the loaded weights, unit length (k, embed_dim)."""
        # In halves, the sum that blocks add to stays float32 under autocast: half the rounding, in nats.
        if (self.recompute or self.autocast is not None) and self.in_halves:
            return self.forward_from(len(self.blocks), self.forward_to(len(self.blocks), inputs))
        with self._products():
            output: torch.Tensor = self.module(inputs.to(self.dtype))
        return torch.nn.functional.normalize(output.float(), dim=-1)

    @property
    def in_halves(self) -> bool:
        """Whether `forward_to` and `forward_from` work: the tower is open_clip's own vision transformer."""
        return isinstance(self.module, VisionTransformer) and self.module.transformer.batch_first

    def forward_to(self, last: int, inputs: torch.Tensor) -> torch.Tensor:
        """Return the tokens (k, tokens, width) that enter the last `last` blocks, of preprocessed inputs."""
        with self._products():
            tokens: torch.Tensor = self.module._embeds(inputs.to(self.dtype)).to(self.dtype)  # type: ignore[operator]
            for block in self.blocks[: len(self.blocks) - last]:
                tokens = block(tokens)
        return tokens

    def forward_from(self, last: int, tokens: torch.Tensor) -> torch.Tensor:
        """Return what `forward` would, (k, embed_dim), from what `forward_to` returned."""
        tokens, blocks = tokens.to(self.device, self.dtype), self.blocks
        with self._products():
            for block in blocks[len(blocks) - last :]:
                tokens = self._recomputed(block, tokens) if self.recompute else block(tokens)
            pooled: torch.Tensor = self.module._pool(tokens)[0]  # type: ignore[operator]
            output = pooled if self.module.proj is None else pooled @ self.module.proj  # type: ignore[operator]
        return torch.nn.functional.normalize(output.float(), dim=-1)

    def tokens(self, images: ImageSet, indices: npt.NDArray[np.int64], last: int) -> Iterator[torch.Tensor]:
        """Yield, batch by batch, what enters the last `last` blocks under the loaded weights: see `forward_to`."""
        for _, pixels in self._decoded([(images, indices)]):
            with torch.no_grad():
                yield self.forward_to(last, self.preprocess(pixels))

    def _recomputed(self, block: torch.nn.Module, tokens: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = checkpoint(
            block, tokens, use_reentrant=False, context_fn=lambda: (nullcontext(), self._products())
        )
        return found

    def _products(self) -> AbstractContextManager[object]:
        if self.onednn and self.autocast is None:
            return OneDNN()
        return torch.autocast(self.device.type, self.autocast, enabled=self.autocast is not None)

    def state(self) -> dict[str, torch.Tensor]:
        """Return a copy of the loaded weights under canonical names."""
        return {PREFIX + name: tensor.detach().cpu().clone() for name, tensor in self.module.state_dict().items()}
