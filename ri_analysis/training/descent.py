"""Minimise a loss over the tower's weights on auxiliary images: AdamW, seeded batches, states to resume from."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, Protocol
from zipfile import BadZipFile, ZipFile

import numpy as np
import torch

from ri_analysis.encoder import Encoder
from ri_analysis.encoder.architecture import LARGE
from ri_analysis.errors import InputError, NotFinite
from ri_analysis.files import atomic_path
from ri_analysis.hyperparameters import Value
from ri_analysis.memory import fitting
from ri_analysis.suite.images import Indices
from ri_analysis.training.parameters import Direct, LowRank, Weights, trained_weights, variables
from ri_analysis.training.parts import images_at_once
from ri_analysis.training.settings import SCHEDULES
from ri_analysis.training.start import Start

AHEAD = 2  # batches fetched before their step
HISTORY_POINTS = 200  # loss values kept of a run
SAVE_SECONDS = 30.0  # between two states that a stopped run resumes from


Moved = Direct | LowRank
# unit features (batch, embed_dim) of the images at these indices → loss parts; the last one is minimised
Loss = Callable[[torch.Tensor, Indices], tuple[torch.Tensor, ...]]


class Watch(Protocol):
    """Looks at a model while it is trained, and may end the run."""

    def after(self, step: int, variables: Mapping[str, torch.Tensor]) -> None:
        """Look at the model where it is time to, step 0 included."""

    @property
    def over(self) -> bool:
        """Whether the run is to end."""

    def keep_best(self, variables: Mapping[str, torch.Tensor]) -> None:
        """Set the variables at the end to those that are to stay."""

    def state(self) -> dict[str, Any]:
        """Return what a resumed run needs of it."""

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a saved state."""


@dataclass(frozen=True)
class Descent:
    """A run over weights that the encoder holds.

    `images` is how many there are, `settings` are those of `training.settings` and `steps`, `seed` numbers that decide
    the order of the images, `state` the file from which a stopped run resumes and which is there only while the run is
    not finished; None keeps nothing. `only` ends the run after so many of its steps, whose learning rates stay the
    same. `rate` names the setting that is the highest learning rate.
    """

    encoder: Encoder
    images: int
    settings: Mapping[str, Value]
    seed: tuple[int, ...]
    state: Path | None
    only: int | None = None
    rate: str = "lr"

    def run(
        self,
        start: Start,
        loss: Loss,
        report: Callable[[int, tuple[float, ...]], None],
        watch: Watch | None = None,
    ) -> list[list[float]]:
        """Take the steps that are left; return [step, *loss parts] rows of the whole run.

        `report` is called with the step and its loss parts, and may raise Cancelled. `watch` looks at held-out images
        and may end the run. Raises NotFinite for a loss that is not a finite number.
        """
        steps, rate = int(self.settings["steps"]), float(self.settings[self.rate])
        schedule = SCHEDULES[str(self.settings["schedule"])]
        weights = trained_weights(self.encoder, self.settings)
        moved = variables(weights, self.settings, self.seed)
        optimizer = self._optimizer(moved.variables)
        done, history = self._restore(optimizer, moved, watch)
        every, saved, part = max(1, steps // HISTORY_POINTS), time.monotonic(), 0
        try:
            for weight in weights.values():
                weight.requires_grad_(True)
            if watch is not None:
                watch.after(done, moved.variables)
            for step, (rows, fetched) in enumerate(self._fetched(start, done), done + 1):
                if watch is not None and watch.over:
                    break
                for group in optimizer.param_groups:
                    group["lr"] = rate * schedule(step, steps)
                optimizer.zero_grad(set_to_none=True)
                if not part:
                    budget = fitting(int(float(self.settings["memory"]) * 2**30))
                    part, self.encoder.recompute = images_at_once(self.encoder, start, fetched, budget)
                # Blocks that are computed again on the way back would be computed outside of the context.
                with nullcontext() if self.encoder.recompute else moved.differentiated():
                    values = self._backward(start, loss, rows, fetched, part, step)
                moved.gather()
                optimizer.step()
                moved.apply()
                if step % every == 0 or step in (1, steps):
                    history.append([step, *values])
                if watch is not None:
                    watch.after(step, moved.variables)
                if time.monotonic() - saved > SAVE_SECONDS:
                    self._save(step, optimizer, moved, history, watch)
                    saved = time.monotonic()
                report(step, values)
            if watch is not None:
                watch.keep_best(moved.variables)
                moved.apply()
        finally:
            self.encoder.module.requires_grad_(False)
            self.encoder.recompute = False
        return history

    def _backward(
        self, start: Start, loss: Loss, rows: Indices, fetched: Any, part: int, step: int
    ) -> tuple[float, ...]:
        """Add up a step's gradients, `part` images at a time; return the loss parts of the whole batch."""
        totals: list[float] = []
        for first in range(0, len(rows), part):
            some = rows[first : first + part]
            share = len(some) / len(rows)
            parts = loss(start.forward(fetched[first : first + part]), some)
            if not torch.isfinite(parts[-1]):
                owner = self.state.parent if self.state else "training"
                raise NotFinite(
                    f"{owner}: the loss of step {step} is not a finite number; choose a smaller learning rate than "
                    f"{self.rate} = {self.settings[self.rate]:g}, or check the experts with `ri-analysis check`"
                )
            (parts[-1] * share).backward()  # type: ignore[no-untyped-call]
            values = [part.item() * share for part in parts]
            totals = [one + other for one, other in zip(totals, values, strict=True)] if totals else values
        return tuple(totals)

    def _optimizer(self, moved: Weights) -> torch.optim.AdamW:
        # The fused one is more than twice as fast but rounds otherwise: small towers stay as they were, to the bit.
        fused = self.encoder.device.type == "cuda" or sum(item.numel() for item in moved.values()) >= LARGE
        decay = float(self.settings["weight_decay"])
        return torch.optim.AdamW(moved.values(), float(self.settings[self.rate]), weight_decay=decay, fused=fused)

    def rows(self) -> Indices:
        """Return the indices of the images that its batches hold; see `drawn`."""
        return drawn(self.images, self.settings, self.seed, self.only)

    def _fetched(self, start: Start, done: int) -> Iterator[tuple[Indices, Any]]:
        """Yield the batches after the first `done`, each with what its step starts from, fetched while one is used."""
        with ThreadPoolExecutor(1, "ri-analysis-fetcher") as ahead:
            waiting = deque[tuple[Indices, Future[Any]]]()
            for rows in islice(_batches(self.images, self.settings, self.seed), done, self.only):
                waiting.append((rows, ahead.submit(start.fetch, rows)))
                if len(waiting) > AHEAD:
                    first, future = waiting.popleft()
                    yield first, future.result()
            for last, future in waiting:
                yield last, future.result()

    def _save(
        self,
        step: int,
        optimizer: torch.optim.Optimizer,
        moved: Moved,
        history: list[list[float]],
        watch: Watch | None,
    ) -> None:
        if self.state is None:
            return
        state: dict[str, Any] = {"step": step, "history": history, "optimizer": optimizer.state_dict()}
        state |= {"watch": watch.state()} if watch is not None else {}
        with atomic_path(self.state) as temporary, temporary.open("wb") as stream:
            try:
                torch.save(state | {"variables": {name: item.data for name, item in moved.variables.items()}}, stream)
            except RuntimeError as error:
                # Where the disk is full, only what PyTorch met says so.
                raise (error.__context__ if isinstance(error.__context__, OSError) else error) from None

    def _restore(
        self, optimizer: torch.optim.Optimizer, moved: Moved, watch: Watch | None
    ) -> tuple[int, list[list[float]]]:
        """Load the last saved state, if there is one; return its step and loss history."""
        if self.state is None or not self.state.exists():
            return 0, []
        try:
            _require_whole(self.state)
            state = torch.load(self.state, map_location=self.encoder.device, weights_only=True)
            with torch.no_grad():
                for name, item in moved.variables.items():
                    item.copy_(state["variables"][name])
            optimizer.load_state_dict(state["optimizer"])
            if watch is not None and "watch" in state:
                watch.restore(state["watch"])
        except torch.OutOfMemoryError:
            raise
        except (RuntimeError, EOFError, OSError, ValueError, KeyError, UnpicklingError, BadZipFile) as error:
            raise InputError(f"{self.state}: expected a saved state, found: {str(error)[:200]}; delete it") from error
        moved.apply()
        return int(state["step"]), list(state["history"])


def drop_damaged(state: Path) -> None:
    """Remove a saved state that is not what was saved, so that training starts from the beginning."""
    try:
        _require_whole(state)
    except FileNotFoundError:
        return
    except (BadZipFile, RuntimeError, ValueError, EOFError):
        state.unlink()


def _require_whole(state: Path) -> None:
    """Raise BadZipFile where a saved state is not what was saved: PyTorch writes checksums, but compares none."""
    with ZipFile(state) as file:
        if damaged := file.testzip():
            raise BadZipFile(f"damaged {damaged}")


def drawn(images: int, settings: Mapping[str, Value], seed: tuple[int, ...], only: int | None = None) -> Indices:
    """Return the indices of the images that a run's batches, or the first of them, hold, sorted."""
    return np.unique(np.concatenate(list(islice(_batches(images, settings, seed), only))))


def _batches(images: int, settings: Mapping[str, Value], seed: tuple[int, ...]) -> Iterator[Indices]:
    """Yield the batches of image indices: epochs of permutations, the same for a resumed run."""
    generator = np.random.default_rng(seed)
    size, order = min(int(settings["batch"]), images), np.zeros(0, dtype=np.int64)
    for _ in range(int(settings["steps"])):
        if len(order) < size:
            order = np.concatenate([order, generator.permutation(images)])
        yield order[:size]
        order = order[size:]
